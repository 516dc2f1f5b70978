"""Finalists: the best trials and the configuration that the search started from, each trained from several seeds."""

from __future__ import annotations

import contextvars
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from vecmill.evaluation.comparison import MEAN, Comparison, Separation, compare
from vecmill.evaluation.comparison_config import ComparisonConfig
from vecmill.evaluation.items import ModelItems
from vecmill.progress import track
from vecmill.tuning.config import SearchConfig
from vecmill.tuning.objective import Evaluation, objective_score
from vecmill.tuning.space import Value
from vecmill.tuning.trials import Study

BASELINE = -1


@dataclass(frozen=True)
class Finalist:
    """A configuration, trained on all documents from ``n_seeds`` seeds.

    Attributes
    ----------
    trial : number of the trial that it comes from, BASELINE for the configuration that the search started from
    values : the fields that the search set
    evaluations : one for each seed, the pipeline's own seed first
    scores : the objective of each
    """

    trial: int
    values: dict[str, Value]
    evaluations: tuple[Evaluation, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean score over seeds."""
        return statistics.fmean(self.scores)

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds, None for one seed."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def label(self) -> str:
        """``baseline``, or ``trial N``."""
        return "baseline" if self.trial == BASELINE else f"trial {self.trial}"


# Values of the space and a replica -> what came of training on all documents.
Trainer = Callable[[Mapping[str, Value], int], Evaluation]


def train_finalists(search: SearchConfig, study: Study, train: Trainer) -> list[Finalist]:
    """Train the best trials and the baseline, several at a time where the search says so.

    Returns
    -------
    Best mean score first, a tie going to the earlier trial.
    """
    chosen: list[tuple[int, dict[str, Value]]] = [(BASELINE, {})]
    chosen += [(trial.number, trial.values) for trial in study.best(search.n_finalists)]
    with track("finalists", len(chosen) * search.n_seeds, "trainings") as bar:

        def trained(values: Mapping[str, Value], replica: int) -> Evaluation:
            found = train(values, replica)
            bar.advance()
            return found

        jobs = [(values, replica) for _, values in chosen for replica in range(search.n_seeds)]
        if search.parallel_trials == 1:  # in this thread, so that Ctrl-C reaches it
            done = [trained(*job) for job in jobs]
        else:
            with ThreadPoolExecutor(search.parallel_trials) as pool:
                waiting = [pool.submit(contextvars.copy_context().run, partial(trained, *job)) for job in jobs]
                try:
                    done = [each.result() for each in waiting]
                finally:
                    for each in waiting:
                        each.cancel()
    finalists = []
    for at, (number, values) in enumerate(chosen):
        evaluations = tuple(done[at * search.n_seeds : (at + 1) * search.n_seeds])
        scores = tuple(objective_score(search, each.metrics) for each in evaluations)
        finalists.append(Finalist(number, values, evaluations, scores))
    return sorted(finalists, key=lambda each: (-each.mean, each.trial))


@dataclass(frozen=True)
class Finding:
    """Whether the first of two finalists is better than the second, or only luckier.

    Attributes
    ----------
    better, worse : labels of the two
    verdict : ``better``, ``not separable`` (or ``worse``, where the objective and the benchmarks disagree)
    text : the same as a sentence, with the difference, its interval and the smallest one that would have been found
    """

    better: str
    worse: str
    verdict: str
    text: str
    comparison: Comparison


def judge(
    first: Finalist, second: Finalist, items: Callable[[Finalist], Sequence[ModelItems]], config: ComparisonConfig
) -> Finding:
    """Compare two finalists item by item, replicas included (:mod:`vecmill.evaluation.comparison`)."""
    comparison = compare(items(second), items(first), config)
    overall = _overall(comparison)
    if overall is None:
        reasons = "; ".join(f"{name}: {why}" for name, why in comparison.left_out.items())
        return Finding(
            first.label, second.label, "not separable", f"there is nothing to compare on ({reasons})", comparison
        )
    verdict = "better" if comparison.gains else "worse" if comparison.losses else "not separable"
    if comparison.gains and comparison.losses:
        verdict = "not separable"
    where = "the mean of the benchmarks" if overall.name == MEAN else overall.title
    one, other = (f"the {each.label}" if each.trial == BASELINE else each.label for each in (first, second))
    noun = {
        "better": f"{one} is better than {other}",
        "worse": f"{one} is worse than {other}, although the objective prefers it",
        "not separable": f"{one} and {other} are not separable",
    }[verdict]
    text = (
        f"{noun}: difference {overall.difference:+.4f} in {where}, "
        f"{100 * (1 - 2 * comparison.alpha):g} % interval {overall.lower:+.4f} to {overall.upper:+.4f}, "
        f"p = {overall.p_holm:.3g} after Holm's correction; {len(first.scores)} seeds each, differences from "
        f"{overall.detectable:.4f} are found with the wanted power"
    )
    return Finding(first.label, second.label, verdict, text, comparison)


def _overall(comparison: Comparison) -> Separation | None:
    return comparison.separations[0] if comparison.separations else None
