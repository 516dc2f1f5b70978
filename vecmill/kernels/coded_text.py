"""Tokenised text in few bytes: words by number, breaks between them, ends of texts.

A stream of symbols, each an unsigned number in groups of seven bits, the lowest first, a byte's top bit saying that
more follow (LEB128):

    0                 end of a text
    1, 2              a sentence, a line ends before the next word (SENTENCE_BREAK, LINE_BREAK)
    FIRST_WORD + k    word k

Words are numbered in the order in which they first occur, so that most tokens take a byte or two. The numbers follow
from the texts alone, not from the table of words that they were found with.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.tokens import LINE_BREAK, NO_BREAK, SENTENCE_BREAK, TEXT_BREAK

END_OF_TEXT, FIRST_WORD = 0, 3

# Bytes that a token takes at most: its word (numbers are below 2**31), and the break before it.
TOKEN_BYTES = 6


@kernel
def pack_tokens(
    codes: npt.NDArray[np.int32],
    breaks: npt.NDArray[np.uint8],
    text_offsets: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int32],
    numbers: npt.NDArray[np.int32],
    entries: npt.NDArray[np.int32],
    n_entries: int,
    packed: npt.NDArray[np.uint8],
) -> tuple[int, int]:
    """Write found words as symbols.

    Parameters
    ----------
    codes, breaks, text_offsets, targets : as :func:`vecmill.kernels.tokens.find_tokens` leaves them; no code is OUTSIDE
    numbers : int32[n_max] of the table, the number of each word that has one, else -1; new words are entered
    entries : int32[n_max], the word behind each number; new words are entered
    n_entries : how many words have a number
    packed : uint8[TOKEN_BYTES * n_tokens + n_texts] or longer

    Returns
    -------
    n_bytes, n_entries : bytes written, and how many words have a number now
    """
    n = 0
    for text in range(text_offsets.shape[0] - 1):
        for k in range(text_offsets[text], text_offsets[text + 1]):
            level = breaks[k]
            if level in (SENTENCE_BREAK, LINE_BREAK):
                packed[n] = level
                n += 1
            word = targets[codes[k]]
            number = np.int64(numbers[word])
            if number < 0:
                number = np.int64(n_entries)
                numbers[word] = number
                entries[number] = word
                n_entries += 1
            rest = number + FIRST_WORD
            while rest >= 128:
                packed[n] = (rest & 127) | 128
                rest >>= 7
                n += 1
            packed[n] = rest
            n += 1
        packed[n] = END_OF_TEXT
        n += 1
    return n, n_entries


@kernel
def unpack_tokens(
    packed: npt.NDArray[np.uint8],
    units: npt.NDArray[np.int32],
    keeps: npt.NDArray[np.bool_],
    codes: npt.NDArray[np.int32],
    breaks: npt.NDArray[np.uint8],
    text_offsets: npt.NDArray[np.int64],
) -> int:
    """Read what :func:`pack_tokens` wrote, in numbers of one's own.

    Parameters
    ----------
    packed : the whole of it
    units : int32[n_words], what stands for each word
    keeps : bool[n_texts], whether the words of a text are wanted
    codes, breaks : int32[n_tokens], uint8[n_tokens] or longer
    text_offsets : int64[n_texts + 1]; [0] is 0

    Returns
    -------
    n_tokens : of the texts that are wanted
    """
    n, text, level, pos = 0, 0, TEXT_BREAK, 0
    while pos < packed.shape[0]:
        symbol = np.int64(packed[pos])
        pos += 1
        if symbol >= 128:
            symbol &= 127
            shift = 7
            while packed[pos] >= 128:
                symbol |= (np.int64(packed[pos]) & 127) << shift
                shift += 7
                pos += 1
            symbol |= np.int64(packed[pos]) << shift
            pos += 1
        if symbol >= FIRST_WORD:
            if keeps[text]:
                codes[n] = units[symbol - FIRST_WORD]
                breaks[n] = level
                n += 1
            level = NO_BREAK
        elif symbol == END_OF_TEXT:
            text += 1
            text_offsets[text] = n
            level = TEXT_BREAK
        else:
            level = int(symbol)
    return n
