"""Bytes of text sixty-four at a time: which of them belong to a class, as bits, and what is done with such bits.

LLVM instructions for what numba has no word for, and twins of them for where kernels run as plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from vecmill.kernels.jit import COMPILES, inlined_kernel, kernel

# Bytes beyond the last one of interest that an array needs for `eight_bytes` at any place.
SLACK = 8

BLOCK = 64
_BYTE, _INT64 = ir.IntType(8), ir.IntType(64)
_BLOCK_TYPE = ir.VectorType(_BYTE, BLOCK)

_SIXTY_FOUR = np.uint64(64)
_HIGH_BITS = np.uint64(0x8080808080808080)
_LOW_SEVEN = np.uint64(0x7F7F7F7F7F7F7F7F)
# What lifts "A", and what lifts the letter after "Z", to the high bit of a byte.
_FROM_A, _BEYOND_Z = np.uint64(0x3F3F3F3F3F3F3F3F), np.uint64(0x2525252525252525)
_2 = np.uint64(2)

# For `lower_eight`: letters are lowered, or left.
LOWERS, LEAVES = _HIGH_BITS, np.uint64(0)


def _eight_bytes_twin(data: npt.NDArray[np.uint8], pos: int) -> np.uint64:
    """The bytes from ``pos`` on as one number, the first one lowest; eight of them have to be there."""
    return np.uint64(int.from_bytes(data[pos : pos + 8].tobytes(), "little"))


def _trailing_zeros_twin(bits: np.uint64) -> int:
    """Number of the lowest bit that is set, 64 for none."""
    number = int(bits)
    return (number & -number).bit_length() - 1 if number else 64


def _bits_within_twin(data: npt.NDArray[np.uint8], pos: int, first: int, count: int) -> np.uint64:
    """Bit k says whether byte ``pos + k`` is one of ``first`` to ``first + count - 1``; 64 bytes have to be there."""
    block = data[pos : pos + BLOCK].astype(np.int64) - first
    inside = np.packbits((block >= 0) & (block < count), bitorder="little")
    return np.uint64(int.from_bytes(inside.tobytes(), "little"))


@intrinsic
def _eight_bytes(typing_context: Any, data: Any, pos: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]], source_etype=_BYTE)
        return builder.load(place, align=1, typ=_INT64)

    return types.uint64(data, types.int64), code


@intrinsic
def _trailing_zeros(typing_context: Any, bits: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


@intrinsic
def _bits_within(typing_context: Any, data: Any, pos: Any, first: Any, count: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]], source_etype=_BYTE)
        block = builder.load(place, align=1, typ=_BLOCK_TYPE)
        first, count = (_everywhere(builder, builder.trunc(number, _BYTE)) for number in arguments[2:])
        return builder.bitcast(builder.icmp_unsigned("<", builder.sub(block, first), count), _INT64)

    return types.uint64(data, types.int64, types.int64, types.int64), code


def _everywhere(builder: Any, byte: Any) -> Any:
    nothing = ir.Constant(_BLOCK_TYPE, ir.Undefined)
    one = builder.insert_element(nothing, byte, ir.IntType(32)(0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK))


eight_bytes: Callable[[npt.NDArray[np.uint8], int], np.uint64] = _eight_bytes if COMPILES else _eight_bytes_twin
trailing_zeros: Callable[[np.uint64], int] = _trailing_zeros if COMPILES else _trailing_zeros_twin
bits_within: Callable[[npt.NDArray[np.uint8], int, int, int], np.uint64] = (
    _bits_within if COMPILES else _bits_within_twin
)


@inlined_kernel
def lower_eight(eight: np.uint64, letters: np.uint64) -> np.uint64:
    """Lower the ASCII letters among eight bytes; ``letters`` is LOWERS, or LEAVES to have them as they are."""
    low = eight & _LOW_SEVEN
    is_upper = (low + _FROM_A) & ~(low + _BEYOND_Z) & ~eight & letters
    return eight | (is_upper >> _2)


@kernel
def mark_bytes(
    data: npt.NDArray[np.uint8], start: int, stop: int, spans: npt.NDArray[np.int64], bits: npt.NDArray[np.uint64]
) -> None:
    """Say of each byte from ``start`` to ``stop`` whether it lies in one of some spans.

    Parameters
    ----------
    spans : int64[n, 2], the first byte of each span, and how many bytes it has (up to 255)
    bits : uint64[(stop - start) // 64 + 1 or more], the result: bit k of number j is that of byte ``start + 64 j + k``;
        those from ``stop`` on mean nothing
    """
    n_blocks = (stop - start + BLOCK - 1) // BLOCK
    for block in range(n_blocks):
        pos = start + BLOCK * block
        found = np.uint64(0)
        if pos + BLOCK <= data.shape[0]:
            for span in range(spans.shape[0]):
                found |= bits_within(data, pos, spans[span, 0], spans[span, 1])
        else:
            for k in range(data.shape[0] - pos):
                for span in range(spans.shape[0]):
                    if spans[span, 0] <= data[pos + k] < spans[span, 0] + spans[span, 1]:
                        found |= np.uint64(1) << np.uint64(k)
        bits[block] = found
