"""From raw text to a counted vocabulary and a token store: how fast, beside its peers, and in how much memory.

    python benchmarks/corpus.py [--quick | --full] [--write]

All sides read the same reviews (``benchmarks/reviews.py`` says where from), raw, from the same Parquet files, in the
same run and taking turns; figures are medians. A word is what ``[a-z0-9]+(?:'[a-z]+)?`` finds in lower-cased text, for
everybody (``vocabulary.token_pattern=ascii``). Each of the project's stages runs as the pipeline runs it, on all cores,
files and certificate included; compiling was done before. The last line is RESULT and one JSON object:

    count_mwords_per_second    the vocabulary stage, million words of the corpus a second
    encode_mwords_per_second   the vocabulary stage and the encode stage, raw text to token store
    count_vs_polars            speeds of the vocabulary stage over those of others who count the same words
    count_vs_counter
    encode_vs_gensim           gensim does the same: tokens, its vocabulary scan, once more tokens, ids written
    encode_vs_gensim_presplit  gensim is handed the text already lower-cased and cut into words, and only splits lines
    ingest_mb_per_second       the ingest stage with its default cleaning, MB of text a second, to Parquet
    rss_growth_10x             peak memory of ingest, vocabulary and encode on a generated Zipf corpus, over that on a
                               tenth of it; each stage in a process of its own, the largest of the three ratios
    peak_over_budget_mb        largest peak of the vocabulary stage, over vocabulary.memory

and with a store, where text is cut into words once and encode reads those (default cleaning, ten files, a piece each):

    stored_count_mwords_per_second        the vocabulary stage, which also writes what encode reads
    stored_encode_pass_mwords_per_second  the encode stage from that
    stored_encode_mwords_per_second       both
    night_share                seconds of a run to which one of the ten files is new, over those of one that reads all
                               ten: ingest, contract, contamination, vocabulary and encode
    night_processor_share, night_processor_seconds    the same of processor time, and that of each stage
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from reviews import CORPUS_VARIABLE, USUAL_PLACE
from store_nights import NIGHT_FILES, nights, processor_seconds
from words import processor

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.ingest import ingest
from vecmill.store.stage import StageIO, StageReport
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.encode import encode_corpus

RESULTS = Path(__file__).resolve().parent / "results/corpus.json"
QUICK_PART = 0.1
MIN_COUNT = 5
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")

# The corpora on which memory is compared: bytes of text, and different words that they may draw from.
FULL_ZIPF_BYTES, QUICK_ZIPF_BYTES = 1_600_000_000, 120_000_000
ZIPF_TYPES = 4_000_000
ZIPF_MEMORY = 256_000_000
ZIPF_DOCUMENT_WORDS = 250

# A stage in a process of its own: its peak of memory, of which the kernel keeps account.
MEMORY_PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from corpus import memory_stage
memory_stage(sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""


class Workplace:
    """Folders of a corpus, as the stages find them.

    Attributes
    ----------
    raw : folder of Parquet files with columns ``doc_id`` and ``text``, as they came
    ingest : the same text cut into shards, not cleaned, so that all sides count the same words
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.raw, self.ingest = root / "raw", root / "ingest"
        self.contract = root / "contract"
        for folder in (self.raw, self.ingest, self.contract):
            folder.mkdir(parents=True)
        pq.write_table(pa.table({"doc_id": pa.array([], pa.string())}), self.contract / "quarantine.parquet")

    def fresh(self, name: str) -> Path:
        """An empty folder."""
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def read_raw(self, cleaning: tuple[str, ...] | None = None) -> StageReport:
        """The ingest stage; ``cleaning`` () leaves the text as it is, None is the default."""
        config: dict[str, Any] = {"sources": [str(self.raw)], "id_column": "doc_id"}
        if cleaning is not None:
            config["cleaning"] = cleaning
        folder = self.fresh("ingest" if cleaning == () else "ingest_default")
        return ingest(CorpusConfig.model_validate(config), StageIO({}, folder))

    def count(self, **config: Any) -> StageReport:
        settings = {"token_pattern": "ascii", "min_count": MIN_COUNT, **config}
        io = StageIO({"ingest": self.ingest, "contract": self.contract}, self.fresh("vocabulary"), 1)
        return build_vocabulary(VocabularyConfig.model_validate(settings), io)

    def encode(self) -> StageReport:
        inputs = {name: self.root / name for name in ("ingest", "contract", "vocabulary")}
        return encode_corpus(EncodeConfig(), StageIO(inputs, self.fresh("encode"), 1))


