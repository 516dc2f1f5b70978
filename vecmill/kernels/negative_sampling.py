"""One step of negative sampling: an input vector learns to tell a word from words drawn at random.

loss(x) = -log sigmoid(x · u_0) - sum over k of log sigmoid(-x · u_k)          (Mikolov et al. 2013b, eq. 4)

u_0 is the context vector of the centre word, u_k that of the k-th negative. Three steps, used by every trainer:
gather the rows of one centre word, learn from each input vector against them, put the changed rows back.

Differences to word2vec.c: the negatives are drawn once for a centre word and shared by all inputs of its window
(after Ji et al. 2016, "Parallelizing word2vec in shared and distributed memory"), and its rows u change after the
whole window, so the update is the gradient of the window's loss at the u that stood before it.
As there, a negative that is the centre word itself is left out, not drawn again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, Sampler, draw_negative, mix64
from vecmill.kernels.sigmoid import SigmoidTable, sigmoid_and_loss


class Workspace(NamedTuple):
    """Memory of one thread, allocated once; its contents mean nothing between calls.

    Attributes
    ----------
    kept_ids, kept_positions : int32 and int64[chunk tokens + 2 * window], see ``sampling.gather_kept``
    output_ids : int64[1 + n_negatives], the centre word and its negatives
    outputs : floating[1 + n_negatives, dim], their context vectors as the window found them
    changes : floating[1 + n_negatives, dim], what the window adds to them
    steps : floating[1 + n_negatives], learning rate times minus the derivative of the loss by each x · u
    input : floating[dim], an input vector that is no row of a matrix (CBOW's mean)
    input_change : floating[dim], what is to be added to the input
    """

    kept_ids: npt.NDArray[np.int32]
    kept_positions: npt.NDArray[np.int64]
    output_ids: npt.NDArray[np.int64]
    outputs: npt.NDArray[np.floating]
    changes: npt.NDArray[np.floating]
    steps: npt.NDArray[np.floating]
    input: npt.NDArray[np.floating]
    input_change: npt.NDArray[np.floating]


def make_workspace(
    *, chunk_tokens: int, window: int, n_negatives: int, row_length: int, dtype: npt.DTypeLike = np.float32
) -> Workspace:
    """Allocate the memory of one thread; the numbers are upper bounds of what its kernel calls will ask for."""
    n_kept, n_outputs = chunk_tokens + 2 * window, 1 + n_negatives
    return Workspace(
        kept_ids=np.empty(n_kept, np.int32),
        kept_positions=np.empty(n_kept, np.int64),
        output_ids=np.empty(n_outputs, np.int64),
        outputs=np.empty((n_outputs, row_length), dtype),
        changes=np.empty((n_outputs, row_length), dtype),
        steps=np.empty(n_outputs, dtype),
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
    work: Workspace,
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
    x: npt.NDArray[np.floating], n_outputs: int, learning_rate: np.floating, table: SigmoidTable, work: Workspace
) -> float:
    """Let one input vector learn against the gathered rows; returns its loss before the step, float64.

    With s_o = learning_rate * (label_o - sigmoid(x · u_o)), label 1 for row 0 and 0 for the negatives:
    ``work.changes[o] += s_o * x`` and ``work.input_change = sum over o of s_o * u_o``. Neither x nor u changes here.
    """
    dim = x.shape[0]
    outputs, changes, steps, input_change = work.outputs, work.changes, work.steps, work.input_change
    loss = 0.0
    for o in range(n_outputs):
        score = x.dtype.type(0)
        for d in range(dim):
            score += x[d] * outputs[o, d]
        steps[o] = score
    for o in range(n_outputs):
        # 1 - sigmoid(z) = sigmoid(-z), so both labels are one formula: how wrong the word is told from the others
        sign = x.dtype.type(1 if o == 0 else -1)
        right, word_loss = sigmoid_and_loss(sign * steps[o], table)
        loss += word_loss
        steps[o] = sign * (x.dtype.type(1) - right) * learning_rate
    for d in range(dim):
        input_change[d] = 0
    for o in range(n_outputs):
        step = steps[o]
        for d in range(dim):
            input_change[d] += step * outputs[o, d]
            changes[o, d] += step * x[d]
    return loss


@kernel
def scatter_outputs(context_vectors: npt.NDArray[np.floating], n_outputs: int, work: Workspace) -> None:
    """Add the changes to the rows they belong to."""
    for o in range(n_outputs):
        word_id = work.output_ids[o]
        for d in range(context_vectors.shape[1]):
            context_vectors[word_id, d] += work.changes[o, d]
