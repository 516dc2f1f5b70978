"""What training and scoring one candidate comes to, and the number that a search makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vecmill.errors import ConfigError
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
    """

    metrics: Mapping[str, Any]
    seconds: float = 0.0
    n_stages: int = 0
    n_cached: int = 0
    outcome: Any = None


def objective_score(search: SearchConfig, metrics: Mapping[str, Any]) -> float:
    """The number that the search maximises: one metric, or the weighted mean of several.

    Raises
    ------
    ConfigError : the evaluation has no such metric, or it is no number
    """
    weights = search.objective if isinstance(search.objective, dict) else {search.objective: 1.0}
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
