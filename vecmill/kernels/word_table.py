"""A table of words by number: open addressing over 64-bit keys, in which no two words are ever taken for each other.

A word of up to seven bytes *is* its key (bytes and length), so that comparing keys compares words; a longer one has a
hash for its key, and its bytes are compared. Key and number lie side by side: most words cost one cache line. Slots
are probed one after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.byte_bits import LEAVES, eight_bytes, lower_eight
from vecmill.kernels.jit import inlined_kernel, kernel

# Target of a word whose folded form is not known yet, and of one that is not in the vocabulary.
PENDING, OUTSIDE = -2, -1
_NO_ROOM = -3
# A plain 0 would be a type of its own to numba, and the functions that it is handed to would be compiled once more.
_ITSELF: int = np.int64(0)  # type: ignore[assignment]
_LATER: int = np.int64(PENDING)  # type: ignore[assignment]

# Words up to this many bytes are their own key.
KEY_BYTES = 7

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_0, _1, _8, _29, _32, _56 = (np.uint64(n) for n in (0, 1, 8, 29, 32, 56))


class WordTable(NamedTuple):
    """Distinct words by number, in order of entry.

    Attributes
    ----------
    slots : uint64[n_slots, 2], key and number + 1, 0 where free; n_slots a power of two above the number of words
    offsets : int64[n_max + 1]; word w is ``letters[offsets[w]:offsets[w + 1]]``, UTF-8
    letters : uint8[n_letters_max]
    targets : int32[n_max], the word that each one counts as: itself, its folded form, PENDING or OUTSIDE
    size : int64[1], number of words
    """

    slots: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]
    letters: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int32]
    size: npt.NDArray[np.int64]


@inlined_kernel
def _slot_of(key: np.uint64, n_slots: int) -> int:
    mixed = (key ^ (key >> _32)) * _MULTIPLIER
    return np.int64((mixed ^ (mixed >> _29)) & np.uint64(n_slots - 1))  # type: ignore[return-value]


@inlined_kernel
def _same(data: npt.NDArray[np.uint8], start: int, stop: int, letters: np.uint64, table: WordTable, word: int) -> bool:
    """Whether a word of eight bytes or more is the one in the table; its last eight are compared in any case."""
    begin = table.offsets[word]
    n_bytes = stop - start
    if table.offsets[word + 1] - begin != n_bytes:
        return False
    k = 0
    while k + 8 < n_bytes:
        if lower_eight(eight_bytes(data, start + k), letters) != eight_bytes(table.letters, begin + k):
            return False
        k += 8
    k = n_bytes - 8
    return bool(lower_eight(eight_bytes(data, start + k), letters) == eight_bytes(table.letters, begin + k))


@inlined_kernel
def key_of_long(short: np.uint64, tail: np.uint64, n_bytes: int) -> np.uint64:
    """Key of a word of eight bytes or more: of its whole eights, mixed, and the rest."""
    short = (short ^ tail) * _MULTIPLIER
    return ((short ^ (short >> _29)) >> _8) | (np.uint64(min(n_bytes, 255)) << _56)


@inlined_kernel
def mixed(short: np.uint64, eight: np.uint64) -> np.uint64:
    short = (short ^ eight) * _MULTIPLIER
    return short ^ (short >> _32)


@inlined_kernel
def key_of_plain(data: npt.NDArray[np.uint8], start: int, n_bytes: int, letters: np.uint64) -> np.uint64:
    """Key of a word of ASCII characters, in eights; up to seven bytes after it are read as well."""
    eight = lower_eight(eight_bytes(data, start), letters)
    if n_bytes <= KEY_BYTES:
        return (eight & ((_1 << np.uint64(8 * n_bytes)) - _1)) | (np.uint64(n_bytes) << _56)
    short = mixed(_0, eight)
    k = 8
    while k + 8 <= n_bytes:
        short = mixed(short, lower_eight(eight_bytes(data, start + k), letters))
        k += 8
    tail = _0
    if k < n_bytes:
        tail = lower_eight(eight_bytes(data, start + k), letters) & ((_1 << np.uint64(8 * (n_bytes - k))) - _1)
    return key_of_long(short, tail, n_bytes)


@inlined_kernel
def _enter(
    data: npt.NDArray[np.uint8],
    start: int,
    stop: int,
    lower: npt.NDArray[np.uint8],
    table: WordTable,
    slot: int,
    key: np.uint64,
    target: int,
) -> int:
    """Put a new word into a free slot; its number, or -1 where there is no room for it."""
    word = table.size[0]
    begin = table.offsets[word]
    if word >= table.targets.shape[0] or begin + stop - start > table.letters.shape[0]:
        return -1
    if 8 * (word + 1) > 5 * table.slots.shape[0]:
        return -1
    for k in range(stop - start):
        table.letters[begin + k] = lower[data[start + k]]
    table.offsets[word + 1] = begin + stop - start
    table.targets[word] = word if target == 0 else target
    table.slots[slot, 0] = key
    table.slots[slot, 1] = np.uint64(word + 1)
    table.size[0] = word + 1
    return word  # type: ignore[no-any-return]


@inlined_kernel
def number_staged(
    data: npt.NDArray[np.uint8],
    keys: npt.NDArray[np.uint64],
    places: npt.NDArray[np.int64],
    is_beyond: npt.NDArray[np.bool_],
    n_staged: int,
    letters: np.uint64,
    lower: npt.NDArray[np.uint8],
    folding: bool,
    table: WordTable,
    enters: bool,
    codes: npt.NDArray[np.int32],
    first_code: int,
) -> int:
    """Number words that have been found; says how many, fewer than there are where the table has to grow first.

    A word of eight bytes or more is first taken for the one with the same key, and then compared: two of the same key
    hardly ever differ.

    Parameters
    ----------
    keys, places, is_beyond : of each word its key, where in ``data`` it stands, and whether it is not all ASCII
    n_staged : how many words there are
    letters, lower : how letters are lowered, see :class:`~vecmill.kernels.tokens.Automaton`
    folding : words beyond ASCII enter as PENDING, even where no others enter
    codes, first_code : where the numbers go
    """
    slots = table.slots
    n_slots = slots.shape[0]
    n_numbered = n_staged
    for j in range(n_staged):
        key = keys[j]
        slot = _slot_of(key, n_slots)
        while slots[slot, 0] != key and slots[slot, 1] != _0:
            slot = (slot + 1) & (n_slots - 1)
        number: int = np.int64(slots[slot, 1]) - 1  # type: ignore[assignment]
        if number < 0:
            folds = folding and is_beyond[j]
            number = OUTSIDE
            if enters or folds:
                target = _LATER if folds else _ITSELF
                number = _enter(data, places[j, 0], places[j, 1], lower, table, slot, key, target)
                if number < 0:
                    n_numbered = j
                    break
        codes[first_code + j] = number
    for j in range(n_numbered):
        start, stop = places[j, 0], places[j, 1]
        number = np.int64(codes[first_code + j])  # type: ignore[assignment]
        if stop - start <= KEY_BYTES or number < 0 or _same(data, start, stop, letters, table, number):
            continue
        target = _LATER if folding and is_beyond[j] else _ITSELF
        number = _number_of(data, start, stop, keys[j], letters, lower, table, enters or target != 0, target)
        if number == _NO_ROOM:
            return j
        codes[first_code + j] = number
    return n_numbered


@kernel
def _number_of(
    data: npt.NDArray[np.uint8],
    start: int,
    stop: int,
    key: np.uint64,
    letters: np.uint64,
    lower: npt.NDArray[np.uint8],
    table: WordTable,
    enters: bool,
    target: int,
) -> int:
    """Number of one word, OUTSIDE where it is new and does not enter, _NO_ROOM where the table has to grow first."""
    n_slots = table.slots.shape[0]
    slot = _slot_of(key, n_slots)
    while True:
        number: int = np.int64(table.slots[slot, 1]) - 1  # type: ignore[assignment]
        if number < 0:
            if not enters:
                return OUTSIDE
            number = _enter(data, start, stop, lower, table, slot, key, target)
            return number if number >= 0 else _NO_ROOM
        if table.slots[slot, 0] == key and (
            stop - start <= KEY_BYTES or _same(data, start, stop, letters, table, number)
        ):
            return number
        slot = (slot + 1) & (n_slots - 1)


@kernel
def number_words(
    data: npt.NDArray[np.uint8],
    word_bounds: npt.NDArray[np.int64],
    table: WordTable,
    enters: bool,
    lower: npt.NDArray[np.uint8],
    numbers: npt.NDArray[np.int32],
    start_at: int,
) -> int:
    """Numbers of whole words, which stand for themselves.

    Parameters
    ----------
    data, word_bounds : word w is ``data[word_bounds[w]:word_bounds[w + 1]]``
    enters : whether new words enter the table; if not, their number is OUTSIDE
    lower : uint8[256], 0 to 255: words are taken as they are
    numbers : int32[n_words], the result
    start_at : first word to look at

    Returns
    -------
    n_done : less than the number of words where the table has to grow before the next one
    """
    for w in range(start_at, word_bounds.shape[0] - 1):
        start, stop = word_bounds[w], word_bounds[w + 1]
        number = _number_of(data, start, stop, _key_of(data, start, stop), LEAVES, lower, table, enters, _ITSELF)
        if number == _NO_ROOM:
            return w
        numbers[w] = number
    return word_bounds.shape[0] - 1  # type: ignore[no-any-return]


@inlined_kernel
def _key_of(data: npt.NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """The key that :func:`find_tokens` computes while it reads."""
    if start + 8 * ((stop - start + 7) // 8) <= data.shape[0] and stop > start:
        return key_of_plain(data, start, stop - start, LEAVES)
    short, tail, n_bits = _0, _0, _0
    for pos in range(start, stop):
        tail |= np.uint64(data[pos]) << n_bits
        n_bits += _8
        if n_bits == np.uint64(64):
            short = mixed(short, tail)
            tail, n_bits = _0, _0
    n_bytes = stop - start
    if n_bytes <= KEY_BYTES:
        return tail | (np.uint64(n_bytes) << _56)
    return key_of_long(short, tail, n_bytes)


@kernel
def rehash(old: npt.NDArray[np.uint64], new: npt.NDArray[np.uint64]) -> None:
    """Move the entries of ``old`` into the larger, zeroed ``new``."""
    n_slots = new.shape[0]
    for k in range(old.shape[0]):
        if old[k, 1] != _0:
            slot = _slot_of(old[k, 0], n_slots)
            while new[slot, 1] != _0:
                slot = (slot + 1) & (n_slots - 1)
            new[slot, 0], new[slot, 1] = old[k, 0], old[k, 1]
