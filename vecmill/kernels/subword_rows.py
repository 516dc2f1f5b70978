"""Words as means of rows: fetching an input vector, learning from a list of outputs, and giving the change back.

h_w = 1/n * sum over the n rows r of word w of z_r          (Bojanowski et al. 2017, sec. 3.2; fastText takes the mean)

One matrix holds the rows of all words and, below them, those of the n-grams. The loops here serve any float type, and
weight decay and gradient clipping; float32 rows of a multiple of 16 numbers are the business of ``subword_steps``.

Differences to fastText and gensim: all outputs of one step are scored before any of them changes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import COMPILES, inlined_kernel, kernel
from vecmill.kernels.negative_sampling import change_row
from vecmill.kernels.sampling import GAMMA, Sampler, draw_negative, mix64
from vecmill.kernels.sigmoid import SigmoidTable, sigmoid_and_loss
from vecmill.kernels.subword_steps import LARGEST_BLOCK, MOST_VECTORS, outputs_length
from vecmill.kernels.vector_code import LANES
from vecmill.kernels.vector_steps import prefetch_row

# Windows between drawing negatives and using them, so that memory has time; a power of two more are remembered.
AHEAD = 3
REMEMBERED = 4


class SubwordRows(NamedTuple):
    """Which rows of the input matrix make up each word, ragged; made by :func:`make_subword_rows`.

    Attributes
    ----------
    offsets : int64[n_words + 1]; word w is made of rows[offsets[w]:offsets[w + 1]], at least one
    rows : int32[n_entries]; a row may come twice in a word and then counts twice
    gains : float32[n_words], by how much the sum of a word's rows grows where 1 is added to its row for each entry:
        the number of entries, more where a row comes twice
    """

    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]
    gains: npt.NDArray[np.float32]


class SubwordWorkspace(NamedTuple):
    """Memory of one thread, allocated once; its contents mean nothing between calls, but for those that say so.

    Attributes
    ----------
    kept_ids, kept_positions : int32 and int64[chunk tokens + 2 * window], see ``windows.gather_windows``
    lefts, rights : int32 of the same length, bounds of each centre word's window in kept_ids
    negatives : int32[REMEMBERED, 2 * window * n_negatives], drawn ahead
    output_ids : int32[outputs_length], words to be told apart
    weights : floating[outputs_length], how much each counts: above 0 if it is right, below 0 if not, 0 not at all
    steps : floating[outputs_length], scores, and then steps
    input, input_change : floating[row length], the vector h of a window and what is to be added to it
    total_change : floating[row length], what pairs of a window have added to h, in ``subword_skipgram``

    Words that are near the centre word, in ``subword_cbow``; all of the length 2 * window + 1:

    places : int64, which kept word each place holds, -1 for none (and so at the end of each call)
    place_slots : int32, the slot of its word
    slot_words, slot_users : int64, the word of each slot and how many places share it, 0 for a free slot (as above)
    sums, first_sums : floating[.., row length], the sum of a word's rows as it would be, and as it was fetched
    decays : float64, what weight decay takes of its rows
    window_slots : int32, the words of one window;  window_gains : floating, their ``SubwordRows.gains``
    """

    kept_ids: npt.NDArray[np.int32]
    kept_positions: npt.NDArray[np.int64]
    lefts: npt.NDArray[np.int32]
    rights: npt.NDArray[np.int32]
    negatives: npt.NDArray[np.int32]
    output_ids: npt.NDArray[np.int32]
    weights: npt.NDArray[np.floating]
    steps: npt.NDArray[np.floating]
    input: npt.NDArray[np.floating]
    input_change: npt.NDArray[np.floating]
    total_change: npt.NDArray[np.floating]
    places: npt.NDArray[np.int64]
    place_slots: npt.NDArray[np.int32]
    slot_words: npt.NDArray[np.int64]
    slot_users: npt.NDArray[np.int64]
    sums: npt.NDArray[np.floating]
    first_sums: npt.NDArray[np.floating]
    decays: npt.NDArray[np.float64]
    window_slots: npt.NDArray[np.int32]
    window_gains: npt.NDArray[np.floating]


def make_subword_rows(offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int32]) -> SubwordRows:
    """Work out ``gains``; the arguments are kept."""
    n_words = offsets.size - 1
    words = np.repeat(np.arange(n_words), np.diff(offsets))
    order = np.lexsort((rows, words))
    is_first = np.ones(rows.size, np.bool_)
    is_first[1:] = (np.diff(words[order]) != 0) | (np.diff(rows[order]) != 0)
    starts = np.flatnonzero(is_first)
    times = np.diff(np.append(starts, rows.size))
    gains = np.bincount(words[order][starts], times.astype(np.float64) ** 2, minlength=n_words)
    return SubwordRows(offsets, rows, gains.astype(np.float32))


def make_subword_workspace(
    *, chunk_tokens: int, window: int, n_negatives: int, row_length: int, dtype: npt.DTypeLike = np.float32
) -> SubwordWorkspace:
    """Allocate the memory of one thread; the numbers are upper bounds of what its kernel calls will ask for."""
    n_kept, n_outputs, n_places = (
        chunk_tokens + 2 * window,
        outputs_length(2 * window * (1 + n_negatives)),
        2 * window + 1,
    )
    return SubwordWorkspace(
        kept_ids=np.empty(n_kept, np.int32),
        kept_positions=np.empty(n_kept, np.int64),
        lefts=np.empty(n_kept, np.int32),
        rights=np.empty(n_kept, np.int32),
        negatives=np.empty((REMEMBERED, 2 * window * n_negatives), np.int32),
        output_ids=np.empty(n_outputs, np.int32),
        weights=np.empty(n_outputs, dtype),
        steps=np.empty(n_outputs, dtype),
        input=np.empty(row_length, dtype),
        input_change=np.empty(row_length, dtype),
        total_change=np.empty(row_length, dtype),
        places=np.full(n_places, -1, np.int64),
        place_slots=np.empty(n_places, np.int32),
        slot_words=np.empty(n_places, np.int64),
        slot_users=np.zeros(n_places, np.int64),
        sums=np.empty((n_places, row_length), dtype),
        first_sums=np.empty((n_places, row_length), dtype),
        decays=np.zeros(n_places),
        window_slots=np.empty(n_places, np.int32),
        window_gains=np.empty(n_places, dtype),
    )


def vectors_of_row(work: SubwordWorkspace, l2: float, gradient_clip: float) -> int:
    """For how many vectors a row the vector instructions are to be made; 0 where the plain loops have to do it."""
    n_vectors = work.input.size // LANES
    fits = COMPILES and work.input.dtype == np.float32 and work.input.size % LANES == 0 and n_vectors <= MOST_VECTORS
    return n_vectors if fits and l2 == 0 and gradient_clip == 0 else 0


def block_of(n_outputs: int) -> int:
    """Outputs of a block where there are that many, or about that many: as even as they come."""
    return -(-n_outputs // -(-n_outputs // LARGEST_BLOCK))


@inlined_kernel
def draw_ahead(
    i: int,
    n_negatives: int,
    counter: np.uint64,
    context_vectors: npt.NDArray[np.floating],
    sampler: Sampler,
    work: SubwordWorkspace,
    n_vectors: int,
) -> None:
    """Draw the negatives of centre word i; where rows are vectors, ask memory for them and for its own row."""
    place, row_bytes = i % REMEMBERED, n_vectors * LANES * 4
    if n_vectors > 0:
        prefetch_row(context_vectors.ctypes.data + work.kept_ids[i] * row_bytes, n_vectors)
    for k in range(n_negatives):
        counter += GAMMA
        word_id = draw_negative(mix64(counter), sampler)
        work.negatives[place, k] = word_id
        if n_vectors > 0:
            prefetch_row(context_vectors.ctypes.data + word_id * row_bytes, n_vectors)


@inlined_kernel
def prefetch_word(word_id: int, input_vectors: npt.NDArray[np.floating], subwords: SubwordRows, n_vectors: int) -> None:
    """Ask memory for all rows of a word."""
    if n_vectors > 0:
        for r in range(subwords.offsets[word_id], subwords.offsets[word_id + 1]):
            prefetch_row(input_vectors.ctypes.data + subwords.rows[r] * (n_vectors * LANES * 4), n_vectors)


@kernel
def sum_rows(
    matrix: npt.NDArray[np.floating],
    row_ids: npt.NDArray[np.int32],
    first: int,
    last: int,
    share: np.floating,
    total: npt.NDArray[np.floating],
) -> None:
    """``total = share * sum of the rows row_ids[first:last]``."""
    for d in range(total.shape[0]):
        total[d] = 0
    for r in range(first, last):
        row = matrix[row_ids[r]]
        for d in range(total.shape[0]):
            total[d] += row[d]
    for d in range(total.shape[0]):
        total[d] *= share


@kernel
def change_rows(
    matrix: npt.NDArray[np.floating],
    row_ids: npt.NDArray[np.int32],
    first: int,
    last: int,
    change: npt.NDArray[np.floating],
    keep: float,
    limit: float,
) -> None:
    """``row = keep * row + change`` for each of row_ids[first:last], see ``negative_sampling.change_row``."""
    for r in range(first, last):
        change_row(matrix[row_ids[r]], change, keep, limit)


@kernel
def learn_outputs(
    context_vectors: npt.NDArray[np.floating],
    first: int,
    last: int,
    learning_rate: np.floating,
    table: SigmoidTable,
    work: SubwordWorkspace,
    keep: float,
    limit: float,
) -> float:
    """Let ``work.input`` learn to tell right words from negatives, outputs [first, last); returns the loss, float64.

    loss(h) = - sum over outputs o of |weight_o| * log sigmoid(±h · u_o),   + where weight_o > 0, - where it is below 0

    All are scored first. Then one output after another gives its part of ``work.input_change`` (learning rate times
    minus the derivative by h) and takes its own step, while h stays as it is. Where rows decay or steps are limited
    (``keep`` below 1 or ``limit`` from 0 on, see ``negative_sampling.change_row``), a word that stands twice takes one
    step.
    """
    h, change, ids, steps = work.input, work.input_change, work.output_ids, work.steps
    dim = h.shape[0]
    one = h.dtype.type(1)
    loss = 0.0
    for o in range(first, last):
        u = context_vectors[ids[o]]
        score = h.dtype.type(0)
        for d in range(dim):
            score += h[d] * u[d]
        weight = work.weights[o]
        # 1 - sigmoid(z) = sigmoid(-z), so both labels are one formula: how wrong the word is told from the others
        right, output_loss = sigmoid_and_loss(score if weight > 0 else -score, table)  # type: ignore[arg-type]
        loss += abs(weight) * output_loss
        steps[o] = (one - right) * weight * learning_rate
    for d in range(dim):
        change[d] = 0
    if keep != 1 or limit >= 0:
        _limited_changes(context_vectors, first, last, work, keep, limit)
    else:
        for o in range(first, last):
            u, step = context_vectors[ids[o]], steps[o]
            for d in range(dim):
                change[d] += step * u[d]
            for d in range(dim):
                u[d] += step * h[d]
    return loss


@kernel
def _limited_changes(
    context_vectors: npt.NDArray[np.floating], first: int, last: int, work: SubwordWorkspace, keep: float, limit: float
) -> None:
    h, change, ids, steps = work.input, work.input_change, work.output_ids, work.steps
    norm = 0.0
    for d in range(h.shape[0]):
        norm += np.float64(h[d]) * np.float64(h[d])
    norm = np.sqrt(norm)
    for o in range(first, last):
        for p in range(first, o):
            if ids[p] == ids[o]:
                steps[p] += steps[o]
                work.weights[o] = 0
                break
    for o in range(first, last):
        if work.weights[o] != 0:
            u, step = context_vectors[ids[o]], steps[o]
            for d in range(h.shape[0]):
                change[d] += step * u[d]
            if limit >= 0 and abs(step) * norm > limit:
                step = h.dtype.type(np.copysign(limit / norm, step))
            for d in range(h.shape[0]):
                u[d] = h.dtype.type(keep) * u[d] + step * h[d]
