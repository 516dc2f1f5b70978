"""What ``benchmarks/words.py`` times: one epoch of each word trainer, ours and gensim's, on the same text."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from reviews import MIN_COUNT, Corpus

BIG_WORDS, BIG_DIM, BIG_TOKENS = 1_000_000, 300, 3_000_000
_BIG_SENTENCE = 1_000


@dataclass(frozen=True)
class Race:
    """One row of the table.

    Attributes
    ----------
    name : start of the row's names in RESULT
    aim : least ratio wanted, None where there is none
    sides : "ours" and "gensim": train once on a corpus; return seconds
    functions : what our side runs; a round of ours that was kept counts as long as their code is the same
    on_big : whether it is run on the generated vocabulary of a million words instead of the reviews
    """

    name: str
    title: str
    aim: float | None
    sides: dict[str, Callable[[Corpus], float]]
    functions: tuple[str, ...] = ("vecmill.words.trainer:train_vectors",)
    on_big: bool = False


def our_seconds(kind: str, dim: int, threads: int = 1) -> Callable[[Corpus], float]:
    """The training phase: all epochs, without counting, encoding, compiling."""

    def run(corpus: Corpus) -> float:
        from pydantic import TypeAdapter

        from vecmill.words.kinds import WordsTrainConfig
        from vecmill.words.subword_trainer import train_subword_vectors
        from vecmill.words.trainer import train_vectors

        options = {"kind": kind, "dim": dim, "epochs": 1, "threads": threads}
        config: Any = TypeAdapter(WordsTrainConfig).validate_python(options)
        if kind.startswith("subword"):
            words = corpus.words
            return train_subword_vectors(
                corpus.token_ids, corpus.sentence_offsets, words, corpus.counts, config, seed=1
            ).train_seconds
        return train_vectors(corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=1).train_seconds

    return run


def gensim_seconds(kind: str, dim: int, threads: int = 1, *, whole: bool = False) -> Callable[[Corpus], float]:
    """The training phase, or the ``whole``, from a file of words between blanks to vectors."""

    def run(corpus: Corpus) -> float:
        from gensim.models import FastText, Word2Vec

        options: dict[str, Any] = {
            **{"vector_size": dim, "window": 5, "negative": 5, "sample": 1e-3, "ns_exponent": 0.75, "epochs": 1},
            **{"sg": int(kind.endswith("skipgram")), "workers": threads, "seed": 1, "min_count": MIN_COUNT},
        }
        if kind.startswith("subword"):
            model = FastText(min_n=3, max_n=6, bucket=2_000_000, **options)
        else:
            model = Word2Vec(**options)
        started = time.perf_counter()
        if whole:
            model.build_vocab(corpus_file=str(corpus.text))
        else:
            model.build_vocab_from_freq(dict(zip(corpus.words, corpus.counts.tolist(), strict=True)))
            started = time.perf_counter()
        n_lines = corpus.sentence_offsets.size - 1
        model.train(corpus_file=str(corpus.text), total_words=corpus.n_raw_words, total_examples=n_lines, epochs=1)
        return time.perf_counter() - started

    return run


def our_stages_seconds(corpus: Corpus) -> float:
    """From Parquet documents to vectors: the stages vocabulary, encode and train, one thread each, kernels compiled."""
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        few = Path(name) / "few.txt"
        few.write_text("a few words to compile the kernels with\n" * 2 * MIN_COUNT)
        _stages_seconds(few)
    return _stages_seconds(corpus.text)


def _stages_seconds(text: Path) -> float:
    from vecmill.store.stage import StageIO
    from vecmill.vocabulary.build import build_vocabulary
    from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
    from vecmill.vocabulary.encode import encode_corpus
    from vecmill.words.config import SkipgramConfig
    from vecmill.words.train import train_words

    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        folders = {stage: Path(name) / stage for stage in ("ingest", "contract", "vocabulary", "encode", "train")}
        for folder in folders.values():
            folder.mkdir()
        _write_documents(text, folders["ingest"] / "part-00000.parquet")
        pq.write_table(pa.table({"doc_id": pa.array([], pa.string())}), folders["contract"] / "quarantine.parquet")
        started = time.perf_counter()
        stages: tuple[tuple[str, Any, Any], ...] = (
            ("vocabulary", build_vocabulary, VocabularyConfig(min_count=MIN_COUNT, threads=1)),
            ("encode", encode_corpus, EncodeConfig(threads=1)),
            ("train", train_words, SkipgramConfig(epochs=1, threads=1)),
        )
        for stage, function, config in stages:
            function(config, StageIO(folders, folders[stage], 1))
        return time.perf_counter() - started


def _write_documents(text: Path, path: Path) -> None:
    fields = [pa.field(name, pa.string()) for name in ("doc_id", "source_uri", "title", "text")]
    schema = pa.schema([*fields, pa.field("n_chars", pa.int64())])
    with text.open() as lines, pq.ParquetWriter(path, schema) as writer:
        rows: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            each = line.rstrip("\n")
            rows.append({"doc_id": f"{number:08d}", "source_uri": "", "title": "", "text": each, "n_chars": len(each)})
            if len(rows) == 1_000:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))


def first_part(corpus: Corpus, share: float, folder: Path) -> Corpus:
    """The first reviews, with the words and counts of all of them, so that memory is met as it is in a whole epoch."""
    n_reviews = max(1, round((corpus.sentence_offsets.size - 1) * share))
    text, n_raw_words = folder / "part.txt", 0
    with corpus.text.open() as lines, text.open("w") as part:
        for line in islice(lines, n_reviews):
            n_raw_words += len(line.split())
            part.write(line)
    offsets = corpus.sentence_offsets[: n_reviews + 1]
    return Corpus(text, corpus.words, corpus.counts, corpus.token_ids[: offsets[-1]], offsets, n_raw_words)


def big_corpus(folder: Path) -> Corpus:
    """A million different words, drawn by Zipf's law; each stands in the text at least MIN_COUNT times by its count."""
    rng = np.random.default_rng(0)
    counts = np.maximum(MIN_COUNT, 3e8 / np.arange(1, BIG_WORDS + 1) ** 1.05).astype(np.int64)
    drawn = rng.choice(BIG_WORDS, BIG_TOKENS, p=counts / counts.sum()).astype(np.int32)
    np.save(folder / "big_ids.npy", drawn)
    words = [f"w{number}" for number in range(BIG_WORDS)]
    text = folder / "big.txt"
    with text.open("w") as lines:
        for start in range(0, BIG_TOKENS, _BIG_SENTENCE):
            lines.write(" ".join(words[word_id] for word_id in drawn[start : start + _BIG_SENTENCE]) + "\n")
    ids: npt.NDArray[np.int32] = np.load(folder / "big_ids.npy", mmap_mode="r")
    offsets = np.arange(0, BIG_TOKENS + 1, _BIG_SENTENCE, dtype=np.int64)
    return Corpus(text, words, counts, ids, offsets, BIG_TOKENS)


