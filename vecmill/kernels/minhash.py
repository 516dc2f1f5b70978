"""MinHash signatures of texts, and the tables in which a text finds an earlier one like it.

Sources: Broder 1997 (resemblance, shingles); Li and König 2010 (a few bits of each minimum are enough); Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, chapter 3 (bands and rows).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import inlined_kernel, kernel

# Texts of one band key that a table keeps: boilerplate that thousands share would make every look-up a walk over them.
MOST_ALIKE = 64

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX32 = np.uint32(0x85EBCA6B)
_LOW32 = np.uint64(0xFFFFFFFF)
_0, _29, _32 = (np.uint64(n) for n in (0, 29, 32))
_MOST = np.uint32(0xFFFFFFFF)


@inlined_kernel
def _is_word_byte(byte: int) -> bool:
    # Every byte of a character beyond ASCII counts as a letter.
    return byte >= 128 or 97 <= byte <= 122 or 48 <= byte <= 57 or 65 <= byte <= 90


@inlined_kernel
def _mixed(key: np.uint64) -> np.uint64:
    key = (key ^ (key >> _32)) * _MULTIPLIER
    return (key ^ (key >> _29)) * _MULTIPLIER


@kernel
def _find_words(text: npt.NDArray[np.uint8], units: npt.NDArray[np.uint64]) -> int:
    n, k = 0, 0
    while k < text.shape[0]:
        if not _is_word_byte(text[k]):
            k += 1
            continue
        unit = _FNV_OFFSET
        while k < text.shape[0] and _is_word_byte(text[k]):
            unit = (unit ^ np.uint64(text[k])) * _FNV_PRIME
            k += 1
        units[n] = unit
        n += 1
    return n


@kernel
def _find_characters(text: npt.NDArray[np.uint8], units: npt.NDArray[np.uint64]) -> int:
    n, k, blank = 0, 0, True
    while k < text.shape[0]:
        if text[k] <= 32:
            # White space of any kind and length is one space, and none at the beginning.
            if not blank:
                units[n] = _32
                n += 1
            blank = True
            k += 1
            continue
        blank = False
        unit = np.uint64(text[k])
        k += 1
        while k < text.shape[0] and (text[k] & 0xC0) == 0x80:
            unit = unit * np.uint64(256) + np.uint64(text[k])
            k += 1
        units[n] = unit
        n += 1
    return n - 1 if n and blank else n


@kernel
def sign_texts(
    texts: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    shingle: int,
    characters: bool,
    multipliers: npt.NDArray[np.uint32],
    increments: npt.NDArray[np.uint32],
    units: npt.NDArray[np.uint64],
    minima: npt.NDArray[np.uint32],
    signatures: npt.NDArray[np.uint8],
    n_shingles: npt.NDArray[np.int64],
) -> None:
    """Sign each text: of every hash function, one byte of its least value over the text's shingles.

    h_k(x) = a_k x + b_k mod 2**32;   signature[k] = top byte of mix(min over shingles x of h_k(x))

    Two bytes at the same place are equal with probability J + (1 - J) / 256, J the Jaccard similarity of the two texts'
    sets of shingles. A text with fewer units than a shingle has one shingle, of all of them.

    Parameters
    ----------
    texts : uint8[n_bytes], UTF-8, lower-case
    offsets : int64[n_texts + 1], text t is texts[offsets[t]:offsets[t + 1]]
    shingle : units in a row, at least 1
    characters : units are characters (white space of any length is one); else words (runs of ASCII letters and digits
        and of everything beyond ASCII)
    multipliers, increments : uint32[n_hashes], a_k odd, and b_k
    units, minima : uint64[longest text in bytes], uint32[n_hashes]; work space
    signatures : uint8[n_texts, n_hashes], written; untouched where a text has no unit
    n_shingles : int64[n_texts], written: shingles of each text, repeated ones counted again
    """
    n_hashes = multipliers.shape[0]
    for t in range(offsets.shape[0] - 1):
        text = texts[offsets[t] : offsets[t + 1]]
        n_units = _find_characters(text, units) if characters else _find_words(text, units)
        width = min(shingle, n_units)
        n_shingles[t] = n_units - width + 1 if n_units else 0
        for k in range(n_hashes):
            minima[k] = _MOST
        for first in range(n_shingles[t]):
            key = np.uint64(width)
            for unit in units[first : first + width]:
                key = (key ^ unit) * _MULTIPLIER
                key ^= key >> _32
            x = np.uint32(_mixed(key) >> _32)
            for k in range(n_hashes):
                minima[k] = min(minima[k], np.uint32(multipliers[k] * x + increments[k]))
        if n_units:
            for k in range(n_hashes):
                least = minima[k]
                least = np.uint32((least ^ (least >> np.uint32(16))) * _MIX32)
                signatures[t, k] = np.uint8((least ^ (least >> np.uint32(13))) >> np.uint32(24))


@inlined_kernel
def _band_slot(signature: npt.NDArray[np.uint8], band: int, width: int, n_slots: int) -> int:
    key = _FNV_OFFSET
    for k in range(band * width, (band + 1) * width):
        key = (key ^ np.uint64(signature[k])) * _FNV_PRIME
    return np.int64(_mixed(key) & np.uint64(n_slots - 1))  # type: ignore[return-value]


@inlined_kernel
def _n_equal(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> int:
    n = 0
    for k in range(a.shape[0]):
        n += a[k] == b[k]
    return n


@inlined_kernel
def _same_band(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], band: int, width: int) -> bool:
    return _n_equal(a[band * width : (band + 1) * width], b[band * width : (band + 1) * width]) == width


@inlined_kernel
def _find_digest(first: np.uint64, second: np.uint64, slots: npt.NDArray[np.uint64]) -> tuple[int, int]:
    """Row of the text with this digest, -1 where there is none, and the slot where it stands or would."""
    n_slots = slots.shape[0]
    slot = np.int64(first & np.uint64(n_slots - 1))
    while slots[slot, 1] != _0:
        if slots[slot, 0] == first and (slots[slot, 1] & ~_LOW32) == second:
            return np.int64(slots[slot, 1] & _LOW32) - 1, slot  # type: ignore[return-value]
        slot = (slot + 1) & (n_slots - 1)
    return -1, slot  # type: ignore[return-value]


@kernel
def regrow_digests(old: npt.NDArray[np.uint64], slots: npt.NDArray[np.uint64]) -> None:
    """Enter every digest of one table (uint64[n_slots, 2]) into a larger one, zeros."""
    for k in range(old.shape[0]):
        if old[k, 1] != _0:
            _, slot = _find_digest(old[k, 0], old[k, 1] & ~_LOW32, slots)
            slots[slot, 0], slots[slot, 1] = old[k, 0], old[k, 1]


@kernel
def enter_signature(
    row: int, kept: npt.NDArray[np.uint8], slots: npt.NDArray[np.uint32], width: int, most_alike: int
) -> None:
    """Enter row ``row`` of ``kept`` (uint8[capacity, n_hashes]) into every band's table (uint32[n_bands, n_slots])."""
    n_slots = slots.shape[1]
    for band in range(slots.shape[0]):
        slot, n_alike = _band_slot(kept[row], band, width, n_slots), 0
        while slots[band, slot] != 0 and n_alike < most_alike:
            n_alike += _same_band(kept[np.int64(slots[band, slot]) - 1], kept[row], band, width)
            slot = (slot + 1) & (n_slots - 1)
        if n_alike < most_alike:
            slots[band, slot] = row + 1


