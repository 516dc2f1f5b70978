"""The format of a contract file: columns, thresholds, expectations and row rules of one dataset, as JSON.

A *row rule* is a SQL predicate (DuckDB's dialect) over one row; a row for which it is false or NULL fails. Failing rows
are quarantined where the rule says so. An *expectation* is one of Great Expectations' own and judges the table as a
whole. What a failure means follows from two words:

    quarantine  severity   a failing rule
    ----------  ---------  ---------------------------------------------------------------------
    true        either     its rows are left out; too many rows left out stop the run
    false       critical   stops the run
    false       warning    is reported

A *measure* is an SQL expression over one row, worked out when the row is first seen and kept; expectations may name it
as a column. One that names measures and columns other than the text is judged without reading any text again.

`{name}` in a predicate, or as a whole value among an expectation's kwargs, stands for the threshold of that name, so a
configuration can move a bound without copying the file.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FiniteFloat

from vecmill.config.base import Config
from vecmill.config.validate import validate
from vecmill.errors import ConfigError

Severity = Literal["critical", "warning"]

_NAME = r"^[a-z][a-z0-9_]*$"
# Lower case only, which leaves a regular expression's own braces (`\p{L}`, `a{2}`) alone.
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
# Arrow's names for columns of texts.
_TEXTS = ("string", "str", "utf8", "large_string", "large_str", "large_utf8", "string_view")


class Column(Config):
    """One column of the dataset's Arrow schema."""

    name: str = Field(min_length=1, description="Name of the column.")
    type: str = Field(description="Arrow type as pyarrow spells it (`string`, `int64`, `float32`).")
    nullable: bool = Field(False, description="Whether the column may hold nulls.")
    meaning: str = Field(min_length=1, description="What the column holds, with its unit.")


class Threshold(Config):
    """A number that rules refer to."""

    name: str = Field(pattern=_NAME, description="Name, used as `{name}`.")
    value: FiniteFloat = Field(description="Value unless the configuration sets another.")
    meaning: str = Field(min_length=1, description="What it bounds, with its unit.")


class Expectation(Config):
    """One of Great Expectations' expectations on the table as a whole."""

    rule: str = Field(pattern=_NAME, description="Our name for it, unique in the file.")
    type: str = Field(description="Great Expectations' name for it.")
    kwargs: dict[str, Any] = Field({}, description="Its arguments.")
    severity: Severity = Field(description="Whether a failure stops the run or is reported.")
    meaning: str = Field(min_length=1, description="What it asks for, and why.")


class RowRule(Config):
    """A predicate that every row has to fulfil."""

    rule: str = Field(pattern=_NAME, description="Name, unique in the file.")
    holds: str = Field(min_length=1, description="SQL predicate over the columns; NULL counts as a failure.")
    severity: Severity = Field(description="How bad a failing row is.")
    quarantine: bool = Field(description="Whether failing rows are left out.")
    meaning: str = Field(min_length=1, description="What it asks for, and why.")


class Measure(Config):
    """A value of every row that is worked out once and kept, for expectations to name."""

    name: str = Field(pattern=_NAME, description="Name, used like a column's; none of the columns has it.")
    value: str = Field(min_length=1, description="SQL expression over the columns of one row.")
    meaning: str = Field(min_length=1, description="What it holds, with its unit.")


class Contract(Config):
    """What one dataset must look like."""

    name: str = Field(pattern=_NAME, description="Name of the dataset.")
    version: int = Field(ge=1, description="Rises when a rule changes what it accepts.")
    description: str = Field(min_length=1, description="What a row is.")
    row_key: str = Field(description="Column that names a row; quarantine refers to it.")
    origin: str = Field(description="Column that says where a row came from, for messages.")
    excerpt: str = Field(description="Text column that quarantine shows the beginning of.")
    columns: list[Column] = Field(min_length=1, description="The Arrow schema, in any order.")
    thresholds: list[Threshold] = Field([], description="Numbers that rules refer to.")
    measures: list[Measure] = Field([], description="Values of each row that expectations refer to.")
    expectations: list[Expectation] = Field([], description="Rules on the table.")
    row_rules: list[RowRule] = Field([], description="Rules on each row.")

    @property
    def column_names(self) -> list[str]:
        """What expectations may name: columns, then measures."""
        return [*(each.name for each in self.columns), *(each.name for each in self.measures)]

    @property
    def rules(self) -> list[Expectation | RowRule]:
        """All rules, those on the table first."""
        return [*self.expectations, *self.row_rules]


