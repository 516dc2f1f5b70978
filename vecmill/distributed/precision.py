"""Numbers of 16 bits for changes on their way between workers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Precision = Literal["float32", "bfloat16", "float16"]

# NumPy has no bfloat16; it travels as the upper half of a float32.
WIRE_TYPES: dict[Precision, npt.DTypeLike] = {"float32": np.float32, "bfloat16": np.uint16, "float16": np.float16}


def shortened(values: npt.NDArray[np.float32], precision: Precision) -> npt.NDArray[np.generic]:
    """float32 numbers as they travel, rounded to nearest, ties to even; float32 itself is not copied."""
    if precision == "float32":
        return values
    if precision == "float16":
        largest = np.float32(np.finfo(np.float16).max)
        return np.clip(values, -largest, largest).astype(np.float16)
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    # adding could carry a NaN over into a number; it has to arrive as a NaN
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)


def restored(wire: npt.NDArray[np.generic], precision: Precision) -> npt.NDArray[np.float32]:
    """The float32 numbers that :func:`shortened` ones stand for."""
    if precision == "bfloat16":
        return (wire.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wire.astype(np.float32, copy=False)
