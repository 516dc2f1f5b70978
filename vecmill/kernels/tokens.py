"""Words of UTF-8 text, found and numbered in one go: an automaton over code points and a table of words.

Plain words, which are ASCII and have no joiner inside or behind, are found without looking at each byte: bits say
which bytes are letters or digits (:mod:`vecmill.kernels.byte_bits`), so that a word begins at the next bit that is set
and ends at the next one that is not, and its bytes are taken up eight at a time. All others, and whatever stands
between two words and may end a sentence, go through the automaton byte by byte; both ways give the same.

Upper-case ASCII letters are lowered on the way. A word with other letters enters the table as it stands, with
:data:`~vecmill.kernels.word_table.PENDING` for its target; the caller folds each such word once and names the number
it stands for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.byte_bits import eight_bytes, trailing_zeros
from vecmill.kernels.jit import inlined_kernel, kernel
from vecmill.kernels.word_table import KEY_BYTES, WordTable, key_of_long, key_of_plain, mixed, number_staged

# What a character can be; a sum of these in a table by code point.
RUN, MARK, LONE, JOINER, AFTER_JOINER, END, END_WITHOUT_SPACE, CLOSER, SPACE, LINE_END = (1 << k for k in range(10))

# What stands between a word and the one before it: the largest that applies.
NO_BREAK, SENTENCE_BREAK, LINE_BREAK, TEXT_BREAK = range(4)

# How a call ended.
DONE, AT_LIMIT, FULL = range(3)

# Fields of the cursor: next text, next byte (0: the beginning of that text), tokens written, break before the next
# token, whether an end mark waits for white space.
CURSOR_FIELDS = 5

_STARTS = RUN | LONE
_0, _7, _8, _56 = (np.uint64(n) for n in (0, 7, 8, 56))

# Bits of which eight bytes of bits tell, wherever they begin.
_WINDOW_BITS = 57

# Words that are found before they are numbered.
_STAGED = 256

# Bytes that have to follow where plain words are looked for: a window, and the last eight of a word that it tells of.
_ROOM = 72


class Automaton(NamedTuple):
    """What words are.

    Attributes
    ----------
    classes : uint16[0x110000], by code point
    lower : uint8[256], what a byte becomes: ASCII letters may change, other bytes never
    joins_once : a word has one joiner at most, and only AFTER_JOINER characters follow it
    keeps_marks : end marks are part of words; a sentence ends after a word that ends in one
    folds : words beyond ASCII are not final as they stand
    letters : LOWERS or LEAVES of :func:`lower_eight`, which does what ``lower`` does
    run_spans : int64[n, 2], first byte and length of spans of ASCII characters that are RUN
    special_spans : of bytes that may continue a word or begin one in another way: beyond ASCII, joiners, marks
    end_spans : of ASCII characters that may end a sentence where they stand between words
    """

    classes: npt.NDArray[np.uint16]
    lower: npt.NDArray[np.uint8]
    joins_once: bool
    keeps_marks: bool
    folds: bool
    letters: np.uint64
    run_spans: npt.NDArray[np.int64]
    special_spans: npt.NDArray[np.int64]
    end_spans: npt.NDArray[np.int64]


class ByteBits(NamedTuple):
    """Classes of the bytes of texts, as :func:`mark_bytes` writes them, by the spans of the automaton.

    Attributes
    ----------
    runs, specials, ends : uint8[n]: bit 0 of the first byte belongs to the first byte of the first text; ``ends`` may
        be all zero where nobody asks for breaks
    """

    runs: npt.NDArray[np.uint8]
    specials: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.uint8]


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
def _after(kind: np.int64, level: int, is_pending: bool) -> tuple[int, bool]:
    """Break before the next word, and whether an end mark waits for white space, after a character between words."""
    if kind & SPACE:
        if kind & LINE_END:
            return max(level, LINE_BREAK), False
        return (max(level, SENTENCE_BREAK) if is_pending else level), False
    if kind & END:
        return level, True
    if kind & END_WITHOUT_SPACE:
        return max(level, SENTENCE_BREAK), False
    return level, is_pending and kind & CLOSER != 0


@kernel
def find_tokens(
    data: npt.NDArray[np.uint8],
    text_bounds: npt.NDArray[np.int64],
    automaton: Automaton,
    bits: ByteBits,
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
    bits : of the bytes of all texts, 8 bytes longer than they are
    enters : whether new words enter the table; if not, their code is OUTSIDE (words to be folded enter all the same)
    soft_words, soft_letters : once the table holds so many, the call ends with the text
    codes : int32[...], number of each word, not yet replaced by its target; at least one for two bytes
    breaks : uint8[len(codes)], break before each word; empty where nobody asks for them
    text_offsets : int64[n_texts + 1], words before each text; [0] is 0
    cursor : int64[CURSOR_FIELDS], zero at first; the call goes on from here and leaves where it stopped

    Returns
    -------
    how : DONE; AT_LIMIT, where the next text was not begun; FULL, where a word found no room and the table has to grow
    """
    lower, classes, letters = automaton.lower, automaton.classes, automaton.letters
    text, pos, n_tokens, level, is_pending = cursor[0], cursor[1], cursor[2], cursor[3], cursor[4] != 0
    n_texts = text_bounds.shape[0] - 1
    first_byte, last_plain = text_bounds[0], data.shape[0] - _ROOM
    has_breaks = breaks.shape[0] > 0
    keys = np.empty(_STAGED, dtype=np.uint64)
    places = np.empty((_STAGED, 2), dtype=np.int64)
    levels = np.empty(_STAGED, dtype=np.uint8)
    is_beyond = np.empty(_STAGED, dtype=np.bool_)
    how = DONE
    while text < n_texts:
        end = text_bounds[text + 1]
        if pos < 0:
            pos, level, is_pending = text_bounds[text], TEXT_BREAK, False
        while pos < end:
            # First find words, then number them: two loops of which the processor guesses the course, and the second
            # one fetches many slots at once.
            n_staged = 0
            while pos < end and n_staged < _STAGED:
                is_plain = False
                if pos <= last_plain:
                    window = (pos - first_byte) >> 3
                    shift = np.uint64(pos - first_byte) & _7
                    runs = eight_bytes(bits.runs, window) >> shift
                    if runs != _0:
                        gap = trailing_zeros(runs)
                        seen = gap + trailing_zeros(~(runs >> np.uint64(gap)))
                        # One bit more than the word, since a joiner may follow it.
                        if seen < _WINDOW_BITS and trailing_zeros(eight_bytes(bits.specials, window) >> shift) > seen:
                            # An end mark may wait already: a special character behind it came first.
                            if is_pending or trailing_zeros(eight_bytes(bits.ends, window) >> shift) < gap:
                                for k in range(pos, min(pos + gap, end)):
                                    level, is_pending = _after(np.int64(classes[data[k]]), level, is_pending)
                            start, pos = pos + gap, min(pos + seen, end)
                            if start >= end:  # that word is the next text's
                                pos = end
                                break
                            is_plain = True
                            keys[n_staged] = key_of_plain(data, start, pos - start, letters)
                            is_beyond[n_staged] = False
                if not is_plain:
                    # Between words.
                    first = data[pos]
                    if first < 128:
                        kind, width = np.int64(classes[first]), 1
                    else:
                        code_point, width = _decode(data, pos)
                        kind = np.int64(classes[code_point])
                    if kind & _STARTS == 0:
                        level, is_pending = _after(kind, level, is_pending)
                        pos += width
                        continue
                    # A word.
                    start = pos
                    going_on = MARK if kind & LONE else RUN | MARK
                    joiner = 0 if kind & LONE else JOINER
                    is_ascii = True
                    short, tail, n_bits = _0, _0, _0
                    while True:
                        for _ in range(width):
                            tail |= np.uint64(lower[data[pos]]) << n_bits
                            n_bits += _8
                            pos += 1
                            if n_bits == np.uint64(64):
                                short = mixed(short, tail)
                                tail, n_bits = _0, _0
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
                    if n_bytes <= KEY_BYTES:
                        keys[n_staged] = tail | (np.uint64(n_bytes) << _56)
                    else:
                        keys[n_staged] = key_of_long(short, tail, n_bytes)
                    is_beyond[n_staged] = not is_ascii
                places[n_staged, 0], places[n_staged, 1] = start, pos
                levels[n_staged] = level
                n_staged += 1
                level, is_pending = NO_BREAK, False
                if has_breaks and automaton.keeps_marks and _ends_sentence(data, start, pos, classes):
                    level = SENTENCE_BREAK
            n_numbered = number_staged(
                data, keys, places, is_beyond, n_staged, letters, lower, automaton.folds, table, enters, codes, n_tokens
            )
            if has_breaks:
                # One by one: assigning a slice would compile the words of an error message about shapes with it.
                for k in range(n_numbered):
                    breaks[n_tokens + k] = levels[k]
            n_tokens += n_numbered
            if n_numbered < n_staged:
                how, pos, level, is_pending = FULL, places[n_numbered, 0], np.int64(levels[n_numbered]), False
                break
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
