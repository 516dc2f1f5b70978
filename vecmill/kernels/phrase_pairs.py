"""Words that stand side by side: pairs to count, and pairs to join into phrases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import inlined_kernel, kernel
from vecmill.kernels.tokens import NO_BREAK

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_0, _1, _32 = (np.uint64(n) for n in (0, 1, 32))


@inlined_kernel
def _key_of(first: int, second: int) -> np.uint64:
    return np.uint64(first) << _32 | np.uint64(second)


@inlined_kernel
def _slot_of(key: np.uint64, n_slots: int) -> int:
    mixed = (key ^ (key >> _32)) * _MULTIPLIER
    return np.int64((mixed >> _32) & np.uint64(n_slots - 1))  # type: ignore[return-value]


@kernel
def enter_pairs(keys: npt.NDArray[np.uint64], units: npt.NDArray[np.int32], slots: npt.NDArray[np.uint64]) -> None:
    """Fill a table of pairs.

    Parameters
    ----------
    keys : uint64[n], different, first word times 2**32 plus second
    units : int32[n], what each pair is joined to, at least 0
    slots : uint64[n_slots, 2], zeros; n_slots a power of two above n
    """
    for k in range(keys.shape[0]):
        slot = _slot_of(keys[k], slots.shape[0])
        while slots[slot, 1] != _0:
            slot = (slot + 1) & (slots.shape[0] - 1)
        slots[slot, 0], slots[slot, 1] = keys[k], np.uint64(units[k]) + _1


@kernel
def join_pairs(
    units: npt.NDArray[np.int32],
    breaks: npt.NDArray[np.uint8],
    text_offsets: npt.NDArray[np.int64],
    slots: npt.NDArray[np.uint64],
) -> int:
    """Join the pairs of a table where they stand side by side in a sentence, from left to right, in place.

    Parameters
    ----------
    units : int32[n_tokens]; below 0 for a word that joins with none
    breaks : uint8[n_tokens], what parts each from the one before
    text_offsets : int64[n_texts + 1], from 0 to n_tokens
    slots : as :func:`enter_pairs` fills them

    Returns
    -------
    n_units : how many there are now, from the beginning of both arrays
    """
    n_slots = slots.shape[0]
    written, k = 0, 0
    for text in range(text_offsets.shape[0] - 1):
        stop = text_offsets[text + 1]
        while k < stop:
            unit, width = units[k], 1
            if unit >= 0 and k + 1 < stop and breaks[k + 1] == NO_BREAK and units[k + 1] >= 0:
                key = _key_of(unit, units[k + 1])
                slot = _slot_of(key, n_slots)
                while slots[slot, 1] != _0:
                    if slots[slot, 0] == key:
                        unit, width = np.int32(slots[slot, 1] - _1), 2
                        break
                    slot = (slot + 1) & (n_slots - 1)
            units[written], breaks[written] = unit, breaks[k]
            written += 1
            k += width
        text_offsets[text + 1] = written
    return written


@kernel
def pair_keys(units: npt.NDArray[np.int32], breaks: npt.NDArray[np.uint8], keys: npt.NDArray[np.uint64]) -> int:
    """Write the key of each two units side by side in a sentence to ``keys`` (uint64[len(units)]); how many."""
    n = 0
    for k in range(1, units.shape[0]):
        if breaks[k] == NO_BREAK and units[k - 1] >= 0 and units[k] >= 0:
            keys[n] = _key_of(units[k - 1], units[k])
            n += 1
    return n
