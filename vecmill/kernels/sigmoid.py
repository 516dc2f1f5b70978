"""The logistic function and its log loss, from a table or exactly.

sigmoid(x) = 1 / (1 + exp(-x)),   loss(x) = -log sigmoid(x)

Follows word2vec.c: inside (-6, 6) the value at the middle of one of 1024 equal bins (word2vec.c: lower edge of 1000),
outside it saturates at 0 or 1. The error is at most 0.0030 for the sigmoid, inside and outside alike.
The loss outside is max(-x, 0), off by at most 0.0025.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel

LIMIT = 6.0
N_BINS = 1024


class SigmoidTable(NamedTuple):
    """Values at the middle of equal bins over (-LIMIT, LIMIT); empty arrays ask for exact values.

    Attributes
    ----------
    sigmoids, losses : floating[N_BINS] or floating[0]
    """

    sigmoids: npt.NDArray[np.floating]
    losses: npt.NDArray[np.floating]


def sigmoid_table(dtype: npt.DTypeLike = np.float32) -> SigmoidTable:
    """The table that training uses."""
    middles = (np.arange(N_BINS) + 0.5) * (2 * LIMIT / N_BINS) - LIMIT
    return SigmoidTable((1 / (1 + np.exp(-middles))).astype(dtype), np.log1p(np.exp(-middles)).astype(dtype))


def exact_sigmoid(dtype: npt.DTypeLike = np.float64) -> SigmoidTable:
    """The table that stands for exact values, for gradient checks."""
    return SigmoidTable(np.empty(0, dtype), np.empty(0, dtype))


@kernel
def sigmoid_and_loss(x: float, table: SigmoidTable) -> tuple[float, float]:
    """sigmoid(x) in x's precision, and -log sigmoid(x) in float64, which is not finite where x is not."""
    if table.sigmoids.shape[0] == 0:
        small = math.exp(-abs(x))
        value = 1 / (1 + small) if x >= 0 else small / (1 + small)
        return value, math.log1p(small) + 0.5 * (abs(x) - x)
    if -LIMIT < x < LIMIT:
        # the last bin catches an x that rounding lifts to the upper edge
        index = min(np.int64((x + LIMIT) * (N_BINS / (2 * LIMIT))), np.int64(N_BINS - 1))
        return table.sigmoids[index], np.float64(table.losses[index])
    # max(-x, 0) in a form that lets NaN through: infinity minus infinity is NaN, and NaN takes this branch
    saturated = table.sigmoids.dtype.type(1.0 if x > 0 else 0.0)
    return saturated, 0.5 * (abs(np.float64(x)) - np.float64(x))  # type: ignore[return-value]
