"""What must hold of a token store and its vocabulary before a kernel, which checks nothing, may read them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError, VocabularyError

# Checked block by block, because both arrays may be mapped files larger than memory.
_BLOCK = 1 << 20


def check_corpus(
    token_ids: npt.NDArray[np.int32], sentence_offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> None:
    """Refuse tokens, sentences or counts that do not fit together.

    Parameters
    ----------
    token_ids : int32[n_tokens]
    sentence_offsets : int64[n_sentences + 1]
    counts : int64[n_words], from the vocabulary that the tokens were encoded with

    Raises
    ------
    VocabularyError : no words, or no tokens
    FormatError : a wrong dtype or shape, a count below 1, offsets that do not rise from 0 to n_tokens, or a token id
        outside the vocabulary; the message names the first one and its position
    """
    _check_array("token_ids", token_ids, np.dtype(np.int32))
    _check_array("sentence_offsets", sentence_offsets, np.dtype(np.int64))
    _check_array("vocabulary counts", counts, np.dtype(np.int64))
    if counts.size == 0:
        raise VocabularyError(
            "the vocabulary has no words",
            expected="at least one",
            todo="lower vocabulary.min_count, or give a larger corpus",
        )
    if int(counts.min()) < 1:
        word_id = int(np.argmax(counts < 1))
        raise FormatError(
            f"vocabulary: word {word_id} has the count {counts[word_id]}",
            expected="a count of at least 1 for every word",
            todo="rebuild it: `vecmill run --refresh vocabulary`",
        )
    _check_offsets(sentence_offsets, token_ids.size)
    if token_ids.size == 0:
        raise VocabularyError(
            "the encoded corpus has no tokens",
            expected="text with words of the vocabulary",
            todo="lower vocabulary.min_count, or give a larger corpus",
        )
    for start in range(0, token_ids.size, _BLOCK):
        block = token_ids[start : start + _BLOCK]
        if int(block.min()) < 0 or int(block.max()) >= counts.size:
            place = start + int(np.argmax((block < 0) | (block >= counts.size)))
            raise FormatError(
                f"token_ids[{place}] is {token_ids[place]}, outside the vocabulary of {counts.size} words",
                expected=f"ids from 0 to {counts.size - 1}",
                todo="encode again with this vocabulary: `vecmill run --refresh encode`",
            )


def _check_array(name: str, array: npt.NDArray[np.generic], dtype: np.dtype[np.generic]) -> None:
    if array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
        raise FormatError(
            f"{name} is {array.dtype}{list(array.shape)}",
            expected=f"{dtype}, one dimension, contiguous",
            todo="encode again: `vecmill run --refresh encode`",
        )


def _check_offsets(sentence_offsets: npt.NDArray[np.int64], n_tokens: int) -> None:
    todo = "encode again: `vecmill run --refresh encode`"
    if sentence_offsets.size == 0 or sentence_offsets[0] != 0 or sentence_offsets[-1] != n_tokens:
        ends = f"from {sentence_offsets[0]} to {sentence_offsets[-1]}" if sentence_offsets.size else "nowhere (empty)"
        raise FormatError(f"sentence_offsets runs {ends}", expected=f"from 0 to n_tokens = {n_tokens}", todo=todo)
    for start in range(0, sentence_offsets.size - 1, _BLOCK):
        falls = np.diff(sentence_offsets[start : start + _BLOCK + 1]) < 0
        if falls.any():
            place = start + int(np.argmax(falls)) + 1
            before, after = sentence_offsets[place - 1], sentence_offsets[place]
            raise FormatError(
                f"sentence_offsets[{place}] is {after}, below the {before} before it",
                expected="offsets that never fall",
                todo=todo,
            )
