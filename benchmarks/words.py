"""How fast word vectors are trained, ours and gensim's side by side.

    python benchmarks/words.py [--quick | --full] [--write]

Both sides train on the same reviews (``benchmarks/reviews.py``) in the same run, taking turns; figures are medians.
Counted are raw words of the corpus per second of the training phase, without reading, counting words or compiling.
gensim reads its fastest way, `corpus_file`, with one worker, and equal settings: window 5, 5 negatives drawn by count
to the 0.75, sample 1e-3, one epoch. The last line is RESULT and one JSON object, ratios being ours over gensim's:

    skipgram_100_vs_gensim, skipgram_300_vs_gensim, cbow_100_vs_gensim
    scaling_2, gensim_scaling_2    two threads over one, skip-gram 100
    rss_over_model_bytes           peak memory of a process that trains skip-gram 100, over its two matrices
    first_kernel_seconds           compilation of a skip-gram kernel in a fresh process
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from reviews import Corpus, read_corpus

RESULTS = Path(__file__).resolve().parent / "results/words.json"
QUICK_PART = 0.05

# What a fresh process runs: mapped tokens, one epoch, and the peak of its memory.
MEMORY_PROGRAM = """
import sys
import numpy as np
from vecmill.words.config import SkipgramConfig
from vecmill.words.trainer import train_vectors
folder = sys.argv[1]
token_ids = np.load(folder + "/token_ids.npy", mmap_mode="r")
done = train_vectors(
    token_ids, np.load(folder + "/sentence_offsets.npy"), np.load(folder + "/counts.npy"),
    SkipgramConfig(epochs=1, threads=1), seed=1,
)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024, done.compile_seconds)
"""


@dataclass(frozen=True)
class Race:
    """One row of the table.

    Attributes
    ----------
    name : start of the row's names in RESULT
    aim : least ratio wanted, None where there is none
    ours, peer : train once with so many threads; return seconds of the training phase
    """

    name: str
    aim: float | None
    ours: Callable[[Corpus, int], float]
    peer: Callable[[Corpus, int], float]
    threads: int = 1


def our_seconds(kind: str, dim: int) -> Callable[[Corpus, int], float]:
    def run(corpus: Corpus, threads: int) -> float:
        from vecmill.words.config import CbowConfig, SkipgramConfig
        from vecmill.words.trainer import train_vectors

        options: dict[str, Any] = {"dim": dim, "epochs": 1, "threads": threads}
        config = SkipgramConfig(**options) if kind == "skipgram" else CbowConfig(kind="cbow", **options)
        done = train_vectors(corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=1)
        return done.train_seconds

    return run


def gensim_seconds(kind: str, dim: int) -> Callable[[Corpus, int], float]:
    def run(corpus: Corpus, threads: int) -> float:
        from gensim.models import Word2Vec

        model = Word2Vec(
            vector_size=dim,
            window=5,
            negative=5,
            sample=1e-3,
            ns_exponent=0.75,
            min_count=5,
            sg=int(kind == "skipgram"),
            workers=threads,
            epochs=1,
            seed=1,
        )
        model.build_vocab(corpus_file=str(corpus.text))
        started = time.perf_counter()
        model.train(
            corpus_file=str(corpus.text),
            total_words=model.corpus_total_words,
            total_examples=model.corpus_count,
            epochs=1,
        )
        return time.perf_counter() - started

    return run


def race(name: str, kind: str, dim: int, aim: float | None, threads: int = 1) -> Race:
    return Race(name, aim, our_seconds(kind, dim), gensim_seconds(kind, dim), threads)


RACES = (
    race("skipgram_100", "skipgram", 100, 10.0),
    race("skipgram_300", "skipgram", 300, 5.0),
    race("cbow_100", "cbow", 100, 4.0),
    race("skipgram_100_threads_2", "skipgram", 100, None, threads=2),
)


def measure(corpus: Corpus, rounds: int) -> dict[str, dict[str, float]]:
    """Words per second of each race, medians of rounds in which all sides take turns."""
    speeds: dict[str, dict[str, list[float]]] = {each.name: {"ours": [], "gensim": []} for each in RACES}
    for _ in range(rounds):
        for each in RACES:
            for side, run in (("ours", each.ours), ("gensim", each.peer)):
                speeds[each.name][side].append(corpus.n_raw_words / run(corpus, each.threads))
    return {
        name: {
            **{side: statistics.median(values) for side, values in sides.items()},
            "ratio": statistics.median(sides["ours"]) / statistics.median(sides["gensim"]),
            "ours_least": min(sides["ours"]),
            "ours_most": max(sides["ours"]),
        }
        for name, sides in speeds.items()
    }


def memory(corpus: Corpus, folder: Path) -> dict[str, float]:
    np.save(folder / "sentence_offsets.npy", corpus.sentence_offsets)
    np.save(folder / "counts.npy", corpus.counts)
    command = [sys.executable, "-c", MEMORY_PROGRAM, str(folder)]
    peak, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    model_bytes = 2 * len(corpus.words) * 112 * 4  # rows of 100 are padded to 112
    return {"rss_over_model_bytes": int(peak) - model_bytes, "first_kernel_seconds": float(seconds)}


def render(speeds: dict[str, dict[str, float]], result: dict[str, float], corpus: Corpus, rounds: int) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "numpy", "gensim"))
    load = " ".join(f"{load:.1f}" for load in os.getloadavg())
    lines = [
        f"{processor()}, {os.cpu_count()} cores (load {load}), Python {platform.python_version()}, {versions}",
        "",
        f"Reviews: {corpus.n_raw_words:,} words, {len(corpus.words):,} different with a count of 5 or more; "
        f"medians of {rounds} rounds, both sides taking turns.",
        "",
        "| trainer, dimensions | million words/s | least – most | gensim | ratio | aim |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in RACES:
        found = speeds[each.name]
        millions = {name: value / 1e6 for name, value in found.items()}
        aim = f"≥ {each.aim:g}" if each.aim else ""
        lines.append(
            f"| {each.name.replace('_', ' ')} | {millions['ours']:.2f} | {millions['ours_least']:.2f} – "
            f"{millions['ours_most']:.2f} | {millions['gensim']:.3f} | {found['ratio']:.1f} | {aim} |"
        )
    lines += [
        "",
        "| figure | measured | aim |",
        "| --- | ---: | ---: |",
        f"| two threads over one | {result['scaling_2']:.2f} (gensim {result['gensim_scaling_2']:.2f}) | ≥ 1.85 |",
        f"| peak memory over the model | {result['rss_over_model_bytes'] / 1e6:.0f} MB | ≤ 300 MB |",
        f"| first kernel ready | {result['first_kernel_seconds']:.1f} s | ≤ 5 s |",
    ]
    return "\n".join(lines)


def processor() -> str:
    """The processor's name, as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help=f"{QUICK_PART:g} of the corpus, 3 rounds (the default)")
    size.add_argument("--full", action="store_true", help="the whole corpus, 5 rounds")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    arguments = parser.parse_args()
    rounds = 5 if arguments.full else 3
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        corpus = read_corpus(Path(name), part=1.0 if arguments.full else QUICK_PART)
        speeds = measure(corpus, rounds)
        one, two = speeds["skipgram_100"], speeds["skipgram_100_threads_2"]
        result = {f"{each.name}_vs_gensim": round(speeds[each.name]["ratio"], 2) for each in RACES if each.threads == 1}
        result |= {f"{each.name}_words_per_second": round(speeds[each.name]["ours"]) for each in RACES}
        result |= {
            "scaling_2": round(two["ours"] / one["ours"], 3),
            "gensim_scaling_2": round(two["gensim"] / one["gensim"], 3),
            **memory(corpus, Path(name)),
        }
        table = render(speeds, result, corpus, rounds)
    print(table)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"table": table, "result": result}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