@kernel
def regrow_signatures(
    n_rows: int, kept: npt.NDArray[np.uint8], slots: npt.NDArray[np.uint32], width: int, most_alike: int
) -> None:
    """Enter the first ``n_rows`` rows of ``kept`` into empty tables, those that a full bucket refused left out again.

    ``kept`` holds texts without a signature too: their rows are zeros, and no band of zeros is entered.
    """
    for row in range(n_rows):
        if kept[row].any():
            enter_signature(row, kept, slots, width, most_alike)


@kernel
def _most_alike(
    signature: npt.NDArray[np.uint8],
    slots: npt.NDArray[np.uint32],
    kept: npt.NDArray[np.uint8],
    width: int,
    most_alike: int,
    min_equal: int,
) -> tuple[int, int]:
    """Row of ``kept`` with most bytes equal, the first of several, and how many; -1, -1 below ``min_equal``."""
    n_slots = slots.shape[1]
    best, best_equal = -1, -1
    for band in range(slots.shape[0]):
        slot, n_alike = _band_slot(signature, band, width, n_slots), 0
        while slots[band, slot] != 0 and n_alike < most_alike:
            row = int(slots[band, slot]) - 1
            if _same_band(kept[row], signature, band, width):
                n_alike += 1
                equal = _n_equal(kept[row], signature)
                if equal >= min_equal and (equal > best_equal or (equal == best_equal and row < best)):
                    best, best_equal = row, equal
            slot = (slot + 1) & (n_slots - 1)
    return best, best_equal


@kernel
def find_twins(
    judged: npt.NDArray[np.bool_],
    digests: npt.NDArray[np.uint64],
    signatures: npt.NDArray[np.uint8],
    n_rows: int,
    digest_slots: npt.NDArray[np.uint64],
    band_slots: npt.NDArray[np.uint32],
    kept: npt.NDArray[np.uint8],
    width: int,
    most_alike: int,
    min_equal: int,
    twins: npt.NDArray[np.int64],
    n_equal: npt.NDArray[np.int64],
) -> int:
    """Name each text's twin among those kept before it, one after the other; keep those that have none.

    Parameters
    ----------
    judged : bool[n], False for texts that are to be passed over
    digests : uint64[n, 2], the second without its lower 32 bits
    signatures : uint8[n, n_hashes] of :func:`sign_texts`, zeros where a text has none; n_hashes is 0 without near twins
    n_rows : texts kept so far
    digest_slots : uint64[power of two, 2]: digest, and in the lower 32 bits of its second word the row plus 1
    band_slots : uint32[n_bands, power of two]: row plus 1
    kept : uint8[capacity, n_hashes], signatures by row
    width : bytes in a band
    most_alike : entries of one band key that are looked at
    min_equal : bytes of two signatures that make them twins; of several, the twin is the one with most, then the first
    twins : int64[n], written: row of the twin, -1 where there is none
    n_equal : int64[n], written: equal bytes of a near twin, -1 of an exact one

    Returns
    -------
    texts kept now; the tables have room for all that may be kept
    """
    for t in range(judged.shape[0]):
        twins[t], n_equal[t] = -1, -1
        if not judged[t]:
            continue
        twins[t], digest_slot = _find_digest(digests[t, 0], digests[t, 1], digest_slots)
        if twins[t] >= 0:
            continue
        signature = signatures[t]
        signed = signature.any()
        if signed:
            twins[t], n_equal[t] = _most_alike(signature, band_slots, kept, width, most_alike, min_equal)
        if twins[t] < 0:
            digest_slots[digest_slot, 0] = digests[t, 0]
            digest_slots[digest_slot, 1] = digests[t, 1] | np.uint64(n_rows + 1)
            if signed:
                kept[n_rows] = signature
                enter_signature(n_rows, kept, band_slots, width, most_alike)
            n_rows += 1
    return n_rows
