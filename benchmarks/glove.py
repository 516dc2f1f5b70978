"""How fast GloVe counts and trains, beside the authors' C programs where they have been built.

    VECMILL_GLOVE_C=FOLDER python benchmarks/glove.py [--part 0.2] [--runs 5] [--write]

Counts every fifth of the reviews (``benchmarks/reviews.py``: a review is a sentence, words with a count of 5 or more,
window 10) and trains 100 dimensions on it. Runs with one and with two threads and runs of the authors' programs
(``benchmarks/glove_peer.py``) take turns; figures are medians. Prints a table and, as its last line, RESULT and one
JSON object:

    glove_count_mwords_per_second        million words counted a second, one thread, in memory
    glove_updates_per_second             AdaGrad updates a second, one thread
    glove_count_scaling_2, glove_scaling_2   two threads over one, counting and training
    glove_count_spilled_mwords_per_second    one thread with 16 MiB of memory, so that runs are spilled and merged
    glove_prepare_mwords_per_second      counting and shuffling, one thread
    glove_random_order_updates_per_second    one thread on pairs in an order that is random throughout
    authors_count_mwords_per_second, authors_updates_per_second   the C programs on one thread, null where not measured
    n_words, n_tokens, n_pairs           of the corpus
    load                                 the machine's one-minute load before the first run, other processes' included

The authors' `cooccur` reads text, ours ids: their figure holds the look-up of each word, ours does not. Their `glove`
trains on the first entries of their shuffled file; what it takes to start and to save is taken away.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from glove_peer import AuthorsGlove, authors_glove
from reviews import Corpus, read_corpus

from vecmill.kernels.glove import train_glove
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_counts import PairCounting
from vecmill.words.glove_model import initial_glove
from vecmill.words.glove_trainer import count_and_shuffle, train_glove_vectors

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/glove.json"
DIM, WINDOW = 100, 10
# Entries of X that the authors' program trains on in one run: some seconds of work.
PEER_ENTRIES = 4_000_000


def count_seconds(corpus: Corpus, folder: Path, threads: int, memory_bytes: int = 1 << 28) -> float:
    """Wall time of counting alone."""
    ids, offsets, n_words = np.asarray(corpus.token_ids), corpus.sentence_offsets, len(corpus.words)
    counting = PairCounting(ids, offsets, n_words, WINDOW, True, threads, memory_bytes, folder)
    started = time.perf_counter()
    for _ in counting.pairs():
        pass
    return time.perf_counter() - started


def random_order_rate(corpus: Corpus, folder: Path, config: GloveConfig) -> float:
    """Updates a second of one thread on half a million pairs without any order."""
    n_words = len(corpus.words)
    pairs = count_and_shuffle(corpus.token_ids, corpus.sentence_offsets, n_words, config, seed=0, folder=folder)
    rng = np.random.default_rng(0)
    some = np.concatenate([rng.permutation(pairs.read(c))[: 2**19 // pairs.n_chunks] for c in range(pairs.n_chunks)])
    rng.shuffle(some)
    model = initial_glove(n_words, config.dim, config.learning_rate, rng)
    started = time.perf_counter()
    _, n_updates = train_glove(some, model.center, model.context, config.x_max, config.alpha, config.symmetric)
    return n_updates / (time.perf_counter() - started)


def peer_update_seconds(peer: AuthorsGlove, n_words: int) -> float:
    """Wall time of one pass of the authors' program, without what it takes to start and to save."""

    def seconds(epochs: int) -> float:
        started = time.perf_counter()
        peer.train(n_words=n_words, dim=DIM, epochs=epochs, threads=1, learning_rate=0.05, x_max=100.0, seed=1)
        return time.perf_counter() - started

    return seconds(1) - seconds(0)


def measure(corpus: Corpus, peer: AuthorsGlove | None, runs: int) -> dict[str, list[float]]:
    """Every figure as often as there are runs, settings taking turns."""
    found: dict[str, list[float]] = {}
    n_tokens, n_words = corpus.token_ids.size, len(corpus.words)
    if peer is not None:
        peer.count_words()
        peer.count_pairs(WINDOW)
        peer.shuffle(seed=1)
        n_entries = peer.keep_first(PEER_ENTRIES)

    def keep(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for run in range(runs + 1):  # the first compiles and is not kept
        for threads in (1, 2):
            config = GloveConfig(kind="glove", epochs=2, threads=threads)
            with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
                alone = count_seconds(corpus, Path(name), threads)
                training = train_glove_vectors(
                    corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=run, folder=Path(name)
                )
            if run:
                keep(f"count_{threads}", n_tokens / alone)
                keep(f"prepare_{threads}", n_tokens / training.count_seconds)
                keep(f"train_{threads}", training.updates_per_second)
                keep("n_updates", training.epochs[0].n_pairs)
        if not run:
            continue
        with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
            keep("spilled_1", n_tokens / count_seconds(corpus, Path(name), 1, 1 << 24))
            keep("random_1", random_order_rate(corpus, Path(name), GloveConfig(kind="glove")))
        if peer is not None:
            started = time.perf_counter()
            peer.count_pairs(WINDOW)
            keep("peer_count", n_tokens / (time.perf_counter() - started))
            keep("peer_train", n_entries / peer_update_seconds(peer, n_words))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--part", type=float, default=0.2, help="share of the reviews, 0-1; 0.2 has 4.6 M words")
    parser.add_argument("--runs", type=int, default=5, help="runs of each setting; figures are medians")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        corpus = read_corpus(Path(name), part=arguments.part)
        peer = authors_glove(corpus.text, Path(name))
        load = os.getloadavg()[0]
        found = measure(corpus, peer, arguments.runs)
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
        "authors_count_mwords_per_second": round(middle["peer_count"] / 1e6, 3) if peer else None,
        "authors_updates_per_second": round(middle["peer_train"]) if peer else None,
        "n_words": len(corpus.words),
        "n_tokens": int(corpus.token_ids.size),
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
        f"{result['n_tokens']:,} tokens, {result['n_words']:,} words, {result['n_pairs']:,} entries of X, window "
        f"{WINDOW}, {DIM} dimensions, median of {runs}",
        "",
        "| GloVe | one thread | two threads over one | aim, one thread | the authors' C, one thread |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    rows = [
        ("counting, in memory", "count_1", f"{ratios['count']:.2f}×", "≥ 3 M words/s", "peer_count", "words/s"),
        ("counting with 16 MiB, spilled", "spilled_1", "", "", "", "words/s"),
        ("counting and shuffling", "prepare_1", "", "", "", "words/s"),
        ("training", "train_1", f"{ratios['train']:.2f}×", "≥ 2.5 M updates/s", "peer_train", "updates/s"),
        ("training, pairs in random order", "random_1", "", "", "", "updates/s"),
    ]
    for what, name, ratio, aim, peer, unit in rows:
        theirs = ""
        if peer:
            theirs = f"{middle[peer] / 1e6:.2f} M {unit}" if peer in middle else "not measured here"
        lines.append(f"| {what} | {middle[name] / 1e6:.2f} M {unit} | {ratio} | {aim} | {theirs} |")
    return "\n".join(lines)


def processor() -> str:
    """The processor's name, as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
