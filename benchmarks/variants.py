"""What learning-rate schedules, the corrected CBOW gradient and post-processing buy, each with its interval.

    python benchmarks/variants.py [--quick] [--part 1.0] [--epochs 5] [--seeds 3] [--runs .vecmill/variants] [--write]
                                  [--groups schedules cbow postprocessing]

Trains on the same reviews as ``benchmarks/quality.py``, with its settings, one thread. Each variant is compared with
the baseline of its group, seed by seed: Spearman correlation on the pairs of which both words have a vector, and the
share of Google analogies solved among the 30,000 commonest words. The interval is the middle 95 % of a bootstrap that
draws pairs and seeds anew together (the same pairs for both sides); analogies have none. Post-processing is done to
the skip-gram baseline, so it costs no training. Rows divided by their norms (``l2_normalise``) have the same cosines,
so they have no row in the table.

What each training answered is kept in the folder of ``--runs``, named by a digest of the trainer's code and settings,
and not repeated. Prints a table and, as its last line, RESULT and one JSON object: by variant and benchmark
``baseline``, ``variant``, ``difference``, ``lower``, ``upper``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from reviews import Corpus, read_corpus

RESULTS = Path(__file__).resolve().parent / "results/variants.json"
SIMILARITY = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "men": "MEN", "rw": "Rare Words"}
ANALOGIES = "google_analogies"
ANALOGY_WORDS = 30_000
CONFIDENCE, N_RESAMPLES = 0.95, 2_000
QUICK = {"part": 0.05, "epochs": 1, "seeds": 2}

COMMON: dict[str, Any] = {
    **{"dim": 100, "window": 5, "negative_samples": 5, "sample": 1e-3, "min_learning_rate": 1e-4, "threads": 1},
}
SKIPGRAM: dict[str, Any] = {"kind": "skipgram", "learning_rate": 0.025}


@dataclass(frozen=True)
class Variant:
    """One thing to try.

    Attributes
    ----------
    group, title : where it stands in the table, and its name there
    training : options of the configuration beyond COMMON
    baseline : the variant that it is compared with; empty for a baseline
    steps : post-processing, as ``vecmill vectors postprocess --steps`` takes it; empty for none
    """

    group: str
    title: str
    training: dict[str, Any] = field(default_factory=lambda: SKIPGRAM)
    baseline: str = ""
    steps: str = ""


def _schedule(**options: Any) -> dict[str, Any]:
    return SKIPGRAM | {"schedule": options}


VARIANTS = {
    "linear": Variant("schedules", "skip-gram, linear"),
    "constant": Variant("schedules", "constant", _schedule(kind="constant"), "linear"),
    "exponential": Variant("schedules", "exponential", _schedule(kind="exponential"), "linear"),
    "step": Variant("schedules", "step (4 steps, each half the one before)", _schedule(kind="step"), "linear"),
    "cosine": Variant("schedules", "cosine", _schedule(kind="cosine"), "linear"),
    "warmup": Variant(
        "schedules", "linear after a warm-up of 0.05", _schedule(kind="linear", warmup_frac=0.05), "linear"
    ),
    "cbow_word2vec": Variant(
        "cbow", "CBOW, word2vec gradient, 0.05", {"kind": "cbow", "learning_rate": 0.05, "cbow_gradient": "word2vec"}
    ),
    "cbow_exact": Variant(
        "cbow",
        "exact gradient, 0.1",
        {"kind": "cbow", "learning_rate": 0.1, "cbow_gradient": "exact"},
        "cbow_word2vec",
    ),
    **{
        name: Variant("postprocessing", title, SKIPGRAM, "linear", steps)
        for name, title, steps in (
            ("center", "centred", "center"),
            ("all_but_the_top_1", "all but the top 1", "all_but_the_top:1"),
            ("all_but_the_top_3", "all but the top 3", "all_but_the_top:3"),
            ("whiten", "whitened (ZCA)", "whiten_zca"),
            ("power", "power 0.5", "power_normalise:0.5"),
            ("context", "mean with context vectors", "average_with_context"),
        )
    },
}
GROUPS = tuple(dict.fromkeys(each.group for each in VARIANTS.values()))


@dataclass(frozen=True)
class Answers:
    """What one model made of the items: cosines by benchmark (float32, NaN where not covered), share of analogies."""

    cosines: dict[str, npt.NDArray[np.float32]]
    analogies: float


class Runs:
    """Trainings and their answers, kept in a folder."""

    def __init__(self, corpus: Corpus, folder: Path, part: float, epochs: int) -> None:
        self._corpus, self._folder, self._part, self._epochs = corpus, folder, part, epochs
        folder.mkdir(parents=True, exist_ok=True)

    def answers(self, name: str, seed: int) -> Answers:
        """Of a variant; a training that serves several is done once, and all of them are answered then."""
        path = self._path(name, seed)
        if not path.exists():
            self._train(VARIANTS[name].training, seed)
        with np.load(path, allow_pickle=False) as kept:
            return Answers({each: kept[each] for each in SIMILARITY}, float(kept[ANALOGIES]))

    def _path(self, name: str, seed: int) -> Path:
        from vecmill.store.closure import code_digest

        variant = VARIANTS[name]
        roots = ["vecmill.words.trainer:train_vectors"]
        roots += ["vecmill.vectors.postprocessing_steps:postprocess"] if variant.steps else []
        settings = [COMMON, variant.training, variant.steps, self._part, self._epochs, seed]
        settings.append(code_digest(tuple(roots)).digest)
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{name}-{seed}-{digest[:16]}.npz"

    def _train(self, training: dict[str, Any], seed: int) -> None:
        from pydantic import TypeAdapter

        from vecmill.vectors.postprocessing_steps import parse_steps, postprocess
        from vecmill.vectors.word_vectors import WordVectors
        from vecmill.words.kinds import WordsTrainConfig
        from vecmill.words.trainer import train_vectors

        corpus = self._corpus
        config: Any = TypeAdapter(WordsTrainConfig).validate_python(COMMON | training | {"epochs": self._epochs})
        started = time.perf_counter()
        done = train_vectors(corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=seed)
        seconds = time.perf_counter() - started
        plain = WordVectors(corpus.words, done.center_vectors, corpus.counts)
        for name, variant in VARIANTS.items():
            if variant.training != training or self._path(name, seed).exists():
                continue
            vectors = postprocess(plain, parse_steps(variant.steps), done.context_vectors) if variant.steps else plain
            answers = _answer(vectors)
            figures = ", ".join(f"{key} {_spearman(answers.cosines[key], key):.4f}" for key in SIMILARITY)
            print(f"{name}, seed {seed}, {seconds:.0f} s: {figures}, analogies {answers.analogies:.4f}", flush=True)
            path = self._path(name, seed)
            with path.with_suffix(".tmp").open("wb") as stream:
                np.savez(stream, **answers.cosines, **{ANALOGIES: np.array(answers.analogies)})  # type: ignore[arg-type]
            path.with_suffix(".tmp").replace(path)


def _answer(vectors: Any) -> Answers:
    from vecmill.evaluation.analogies import score_analogies
    from vecmill.evaluation.analogy_questions import load_analogies
    from vecmill.evaluation.benchmarks import load_benchmark
    from vecmill.evaluation.items import benchmark_items

    cosines = {name: benchmark_items(vectors, load_benchmark(name)).cosines.astype(np.float32) for name in SIMILARITY}
    score = score_analogies(vectors, load_analogies(ANALOGIES), n_words=ANALOGY_WORDS)
    return Answers(cosines, score.accuracy or 0.0)


def _ratings(benchmark: str) -> npt.NDArray[np.float64]:
    from vecmill.evaluation.benchmarks import load_benchmark

    return np.array(load_benchmark(benchmark).scores)


def _spearman(cosines: npt.NDArray[np.float32], benchmark: str) -> float:
    from vecmill.evaluation.statistics import spearman

    covered = ~np.isnan(cosines)
    return spearman(cosines[covered].astype(np.float64), _ratings(benchmark)[covered]) or 0.0


def _resampled(answers: list[Answers], benchmark: str) -> npt.NDArray[np.float64]:
    """float64[n_resamples, n_seeds]: the same resamples of pairs whatever the model, since the draws are."""
    from vecmill.evaluation.statistics import spearman_resamples

    columns = []
    for each in answers:
        cosines = each.cosines[benchmark]
        covered = ~np.isnan(cosines)
        x, y = cosines[covered].astype(np.float64), _ratings(benchmark)[covered]
        columns.append(spearman_resamples(x, y, N_RESAMPLES, np.random.default_rng(1)))
    return np.stack(columns, axis=1)


def compare(baseline: list[Answers], variant: list[Answers]) -> dict[str, dict[str, float]]:
    """Means over seeds, their difference, and its interval, by benchmark; the lists are by seed."""
    found: dict[str, dict[str, float]] = {}
    n_seeds = len(baseline)
    drawn = np.random.default_rng(2).integers(0, n_seeds, size=(N_RESAMPLES, n_seeds))
    for name in SIMILARITY:
        sides = [statistics.mean(_spearman(each.cosines[name], name) for each in side) for side in (baseline, variant)]
        differences = _resampled(variant, name) - _resampled(baseline, name)
        means = np.take_along_axis(differences, drawn, axis=1).mean(axis=1)
        lower, upper = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        found[name] = _row(*sides) | {"lower": round(float(lower), 4), "upper": round(float(upper), 4)}
    sides = [statistics.mean(each.analogies for each in side) for side in (baseline, variant)]
    by_seed = [right.analogies - left.analogies for left, right in zip(baseline, variant, strict=True)]
    spread = statistics.stdev(by_seed) if n_seeds > 1 else 0.0
    found[ANALOGIES] = _row(*sides) | {"difference_sd": round(spread, 4)}
    return found


def _row(baseline: float, variant: float) -> dict[str, float]:
    return {
        "baseline": round(baseline, 4),
        "variant": round(variant, 4),
        "difference": round(variant - baseline, 4),
    }


def render(result: dict[str, Any], baselines: dict[str, dict[str, float]], corpus: Corpus, options: Any) -> str:
    """The figures as Markdown: a baseline's scores, below it what each variant adds."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "numpy"))
    titles = [*SIMILARITY.values(), f"analogies, top {ANALOGY_WORDS:,}"]
    lines = [
        f"Reviews: {corpus.n_raw_words:,} words, {len(corpus.words):,} different; {options.epochs} epochs, "
        f"{options.seeds} seeds; {versions}, {os.cpu_count()} cores. Rows below a baseline: mean difference to it, and "
        "its 95 % interval over pairs and seeds; of analogies ± standard deviation over seeds. Bold: the interval "
        "leaves out 0.",
        "",
        f"| | {' | '.join(titles)} |",
        f"| --- |{' ---: |' * len(titles)}",
    ]
    for name, scores in baselines.items():
        figures = " | ".join(f"{scores[each]:.4f}" for each in (*SIMILARITY, ANALOGIES))
        lines.append(f"| **{VARIANTS[name].title}** | {figures} |")
        for each, row in result.items():
            if VARIANTS[each].baseline != name:
                continue
            cells = []
            for benchmark in SIMILARITY:
                figure = row[benchmark]
                cell = f"{figure['difference']:+.4f} ({figure['lower']:+.4f} … {figure['upper']:+.4f})"
                cells.append(f"**{cell}**" if figure["lower"] > 0 or figure["upper"] < 0 else cell)
            figure = row[ANALOGIES]
            cells.append(f"{figure['difference']:+.4f} ± {figure['difference_sd']:.4f}")
            lines.append(f"| {VARIANTS[each].title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a part of the corpus, one epoch, two seeds")
    parser.add_argument("--part", type=float, default=1.0, help="share of the reviews, 0-1")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--runs", type=Path, default=Path(".vecmill/variants"), help="where answers are kept")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK)
    seeds = range(1, arguments.seeds + 1)
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        corpus = read_corpus(Path(name), part=arguments.part)
        runs = Runs(corpus, arguments.runs, arguments.part, arguments.epochs)
        result: dict[str, Any] = {}
        baselines: dict[str, dict[str, float]] = {}
        chosen = {each: variant for each, variant in VARIANTS.items() if variant.group in arguments.groups}
        for seed in seeds:  # seed by seed, so that a run that is stopped has something of every variant
            for each in chosen:
                runs.answers(each, seed)
        for each, variant in chosen.items():
            if not variant.baseline:
                continue
            sides = [[runs.answers(side, seed) for seed in seeds] for side in (variant.baseline, each)]
            result[each] = compare(*sides)
            baselines[variant.baseline] = {key: row["baseline"] for key, row in result[each].items()}
        table = render(result, baselines, corpus, arguments)
    print(table)
    if arguments.write:
        RESULTS.write_text(json.dumps({"table": table, "result": result}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
