"""Tokenised text in few bytes: words by number, breaks between them, ends of texts.

A stream of symbols of sixteen bits:

    0                 end of a text
    1, 2              a sentence, a line ends before the next word (SENTENCE_BREAK, LINE_BREAK)
    FIRST_WORD + k    word k, up to 65534
    LONG, low, high   word ``low + 65536 * high``

Words are numbered in the order in which they first occur, by themselves in each stretch of text, so that LONG is
needed in stretches of 65,532 different words or more. The numbers follow from the texts alone, not from the table of
words that they were found with. Two bytes a word are some fifteen per cent more than one to three would be, but there
is nothing to decide about a word.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import inlined_kernel, kernel
from vecmill.kernels.token_counts import DOCUMENT_BITS
from vecmill.kernels.tokens import LINE_BREAK, NO_BREAK, SENTENCE_BREAK, TEXT_BREAK

END_OF_TEXT, FIRST_WORD, LONG = 0, 3, 0xFFFF

# Symbols that a token takes at most: its word, and the break before it; and where no word's number is LONG.
TOKEN_SYMBOLS, SHORT_SYMBOLS = 4, 2
# Numbers from this one on are.
FIRST_LONG = LONG - FIRST_WORD


@kernel
def tally_and_pack(
    codes: npt.NDArray[np.int32],
    breaks: npt.NDArray[np.uint8],
    text_offsets: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int32],
    tallies: npt.NDArray[np.int64],
    first_document: int,
    numbers: npt.NDArray[np.int32],
    entries: npt.NDArray[np.int32],
    n_entries: int,
    packed: npt.NDArray[np.uint16],
) -> tuple[int, int]:
    """Add occurrences and documents of found words, and write the words as symbols, in one go.

    Parameters
    ----------
    codes, breaks, text_offsets, targets : as :func:`vecmill.kernels.tokens.find_tokens` leaves them; no code is OUTSIDE
    tallies, first_document : as for :func:`vecmill.kernels.token_counts.tally`
    numbers : int32[n_max] of the table, the number of each word that has one, else -1; new words are entered
    entries : int32[n_max], the word behind each number; new words are entered
    n_entries : how many words have a number
    packed : uint16[SHORT_SYMBOLS * n_tokens + n_texts] or longer, TOKEN_SYMBOLS for each token where ``n_entries``
        may reach FIRST_LONG

    Returns
    -------
    n_symbols, n_entries : symbols written, and how many words have a number now
    """
    n = 0
    last_bits = (1 << DOCUMENT_BITS) - 1
    for text in range(text_offsets.shape[0] - 1):
        document = first_document + text
        for k in range(text_offsets[text], text_offsets[text + 1]):
            level = breaks[k]
            # Written in any case, and kept where it is a break: nothing to guess for the processor.
            packed[n] = level
            n += int((level == SENTENCE_BREAK) | (level == LINE_BREAK))
            word = targets[codes[k]]
            tallies[word, 0] += 1
            documents = tallies[word, 1]
            is_new = np.int64((documents & last_bits) != document)
            tallies[word, 1] = (((documents >> DOCUMENT_BITS) + is_new) << DOCUMENT_BITS) | document
            number = np.int64(numbers[word])
            if number < 0:
                number = np.int64(n_entries)
                numbers[word] = number
                entries[number] = word
                n_entries += 1
            if number < FIRST_LONG:
                packed[n] = number + FIRST_WORD
                n += 1
            else:
                packed[n], packed[n + 1], packed[n + 2] = LONG, number & 0xFFFF, number >> 16
                n += 3
        packed[n] = END_OF_TEXT
        n += 1
    return n, n_entries


@inlined_kernel
def _long_number(packed: npt.NDArray[np.uint16], pos: int) -> int:
    """The number of a word whose LONG stands before ``pos``."""
    return np.int64(packed[pos]) | np.int64(packed[pos + 1]) << 16  # type: ignore[return-value]


@kernel
def unpack_tokens(
    packed: npt.NDArray[np.uint16],
    units: npt.NDArray[np.int32],
    keeps: npt.NDArray[np.bool_],
    codes: npt.NDArray[np.int32],
    breaks: npt.NDArray[np.uint8],
    text_offsets: npt.NDArray[np.int64],
) -> int:
    """Read what :func:`tally_and_pack` wrote, in numbers of one's own.

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
        if symbol >= FIRST_WORD:
            number = symbol - FIRST_WORD
            if symbol == LONG:
                number = _long_number(packed, pos)  # type: ignore[assignment]
                pos += 2
            if keeps[text]:
                codes[n] = units[number]
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


@kernel
def unpack_sentences(
    packed: npt.NDArray[np.uint16],
    units: npt.NDArray[np.int32],
    keeps: npt.NDArray[np.bool_],
    least_break: int,
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
) -> tuple[int, int, int]:
    """What :func:`unpack_tokens` and then :func:`vecmill.kernels.token_counts.compact` give, in one go.

    Parameters
    ----------
    packed, keeps : as for :func:`unpack_tokens`
    units : int32[n_words], the id of each word, below zero for those that are dropped
    least_break : smallest break that ends a sentence
    token_ids : int32[n_tokens + 1] or longer
    sentence_offsets : int64[n_tokens + 1] or longer; [0] becomes 0

    Returns
    -------
    n_found, n_tokens, n_sentences : words of the texts that are wanted, those that are dropped among them; and what was
        written
    """
    n_found, n_tokens, n_sentences, text, pos = 0, 0, 0, 0, 0
    sentence_offsets[0] = 0
    is_wanted = keeps.shape[0] > 0 and keeps[0]
    while pos < packed.shape[0]:
        symbol = np.int64(packed[pos])
        pos += 1
        if symbol >= FIRST_WORD:
            number = symbol - FIRST_WORD
            if symbol == LONG:
                number = _long_number(packed, pos)  # type: ignore[assignment]
                pos += 2
            unit = units[number]
            # Written in any case, and kept where it is wanted: rare words come when the processor expects none.
            token_ids[n_tokens] = unit
            n_found += int(is_wanted)
            n_tokens += int(is_wanted & (unit >= 0))
        elif symbol == END_OF_TEXT or symbol >= least_break:
            if n_tokens > sentence_offsets[n_sentences]:
                n_sentences += 1
                sentence_offsets[n_sentences] = n_tokens
            if symbol == END_OF_TEXT:
                text += 1
                is_wanted = text < keeps.shape[0] and keeps[text]
    return n_found, n_tokens, n_sentences
