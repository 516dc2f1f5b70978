"""Candidates: a pipeline's configuration with some of its fields set by a search."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from vecmill.config.overrides import put
from vecmill.config.validate import validate
from vecmill.errors import ConfigError
from vecmill.evaluation.metric_names import numeric_metrics
from vecmill.tuning.config import SEARCHED_SECTIONS, SearchConfig

Value = bool | int | float | str


def with_values(config: Any, values: Mapping[str, Value], origin: str) -> Any:
    """A copy of a pipeline's configuration with the fields at the given paths set, validated again.

    Only what somebody set is carried over, so that a field whose default follows another (``train.kind``) follows it
    here too. Sections that no path leads into are the same objects as before.

    Raises
    ------
    ConfigError : a path or value that the configuration does not allow; ``origin`` says where it came from
    """
    touched = {path.partition(".")[0] for path in values}
    plain: dict[str, Any] = {
        name: getattr(config, name).model_dump(exclude_unset=True)
        for name in SEARCHED_SECTIONS
        if name in touched or name == "train"  # the one section without a default
    }
    if isinstance(getattr(config, "train", None), BaseModel):
        plain["train"]["kind"] = config.train.kind
    for path, value in values.items():
        put(plain, path.split("."), value, f"{path}={value}")
    checked = validate(type(config), plain, origin)
    return config.model_copy(update={name: getattr(checked, name) for name in touched})


def values_at(config: Any, values: Mapping[str, Value], paths: list[str]) -> dict[str, Value]:
    """What the fields at ``paths`` are in a candidate, less those that it does not have or that hold no plain value."""
    try:
        candidate = with_values(config, values, "an earlier search")
    except ConfigError:
        return {}
    found = {}
    for path in paths:
        value: Any = candidate
        for name in path.split("."):
            value = getattr(value, name, None)
        if isinstance(value, bool | int | float | str):
            found[path] = value
    return found


def refuse_refresh(stages: Iterable[str]) -> None:
    """Refuse to search with stages that are to be built again.

    Raises
    ------
    ConfigError : there are any
    """
    if names := ", ".join(stages):
        raise ConfigError(
            f"a search was asked to refresh {names}",
            expected="no --refresh: it would build that stage again for every candidate",
            todo="run the plain pipeline with --refresh, then the search",
        )


def check_space(config: Any, search: SearchConfig) -> None:
    """Refuse a space before anything runs: each field exists, and takes the ends of its range and every choice.

    Raises
    ------
    ConfigError : naming the path, the value and what the field allows
    """
    for path, dimension in search.space.items():
        for value in dimension.ends:
            try:
                with_values(config, {path: value}, "search.space")
            except ConfigError as error:
                # Two fields may be at odds (a learning rate below its minimum): then another value of the space fits,
                # and only the combination is refused, when it is drawn.
                if path in str(error):
                    raise


def check_objective(config: Any, search: SearchConfig) -> None:
    """Refuse an objective that the evaluation will not have, before the first training has been paid for.

    Raises
    ------
    ConfigError : naming the metric, and those that there will be
    """
    held_out = search.folds > 0 or config.encode.validation_share > 0
    known = numeric_metrics(config.evaluate, held_out=held_out)
    for name in [search.objective] if isinstance(search.objective, str) else search.objective:
        if name in known:
            continue
        nearest = difflib.get_close_matches(name, known, n=1)
        if name in numeric_metrics(config.evaluate, held_out=True):
            todo = "hold documents out (search.folds, or encode.validation_share), or name another metric"
        elif nearest:
            todo = f"did you mean {nearest[0]!r}?"
        else:
            todo = "correct search.objective, or add the benchmark to evaluate.benchmarks"
        raise ConfigError(
            f"search.objective names {name!r}, which the evaluation will not have",
            expected="one of " + ", ".join(known),
            todo=todo,
        )