# What a fresh process runs: mapped tokens, one epoch, and the peak of its memory.
_MEMORY_PROGRAM = """
import sys
import numpy as np
from vecmill.words.config import SkipgramConfig
from vecmill.words.trainer import train_vectors
token_ids, offsets, counts = (np.load(path, mmap_mode="r") for path in sys.argv[1:4])
config = SkipgramConfig(dim=int(sys.argv[4]), epochs=1, threads=1)
done = train_vectors(token_ids, np.asarray(offsets), np.asarray(counts), config, seed=1)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024, done.compile_seconds)
"""


def memory_of(corpus: Corpus, dim: int) -> tuple[int, float]:
    """Peak bytes of a process that trains skip-gram, over the model's two matrices and the mapped tokens, which are the
    page cache's; and its seconds of compiling."""
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        paths = [Path(name) / f"{each}.npy" for each in ("ids", "offsets", "counts")]
        for path, array in zip(paths, (corpus.token_ids, corpus.sentence_offsets, corpus.counts), strict=True):
            np.save(path, array)
        command = [sys.executable, "-c", _MEMORY_PROGRAM, *map(str, paths), str(dim)]
        peak, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    padded = -(-dim // 16) * 16
    return int(peak) - 2 * len(corpus.words) * padded * 4 - corpus.token_ids.nbytes, float(seconds)


# A second training of another seed in the same process finds its kernel compiled.
_WARM_PROGRAM = """
import numpy as np
from vecmill.words.config import SkipgramConfig
from vecmill.words.trainer import train_vectors
ids = np.arange(1000, dtype=np.int32) % 50
for _ in range(2):
    done = train_vectors(ids, np.array([0, 1000]), np.full(50, 20), SkipgramConfig(epochs=1, threads=1), seed=1)
print(done.compile_seconds)
"""


def warm_kernel_seconds() -> float:
    done = subprocess.run([sys.executable, "-c", _WARM_PROGRAM], check=True, capture_output=True, text=True)
    return float(done.stdout)


def races() -> tuple[Race, ...]:
    """All rows, in the order of the table."""

    def race(title: str, aim: float | None, kind: str, dim: int, threads: int = 1) -> Race:
        kind_name = "subword" if kind == "subword_skipgram" else kind
        name = f"{kind_name}_{dim}" + (f"_threads_{threads}" if threads > 1 else "")
        sides = {"ours": our_seconds(kind, dim, threads), "gensim": gensim_seconds(kind, dim, threads)}
        function = "subword_trainer:train_subword_vectors" if kind.startswith("subword") else "trainer:train_vectors"
        return Race(name, title, aim, sides, (f"vecmill.words.{function}",))

    return (
        race("skip-gram, 100 dimensions", 10.0, "skipgram", 100),
        race("skip-gram, 300", 5.0, "skipgram", 300),
        race("CBOW, 100", 4.0, "cbow", 100),
        race("skip-gram with subwords 3–6, 100, 2 M buckets", 4.0, "subword_skipgram", 100),
        race("CBOW with subwords, 100", None, "subword_cbow", 100),
        race("skip-gram, 100, two threads", None, "skipgram", 100, threads=2),
        Race(
            "end_to_end",
            "from text to skip-gram vectors of 100",
            None,
            {"ours": our_stages_seconds, "gensim": gensim_seconds("skipgram", 100, whole=True)},
            (
                "vecmill.vocabulary.build:build_vocabulary",
                "vecmill.vocabulary.encode:encode_corpus",
                "vecmill.words.train:train_words",
            ),
        ),
        Race(
            "skipgram_1m_300",
            "skip-gram, 300, a million words (generated, one round)",
            None,
            {"ours": our_seconds("skipgram", BIG_DIM), "gensim": gensim_seconds("skipgram", BIG_DIM)},
            on_big=True,
        ),
    )
