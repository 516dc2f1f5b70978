"""Words of UTF-8 text, found and numbered in one go: an automaton over code points and an open-addressing table.

The table gives every distinct word a number. A word of up to seven bytes *is* its 64-bit key (bytes and length), so
that comparing keys compares words; a longer one has a hash for its key, and its bytes are compared. Key and number lie
side by side: most words cost one cache line. Slots are probed one after the other.

Upper-case ASCII letters are lowered on the way. A word with other letters enters the table as it stands, with
:data:`PENDING` for its target; the caller folds each such word once and names the number it stands for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import inlined_kernel, kernel

# What a character can be; a sum of these in a table by code point.
RUN, MARK, LONE, JOINER, AFTER_JOINER, END, END_WITHOUT_SPACE, CLOSER, SPACE, LINE_END = (1 << k for k in range(10))

# What stands between a word and the one before it: the largest that applies.
NO_BREAK, SENTENCE_BREAK, LINE_BREAK, TEXT_BREAK = range(4)

# Target of a word whose folded form is not known yet, and of one that is not in the vocabulary.
PENDING, OUTSIDE = -2, -1

# How a call ended.
DONE, AT_LIMIT, FULL = range(3)

# Fields of the cursor: next text, next byte (0: the beginning of that text), tokens written, break before the next
# token, whether an end mark waits for white space.
CURSOR_FIELDS = 5

_STARTS = RUN | LONE
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_0, _1, _8, _29, _32, _56 = (np.uint64(n) for n in (0, 1, 8, 29, 32, 56))

# Words up to this many bytes are their own key.
_KEY_BYTES = 7


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


class Automaton(NamedTuple):
    """What words are.

    Attributes
    ----------
    classes : uint16[0x110000], by code point
    lower : uint8[256], what a byte becomes: ASCII letters may change, other bytes never
    joins_once : a word has one joiner at most, and only AFTER_JOINER characters follow it
    keeps_marks : end marks are part of words; a sentence ends after a word that ends in one
    folds : words beyond ASCII are not final as they stand
    """

    classes: npt.NDArray[np.uint16]
    lower: npt.NDArray[np.uint8]
    joins_once: bool
    keeps_marks: bool
    folds: bool


@inlined_kernel
def _decode(data: npt.NDArray[np.uint8], pos: int) -> tuple[int, int]:
    """Code point and width of the character at ``pos``; the text is valid UTF-8."""
    first = np.int64(data[pos])
    if first < 0x80:
        return first, 1  # type: ignore[return-value]
    second = np.int64(data[pos + 1]) & 63
    if first < 0xE0:
        return (first & 31) << 6 | second, 2  # type: ignore[return-value]
    third = np.int64(data[pos + 2]) & 63
    if first < 0xF0:
        return (first & 15) << 12 | second << 6 | third, 3  # type: ignore[return-value]
    return (first & 7) << 18 | second << 12 | third << 6 | np.int64(data[pos + 3]) & 63, 4  # type: ignore[return-value]


@inlined_kernel
def _slot_of(key: np.uint64, n_slots: int) -> int:
    mixed = (key ^ (key >> _32)) * _MULTIPLIER
    return np.int64((mixed ^ (mixed >> _29)) & np.uint64(n_slots - 1))  # type: ignore[return-value]


@inlined_kernel
def _same(
    data: npt.NDArray[np.uint8], start: int, stop: int, lower: npt.NDArray[np.uint8], table: WordTable, word: int
) -> bool:
    begin = table.offsets[word]
    if table.offsets[word + 1] - begin != stop - start:
        return False
    for k in range(stop - start):  # noqa: SIM110  numba compiles no generator expressions
        if lower[data[start + k]] != table.letters[begin + k]:
            return False
    return True


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


@kernel
def find_tokens(
    data: npt.NDArray[np.uint8],
    text_bounds: npt.NDArray[np.int64],
    automaton: Automaton,
    table: WordTable,
    enters: bool,
    soft_words: int,
    soft_letters: int,
    codes: npt.NDArray[np.int32],
    breaks: npt.NDArray[np.uint8],
    text_offsets: npt.NDArray[np.int64],
    cursor: npt.NDArray[np.int64],
) -> int:
    """Number the words of texts, from the cursor on.

    Parameters
    ----------
    data, text_bounds : text t is ``data[text_bounds[t]:text_bounds[t + 1]]``
    enters : whether new words enter the table; if not, their code is OUTSIDE (words to be folded enter all the same)
    soft_words, soft_letters : once the table holds so many, the call ends with the text
    codes : int32[...], number of each word, not yet replaced by its target; at least one for two bytes
    breaks : uint8[len(codes)], break before each word
    text_offsets : int64[n_texts + 1], words before each text; [0] is 0
    cursor : int64[CURSOR_FIELDS], zero at first; the call goes on from here and leaves where it stopped

    Returns
    -------
    how : DONE; AT_LIMIT, where the next text was not begun; FULL, where a word found no room and the table has to grow
    """
    lower, classes = automaton.lower, automaton.classes
    n_slots = table.slots.shape[0]
    text, pos, n_tokens, level, is_pending = cursor[0], cursor[1], cursor[2], cursor[3], cursor[4] != 0
    n_texts = text_bounds.shape[0] - 1
    how = DONE
    while text < n_texts:
        end = text_bounds[text + 1]
        if pos < 0:
            pos, level, is_pending = text_bounds[text], TEXT_BREAK, False
        while pos < end:
            # Between words.
            first = data[pos]
            if first < 128:
                kind, width = np.int64(classes[first]), 1
            else:
                code_point, width = _decode(data, pos)
                kind = np.int64(classes[code_point])
            if kind & _STARTS == 0:
                if kind & (END | END_WITHOUT_SPACE | CLOSER | SPACE) == 0:
                    is_pending = False
                elif kind & SPACE:
                    if kind & LINE_END:
                        level = max(level, LINE_BREAK)
                    elif is_pending:
                        level = max(level, SENTENCE_BREAK)
                    is_pending = False
                elif kind & END:
                    is_pending = True
                elif kind & END_WITHOUT_SPACE:
                    level = max(level, SENTENCE_BREAK)
                    is_pending = False
                pos += width
                continue
            # A word.
            start = pos
            going_on = MARK if kind & LONE else RUN | MARK
            joiner = 0 if kind & LONE else JOINER
            is_ascii = True
            short, tail, n_bits = _0, _0, _0
            is_long = False
            while True:
                for _ in range(width):
                    tail |= np.uint64(lower[data[pos]]) << n_bits
                    n_bits += _8
                    pos += 1
                    if n_bits == np.uint64(64):
                        short = (short ^ tail) * _MULTIPLIER
                        short ^= short >> _32
                        tail, n_bits, is_long = _0, _0, True
                is_ascii = is_ascii and width == 1
                if pos >= end:
                    break
                first = data[pos]
                if first < 128:
                    kind, width = np.int64(classes[first]), 1
                else:
                    code_point, width = _decode(data, pos)
                    kind = np.int64(classes[code_point])
                if kind & going_on:
                    continue
                if kind & joiner and pos + width < end:
                    code_point, _ = _decode(data, pos + width)
                    if np.int64(classes[code_point]) & AFTER_JOINER:
                        if automaton.joins_once:
                            going_on, joiner = AFTER_JOINER, 0
                        continue
                break
            n_bytes = pos - start
            if is_long:
                short = (short ^ tail) * _MULTIPLIER
                key = ((short ^ (short >> _29)) >> _8) | (np.uint64(min(n_bytes, 255)) << _56)
            else:
                key = tail | (np.uint64(n_bytes) << _56)
            # Look it up.
            slot = _slot_of(key, n_slots)
            while True:
                number: int = np.int64(table.slots[slot, 1]) - 1  # type: ignore[assignment]
                if number < 0:
                    folds = automaton.folds and not is_ascii
                    number = OUTSIDE
                    if enters or folds:
                        number = _enter(data, start, pos, lower, table, slot, key, PENDING if folds else 0)
                        if number < 0:
                            how = FULL
                    break
                if table.slots[slot, 0] == key and (
                    n_bytes <= _KEY_BYTES or _same(data, start, pos, lower, table, number)
                ):
                    break
                slot = (slot + 1) & (n_slots - 1)
            if how == FULL:
                pos = start
                break
            codes[n_tokens] = number
            breaks[n_tokens] = level
            n_tokens += 1
            level, is_pending = NO_BREAK, False
            if automaton.keeps_marks and _ends_sentence(data, start, pos, classes):
                level = SENTENCE_BREAK
        if how == FULL:
            break
        text += 1
        text_offsets[text] = n_tokens
        pos = -1
        if table.size[0] >= soft_words or table.offsets[table.size[0]] >= soft_letters:
            how = DONE if text == n_texts else AT_LIMIT
            break
    cursor[0], cursor[1], cursor[2], cursor[3], cursor[4] = text, pos, n_tokens, level, is_pending
    return how


@kernel
def _ends_sentence(data: npt.NDArray[np.uint8], start: int, stop: int, classes: npt.NDArray[np.uint16]) -> bool:
    """Whether a word ends in an end mark, closing quotes and brackets after it left aside."""
    while stop > start:
        pos = stop - 1
        while data[pos] & 0xC0 == 0x80:
            pos -= 1
        code_point, _ = _decode(data, pos)
        kind = np.int64(classes[code_point])
        if kind & (END | END_WITHOUT_SPACE):
            return True
        if kind & CLOSER == 0:
            return False
        stop = pos
    return False


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
    n_slots = table.slots.shape[0]
    for w in range(start_at, word_bounds.shape[0] - 1):
        start, stop = word_bounds[w], word_bounds[w + 1]
        n_bytes = stop - start
        key = _key_of(data, start, stop)
        slot = _slot_of(key, n_slots)
        while True:
            number: int = np.int64(table.slots[slot, 1]) - 1  # type: ignore[assignment]
            if number < 0:
                number = OUTSIDE
                if enters:
                    number = _enter(data, start, stop, lower, table, slot, key, 0)
                    if number < 0:
                        return w
                break
            if table.slots[slot, 0] == key and (
                n_bytes <= _KEY_BYTES or _same(data, start, stop, lower, table, number)
            ):
                break
            slot = (slot + 1) & (n_slots - 1)
        numbers[w] = number
    return word_bounds.shape[0] - 1  # type: ignore[no-any-return]


@inlined_kernel
def _key_of(data: npt.NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """The key that :func:`find_tokens` computes while it reads."""
    short, tail, n_bits = _0, _0, _0
    for pos in range(start, stop):
        tail |= np.uint64(data[pos]) << n_bits
        n_bits += _8
        if n_bits == np.uint64(64):
            short = (short ^ tail) * _MULTIPLIER
            short ^= short >> _32
            tail, n_bits = _0, _0
    n_bytes = stop - start
    if n_bytes <= _KEY_BYTES:
        return tail | (np.uint64(n_bytes) << _56)
    short = (short ^ tail) * _MULTIPLIER
    return ((short ^ (short >> _29)) >> _8) | (np.uint64(min(n_bytes, 255)) << _56)


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
