"""Whether the gate keeps its promises: how often equal models are promoted, and how often better ones are found.

    python benchmarks/gate.py [--quick | --full] [--trainings N] [--keep FOLDER] [--write]

Models are simulated (vecmill/evaluation/simulation.py) on five benchmarks of the bundled ones' sizes, new items in each
draw, so that the truth is known. A pair of *equal* models comes from one distribution; of a pair with a *planted gain*
the challenger is better by a known difference of the mean correlation. The rule "the higher score wins" judges the same
pairs. Prints tables and, as the last line, RESULT and one JSON object:

- `false_promotion_rate`, `naive_false_promotion_rate`: share of pairs of equal models that the gate promotes, and that
  the higher score does
- `allowed_false_promotion_rate`: what a gate that promotes exactly 5 % exceeds once in a thousand such benchmarks
- `power_at_0.05`: share of pairs with the gain `planted_gain` that the gate promotes at its level of 0.05, one training
  a side; `power_of_the_mean` and `stated_power` are about the mean alone, counted and as the gate says beforehand
- `uniform_p`: Kolmogorov-Smirnov test of the p-values of equal models against the uniform distribution, its p-value;
  `uniform_p_least` the smallest of the five benchmarks and their mean
- `bootstrap_seconds`: 10,000 resamples of the five bundled benchmarks for two models, after compilation

With ``--trainings`` (--full: 8) real skip-gram models that differ in the seed alone are trained on the reviews as well
(``benchmarks/reviews.py``), and their variance is split into items and seeds, which is where the default of
``registry.promotion.seed_sd`` comes from. With ``--keep`` their cosines are kept, and not made again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from words import processor

from vecmill.evaluation.benchmarks import load_benchmark
from vecmill.evaluation.comparison import MEAN, Comparison, compare, seed_variance
from vecmill.evaluation.comparison_config import ComparisonConfig
from vecmill.evaluation.config import BUNDLED_BENCHMARKS
from vecmill.evaluation.items import BenchmarkItems, all_pairs_score, filled_cosines
from vecmill.evaluation.resampling import paired_resamples
from vecmill.evaluation.simulation import SimulatedBenchmarks

RESULTS = Path(__file__).resolve().parent / "results/gate.json"
# Pairs of two different words of the five bundled benchmarks, and about how many of them a large corpus leaves out.
WORLD = SimulatedBenchmarks((352, 999, 3000, 2033, 1762), shift_sd=0.004, uncovered_frac=0.25)
GAINS = (0.025, 0.05, 0.075)  # in strength of the signal
PLANTED = 0.05
QUICK = {"n_pairs": 400, "n_resamples": 300, "n_power": 60}
FULL = {"n_pairs": 2000, "n_resamples": 500, "n_power": 200}
LEVEL = 0.05
N_TRAININGS = 8


def pairs(
    n_pairs: int, seed: int, config: ComparisonConfig, gain: float = 0.0, n_replicas: int = 1
) -> list[Comparison]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_pairs):
        champion, challenger = WORLD.draw(rng, n_champion=n_replicas, n_challenger=n_replicas, gain=gain)
        found.append(compare(champion, challenger, config))
    return found


def promoted(found: Sequence[Comparison]) -> float:
    return sum(bool(each.gains) and not each.losses for each in found) / len(found)


def mean_alone(found: Sequence[Comparison]) -> float:
    """Share in which the mean is found at the strictest level of the correction: what the power is stated of."""
    return sum(each.separations[0].p <= LEVEL / len(each.separations) for each in found) / len(found)


def higher(found: Sequence[Comparison]) -> float:
    return sum(each.separations[0].difference > 0 for each in found) / len(found)


def bootstrap_seconds() -> float:
    """10,000 resamples of two models on the bundled benchmarks, ratings as they are."""
    rng = np.random.default_rng(1)
    models: list[dict[str, BenchmarkItems]] = [{}, {}]
    for name in BUNDLED_BENCHMARKS:
        benchmark = load_benchmark(name)
        ratings = np.array(benchmark.scores)
        for model in models:
            cosines = ratings / ratings.std() + rng.normal(size=len(ratings))
            words = benchmark.words1, benchmark.words2
            model[name] = BenchmarkItems(name, name, benchmark.digest, *words, ratings, cosines)
    compare(models[:1], models[1:], ComparisonConfig(n_resamples=200))  # compiles
    started = time.perf_counter()
    compare(models[:1], models[1:], ComparisonConfig(n_resamples=10_000))
    return time.perf_counter() - started


def calibrate(full: bool) -> tuple[str, dict[str, Any]]:
    chosen = FULL if full else QUICK
    config = ComparisonConfig(
        alpha=LEVEL,
        n_resamples=chosen["n_resamples"],
        seed_sd={},
        other_seed_sd=WORLD.seed_sd,
        relevant_gain=WORLD.gain_in_score(PLANTED),
    )
    seconds = bootstrap_seconds()
    equal = pairs(chosen["n_pairs"], 1, config)
    n = len(equal)
    uniform = [
        float(stats.kstest([each.separations[at].p for each in equal], "uniform").pvalue)
        for at in range(len(WORLD.n_items) + 1)
    ]
    allowed = float(stats.binom.ppf(0.999, n, LEVEL)) / n
    result: dict[str, Any] = {
        "false_promotion_rate": round(promoted(equal), 4),
        "naive_false_promotion_rate": round(higher(equal), 4),
        "allowed_false_promotion_rate": round(allowed, 4),
        "n_pairs": n,
        "uniform_p": round(uniform[0], 4),
        "uniform_p_least": round(min(uniform), 4),
        "bootstrap_seconds": round(seconds, 2),
    }
    lines = [
        f"{n:,} simulated pairs of equal models, five benchmarks, {config.n_resamples:,} resamples. Seeds move the "
        f"mean correlation by {WORLD.seed_sd:.4f} (standard deviation).",
        "",
        "| planted gain | trainings a side | pairs | the gate promotes | by the mean alone | power stated of it "
        "| higher score wins |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| none | 1 | {n:,} | {promoted(equal):.3f} | {mean_alone(equal):.3f} | | {higher(equal):.3f} |",
    ]
    for gain, n_replicas in itertools.product(GAINS, (1, 3)):
        planted = config.model_copy(update={"relevant_gain": WORLD.gain_in_score(gain)})
        found = pairs(chosen["n_power"], 2, planted, gain, n_replicas)
        stated = float(np.mean([each.separations[0].power for each in found]))
        lines.append(
            f"| {planted.relevant_gain:.4f} | {n_replicas} | {len(found):,} | {promoted(found):.3f} "
            f"| {mean_alone(found):.3f} | {stated:.3f} "
            f"| {higher(found):.3f} |"
        )
        if (gain, n_replicas) == (PLANTED, 1):
            result |= {"planted_gain": round(planted.relevant_gain, 4), "power_at_0.05": round(promoted(found), 4)}
            result |= {"power_of_the_mean": round(mean_alone(found), 4), "stated_power": round(stated, 4)}
    lines += [
        "",
        f"Of equal models {100 * LEVEL:g} % may be promoted; a gate that promotes just as many exceeds {allowed:.3f} "
        f"once in a thousand times. p-values of equal models against the uniform distribution (Kolmogorov-Smirnov): "
        f"p {uniform[0]:.2f} for the mean, {min(uniform):.2f} or more for every benchmark. 10,000 resamples of "
        f"the five bundled benchmarks for two models: {seconds:.1f} s.",
    ]
    return "\n".join(lines), result


def trained_models(options: argparse.Namespace) -> list[dict[str, BenchmarkItems]]:
    """Items of trainings that differ in the seed alone."""
    from quality import train_ours
    from reviews import read_corpus

    from vecmill.evaluation.items import benchmark_items
    from vecmill.vectors.word_vectors import WordVectors

    benchmarks = [load_benchmark(name) for name in BUNDLED_BENCHMARKS]
    blank = {each.name: benchmark_items(WordVectors(["-"], np.ones((1, 1), np.float32)), each) for each in benchmarks}
    models = []
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        keep = Path(options.keep or name)
        keep.mkdir(parents=True, exist_ok=True)
        corpus = None
        for seed in range(1, options.trainings + 1):
            path = keep / f"{seed}.npz"
            if not path.exists():
                corpus = corpus or read_corpus(Path(name))
                trained = train_ours(corpus, "skipgram", options.epochs, seed)
                vectors = WordVectors(trained.words, trained.vectors)
                np.savez(path, **{each.name: benchmark_items(vectors, each).cosines for each in benchmarks})
                print(f"seed {seed} is trained", flush=True)
            cosines = np.load(path)
            models.append({key: _with(items, cosines[key]) for key, items in blank.items()})
    return models


def _with(items: BenchmarkItems, cosines: Any) -> BenchmarkItems:
    words = items.words1, items.words2
    return BenchmarkItems(items.benchmark, items.title, items.digest, *words, items.ratings, cosines)


def seeds(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    models = trained_models(options)
    scores: dict[str, Any] = {}
    resamples: dict[str, Any] = {}
    for name, items in models[0].items():
        different = items.different
        scores[name] = np.array([all_pairs_score(model[name]) for model in models])
        columns = np.array([filled_cosines(model[name]) for model in models])
        strata = items.covered[different].astype(np.int64)
        resamples[name] = paired_resamples(items.ratings[different], columns, strata, 4000, [1])
    scores[MEAN] = np.mean([scores[name] for name in BUNDLED_BENCHMARKS], axis=0)
    resamples[MEAN] = np.mean([resamples[name] for name in BUNDLED_BENCHMARKS], axis=0)
    config = ComparisonConfig(n_resamples=1000)
    ordered = [compare([one], [other], config) for one, other in itertools.permutations(models, 2)]
    result: dict[str, Any] = {"real_pairs": len(ordered), "real_promoted": promoted(ordered), "seed_sd": {}}
    lines = [
        f"{len(models)} skip-gram trainings on the reviews that differ in the seed alone, {options.epochs} epochs. Of "
        f"the {len(ordered)} ordered pairs of them (which depend on each other) the gate's statistics promote "
        f"{100 * result['real_promoted']:.0f} %, the higher score {100 * higher(ordered):.0f} %.",
        "",
        "| benchmark | mean score | sd over seeds | of it noise of single pairs | of it shift (seed_sd) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in (MEAN, *BUNDLED_BENCHMARKS):
        variance, _ = seed_variance(scores[name], resamples[name])
        total = float(np.var(scores[name], ddof=1))
        shift = float(np.sqrt(max(variance, 0.0)))
        result["seed_sd"][name] = round(shift, 4)
        lines.append(
            f"| {name} | {scores[name].mean():.4f} | {np.sqrt(total):.4f} | {np.sqrt(total - variance):.4f} "
            f"| {shift:.4f} |"
        )
    return "\n".join(lines), result


def machine() -> str:
    """Where and with what it was measured."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "numba", "scipy"))
    load = " ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{processor()}, {os.cpu_count()} cores (load {load}), Python {platform.python_version()}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help=f"{QUICK['n_pairs']} pairs of equal models (the default)")
    size.add_argument("--full", action="store_true", help=f"{FULL['n_pairs']:,} pairs, and {N_TRAININGS} trainings")
    parser.add_argument("--trainings", type=int, help="measure seeds of so many real trainings (0, 2 or more)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--keep", help="folder for the cosines of real trainings")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    options = parser.parse_args()
    if options.trainings is None:
        options.trainings = N_TRAININGS if options.full else 0
    written: dict[str, Any] = {}
    if options.write and RESULTS.exists():
        written = json.loads(RESULTS.read_text(encoding="utf-8"))
    parts, result = written.get("parts", {}), written.get("result", {})
    if options.trainings:  # first, since it ends at once where there is no corpus
        parts["seeds"], found = seeds(options)
        result |= found
    parts["calibration"], found = calibrate(options.full)
    result |= found
    parts["machine"] = machine()
    table = "\n\n".join(parts[name] for name in ("machine", "calibration", "seeds") if name in parts)
    print(table)
    if options.write:
        RESULTS.write_text(
            json.dumps({"parts": parts, "table": table, "result": result}, indent=1) + "\n", encoding="utf-8"
        )
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