def reviews(place: Workplace, part: float) -> int:
    """Put the reviews, or every n-th, into the raw folder; their bytes of text."""
    path = Path(os.environ.get(CORPUS_VARIABLE, USUAL_PLACE))
    if not path.exists():
        sys.exit(f"no corpus at {path}; set {CORPUS_VARIABLE} to a Parquet file with columns doc_id and text")
    table = pq.read_table(path, columns=["doc_id", "text"])
    if part < 1:
        table = table.take(pa.array(np.arange(0, len(table), round(1 / part))))
    pq.write_table(table, place.raw / "reviews.parquet", compression="zstd", row_group_size=4096)
    return int(pl.DataFrame(table)["text"].str.len_bytes().sum())


def raw_texts(place: Workplace) -> Iterator[list[str]]:
    for shard in sorted(place.ingest.glob("part-*.parquet")):
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(4096, columns=["text"]):
                yield batch.column("text").to_pylist()


def raw_sentences(place: Workplace) -> Iterator[list[str]]:
    for texts in raw_texts(place):
        for text in texts:
            yield _WORD.findall(text.lower())


def count_with_polars(place: Workplace) -> int:
    counts = (
        pl.scan_parquet(place.ingest / "part-*.parquet")
        .select(pl.col("text").str.to_lowercase().str.extract_all(_WORD.pattern).alias("word"))
        .explode("word")
        .drop_nulls()
        .group_by("word")
        .len()
        .collect(engine="streaming")
    )
    return int(counts["len"].sum())


def count_with_counter(place: Workplace) -> int:
    counts: Counter[str] = Counter()
    for words in raw_sentences(place):
        counts.update(words)
    return counts.total()


class Lines:
    """Sentences for gensim, again and again."""

    def __init__(self, place: Workplace, *, presplit: bool) -> None:
        self.place, self.presplit = place, presplit

    def __iter__(self) -> Iterator[list[str]]:
        if not self.presplit:
            yield from raw_sentences(self.place)
            return
        with (self.place.root / "presplit.txt").open() as lines:
            for line in lines:
                yield line.split()


def encode_with_gensim(place: Workplace, *, presplit: bool) -> int:
    """Its vocabulary scan, then ids and sentence offsets, as the token store has them; how many words there were."""
    from gensim.models import Word2Vec

    model = Word2Vec(vector_size=1, min_count=MIN_COUNT, sample=0)
    n_words, _ = model.scan_vocab(Lines(place, presplit=presplit))
    model.prepare_vocab(update=False)
    ids = model.wv.key_to_index
    ends = [0]
    with (place.fresh("gensim") / "token_ids.bin").open("wb") as file:
        for words in Lines(place, presplit=presplit):
            found = [ids[word] for word in words if word in ids]
            file.write(np.array(found, dtype=np.int32).tobytes())
            ends.append(ends[-1] + len(found))
    np.save(place.root / "gensim/offsets.npy", np.array(ends, dtype=np.int64))
    return int(n_words)


