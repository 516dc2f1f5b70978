"""Markdown of what a card quotes: tables, numbers and texts from outside, none of which can break the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def md_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _plain(value: Any) -> bool:
    return value is not None and isinstance(value, str | int | float)


def md_cell(value: Any) -> str:
    """A cell of a table of numbers: a dash for what is neither number nor text."""
    return md_number(value) if isinstance(value, float) else md_text(value) if _plain(value) else "–"


def shown(value: Any) -> str:
    """A value as people write it: whole numbers by thousands, a dash for None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return md_number(value) if isinstance(value, float) else "–" if value is None else md_text(value)


def md_number(value: Any) -> str:
    """A number to four digits, a dash for what is none."""
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def md_text(value: Any) -> str:
    """A text on one line that Markdown does not take for a table or for HTML."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
