"""What is done with the words that :mod:`vecmill.kernels.tokens` finds: tallies, and sentences of word ids."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel

# Documents are numbered in so many bits of a tally; the bits above count them.
DOCUMENT_BITS = 24


@kernel
def tally(
    codes: npt.NDArray[np.int32],
    text_offsets: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int32],
    tallies: npt.NDArray[np.int64],
    first_document: int,
) -> int:
    """Add occurrences and documents of words.

    Parameters
    ----------
    codes, text_offsets : as :func:`find_tokens` leaves them; OUTSIDE is passed over
    targets : int32[n_max] of the table, none of them PENDING
    tallies : int64[n_max, 2]: occurrences; documents times 2**DOCUMENT_BITS, and the number of the last of them. Two
        numbers rather than three, and nothing to decide: a word is as often new to a document as not
    first_document : number of the first text, above 0 and that of every text before; the last one's is below
        2**DOCUMENT_BITS

    Returns
    -------
    n_tallied : words that are not OUTSIDE
    """
    n_tallied = 0
    last_bits = (1 << DOCUMENT_BITS) - 1
    for text in range(text_offsets.shape[0] - 1):
        document = first_document + text
        for k in range(text_offsets[text], text_offsets[text + 1]):
            code = codes[k]
            if code < 0:
                continue
            word = targets[code]
            if word < 0:
                continue
            n_tallied += 1
            tallies[word, 0] += 1
            documents = tallies[word, 1]
            is_new = np.int64((documents & last_bits) != document)
            tallies[word, 1] = (((documents >> DOCUMENT_BITS) + is_new) << DOCUMENT_BITS) | document
    return n_tallied


@kernel
def compact(
    codes: npt.NDArray[np.int32],
    breaks: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int32],
    least_break: int,
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Sentences of word ids, without words that are OUTSIDE and without sentences that this empties.

    Parameters
    ----------
    least_break : smallest break that ends a sentence
    token_ids : int32[len(codes)], may be ``codes`` itself
    sentence_offsets : int64[len(codes) + 1]; [0] becomes 0

    Returns
    -------
    n_tokens, n_sentences : what was written
    """
    n_tokens, n_sentences = 0, 0
    sentence_offsets[0] = 0
    for k in range(codes.shape[0]):
        if breaks[k] >= least_break and n_tokens > sentence_offsets[n_sentences]:
            n_sentences += 1
            sentence_offsets[n_sentences] = n_tokens
        code = codes[k]
        if code >= 0:
            word = targets[code]
            if word >= 0:
                token_ids[n_tokens] = word
                n_tokens += 1
    if n_tokens > sentence_offsets[n_sentences]:
        n_sentences += 1
        sentence_offsets[n_sentences] = n_tokens
    return n_tokens, n_sentences
