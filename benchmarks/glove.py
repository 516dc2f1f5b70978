"""How fast GloVe counts and trains.

    python benchmarks/glove.py [--documents 20000] [--runs 5] [--write]

Counts the reviews corpus (one sentence a review, lower case, words of `[a-z0-9]+(?:'[a-z]+)?` that occur 5 times or
more in all of it, window 10) and trains 100 dimensions on it. The corpus is looked for at
`../shared/corpora/reviews.parquet` or where VECMILL_BENCH_CORPUS points. Runs with one and with two threads alternate;
figures are medians. Prints a table and, as its last line, RESULT and one JSON object:

    glove_count_mwords_per_second        million words counted a second, one thread, in memory
    glove_updates_per_second             AdaGrad updates a second, one thread
    glove_count_scaling_2, glove_scaling_2   two threads over one, counting and training
    glove_count_spilled_mwords_per_second    one thread with 16 MiB of memory, so that runs are spilled and merged
    glove_prepare_mwords_per_second      counting and shuffling, one thread
    glove_random_order_updates_per_second    one thread on pairs in an order that is random throughout
    n_words, n_tokens, n_pairs           of the corpus
    load                                 the machine's one-minute load before the first run, other processes' included
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vecmill.kernels.glove import train_glove
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_counts import PairCounting
from vecmill.words.glove_model import initial_glove
from vecmill.words.glove_trainer import count_and_shuffle, train_glove_vectors

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/glove.json"
CORPUS = Path(os.environ.get("VECMILL_BENCH_CORPUS", ROOT.parent / "shared/corpora/reviews.parquet"))
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")

# The authors' C programs on one thread of such a machine, on the first 4.6 M words: measured once, elsewhere.
STANFORD_COUNT, STANFORD_UPDATES = 1.07e6, 0.63e6

Corpus = tuple[np.ndarray, np.ndarray, np.ndarray]


def read_corpus(n_documents: int) -> Corpus:
    """token_ids, sentence_offsets of the first documents, and the counts of all of them."""
    if not CORPUS.is_file():
        sys.exit(f"no corpus at {CORPUS}; set VECMILL_BENCH_CORPUS to a Parquet file with a column `text`")
    documents = [WORD.findall(text.lower()) for text in pq.read_table(CORPUS, columns=["text"])["text"].to_pylist()]
    counts = Counter(word for document in documents for word in document)
    words = sorted((word for word, n in counts.items() if n >= 5), key=lambda word: (-counts[word], word))
    ids = {word: word_id for word_id, word in enumerate(words)}
    rows = [np.array([ids[w] for w in document if w in ids], np.int32) for document in documents[:n_documents]]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return np.concatenate(rows), offsets, np.array([counts[word] for word in words], np.int64)


def count_seconds(corpus: Corpus, folder: Path, threads: int, memory_bytes: int = 1 << 28) -> float:
    """Wall time of counting alone."""
    counting = PairCounting(corpus[0], corpus[1], corpus[2].size, 10, True, threads, memory_bytes, folder)
    started = time.perf_counter()
    for _ in counting.pairs():
        pass
    return time.perf_counter() - started


def random_order_rate(corpus: Corpus, folder: Path, config: GloveConfig) -> float:
    """Updates a second of one thread on half a million pairs without any order."""
    pairs = count_and_shuffle(corpus[0], corpus[1], corpus[2].size, config, seed=0, folder=folder)
    rng = np.random.default_rng(0)
    some = np.concatenate([rng.permutation(pairs.read(c))[: 2**19 // pairs.n_chunks] for c in range(pairs.n_chunks)])
    rng.shuffle(some)
    model = initial_glove(corpus[2].size, config.dim, config.learning_rate, rng)
    started = time.perf_counter()
    _, n_updates = train_glove(some, model.center, model.context, config.x_max, config.alpha, config.symmetric)
    return n_updates / (time.perf_counter() - started)


def measure(corpus: Corpus, runs: int) -> dict[str, list[float]]:
    """Every figure as often as there are runs, settings taking turns."""
    found: dict[str, list[float]] = {}
    n_tokens = corpus[0].size

    def keep(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for run in range(runs + 1):  # the first compiles and is not kept
        for threads in (1, 2):
            config = GloveConfig(kind="glove", epochs=2, threads=threads)
            with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
                alone = count_seconds(corpus, Path(name), threads)
                training = train_glove_vectors(*corpus, config, seed=run, folder=Path(name))
            n_updates = sum(epoch.n_pairs for epoch in training.epochs)
            if run:
                keep(f"count_{threads}", n_tokens / alone)
                keep(f"prepare_{threads}", n_tokens / training.count_seconds)
                keep(f"train_{threads}", n_updates / training.train_seconds)
                keep("n_updates", n_updates / config.epochs)
        with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
            spilled = count_seconds(corpus, Path(name), 1, 1 << 24)
            rate = random_order_rate(corpus, Path(name), GloveConfig(kind="glove"))
        if run:
            keep("spilled_1", n_tokens / spilled)
            keep("random_1", rate)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--documents", type=int, default=20_000, help="reviews to count; 20,000 have 4.6 M words")
    parser.add_argument("--runs", type=int, default=5, help="runs of each setting; figures are medians")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    corpus = read_corpus(arguments.documents)
    load = os.getloadavg()[0]
    found = measure(corpus, arguments.runs)
    middle = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        kind: statistics.median(two / one for one, two in zip(found[f"{kind}_1"], found[f"{kind}_2"], strict=True))
        for kind in ("count", "train")
    }
    result = {
        "glove_count_mwords_per_second": round(middle["count_1"] / 1e6, 3),
        "glove_updates_per_second": round(middle["train_1"]),
        "glove_count_scaling_2": round(ratios["count"], 3),
        "glove_scaling_2": round(ratios["train"], 3),
        "glove_count_spilled_mwords_per_second": round(middle["spilled_1"] / 1e6, 3),
        "glove_prepare_mwords_per_second": round(middle["prepare_1"] / 1e6, 3),
        "glove_random_order_updates_per_second": round(middle["random_1"]),
        "n_words": int(corpus[2].size),
        "n_tokens": int(corpus[0].size),
        "n_pairs": round(middle["n_updates"]),
        "load": round(load, 2),
    }
    table = render(middle, ratios, result, arguments.runs)
    print(table)
    if arguments.write:
        RESULTS.write_text(json.dumps({"table": table, "result": result}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


def render(middle: dict[str, float], ratios: dict[str, float], result: dict[str, Any], runs: int) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "numpy"))
    lines = [
        f"{processor()}, {os.cpu_count()} cores, load {result['load']}, Python {platform.python_version()}, {versions}",
        "",
        f"{result['n_tokens']:,} tokens, {result['n_words']:,} words, {result['n_pairs']:,} entries of X, window 10, "
        f"100 dimensions, median of {runs}",
        "",
        "| GloVe | one thread | two threads over one | aim, one thread | the authors' C, one thread |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    rows = [
        ("counting, in memory", "count_1", f"{ratios['count']:.2f}×", "≥ 3 M words/s", STANFORD_COUNT, "words/s"),
        ("counting with 16 MiB, spilled", "spilled_1", "", "", None, "words/s"),
        ("counting and shuffling", "prepare_1", "", "", None, "words/s"),
        ("training", "train_1", f"{ratios['train']:.2f}×", "≥ 2.5 M updates/s", STANFORD_UPDATES, "updates/s"),
        ("training, pairs in random order", "random_1", "", "", None, "updates/s"),
    ]
    for what, name, ratio, aim, theirs, unit in rows:
        peer = "" if theirs is None else f"{theirs / 1e6:.2f} M {unit}"
        lines.append(f"| {what} | {middle[name] / 1e6:.2f} M {unit} | {ratio} | {aim} | {peer} |")
    return "\n".join(lines)


def processor() -> str:
    """The processor's name, as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
