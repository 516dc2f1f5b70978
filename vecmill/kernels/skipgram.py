"""Skip-gram with negative sampling.

For every centre word and every word c of its window, the center vector of c learns to tell the centre word from
negatives. As in word2vec.c and gensim the word that is predicted is the centre of the window; with windows drawn
alike for all positions that gives the same pairs as predicting the neighbours.

Source: Mikolov et al. 2013a, 2013b. Differences: see ``negative_sampling``; any length of sentence.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.negative_sampling import (
    PlainWorkspace,
    Workspace,
    change_outputs,
    change_row,
    gather_outputs,
    scatter_outputs,
    score_input,
)
from vecmill.kernels.sampling import GAMMA, Sampler, draw_below, gather_kept, mix64
from vecmill.kernels.sigmoid import SigmoidTable
from vecmill.kernels.vector_code import LANES
from vecmill.kernels.vector_steps import skipgram_changes, skipgram_scores
from vecmill.kernels.vector_windows import MOST_IN_REGISTERS
from vecmill.kernels.windows import AHEAD, REMEMBERED, VectorWorkspace, gather_inputs, gather_windows, look_ahead


def train_skipgram(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    sentence: int,
    first: int,
    last: int,
    center_vectors: npt.NDArray[np.floating],
    context_vectors: npt.NDArray[np.floating],
    sampler: Sampler,
    table: SigmoidTable,
    work: Workspace,
    window: int,
    dynamic_window: bool,
    n_negatives: int,
    first_learning_rate: float,
    last_learning_rate: float,
    keep_key: np.uint64,
    draw_key: np.uint64,
    l2: float = 0.0,
    gradient_clip: float = 0.0,
) -> tuple[float, int]:
    """Train on the centre words at positions [first, last).

    loss = - sum over pairs (c, w) of [ log sigmoid(v_c · u_w) + sum over negatives k of log sigmoid(-v_c · u_k) ]

    Parameters
    ----------
    token_ids : int32[n_tokens], C-contiguous, each in [0, n_words)
    sentence_offsets : int64[n_sentences + 1], non-decreasing; sentence s is token_ids[offsets[s]:offsets[s + 1]]
    sentence : the sentence that position ``first`` lies in; not looked at where first == last
    first, last : positions of the centre words; sentences may be cut, their windows are whole all the same
    center_vectors, context_vectors : floating[n_words, dim], v and u, changed in place
    table : of the plain kernels; the vector kernels compute sigmoid and loss, within 3e-7
    work : made for at least last - first tokens, this window and this number of negatives; decides which kernel runs
    window : words to each side; where ``dynamic_window``, drawn for each centre word from 1 ... window
    n_negatives : negatives of each centre word
    first_learning_rate, last_learning_rate : at position ``first`` and ``last``, straight line between
    keep_key, draw_key : uint64, streams for sub-sampling and for windows and negatives
    l2 : a row that is changed also loses learning rate * l2 * the row as the change found it; 0: none
    gradient_clip : the gradient of one row, summed over one window for u and for each c by itself for v, is scaled down
        to this Euclidean norm where it is longer; 0: never. Both are compiled in only where they are asked for

    Returns
    -------
    loss : float64, sum over pairs, each taken before its step;  n_pairs : number of pairs (c, w)

    Threads share ``center_vectors`` and ``context_vectors`` without locks: a row read while another thread writes it
    may mix old and new numbers, and of two additions to a row at once one may be lost. Steps are small and rarely
    meet, and the training converges all the same (Recht et al. 2011, Hogwild). A single thread is deterministic.
    """
    if isinstance(work, VectorWorkspace):
        return _vector_skipgram(1 + n_negatives, center_vectors.shape[1] // LANES, l2, gradient_clip)(
            token_ids,
            sentence_offsets,
            sentence,
            first,
            last,
            center_vectors,
            context_vectors,
            sampler,
            work,
            window,
            dynamic_window,
            first_learning_rate,
            last_learning_rate,
            keep_key,
            draw_key,
        )
    return _plain_skipgram(
        token_ids,
        sentence_offsets,
        sentence,
        first,
        last,
        center_vectors,
        context_vectors,
        sampler,
        table,
        work,
        window,
        dynamic_window,
        n_negatives,
        first_learning_rate,
        last_learning_rate,
        keep_key,
        draw_key,
        l2,
        gradient_clip,
    )


@functools.cache
def _vector_skipgram(
    n_outputs: int, n_vectors: int, l2: float, gradient_clip: float
) -> Callable[..., tuple[float, int]]:
    """The vector kernel for a number of output rows, a length of rows (over 16), a weight decay and a gradient clip."""
    decays, clips = int(l2 > 0), int(gradient_clip > 0)
    differ = n_outputs <= MOST_IN_REGISTERS or decays > 0 or clips > 0

    @kernel
    def train(
        token_ids: npt.NDArray[np.int32],
        sentence_offsets: npt.NDArray[np.int64],
        sentence: int,
        first: int,
        last: int,
        center_vectors: npt.NDArray[np.float32],
        context_vectors: npt.NDArray[np.float32],
        sampler: Sampler,
        work: VectorWorkspace,
        window: int,
        dynamic_window: bool,
        first_learning_rate: float,
        last_learning_rate: float,
        keep_key: np.uint64,
        draw_key: np.uint64,
    ) -> tuple[float, int]:
        slope = (last_learning_rate - first_learning_rate) / max(last - first, 1)
        inputs, steps = work.input_rows.ctypes.data, work.steps.ctypes.data
        end = gather_windows(
            token_ids,
            sentence_offsets,
            sentence,
            first,
            last,
            window,
            dynamic_window,
            np.uint64(n_outputs),
            keep_key,
            draw_key,
            sampler,
            work,
        )
        loss = 0.0
        n_pairs = 0
        for i in range(window, min(window + AHEAD, end)):
            look_ahead(
                i,
                end,
                n_outputs,
                n_vectors,
                differ,
                window,
                draw_key,
                center_vectors,
                context_vectors,
                sampler,
                work,
            )
        for i in range(window, end):
            n_inputs = gather_inputs(i, n_vectors, center_vectors, work)
            rate = np.float32(last_learning_rate - slope * (last - work.kept_positions[i]))
            place = i % REMEMBERED
            outputs = work.output_rows.ctypes.data + place * work.output_rows.strides[0]
            weights = work.weights.ctypes.data + place * work.weights.strides[0]
            loss += skipgram_scores(n_outputs, n_vectors, inputs, n_inputs, outputs, weights, steps, rate)
            if i + AHEAD < end:
                # between scores and changes, so that the processor has something to do while sigmoids are worked out
                look_ahead(
                    i + AHEAD,
                    end,
                    n_outputs,
                    n_vectors,
                    differ,
                    window,
                    draw_key,
                    center_vectors,
                    context_vectors,
                    sampler,
                    work,
                )
            if n_inputs > 0:
                skipgram_changes(
                    n_outputs,
                    n_vectors,
                    decays,
                    clips,
                    inputs,
                    n_inputs,
                    outputs,
                    steps,
                    work.changes.ctypes.data,
                    np.float32(1 - rate * l2),
                    np.float32(rate * gradient_clip),
                )
                n_pairs += n_inputs
        return loss, n_pairs

    return train


@kernel
def _plain_skipgram(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    sentence: int,
    first: int,
    last: int,
    center_vectors: npt.NDArray[np.floating],
    context_vectors: npt.NDArray[np.floating],
    sampler: Sampler,
    table: SigmoidTable,
    work: PlainWorkspace,
    window: int,
    dynamic_window: bool,
    n_negatives: int,
    first_learning_rate: float,
    last_learning_rate: float,
    keep_key: np.uint64,
    draw_key: np.uint64,
    l2: float,
    gradient_clip: float,
) -> tuple[float, int]:
    slope = (last_learning_rate - first_learning_rate) / max(last - first, 1)
    draws = np.uint64(1 + n_negatives)
    loss = 0.0
    n_pairs = 0
    while first < last:
        start, end = sentence_offsets[sentence], sentence_offsets[sentence + 1]
        stop = min(last, end)
        if first < stop:
            kept_start, kept_end, centers_end = gather_kept(
                token_ids, start, end, first, stop, window, keep_key, sampler, work.kept_ids, work.kept_positions
            )
            for i in range(window, centers_end):
                position = work.kept_positions[i]
                counter = draw_key + np.uint64(position) * draws * GAMMA
                reach = window - draw_below(mix64(counter), window) if dynamic_window else window
                left, right = max(kept_start, i - reach), min(kept_end, i + reach + 1)
                if right - left < 2:
                    continue
                rate = center_vectors.dtype.type(last_learning_rate - slope * (last - position))
                keep = float(1 - rate * l2)
                limit = float(rate * gradient_clip) if gradient_clip > 0 else -1.0
                n_outputs = gather_outputs(context_vectors, work.kept_ids[i], n_negatives, counter, sampler, work)
                for c in range(right - left - 1):
                    j = left + c + (left + c >= i)
                    loss += score_input(center_vectors[work.kept_ids[j]], n_outputs, rate, table, work)
                    for o in range(n_outputs):
                        work.window_steps[c, o] = work.steps[o]
                for c in range(right - left - 1):
                    j = left + c + (left + c >= i)
                    x = center_vectors[work.kept_ids[j]]
                    for o in range(n_outputs):
                        work.steps[o] = work.window_steps[c, o]
                    change_outputs(x, n_outputs, work)
                    change_row(x, work.input_change, keep, limit)
                scatter_outputs(context_vectors, n_outputs, work, keep, limit)
                n_pairs += right - left - 1
        first = stop
        sentence += 1
    return loss, n_pairs