def measure(place: Workplace, n_bytes: int, rounds: int) -> dict[str, Any]:
    """Medians of rounds in which all sides take turns."""
    # Compiles the kernels, and says how many words there are.
    place.read_raw(())
    n_words = place.count().metrics["n_tokens"]
    place.encode()
    with (place.root / "presplit.txt").open("w") as lines:
        lines.writelines(" ".join(words) + "\n" for words in raw_sentences(place))
    sides: dict[str, Callable[[], Any]] = {
        "ingest": place.read_raw,
        "count": place.count,
        "encode": place.encode,
        "polars": lambda: count_with_polars(place),
        "counter": lambda: count_with_counter(place),
        "gensim": lambda: encode_with_gensim(place, presplit=False),
        "gensim_presplit": lambda: encode_with_gensim(place, presplit=True),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    busy: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            wall, processor_time, result = processor_seconds(work)
            # Some capitals beyond ASCII (K, the Kelvin sign) become a word's letter when all text is lower-cased.
            if isinstance(result, int) and abs(result - n_words) > n_words / 10_000:
                sys.exit(f"{name} counts {result:,} words, the vocabulary stage {n_words:,}: they do not do the same")
            taken[name].append(wall)
            busy[name].append(processor_time)
    both = [first + second for first, second in zip(taken["count"], taken["encode"], strict=True)]
    median = {name: statistics.median(values) for name, values in (taken | {"both": both}).items()}
    return {
        "count_mwords_per_second": n_words / median["count"] / 1e6,
        "encode_mwords_per_second": n_words / median["both"] / 1e6,
        "encode_pass_mwords_per_second": n_words / median["encode"] / 1e6,
        "count_processor_ns_per_word": statistics.median(busy["count"]) / n_words * 1e9,
        "encode_pass_processor_ns_per_word": statistics.median(busy["encode"]) / n_words * 1e9,
        "polars_mwords_per_second": n_words / median["polars"] / 1e6,
        "counter_mwords_per_second": n_words / median["counter"] / 1e6,
        "gensim_mwords_per_second": n_words / median["gensim"] / 1e6,
        "gensim_presplit_mwords_per_second": n_words / median["gensim_presplit"] / 1e6,
        "count_vs_polars": median["polars"] / median["count"],
        "count_vs_counter": median["counter"] / median["count"],
        "encode_vs_gensim": median["gensim"] / median["both"],
        "encode_vs_gensim_presplit": median["gensim_presplit"] / median["both"],
        "ingest_mb_per_second": n_bytes / median["ingest"] / 1e6,
        "n_words": n_words,
        "text_mb": n_bytes / 1e6,
    }


def write_zipf(folder: Path, n_bytes: int, seed: int = 1) -> None:
    """Write documents of Zipf-distributed words (exponent 1) as text files of one document a line, some 32 MB each.

    Rank r is drawn with a probability in proportion to 1/r, by inverting the integral of 1/x; a word spells its rank.
    """
    rng = np.random.default_rng(seed)
    words = pa.array([f"{rank}w " for rank in range(ZIPF_TYPES + 1)])
    written = part = 0
    while written < n_bytes:
        uniform = rng.random(4_000_000)
        ranks = np.minimum(np.exp(uniform * np.log(ZIPF_TYPES + 1)).astype(np.int64), ZIPF_TYPES)
        # What lies behind the strings one after the other is the text; the blank after a document's last word ends it.
        _, ends, letters = words.take(pa.array(ranks)).buffers()
        text = np.frombuffer(letters, dtype=np.uint8).copy()
        last = np.frombuffer(ends, dtype=np.int32)[ZIPF_DOCUMENT_WORDS : len(ranks) + 1 : ZIPF_DOCUMENT_WORDS] - 1
        text[last] = ord("\n")
        path = folder / f"zipf-{part:05d}.txt"
        path.write_bytes(text[: last[-1] + 1].tobytes())
        written += path.stat().st_size
        part += 1


def memory_stage(stage: str, root: Path, config: dict[str, Any]) -> None:
    """Run one stage on a generated corpus; called in a process of its own."""
    inputs = {name: root / name for name in ("ingest", "contract", "vocabulary")}
    io = StageIO(inputs, root / stage, 1)
    shutil.rmtree(io.output, ignore_errors=True)
    io.output.mkdir()
    if stage == "ingest":
        ingest(CorpusConfig.model_validate(config), io)
    elif stage == "vocabulary":
        build_vocabulary(VocabularyConfig.model_validate(config), io)
    else:
        encode_corpus(EncodeConfig(), io)


def memory(folder: Path, n_bytes: int) -> dict[str, Any]:
    """Peaks of each stage on a generated corpus and on a tenth of it."""
    peaks: dict[str, list[int]] = {"ingest": [], "vocabulary": [], "encode": []}
    for name, part in (("tenth", n_bytes // 10), ("whole", n_bytes)):
        place = Workplace(folder / name)
        write_zipf(place.raw, part)
        configs = {
            "ingest": {"sources": [str(place.raw)], "txt_unit": "line"},
            # With a limit on its size: otherwise the vocabulary itself is what grows.
            "vocabulary": {"memory": ZIPF_MEMORY, "max_size": 200_000, "min_count": 2},
            "encode": {},
        }
        for stage, stage_peaks in peaks.items():
            here = str(Path(__file__).resolve().parent)
            command = [sys.executable, "-c", MEMORY_PROGRAM, here, stage, str(place.root), json.dumps(configs[stage])]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            stage_peaks.append(int(done.stdout.split()[-1]))
            if stage == "ingest":
                shutil.rmtree(place.raw)
        shutil.rmtree(place.root)
    return {
        "rss_growth_10x": max(whole / tenth for tenth, whole in peaks.values()),
        "peak_over_budget_mb": (max(peaks["vocabulary"]) - ZIPF_MEMORY) / 1e6,
        **{f"{stage}_peak_mb": [round(peak / 1e6, 1) for peak in found] for stage, found in peaks.items()},
        "zipf_mb": n_bytes / 1e6,
    }


def render(found: dict[str, Any], rounds: int) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "polars", "pyarrow", "gensim"))
    load = " ".join(f"{load:.1f}" for load in os.getloadavg())
    night_seconds = found["night_processor_seconds"]
    speeds = (
        ("vocabulary stage: raw text, counted", "count", "≥ 15"),
        ("polars, the same count", "polars", ""),
        ("Python's Counter, the same count", "counter", ""),
        ("vocabulary and encode stage: raw text to token store", "encode", "≥ 8"),
        ("encode stage alone", "encode_pass", ""),
        ("with a store: vocabulary stage, raw text, counted and kept as coded text", "stored_count", ""),
        ("with a store: encode stage alone, from coded text", "stored_encode_pass", ""),
        ("with a store: raw text to token store", "stored_encode", ""),
        ("gensim: tokens, scan, tokens, ids", "gensim", ""),
        ("gensim from split text: scan, ids", "gensim_presplit", ""),
    )
    lines = [
        f"{processor()}, {os.cpu_count()} cores (load {load}), Python {platform.python_version()}, {versions}",
        "",
        f"Reviews: {found['text_mb']:.0f} MB, {found['n_words']:,} words; medians of {rounds} rounds, taking turns.",
        "",
        "| work | million words/s | aim |",
        "| --- | ---: | ---: |",
        *(f"| {title} | {found[f'{name}_mwords_per_second']:.2f} | {aim} |" for title, name, aim in speeds),
        "",
        "| figure | measured | aim |",
        "| --- | ---: | ---: |",
        f"| counting over polars | {found['count_vs_polars']:.2f} | |",
        f"| raw text to token store, over gensim | {found['encode_vs_gensim']:.1f} | ≥ 5 |",
        f"| the same, gensim reading split text | {found['encode_vs_gensim_presplit']:.1f} | |",
        f"| processor time of a word: vocabulary stage | {found['count_processor_ns_per_word']:.0f} ns | |",
        f"| processor time of a word: encode stage | {found['encode_pass_processor_ns_per_word']:.0f} ns | |",
        f"| ingest with default cleaning | {found['ingest_mb_per_second']:.0f} MB/s | ≥ 60 MB/s |",
        f"| peak memory, 10 × the corpus ({found['zipf_mb']:,.0f} MB of Zipf text), over a tenth | "
        f"{found['rss_growth_10x']:.2f} | ≤ 1.15 |",
        f"| peak memory of the vocabulary stage over its budget | {found['peak_over_budget_mb']:.0f} MB | ≤ 300 MB |",
        "",
        "| peak memory, MB | on a tenth | on the whole |",
        "| --- | ---: | ---: |",
        *(
            f"| {stage} | {found[f'{stage}_peak_mb'][0]:.0f} | {found[f'{stage}_peak_mb'][1]:.0f} |"
            for stage in ("ingest", "vocabulary", "encode")
        ),
        "",
        f"With one of {NIGHT_FILES} files new, the stages from ingest to encode take {found['night_share']:.2f} of the "
        f"time of a run that reads all, and {found['night_processor_share']:.2f} of its processor time (in a process "
        "that has compiled and imported everything before).",
        "",
        "| processor time, s | a full run | a night with a tenth new |",
        "| --- | ---: | ---: |",
        *(f"| {stage} | {full:.2f} | {night:.2f} |" for stage, (full, night) in night_seconds.items()),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help=f"{QUICK_PART:g} of the reviews, 3 rounds (the default)")
    size.add_argument("--full", action="store_true", help="all reviews, 3 rounds, and 1.6 GB of generated text")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    arguments = parser.parse_args()
    rounds = 3
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        place = Workplace(Path(name) / "reviews")
        n_bytes = reviews(place, 1.0 if arguments.full else QUICK_PART)
        found = measure(place, n_bytes, rounds)
        found |= nights(Path(name) / "nights", place.raw / "reviews.parquet", rounds, MIN_COUNT)
        found |= memory(Path(name), FULL_ZIPF_BYTES if arguments.full else QUICK_ZIPF_BYTES)
    table = render(found, rounds)
    result = {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}
    print(table)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"table": table, "result": result}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
