"""The two matrices that a word trainer fills, in memory laid out for the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# 16 float32 are one cache line and one AVX-512 register: padded rows never share a line, and loops have no remainder.
ROW_MULTIPLE = 16
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class WordModel:
    """Center vectors v and context vectors u of negative sampling, rows padded with zeros that stay zeros.

    Attributes
    ----------
    center_vectors, context_vectors : float32[n_words, row_length], C-contiguous, 64-byte aligned;
        row_length is ``dim`` rounded up to a multiple of 16
    dim : numbers of a row that count
    """

    center_vectors: npt.NDArray[np.float32]
    context_vectors: npt.NDArray[np.float32]
    dim: int

    @property
    def matrices(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """What checkpoints keep."""
        return {"center_vectors": self.center_vectors, "context_vectors": self.context_vectors}


def initial_model(n_words: int, dim: int, rng: np.random.Generator) -> WordModel:
    """v even in [-0.5, 0.5) / dim, u zero.

    Source: word2vec.c. Difference: drawn by NumPy's generator.
    """
    center_vectors, context_vectors = aligned_rows(n_words, dim), aligned_rows(n_words, dim)
    for start in range(0, n_words, _BLOCK_ROWS):
        block = center_vectors[start : start + _BLOCK_ROWS, :dim]
        block[:] = (rng.random(block.shape, dtype=np.float32) - np.float32(0.5)) / np.float32(dim)
    return WordModel(center_vectors, context_vectors, dim)


def copied_model(model: WordModel) -> WordModel:
    """The same numbers in other memory."""
    n_words, dim = model.center_vectors.shape[0], model.dim
    copy = WordModel(aligned_rows(n_words, dim), aligned_rows(n_words, dim), dim)
    copy.center_vectors[:], copy.context_vectors[:] = model.center_vectors, model.context_vectors
    return copy


def same_vectors(model: WordModel, other: WordModel) -> bool:
    """Whether all numbers are equal, NaN to itself too."""
    for name in ("center_vectors", "context_vectors"):
        ours, theirs = getattr(model, name), getattr(other, name)
        for start in range(0, ours.shape[0], _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            if not np.array_equal(ours[block].view(np.int32), theirs[block].view(np.int32)):
                return False
    return True


def without_padding(padded: npt.NDArray[np.float32], dim: int) -> npt.NDArray[np.float32]:
    """float32[n_words, dim], C-contiguous, in the memory of ``padded``, whose contents are lost.

    A copy would double the memory of the largest thing there is. Rows move towards the front, so a block never
    overwrites one that has not moved yet.
    """
    n_words = padded.shape[0]
    dense = padded.reshape(-1)[: n_words * dim].reshape(n_words, dim)
    if dim != padded.shape[1]:
        for start in range(0, n_words, _BLOCK_ROWS):
            dense[start : start + _BLOCK_ROWS] = padded[start : start + _BLOCK_ROWS, :dim].copy()
    return dense


def aligned_rows(n_words: int, dim: int) -> npt.NDArray[np.float32]:
    """Zeros, float32[n_words, row_length], 64-byte aligned; takes memory where it is written to."""
    row_length = -(-dim // ROW_MULTIPLE) * ROW_MULTIPLE
    memory = np.zeros(n_words * row_length + ROW_MULTIPLE, np.float32)
    skipped = -(memory.ctypes.data // memory.itemsize) % ROW_MULTIPLE
    return memory[skipped : skipped + n_words * row_length].reshape(n_words, row_length)
