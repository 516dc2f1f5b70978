"""What GloVe fills: two sides of vectors and biases, each with AdaGrad's sums of squares beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vecmill.kernels.glove import FROZEN

# 16 float32 are one cache line and one AVX-512 register: padded rows never share a line, and loops have no remainder.
_ROW_MULTIPLE = 16
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class GloveModel:
    """Rows of both sides, laid out for ``vecmill.kernels.glove``.

    Attributes
    ----------
    center, context : floating[n_words, 2, row_length], C-contiguous, 64-byte aligned. [:, 0] are rows: a vector of
        ``dim`` numbers, then the bias and 1 (center) or 1 and the bias (context), then zeros up to a multiple of 16.
        [:, 1] are their sums of squares
    dim : numbers of a vector
    """

    center: npt.NDArray[np.floating]
    context: npt.NDArray[np.floating]
    dim: int

    @property
    def matrices(self) -> Mapping[str, npt.NDArray[np.floating]]:
        """What checkpoints keep."""
        return {"center": self.center, "context": self.context}


def initial_glove(
    n_words: int,
    dim: int,
    learning_rate: float,
    rng: np.random.Generator,
    dtype: type[np.floating] = np.float32,
    *,
    bias_learning_rate: float | None = None,
) -> GloveModel:
    """Vectors and biases even in [-0.5, 0.5) / dim, as in the authors' program; drawn by NumPy's generator.

    Parameters
    ----------
    learning_rate : AdaGrad's first step, of the vectors and, without ``bias_learning_rate``, of the biases
    """
    bias_rate = learning_rate if bias_learning_rate is None else bias_learning_rate
    sides = []
    for bias, one in ((dim, dim + 1), (dim + 1, dim)):
        side = _aligned(n_words, -(-(dim + 2) // _ROW_MULTIPLE) * _ROW_MULTIPLE, np.dtype(dtype))
        for start in range(0, n_words, _BLOCK_ROWS):
            rows = side[start : start + _BLOCK_ROWS]
            numbers = (rng.random((len(rows), dim + 1), dtype=np.float32) - np.float32(0.5)) / np.float32(dim)
            rows[:, 0, :dim] = numbers[:, :dim]
            rows[:, 0, bias] = numbers[:, dim]
            rows[:, 0, one] = 1
            rows[:, 1] = 1 / learning_rate**2
            rows[:, 1, bias] = 1 / bias_rate**2
            rows[:, 1, one] = FROZEN
        sides.append(side)
    return GloveModel(sides[0], sides[1], dim)


def vectors_of(side: npt.NDArray[np.floating], dim: int) -> npt.NDArray[np.floating]:
    """floating[n_words, dim], the vectors of one side, C-contiguous, in its memory, whose contents are lost.

    A copy would add a quarter to the memory of the largest thing there is. Rows move towards the front, so a block
    never overwrites one that has not moved yet.
    """
    n_words = side.shape[0]
    vectors = side.reshape(-1)[: n_words * dim].reshape(n_words, dim)
    for start in range(0, n_words, _BLOCK_ROWS):
        vectors[start : start + _BLOCK_ROWS] = side[start : start + _BLOCK_ROWS, 0, :dim].copy()
    return vectors


def _aligned(n_words: int, row_length: int, dtype: np.dtype[np.floating]) -> npt.NDArray[np.floating]:
    n_numbers, spare = n_words * 2 * row_length, 64 // dtype.itemsize
    memory = np.empty(n_numbers + spare, dtype)
    skipped = -(memory.ctypes.data // dtype.itemsize) % spare
    aligned = memory[skipped : skipped + n_numbers]
    aligned[:] = 0
    return aligned.reshape(n_words, 2, row_length)
