"""Between Arrow columns, NumPy arrays and lists of strings, without ``pyarrow.array`` and ``to_numpy``.

Those import pandas where it is installed, be it to ask whether what they are given comes from there: 39 MB of memory,
for nothing, in a stage whose memory is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


def read_table(path: Path) -> pa.Table:
    """A whole small Parquet file; ``pyarrow.parquet.read_table`` loads Arrow's datasets and with them pandas.

    Raises
    ------
    FileNotFoundError : there is none
    pyarrow.ArrowException, OSError : it is no Parquet file
    """
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


def number_column(values: npt.NDArray[Any]) -> pa.Array:
    """Numbers of any width, n of them; the column is a view of the array where that is contiguous."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def numbers_of(column: pa.Array) -> npt.NDArray[Any]:
    """The numbers of a column without nulls, a view of it."""
    return np.from_dlpack(column)


def mask_column(values: npt.NDArray[np.bool_] | Sequence[bool]) -> pa.Array:
    """bool[n]."""
    return pl.Series(values, dtype=pl.Boolean).to_arrow()


def string_column(values: Sequence[str | None]) -> pa.Array:
    """large_string[n], None as null."""
    return pl.Series(values, dtype=pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())


def offsets_of(texts: pa.Array) -> npt.NDArray[np.int64]:
    """int64[n + 1], where each text of a string or large_string column begins, and where the last one ends."""
    kind = np.dtype(np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    # A column without rows may have no offsets.
    if not len(texts):
        return np.zeros(1, np.int64)
    return np.frombuffer(texts.buffers()[1], kind, len(texts) + 1, texts.offset * kind.itemsize).astype(np.int64)
