"""One step of negative sampling: an input vector learns to tell a word from words drawn at random.

loss(x) = -log sigmoid(x · u_0) - sum over k of log sigmoid(-x · u_k)          (Mikolov et al. 2013b, eq. 4)

u_0 is the context vector of the centre word, u_k that of the k-th negative. Three steps, used by every trainer:
gather the rows of one centre word, learn from each input vector against them, put the changed rows back.

Differences to word2vec.c: the negatives are drawn once for a centre word and shared by all inputs of its window
(after Ji et al. 2016, "Parallelizing word2vec in shared and distributed memory"), all scores of a window are taken
before anything changes, and the rows u change after the whole window, so the step is the gradient of its loss.
As there, a negative that is the centre word itself is left out, not drawn again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import COMPILES, kernel
from vecmill.kernels.sampling import GAMMA, Sampler, draw_negative, mix64
from vecmill.kernels.sigmoid import SigmoidTable, sigmoid_and_loss
from vecmill.kernels.vector_code import LANES
from vecmill.kernels.windows import VectorWorkspace, make_vector_workspace


class PlainWorkspace(NamedTuple):
    """Memory of one thread of the plain kernels, allocated once; its contents mean nothing between calls.

    Attributes
    ----------
    kept_ids, kept_positions : int32 and int64[chunk tokens + 2 * window], see ``sampling.gather_kept``
    output_ids : int64[1 + n_negatives], the centre word and its negatives
    outputs : floating[1 + n_negatives, dim], their context vectors as the window found them
    changes : floating[1 + n_negatives, dim], what the window adds to them
    steps : floating[1 + n_negatives], learning rate times minus the derivative of the loss by each x · u
    window_steps : floating[2 * window, 1 + n_negatives], the same for each input of a window
    input : floating[dim], an input vector that is no row of a matrix (CBOW's mean)
    input_change : floating[dim], what is to be added to the input
    """

    kept_ids: npt.NDArray[np.int32]
    kept_positions: npt.NDArray[np.int64]
    output_ids: npt.NDArray[np.int64]
    outputs: npt.NDArray[np.floating]
    changes: npt.NDArray[np.floating]
    steps: npt.NDArray[np.floating]
    window_steps: npt.NDArray[np.floating]
    input: npt.NDArray[np.floating]
    input_change: npt.NDArray[np.floating]


# What the trainers take: which of the two decides between vector and plain kernels.
Workspace = PlainWorkspace | VectorWorkspace


def make_workspace(
    *, chunk_tokens: int, window: int, n_negatives: int, row_length: int, dtype: npt.DTypeLike = np.float32
) -> Workspace:
    """Allocate the memory of one thread.

    float32 rows of a multiple of 16 numbers are trained by the vector kernels; anything else, float64 above all, by the
    plain ones.

    Parameters
    ----------
    chunk_tokens : at least the positions of any kernel call
    window, n_negatives, row_length, dtype : what the kernel calls will be given
    """
    if COMPILES and np.dtype(dtype) == np.float32 and row_length % LANES == 0:
        return make_vector_workspace(
            chunk_tokens=chunk_tokens, window=window, n_negatives=n_negatives, row_length=row_length
        )
    return make_plain_workspace(
        chunk_tokens=chunk_tokens, window=window, n_negatives=n_negatives, row_length=row_length, dtype=dtype
    )


def make_plain_workspace(
    *, chunk_tokens: int, window: int, n_negatives: int, row_length: int, dtype: npt.DTypeLike = np.float32
) -> PlainWorkspace:
    """Allocate the memory of one thread of the plain kernels."""
    n_kept, n_outputs = chunk_tokens + 2 * window, 1 + n_negatives
    return PlainWorkspace(
        kept_ids=np.empty(n_kept, np.int32),
        kept_positions=np.empty(n_kept, np.int64),
        output_ids=np.empty(n_outputs, np.int64),
        outputs=np.empty((n_outputs, row_length), dtype),
        changes=np.empty((n_outputs, row_length), dtype),
        steps=np.empty(n_outputs, dtype),
        window_steps=np.empty((2 * window, n_outputs), dtype),
        input=np.empty(row_length, dtype),
        input_change=np.empty(row_length, dtype),
    )


@kernel
def gather_outputs(
    context_vectors: npt.NDArray[np.floating],
    center_id: int,
    n_negatives: int,
    counter: np.uint64,
    sampler: Sampler,
    work: PlainWorkspace,
) -> int:
    """Copy the rows of a centre word and its negatives into ``work``, and set their changes to zero.

    Draw k (from 1) comes from ``counter + k * GAMMA``. Returns the number of rows: 1 + n_negatives, less the
    negatives that were the centre word. A word drawn twice has two rows; both their changes are added in the end.
    """
    n_outputs = 1
    work.output_ids[0] = center_id
    for _ in range(n_negatives):
        counter += GAMMA
        word_id = draw_negative(mix64(counter), sampler)
        if word_id != center_id:
            work.output_ids[n_outputs] = word_id
            n_outputs += 1
    for o in range(n_outputs):
        word_id = work.output_ids[o]
        for d in range(context_vectors.shape[1]):
            work.outputs[o, d] = context_vectors[word_id, d]
            work.changes[o, d] = 0
    return n_outputs


@kernel
def learn_input(
    x: npt.NDArray[np.floating], n_outputs: int, learning_rate: np.floating, table: SigmoidTable, work: PlainWorkspace
) -> float:
    """Let one input vector learn against the gathered rows; returns its loss before the step, float64.

    :func:`score_input`, then :func:`change_outputs`. Neither x nor u changes here.
    """
    loss = score_input(x, n_outputs, learning_rate, table, work)
    change_outputs(x, n_outputs, work)
    return loss


@kernel
def score_input(
    x: npt.NDArray[np.floating], n_outputs: int, learning_rate: np.floating, table: SigmoidTable, work: PlainWorkspace
) -> float:
    """``work.steps[o] = learning_rate * (label_o - sigmoid(x · u_o))``, label 1 for row 0 and 0 for the negatives.

    Returns the loss, float64.
    """
    outputs, steps = work.outputs, work.steps
    loss = 0.0
    for o in range(n_outputs):
        score = x.dtype.type(0)
        for d in range(x.shape[0]):
            score += x[d] * outputs[o, d]
        # 1 - sigmoid(z) = sigmoid(-z), so both labels are one formula: how wrong the word is told from the others
        sign = x.dtype.type(1 if o == 0 else -1)
        right, word_loss = sigmoid_and_loss(sign * score, table)  # type: ignore[arg-type]
        loss += word_loss
        steps[o] = sign * (x.dtype.type(1) - right) * learning_rate
    return loss


@kernel
def change_outputs(x: npt.NDArray[np.floating], n_outputs: int, work: PlainWorkspace) -> None:
    """``work.changes[o] += steps[o] * x`` and ``work.input_change = sum over o of steps[o] * u_o``."""
    outputs, changes, input_change = work.outputs, work.changes, work.input_change
    for d in range(x.shape[0]):
        input_change[d] = 0
    for o in range(n_outputs):
        step = work.steps[o]
        for d in range(x.shape[0]):
            input_change[d] += step * outputs[o, d]
            changes[o, d] += step * x[d]


@kernel
def change_row(row: npt.NDArray[np.floating], change: npt.NDArray[np.floating], keep: float, limit: float) -> None:
    """``row = keep * row + change``, the change scaled down to the Euclidean norm ``limit``, if that is >= 0."""
    factor = row.dtype.type(1)
    if limit >= 0:
        squares = 0.0
        for d in range(row.shape[0]):
            squares += np.float64(change[d]) * np.float64(change[d])
        if squares > limit * limit:
            factor = row.dtype.type(limit / math.sqrt(squares))
    for d in range(row.shape[0]):
        row[d] = row.dtype.type(keep) * row[d] + factor * change[d]


@kernel
def scatter_outputs(
    context_vectors: npt.NDArray[np.floating], n_outputs: int, work: PlainWorkspace, keep: float, limit: float
) -> None:
    """Add the changes to the rows they belong to, see :func:`change_row`."""
    output_ids, changes = work.output_ids, work.changes
    if keep != 1 or limit >= 0:  # else a word drawn twice may be changed twice
        for o in range(1, n_outputs):
            for p in range(o):
                if output_ids[p] == output_ids[o]:
                    for d in range(context_vectors.shape[1]):
                        changes[p, d] += changes[o, d]
                    output_ids[o] = -1
                    break
    for o in range(n_outputs):
        if output_ids[o] >= 0:
            change_row(context_vectors[output_ids[o]], changes[o], keep, limit)
