"""Cross-validation of a candidate: each fold of the documents is left out of one training and judges it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from vecmill.tuning.objective import Evaluation
from vecmill.tuning.space import Value, with_values


def fold_configs(config: Any, n_folds: int) -> Iterator[Any]:
    """The configuration once for each fold; just as it is for 0 folds.

    Raises
    ------
    ConfigError : the configuration does not allow a fold
    """
    if n_folds == 0:
        yield config
    for fold in range(n_folds):
        held_out: dict[str, Value] = {
            "encode.validation_share": 1.0 / n_folds,
            "encode.validation_fold": fold,
        }
        yield with_values(config, held_out, "a fold of the search")


def mean_evaluation(folds: Sequence[Evaluation]) -> Evaluation:
    """Means of the metrics that every fold has as numbers, sums of what was spent, and the last fold's outcome."""
    names = [
        name
        for name in folds[0].metrics
        if all(isinstance(each.metrics.get(name), int | float) for each in folds)
        and not any(isinstance(each.metrics[name], bool) for each in folds)
    ]
    return Evaluation(
        metrics={name: statistics.fmean(each.metrics[name] for each in folds) for name in names},
        seconds=sum(each.seconds for each in folds),
        n_stages=sum(each.n_stages for each in folds),
        n_cached=sum(each.n_cached for each in folds),
        outcome=folds[-1].outcome,
        trained_before=all(each.trained_before for each in folds),
    )
