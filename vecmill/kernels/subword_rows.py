"""Words as means of rows: fetching an input vector, and giving its change back to a word's own row and its n-grams'.

h_w = 1/n * sum over the n rows r of word w of z_r          (Bojanowski et al. 2017, sec. 3.2; fastText takes the mean)

One matrix holds the rows of all words and, below them, those of the n-grams.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sigmoid import SigmoidTable, sigmoid_and_loss


class SubwordRows(NamedTuple):
    """Which rows of the input matrix make up each word, ragged.

    Attributes
    ----------
    offsets : int64[n_words + 1]; word w is made of rows[offsets[w]:offsets[w + 1]], at least one
    rows : int32[n_entries]; a row may come twice in a word and then counts twice
    """

    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]


class SubwordWorkspace(NamedTuple):
    """Memory of one thread, allocated once; its contents mean nothing between calls.

    Attributes
    ----------
    kept_ids, kept_positions : int32 and int64[chunk tokens + 2 * window], see ``sampling.gather_kept``
    output_ids : int64[2 * window + n_negatives], words to be told apart: first those that are right, then negatives
    weights : floating[2 * window + n_negatives], in how many pairs each of them takes part
    steps : floating[4], scores of outputs that go together, and then their steps
    input, input_change : floating[dim], the vector h of a window and what is to be added to it
    """

    kept_ids: npt.NDArray[np.int32]
    kept_positions: npt.NDArray[np.int64]
    output_ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.floating]
    steps: npt.NDArray[np.floating]
    input: npt.NDArray[np.floating]
    input_change: npt.NDArray[np.floating]


def make_subword_workspace(
    *, chunk_tokens: int, window: int, n_negatives: int, row_length: int, dtype: npt.DTypeLike = np.float32
) -> SubwordWorkspace:
    """Allocate the memory of one thread; the numbers are upper bounds of what its kernel calls will ask for."""
    n_kept, n_outputs = chunk_tokens + 2 * window, 2 * window + n_negatives
    return SubwordWorkspace(
        kept_ids=np.empty(n_kept, np.int32),
        kept_positions=np.empty(n_kept, np.int64),
        output_ids=np.empty(n_outputs, np.int64),
        weights=np.empty(n_outputs, dtype),
        steps=np.empty(4, dtype),
        input=np.empty(row_length, dtype),
        input_change=np.empty(row_length, dtype),
    )


@kernel
def add_rows(
    input_vectors: npt.NDArray[np.floating], rows: npt.NDArray[np.int32], total: npt.NDArray[np.floating]
) -> None:
    """``total += sum of the rows``; four rows at a time, so that four fetches from memory are under way at once."""
    dim = total.shape[0]
    r = 0
    while r + 4 <= rows.shape[0]:
        a, b = input_vectors[rows[r]], input_vectors[rows[r + 1]]
        c, e = input_vectors[rows[r + 2]], input_vectors[rows[r + 3]]
        for d in range(dim):
            total[d] += (a[d] + b[d]) + (c[d] + e[d])
        r += 4
    while r < rows.shape[0]:
        a = input_vectors[rows[r]]
        for d in range(dim):
            total[d] += a[d]
        r += 1


@kernel
def add_to_rows(
    input_vectors: npt.NDArray[np.floating], rows: npt.NDArray[np.int32], change: npt.NDArray[np.floating]
) -> None:
    """Add ``change`` to each of the rows, twice where a row comes twice."""
    for r in range(rows.shape[0]):
        row = input_vectors[rows[r]]
        for d in range(change.shape[0]):
            row[d] += change[d]


@kernel
def learn_outputs(
    context_vectors: npt.NDArray[np.floating],
    n_outputs: int,
    n_right: int,
    learning_rate: np.floating,
    table: SigmoidTable,
    work: SubwordWorkspace,
) -> float:
    """Let ``work.input`` learn to tell its right words from the negatives; returns the loss, float64.

    loss(h) = - sum over outputs o of weight_o * log sigmoid(±h · u_o),   + for the first ``n_right``, - for the others

    One output after another, as in word2vec.c: the row of o is read, gives its part of ``work.input_change`` (learning
    rate times minus the derivative by h) and takes its own step, while h stays as it is. Four outputs that are four
    different rows do not notice each other, and go together: their sums run side by side.
    """
    h, change, ids, steps = work.input, work.input_change, work.output_ids, work.steps
    dim = h.shape[0]
    one = h.dtype.type(1)
    loss = 0.0
    for d in range(dim):
        change[d] = 0
    o = 0
    while o < n_outputs:
        n_together = 4 if o + 4 <= n_outputs and are_different(ids[o], ids[o + 1], ids[o + 2], ids[o + 3]) else 1
        a = context_vectors[ids[o]]
        score_a = score_b = score_c = score_e = h.dtype.type(0)
        if n_together == 4:
            b, c, e = context_vectors[ids[o + 1]], context_vectors[ids[o + 2]], context_vectors[ids[o + 3]]
            for d in range(dim):
                score_a += h[d] * a[d]
                score_b += h[d] * b[d]
                score_c += h[d] * c[d]
                score_e += h[d] * e[d]
        else:
            b = c = e = a
            for d in range(dim):
                score_a += h[d] * a[d]
        steps[0], steps[1], steps[2], steps[3] = score_a, score_b, score_c, score_e
        for p in range(n_together):
            # 1 - sigmoid(z) = sigmoid(-z), so both labels are one formula: how wrong the word is told from the others
            sign = one if o + p < n_right else -one
            right, output_loss = sigmoid_and_loss(sign * steps[p], table)
            loss += work.weights[o + p] * output_loss
            steps[p] = sign * (one - right) * learning_rate * work.weights[o + p]
        step_a, step_b, step_c, step_e = steps[0], steps[1], steps[2], steps[3]
        if n_together == 4:
            for d in range(dim):
                change[d] += (step_a * a[d] + step_b * b[d]) + (step_c * c[d] + step_e * e[d])
            for d in range(dim):
                a[d] += step_a * h[d]
            for d in range(dim):
                b[d] += step_b * h[d]
            for d in range(dim):
                c[d] += step_c * h[d]
            for d in range(dim):
                e[d] += step_e * h[d]
        else:
            for d in range(dim):
                change[d] += step_a * a[d]
                a[d] += step_a * h[d]
        o += n_together
    return loss


@kernel
def are_different(a: int, b: int, c: int, e: int) -> bool:
    """Whether no two of four numbers are equal."""
    return a != b and a != c and a != e and b != c and b != e and c != e
