"""What training and scoring one candidate comes to, and the number that a search makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vecmill.errors import ConfigError
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.metric_names import from_analogies
from vecmill.tuning.config import SearchConfig


@dataclass(frozen=True)
class Evaluation:
    """What training and scoring one candidate came to.

    Attributes
    ----------
    metrics : of the evaluate stage
    seconds : wall time, cached stages included
    n_stages, n_cached : stages that the candidate went through, and how many of them stood already
    outcome : whatever the caller wants to find again
    trained_before : whether the model stood already, so that at most its evaluation was paid for
    """

    metrics: Mapping[str, Any]
    seconds: float = 0.0
    n_stages: int = 0
    n_cached: int = 0
    outcome: Any = None
    trained_before: bool = False


def objective_weights(search: SearchConfig) -> dict[str, float]:
    """The metrics that the search looks at, with their weights."""
    return search.objective if isinstance(search.objective, dict) else {search.objective: 1.0}


def without_the_unread(config: EvaluationConfig, search: SearchConfig) -> EvaluationConfig:
    """How a trial is evaluated: as configured, less what is slow and does not enter the objective.

    Analogies and hubs compare every word with thousands of others, which takes as long as training a pilot, and nobody
    looks at a trial's neighbours. Finalists are evaluated in full.
    """
    names = objective_weights(search).keys()
    unread: dict[str, Any] = {"neighbour_words": (), "n_neighbour_words": 0}
    if not names & from_analogies(config):
        unread["analogies"] = ()
    if "hubness_skewness" not in names:
        unread["statistics_words"] = 0
    return config.model_copy(update=unread)


def objective_score(search: SearchConfig, metrics: Mapping[str, Any]) -> float:
    """The number that the search maximises: one metric, or the weighted mean of several.

    Raises
    ------
    ConfigError : the evaluation has no such metric, or it is no number
    """
    weights = objective_weights(search)
    total = 0.0
    for name, weight in weights.items():
        value = metrics.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            numbers = sorted(key for key, each in metrics.items() if isinstance(each, float))
            raise ConfigError(
                f"search.objective names {name!r}, which the evaluation "
                + ("lacks" if value is None else f"has as {value!r}"),
                expected="one of " + ", ".join(numbers),
                todo="correct search.objective, or add the benchmark to evaluate.benchmarks",
            )
        total += weight * value
    return total / sum(weights.values())
