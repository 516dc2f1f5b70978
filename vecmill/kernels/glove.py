"""GloVe: vectors whose products are the logarithms of co-occurrence counts, by weighted least squares and AdaGrad.

J = sum over pairs with X[i, j] > 0 of 1/2 f(X[i, j]) (w_i · c_j + b_i + b'_j - log X[i, j])^2
f(x) = min(1, (x / x_max)^alpha)                                                 (Pennington et al. 2014, eq. 8 and 9)

The factor 1/2 is that of the authors' program, whose steps we follow too: AdaGrad with step 1 whose sums of squares
begin at 1 / learning_rate^2. (The program multiplies gradients by the rate before it squares them and begins at 1,
which is the same.) The rate is thus that of the first steps, and matters less and less as squares add up. Biases may
begin at a rate of their own: the program of today leaves the factor out for them, which is a rate of 1.

Biases are no case of their own. A row is [vector, b, 1] on one side and [vector, 1, b'] on the other, so that the
product of two rows is the whole score; the ones stay what they are because their sums of squares begin at FROZEN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import COMPILES, kernel
from vecmill.kernels.vector_steps import prefetch_row

# A step divided by the root of this is below half a unit in the last place of 1, in float64 as in float32.
FROZEN = 1e36

# Pairs between asking for rows and changing them: four rows of 0.9 kB each come from memory meanwhile.
_AHEAD = 4
# float32 of a cache line and of a register, the unit that rows are padded to.
_LANES = 16


@kernel
def train_pair(
    center: npt.NDArray[np.floating], context: npt.NDArray[np.floating], log_count: np.floating, weight: np.floating
) -> float:
    """One AdaGrad step on one entry of X.

    diff = w · c - log X;   w -= f diff c / sqrt(G_w),  G_w += (f diff c)^2,   and c, G_c likewise, from the old w

    Parameters
    ----------
    center, context : floating[2, row_length], a row w or c and under it the sums of squares G of its gradients
    log_count, weight : log X and f(X)

    Returns
    -------
    f diff^2 before the step, float64.
    """
    w, center_squares = center[0], center[1]
    c, context_squares = context[0], context[1]
    one = w.dtype.type(1)
    diff = -log_count
    for d in range(w.shape[0]):
        diff += w[d] * c[d]
    slope = weight * diff
    for d in range(w.shape[0]):
        x, y = w[d], c[d]
        by_x, by_y = slope * y, slope * x
        w[d] = x - by_x * (one / np.sqrt(center_squares[d]))
        c[d] = y - by_y * (one / np.sqrt(context_squares[d]))
        center_squares[d] += by_x * by_x
        context_squares[d] += by_y * by_y
    return np.float64(slope) * np.float64(diff)


@kernel
def train_glove(
    pairs: npt.NDArray[Any],
    center: npt.NDArray[np.floating],
    context: npt.NDArray[np.floating],
    x_max: float,
    alpha: float,
    symmetric: bool,
) -> tuple[float, int]:
    """Train on entries of X, one after the other.

    Parameters
    ----------
    pairs : PAIR[n] (see ``cooccurrence``), values above 0
    center, context : floating[n_words, 2, row_length], rows as above and their sums of squares, changed in place
    symmetric : each pair of two different words stands for X[row, col] and X[col, row], and is learned in this order

    Returns
    -------
    loss : float64, sum of the terms of J, each taken before its step;  n_updates : number of entries of X

    Threads share ``center`` and ``context`` without locks: two that meet in a row may lose a part of one's step. With
    many more rows than threads this is rare, and a later step makes up for it (Recht et al. 2011, "Hogwild!").
    """
    log_x_max = math.log(x_max)
    loss = 0.0
    n_updates = 0
    n_vectors = 2 * center.shape[2] // _LANES
    for k in range(pairs.shape[0]):
        if COMPILES and k + _AHEAD < pairs.shape[0]:
            next_row, next_col = pairs[k + _AHEAD]["row"], pairs[k + _AHEAD]["col"]
            prefetch_row(center[next_row].ctypes.data, n_vectors)
            prefetch_row(context[next_col].ctypes.data, n_vectors)
            if symmetric:
                prefetch_row(center[next_col].ctypes.data, n_vectors)
                prefetch_row(context[next_row].ctypes.data, n_vectors)
        row, col = pairs[k]["row"], pairs[k]["col"]
        exact_log = math.log(np.float64(pairs[k]["value"]))
        log_count = center.dtype.type(exact_log)
        weight = center.dtype.type(math.exp(min(alpha * (exact_log - log_x_max), 0.0)))
        loss += train_pair(center[row], context[col], log_count, weight)
        n_updates += 1
        if symmetric and row != col:
            loss += train_pair(center[col], context[row], log_count, weight)
            n_updates += 1
    return 0.5 * loss, n_updates
