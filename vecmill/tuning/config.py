"""What a search can be told: which fields vary, how candidates are drawn, judged and dropped."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_serializer, field_validator, model_validator

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.registry.config import without_password

# A search that changed what judges it, or where things are kept, would not compare its candidates.
SEARCHED_SECTIONS = ("corpus", "vocabulary", "encode", "train")

_SET_BY_THE_SEARCH = ("encode.documents_share", "encode.validation_share", "encode.validation_fold")

_PATH = re.compile(r"^[a-z_]\w*(\.[a-z_]\w*)+$")


class Dimension(Config):
    """The values that one field may take: a range (``low``, ``high``) or ``choices``."""

    low: int | float | None = Field(
        None,
        allow_inf_nan=False,
        description="smallest value; a range of whole numbers if low and high are whole. Default: none, for choices",
    )
    high: int | float | None = Field(
        None, allow_inf_nan=False, description="largest value, itself included. Default: none"
    )
    log: bool = Field(False, description="draw evenly on a logarithmic scale (learning rates). Default: false")
    step: int | float | None = Field(
        None, gt=0, allow_inf_nan=False, description="distance between two values; not with log. Default: none"
    )
    choices: tuple[bool | int | float | str, ...] = Field(
        (), description="the values themselves, instead of a range. Default: none"
    )

    @model_validator(mode="after")
    def _range_or_choices(self) -> Dimension:
        has_range = self.low is not None or self.high is not None
        if has_range == bool(self.choices):
            raise ValueError("give either low and high, or choices")
        if self.choices:
            if self.log or self.step is not None:
                raise ValueError("log and step belong to a range, not to choices")
            if len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("a choice stands there twice")
            return self
        if self.low is None or self.high is None:
            raise ValueError("a range needs both low and high")
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range begins above 0 and has no step")
        if self.is_whole and self.step is not None and not isinstance(self.step, int):
            raise ValueError(f"step {self.step} is no whole number, as low and high are")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether the range holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[bool | int | float | str, ...]:
        """The values that show whether all are allowed: both ends of a range, every choice."""
        return self.choices or tuple(each for each in (self.low, self.high) if each is not None)

    def grid(self) -> list[bool | int | float | str] | None:
        """All values, None for a range without them (real numbers without a step, logarithmic ranges of any kind)."""
        if self.choices:
            return list(self.choices)
        if self.log or self.low is None or self.high is None or (self.step is None and not self.is_whole):
            return None
        step = self.step or 1
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [self.low + index * step for index in range(count)]


def _by_path(space: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A space in which sections may be nested, as ``--set search.space.train.window.high=12`` leaves it, by full path.

    What is nested changes the ends of a range that stands under the full path, and replaces anything else.
    """
    found: dict[str, Any] = {}
    for key, value in space.items():
        path = f"{before}{key}"
        if isinstance(value, Mapping) and value and not value.keys() & Dimension.model_fields.keys():
            inner = _by_path(value, f"{path}.")
        else:
            inner = {path: value}
        for each, dimension in inner.items():
            standing = found.get(each)
            if (
                isinstance(standing, Mapping)
                and isinstance(dimension, Mapping)
                and not {"choices"} & {*standing, *dimension}
            ):
                found[each] = {**standing, **dimension}
            else:
                found[each] = dimension
    return found


