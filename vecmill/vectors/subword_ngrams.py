"""Character n-grams of words and the buckets that they hash into, as fastText has them.

A word is written as ``<word>`` in UTF-8; its n-grams are all runs of ``min_n`` to ``max_n`` code points, except ``<``
and ``>`` alone. The bucket of an n-gram is FNV-1a over its bytes, modulo the number of buckets.

Source: Bojanowski et al. 2017, sec. 3.2; fastText's ``dictionary.cc`` for everything that the paper leaves open:

- bytes enter the hash as signed numbers, so those of 128 and above flip the upper bits of the hash too;
- an n-gram that occurs twice in a word counts twice;
- ``</s>``, which stands for the end of a line, has no n-grams (gensim gives it some).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

END_OF_LINE = "</s>"

# Rows in a matrix are int32, and so are fastText's.
MOST_BUCKETS = 2**31 - 1

_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)

# Words of one pass: some ten megabytes of intermediate arrays, whatever the size of the vocabulary.
_BLOCK_WORDS = 1 << 14


class NgramTable(NamedTuple):
    """The buckets of each word's n-grams, ragged.

    Attributes
    ----------
    offsets : int64[n_words + 1]; the n-grams of word w are buckets[offsets[w]:offsets[w + 1]]
    buckets : int32[n_ngrams], each in [0, number of buckets); in the order of their first character, then their length
    """

    offsets: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int32]


def ngram_table(words: Sequence[str], *, min_n: int, max_n: int, subword_buckets: int) -> NgramTable:
    """The n-grams of every word.

    Parameters
    ----------
    words : text that can be written as UTF-8
    min_n, max_n : code points in the shortest and in the longest n-gram; ``max_n`` 0, or below ``min_n``: no n-grams
    subword_buckets : number of buckets, 0 to 2**31 - 1; 0: no n-grams
    """
    if max_n < max(min_n, 1) or subword_buckets == 0:
        return NgramTable(np.zeros(len(words) + 1, np.int64), np.empty(0, np.int32))
    counts, buckets = [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
    for start in range(0, len(words), _BLOCK_WORDS):
        block_counts, hashes = _hashes(words[start : start + _BLOCK_WORDS], max(min_n, 1), max_n)
        counts.append(block_counts)
        buckets.append((hashes % np.uint32(subword_buckets)).astype(np.int32))
    return NgramTable(np.cumsum(np.concatenate(counts)), np.concatenate(buckets))


def _hashes(words: Sequence[str], min_n: int, max_n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Number of n-grams of each word, and the hashes of all of them; step by step for all n-grams of a block at once.

    Every character of every word is the start of at most ``max_n - min_n + 1`` n-grams, each one character longer than
    the last, so their hashes are stages of one and the same computation.
    """
    encoded = [b"" if word == END_OF_LINE else f"<{word}>".encode() for word in words]
    # Where a hash has read to its word's end it still reads on, into a character that no one asks for.
    data = np.frombuffer(b"".join(encoded) + b"\0", np.uint8)
    is_start = (data & 0xC0) != 0x80
    starts = np.flatnonzero(is_start)  # the last one is the terminator
    n_bytes = np.array([len(each) for each in encoded], np.int64)
    first_bytes = np.concatenate([[0], np.cumsum(n_bytes)])
    # characters, numbered through the block: those of word w are [first_characters[w], first_characters[w + 1])
    first_characters = np.searchsorted(starts, first_bytes)
    n_characters = np.diff(first_characters)
    characters = np.arange(first_characters[-1])
    ends = np.repeat(first_characters[1:], n_characters)  # of the word that each character is in
    begins = np.repeat(first_characters[:-1], n_characters)

    signed = data.view(np.int8).astype(np.int32).view(np.uint32)
    hashes = np.full(characters.size, _FNV_START)
    stages = np.empty((characters.size, max_n - min_n + 1), np.uint32)
    wanted = np.zeros(stages.shape, bool)
    for n in range(1, max_n + 1):
        inside = characters[characters + n <= ends]
        last = inside + n - 1  # the n-th character
        at, stop = starts[last], starts[last + 1]
        value = hashes[inside]
        for byte in range(4):
            more = at + byte < stop
            step = (value ^ signed[np.minimum(at + byte, data.size - 1)]) * _FNV_PRIME
            value = np.where(more, step, value)
        hashes[inside] = value
        if n >= min_n:
            stages[inside, n - min_n] = value
            wanted[inside, n - min_n] = True
            if n == 1:
                edge = (inside == begins[inside]) | (inside + 1 == ends[inside])
                wanted[inside[edge], 0] = False
    per_character = np.concatenate([[0], np.cumsum(wanted.sum(axis=1))])
    return np.diff(per_character[first_characters]), stages[wanted]