def load_contract(path: Path, thresholds: Mapping[str, float] | None = None) -> Contract:
    """Read and check a contract file.

    Parameters
    ----------
    thresholds : values that replace the file's own, by name

    Raises
    ------
    ConfigError : the file is not JSON, has an unknown key, a name twice or a name that nothing defines, or a threshold
        is set that it does not have; the message names the place and the nearest valid name
    """
    origin = f"contract file {path}"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # malformed JSON, or bytes that are not UTF-8
        raise ConfigError(f"{origin} is not JSON: {error}", todo="correct the file at that place") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} holds a JSON {type(values).__name__}", expected="one object")
    contract = validate(Contract, values, origin, todo="correct the file at that place")
    _refuse_repeated(contract, origin)
    _refuse_unknown_columns(contract, origin)
    contract = _replace_thresholds(contract, thresholds or {}, origin)
    _refuse_unknown_thresholds(contract, origin)
    return contract


def predicate(contract: Contract, rule: RowRule) -> str:
    """The SQL predicate of a row rule, with numbers in place of thresholds."""
    values = _threshold_values(contract)
    return _PLACEHOLDER.sub(lambda match: _spell(values[match[1]]), rule.holds)


def arguments(contract: Contract, expectation: Expectation) -> dict[str, Any]:
    """The kwargs of an expectation, with numbers in place of thresholds."""
    values = _threshold_values(contract)

    def fill(value: Any) -> Any:
        match = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
        return json.loads(_spell(values[match[1]])) if match else value

    return {name: fill(value) for name, value in expectation.kwargs.items()}


def thresholds_of(rule: Expectation | RowRule) -> list[str]:
    """Names of the thresholds that a rule refers to, in the order of their first mention."""
    if isinstance(rule, RowRule):
        names = _PLACEHOLDER.findall(rule.holds)
    else:
        texts = [value for value in rule.kwargs.values() if isinstance(value, str)]
        names = [match[1] for match in map(_PLACEHOLDER.fullmatch, texts) if match]
    return list(dict.fromkeys(names))


def _refuse_repeated(contract: Contract, origin: str) -> None:
    for what, names in (
        ("rule", [each.rule for each in contract.rules]),
        ("column or measure", contract.column_names),
        ("threshold", [each.name for each in contract.thresholds]),
    ):
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise ConfigError(f"{origin} has the {what} {repeated[0]!r} twice", todo="give each a name of its own")


def _refuse_unknown_columns(contract: Contract, origin: str) -> None:
    kinds = {each.name: each.type for each in contract.columns}
    for key, name in (("row_key", contract.row_key), ("origin", contract.origin), ("excerpt", contract.excerpt)):
        if name not in kinds:
            raise ConfigError(
                f"{origin}: {key} = {name!r} is none of its columns", todo=nearest_name(name, list(kinds))
            )
        if kinds[name] not in _TEXTS:
            raise ConfigError(
                f"{origin}: {key} = {name!r} is a column of {kinds[name]}",
                expected="string",
                todo="name a column of texts",
            )


def _replace_thresholds(contract: Contract, replaced: Mapping[str, float], origin: str) -> Contract:
    names = [each.name for each in contract.thresholds]
    for name, value in replaced.items():
        if name not in names:
            raise ConfigError(
                f"contract.thresholds.{name} = {value:g}, but {origin} has no such threshold",
                todo=nearest_name(name, names),
            )
    thresholds = [
        each.model_copy(update={"value": replaced.get(each.name, each.value)}) for each in contract.thresholds
    ]
    return contract.model_copy(update={"thresholds": thresholds})


def _refuse_unknown_thresholds(contract: Contract, origin: str) -> None:
    names = [each.name for each in contract.thresholds]
    used: set[str] = set()
    for rule in contract.rules:
        for name in thresholds_of(rule):
            used.add(name)
            if name not in names:
                raise ConfigError(
                    f"{origin}: rule {rule.rule!r} refers to {{{name}}}, which is none of its thresholds",
                    todo=nearest_name(name, names),
                )
    idle = [name for name in names if name not in used]
    if idle:
        raise ConfigError(
            f"{origin}: no rule refers to the threshold {idle[0]!r}", todo="use it in a rule or remove it"
        )


def _threshold_values(contract: Contract) -> dict[str, float]:
    return {each.name: each.value for each in contract.thresholds}


def _spell(value: float) -> str:
    """A number as both SQL and JSON read it; a whole number without a point, since lengths are counted in integers."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def nearest_name(name: str, names: list[str]) -> str:
    """What to do about an unknown name: the nearest valid one, or all of them."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else f"valid names here: {', '.join(names) or 'none'}"