class SearchConfig(Config):
    """A hyperparameter search around a pipeline's configuration."""

    # A refused URI may hold a password; pydantic would repeat it in the message.
    model_config = ConfigDict(hide_input_in_errors=True)

    space: dict[str, Dimension] = Field(
        min_length=1,
        description="the fields that vary, by their path in the configuration (train.learning_rate), each with a range "
        "(low, high, log, step) or choices; every value must be one that the field itself allows",
    )
    sampler: Literal["tpe", "random", "grid"] = Field(
        "tpe",
        description="tpe: where good trials were dense before (Bergstra et al. 2011), after `startup_trials` random "
        "ones; random; grid: every combination once. Default: Optuna's",
    )
    startup_trials: int = Field(10, ge=1, description="tpe: trials at random before it models any. Default: Optuna's")
    n_trials: int = Field(
        20,
        ge=1,
        le=100_000,
        description="trials in all, those of earlier runs of the same search included. Default: our choice, twice "
        "startup_trials",
    )
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median",
        description="which trials end before the largest pilot: median: those below the median of the others on the "
        "same share (Golovin et al. 2017); hyperband: all but the best third, in brackets (Li et al. 2018); none. "
        "Default: Optuna's",
    )
    pilot_shares: tuple[float, ...] = Field(
        (0.25, 1.0),
        min_length=1,
        description="shares of the documents that a trial trains on, one after the other, each a superset of the one "
        "before; the score on the last one is the trial's. Default: our choice",
    )
    n_finalists: int = Field(
        2,
        ge=1,
        le=100,
        description="best trials that are trained on all documents, beside the configuration that the search started "
        "from. Default: two, so that the winner has a runner-up",
    )
    n_seeds: int = Field(
        3,
        ge=1,
        le=100,
        description="trainings of each finalist from different seeds; below 3 little is known of the seeds' noise. "
        "Default: the fewest that show it",
    )
    objective: str | dict[str, float] = Field(
        "mean_spearman",
        min_length=1,
        description="metric of the evaluate stage, higher is better, or several with weights: {men_spearman: 2, "
        "simlex999_spearman: 1}, whose weighted mean counts. Default: what the registry shows with a version",
    )
    folds: int = Field(
        0,
        ge=0,
        le=100,
        description="k of a k-fold cross-validated score: a candidate is trained k times, each time without one fold "
        "of the documents, and its metrics are means over the folds; then objective may be validation_auc. Default: 0, "
        "one training on all documents of the share",
    )
    storage: str | None = Field(
        None,
        pattern=r"^(sqlite:///.+|postgresql(\+\w+)?://.+)$",
        repr=False,
        description="database of trials, from which a stopped search goes on: sqlite:///PATH, or postgresql://… for "
        "workers on several hosts. Default: null, search.db in the state folder (.vecmill)",
        json_schema_extra=NOT_IN_KEY,
    )
    parallel_trials: int = Field(
        1,
        ge=1,
        le=256,
        description="trials at the same time in this process; set train.threads so that all fit on the cores. "
        "Default: 1, one after the other, which repeats exactly",
        json_schema_extra=NOT_IN_KEY,
    )

    @field_validator("space", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        return _by_path(value) if isinstance(value, Mapping) else value

    @field_serializer("storage")
    def _stored_without_password(self, value: str | None) -> str | None:
        return None if value is None else without_password(value)

    @model_validator(mode="after")
    def _fits_together(self) -> SearchConfig:
        for path in self.space:
            if not _PATH.match(path) or path.partition(".")[0] not in SEARCHED_SECTIONS:
                raise ValueError(
                    f"space names {path!r}; a search varies fields of {', '.join(SEARCHED_SECTIONS)}, "
                    "for example train.learning_rate"
                )
            if path in _SET_BY_THE_SEARCH:
                raise ValueError(f"space names {path}, which pilot_shares and folds set for each trial")
        shares = self.pilot_shares
        if any(not 0 < share <= 1 for share in shares) or any(a >= b for a, b in itertools.pairwise(shares)):
            raise ValueError(f"pilot_shares {list(shares)} must rise, each above 0 and at most 1")
        if self.folds == 1:
            raise ValueError("folds is 1, which leaves no document to train on; give 2 or more, or 0 for none")
        if isinstance(self.objective, dict) and (
            not self.objective or any(not weight > 0 for weight in self.objective.values())
        ):
            raise ValueError(f"objective {self.objective}: name at least one metric, each with a weight above 0")
        if self.sampler == "grid":
            endless = [path for path, dimension in self.space.items() if dimension.grid() is None]
            if endless:
                raise ValueError(
                    f"sampler grid cannot list the values of {endless[0]}; give it choices or a step, or take tpe"
                )
        return self
