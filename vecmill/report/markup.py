"""HTML and SVG from plain values: everything that is put in is escaped here, and only here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

# Characters that HTML does not allow even when they are written as references.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")


class Markup(str):
    """Text that is HTML already and must not be escaped again."""

    __slots__ = ()


def escaped(value: Any) -> Markup:
    """Any value as text of an element or of a quoted attribute; :class:`Markup` as it is."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_FORBIDDEN.sub("\ufffd", str(value)), quote=True))


def element(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element; attributes that are None are left out, and ``_`` in their names stands for ``-``.

    >>> element("td", "<b>", class_="n")
    '<td class="n">&lt;b&gt;</td>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(parts: Iterable[Any], between: str = "") -> Markup:
    """Parts one after another, each escaped unless it is markup."""
    return Markup(between.join(escaped(part) for part in parts))


def word(text: str) -> Markup:
    """A word of the model, whose direction of writing stays its own affair."""
    return element("bdi", text)


def table(caption: str, header: Sequence[Any], rows: Iterable[Sequence[Any]], *, class_: str | None = None) -> Markup:
    """A table that scrolls by itself where the screen is narrow; the first cell of a row heads it."""
    head = element("tr", *(element("th", each, scope="col") for each in header))
    body = [element("tr", element("th", cells[0], scope="row"), *(_cell(each) for each in cells[1:])) for cells in rows]
    inner = element(
        "table", element("caption", caption), element("thead", head), element("tbody", *body), class_=class_
    )
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(value: Any) -> Markup:
    return value if isinstance(value, Markup) and value.startswith("<td") else element("td", value)


def number(value: Any, digits: int = 3) -> str:
    """A number as people read it; a dash where there is none.

    >>> number(1234567), number(0.12345), number(None)
    ('1,234,567', '0.123', '–')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"
