"""What is kept of each row for rules on the table: the columns and measures that they name, and not the text.

A rule on the table has to see all rows whenever one is new. It is judged on these *facts* where they tell it all it
asks for, so that the text of rows seen before is not read again; else on the rows themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from vecmill.corpus.contracts.contract_file import Contract, Expectation
from vecmill.errors import ConfigError

_COUNT_ALL = re.compile(r"count\s*\(\s*\*\s*\)", re.IGNORECASE)
# All columns by one word, columns by their number, and rows as a whole: `(FROM {batch} EXCEPT FROM yesterday)`.
_EVERY_COLUMN = re.compile(
    r"\*|\bcolumns\s*\(|#\s*\d|\bnatural\b|\b(?:un)?pivot\b|(?:^|\(|\b(?:all|by\s+name|except|intersect|union))\s*from\b",
    re.IGNORECASE,
)
_SELECT = re.compile(r"\bselect\b", re.IGNORECASE)
# Great Expectations on names, number and order of columns.
_ON_COLUMNS = ("expect_table_column", "expect_column_to_exist")


def judged_on_facts(contract: Contract, expectation: Expectation) -> bool:
    """Whether an expectation can be judged without the text: it names it nowhere, nor all columns at once."""
    if expectation.type.startswith(_ON_COLUMNS):
        return False
    left_out = _left_out(contract)
    for text in _texts(expectation.kwargs):
        if left_out is not None and _names(text, left_out):
            return False
        if "{batch}" in text and (not _SELECT.search(text) or _EVERY_COLUMN.search(_COUNT_ALL.sub("", text))):
            return False
    return True


def reads_text(contract: Contract, expectation: Expectation) -> bool:
    """Whether judging an expectation reads the text of all rows."""
    return not judged_on_facts(contract, expectation) and not expectation.type.startswith(_ON_COLUMNS)


def fact_columns(contract: Contract) -> list[str]:
    """Columns that the facts hold, in the order of the contract."""
    named = [contract.row_key]
    for rule in contract.expectations:
        if judged_on_facts(contract, rule):
            named += [name for name in _columns(contract) if any(_names(text, name) for text in _texts(rule.kwargs))]
    return [name for name in _columns(contract) if name in named]


def check_measures(contract: Contract) -> None:
    """Refuse measures that no rule names, and rules that no table can answer.

    Raises
    ------
    ConfigError : names the measure, and the rule
    """
    for measure in contract.measures:
        naming = [
            rule for rule in contract.expectations if any(_names(text, measure.name) for text in _texts(rule.kwargs))
        ]
        if not naming:
            raise ConfigError(
                f"contract {contract.name!r}: no expectation names the measure {measure.name!r}",
                todo="use it in an expectation or remove it",
            )
        for rule in naming:
            if not judged_on_facts(contract, rule):
                raise ConfigError(
                    f"contract {contract.name!r}: rule {rule.rule!r} names the measure {measure.name!r} and "
                    f"{contract.excerpt!r} or all columns, which no table holds together",
                    expected=f"measures beside other columns than {contract.excerpt!r}",
                    todo=f"state what it asks of {contract.excerpt!r} as a measure too, or write it without measures",
                )


def _left_out(contract: Contract) -> str | None:
    """The column of texts; None where it names the rows as well."""
    return None if contract.excerpt in (contract.row_key, contract.origin) else contract.excerpt


def _columns(contract: Contract) -> list[str]:
    return [each.name for each in contract.columns if each.name != _left_out(contract)]


def _texts(value: Any) -> Iterator[str]:
    """Every string among an expectation's arguments."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
