"""Training speed with subwords against gensim's FastText, one thread each, in turn, in one run.

    python benchmarks/subwords.py [--quick | --full] [--write]

Both train on the same words of the reviews corpus: n-grams of 3 to 6, 2,000,000 buckets, dim 100, window 5, 5
negatives, sample 1e-3. gensim reads a `corpus_file`, which is its fast way. Counted are raw corpus words in the
training phase, so neither side's vocabulary or start-up is in it. Prints a table and, as its last line, RESULT and one
JSON object:

    subword_100_vs_gensim        skip-gram: our words per second over gensim's (median of the rounds' ratios)
    subword_cbow_100_vs_gensim   the same for CBOW
    *_words_per_second           medians, one thread

The corpus is looked for at ../shared/corpora/reviews.parquet, or where VECMILL_BENCH_CORPUS points.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from gensim.models import FastText

from vecmill.words.subword_config import SubwordCbowConfig, SubwordSkipgramConfig
from vecmill.words.subword_trainer import train_subword_vectors

ROOT = Path(__file__).resolve().parent.parent
CORPUS = Path(os.environ.get("VECMILL_BENCH_CORPUS", ROOT.parent / "shared/corpora/reviews.parquet"))
RESULTS = ROOT / "benchmarks/results/subwords.json"
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
MIN_COUNT = 5
SETTINGS: dict[str, Any] = {"dim": 100, "window": 5, "negative_samples": 5, "sample": 1e-3, "learning_rate": 0.025}


class Corpus:
    """The first documents of the corpus, as ids for us and as a text file for gensim."""

    def __init__(self, n_documents: int, folder: Path) -> None:
        if not CORPUS.is_file():
            sys.exit(f"{CORPUS} is missing; let VECMILL_BENCH_CORPUS point to reviews.parquet")
        texts = pl.read_parquet(CORPUS, columns=["text"])["text"].to_list()
        # The vocabulary is that of the whole corpus, so that a quick run meets the same memory traffic.
        counts: collections.Counter[str] = collections.Counter()
        for text in texts:
            counts.update(WORD.findall(text.lower()))
        kept = sorted(((n, word) for word, n in counts.items() if n >= MIN_COUNT), key=lambda each: (-each[0], each[1]))
        self.words = [word for _, word in kept]
        self.counts = np.array([n for n, _ in kept], np.int64)
        ids = {word: word_id for word_id, word in enumerate(self.words)}
        documents = [[ids[w] for w in WORD.findall(text.lower()) if w in ids] for text in texts[:n_documents]]
        self.token_ids = np.array([word_id for document in documents for word_id in document], np.int32)
        self.sentence_offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
        self.n_documents = len(documents)
        self.file = folder / "corpus.txt"
        with self.file.open("w") as stream:
            stream.writelines(f"{' '.join(self.words[i] for i in document)}\n" for document in documents)


def our_seconds(corpus: Corpus, kind: str) -> float:
    """Seconds of one epoch."""
    chosen = {**SETTINGS, "kind": f"subword_{kind}", "epochs": 1, "threads": 1}
    config = (SubwordSkipgramConfig if kind == "skipgram" else SubwordCbowConfig)(**chosen)
    trained = train_subword_vectors(
        corpus.token_ids, corpus.sentence_offsets, corpus.words, corpus.counts, config, seed=1
    )
    return trained.train_seconds


def gensim_model(corpus: Corpus, kind: str) -> FastText:
    """gensim's model with the same vocabulary and settings, not trained yet."""
    model = FastText(
        **{"vector_size": 100, "window": 5, "negative": 5, "sample": 1e-3, "alpha": 0.025, "min_alpha": 1e-4},
        **{"min_n": 3, "max_n": 6, "bucket": 2_000_000, "min_count": 1, "workers": 1, "epochs": 1},
        sg=int(kind == "skipgram"),
    )
    model.build_vocab_from_freq(dict(zip(corpus.words, corpus.counts.tolist(), strict=True)))
    return model


def gensim_seconds(model: FastText, corpus: Corpus) -> float:
    """Seconds of one epoch."""
    started = time.perf_counter()
    model.train(
        corpus_file=str(corpus.file), total_examples=corpus.n_documents, total_words=corpus.token_ids.size, epochs=1
    )
    return time.perf_counter() - started


def measure(corpus: Corpus, kind: str, rounds: int) -> list[tuple[float, float]]:
    """(our, gensim's) words per second of each round."""
    theirs = gensim_model(corpus, kind)
    n_words = corpus.token_ids.size
    found = []
    for _ in range(rounds):
        found.append((n_words / our_seconds(corpus, kind), n_words / gensim_seconds(theirs, corpus)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="5,000 reviews, 3 rounds (the default, about 2 minutes)")
    size.add_argument("--full", action="store_true", help="50,000 reviews, 5 rounds (about 15 minutes)")
    parser.add_argument("--kinds", nargs="+", choices=["skipgram", "cbow"], default=["skipgram", "cbow"])
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    n_documents, rounds = (50_000, 5) if arguments.full else (5_000, 3)
    load = os.getloadavg()[0]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "numpy", "gensim"))
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as folder:
        corpus = Corpus(n_documents, Path(folder))
        lines = [
            f"{processor()}, {os.cpu_count()} cores, load {load:.1f} before, Python {platform.python_version()}, "
            f"{versions}; {corpus.token_ids.size:,} words, {len(corpus.words):,} different, {rounds} rounds in turn",
            "",
            "| one thread | ours, words/s | gensim, words/s | ratio, median | ratios |",
            "| --- | ---: | ---: | ---: | --- |",
        ]
        for kind in arguments.kinds:
            found = measure(corpus, kind, rounds)
            ours, theirs = (statistics.median(side) for side in zip(*found, strict=True))
            ratios = [mine / gensims for mine, gensims in found]
            label = "subword" if kind == "skipgram" else "subword_cbow"
            result[f"{label}_100_vs_gensim"] = round(statistics.median(ratios), 2)
            result[f"{label}_words_per_second"] = round(ours)
            result[f"gensim_{label}_words_per_second"] = round(theirs)
            shown = ", ".join(f"{ratio:.1f}" for ratio in ratios)
            lines.append(
                f"| {kind}, 3–6, dim 100, 2 M buckets | {ours:,.0f} | {theirs:,.0f} | "
                f"{statistics.median(ratios):.1f} | {shown} |"
            )
    table = "\n".join(lines)
    print(table)
    if arguments.write:
        RESULTS.write_text(json.dumps({"table": table, "result": result}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


def processor() -> str:
    """The processor's name, as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
