"""Sizes in bytes, written with their unit."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_PATTERN = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]?[bB]|[kKmMgGtT][iI][bB])?\s*$"


def parse_size(value: Any) -> Any:
    """Bytes of ``256MB`` (powers of ten), ``1.5 GiB`` (powers of two) or a plain number; anything else is left as is.

    >>> parse_size("256MB"), parse_size("1.5 GiB"), parse_size(4096)
    (256000000, 1610612736, 4096)
    """
    if not isinstance(value, str):
        return value
    if re.match(_PATTERN, value) is None:
        raise ValueError("expected bytes as a whole number or with a unit, such as 256MB, 1.5GB or 64MiB")
    number, unit = re.findall(r"[0-9.]+|[a-zA-Z]+", value + " B")[:2]
    return round(float(number) * _UNITS[unit.upper()])


# An int of bytes that may be written with a unit; the schema says so, since forms are checked against it.
ByteSize = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _PATTERN}]}),
]
