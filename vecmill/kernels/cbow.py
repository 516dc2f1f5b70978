"""CBOW with negative sampling: the mean of the window's vectors learns to tell the centre word from negatives.

Source: Mikolov et al. 2013a; context gradient: Irsoy et al. 2021, "Corrected CBOW performs as well as skip-gram".
Differences: see ``negative_sampling``; any length of sentence.
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
    change_row,
    gather_outputs,
    learn_input,
    scatter_outputs,
)
from vecmill.kernels.sampling import GAMMA, Sampler, draw_below, gather_kept, mix64
from vecmill.kernels.sigmoid import SigmoidTable
from vecmill.kernels.vector_code import LANES
from vecmill.kernels.vector_steps import cbow_changes, cbow_scores
from vecmill.kernels.vector_windows import MOST_IN_REGISTERS
from vecmill.kernels.windows import AHEAD, REMEMBERED, VectorWorkspace, gather_inputs, gather_windows, look_ahead


def train_cbow(
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
    exact_gradient: bool,
    l2: float = 0.0,
    gradient_clip: float = 0.0,
) -> tuple[float, int]:
    """Train on the centre words at positions [first, last).

    loss = - sum over centre words w of [ log sigmoid(h · u_w) + sum over negatives k of log sigmoid(-h · u_k) ],
    h = 1/n * sum over the n words c of the window of v_c

    Parameters are those of ``skipgram.train_skipgram``, and:

    exact_gradient : the change of h reaches each v_c times 1/n, the derivative of the mean; where false it reaches each
        v_c whole, as in word2vec.c and gensim, which is n times the gradient

    Returns
    -------
    loss : float64, sum over centre words, each taken before its step;  n_pairs : number of pairs (h, w)

    Threads share ``center_vectors`` and ``context_vectors`` without locks, as in ``train_skipgram``.
    """
    if isinstance(work, VectorWorkspace):
        return _vector_cbow(1 + n_negatives, center_vectors.shape[1] // LANES, l2, gradient_clip)(
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
            exact_gradient,
        )
    return _plain_cbow(
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
        exact_gradient,
        l2,
        gradient_clip,
    )


@functools.cache
def _vector_cbow(n_outputs: int, n_vectors: int, l2: float, gradient_clip: float) -> Callable[..., tuple[float, int]]:
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
        exact_gradient: bool,
    ) -> tuple[float, int]:
        slope = (last_learning_rate - first_learning_rate) / max(last - first, 1)
        inputs, steps = work.input_rows.ctypes.data, work.steps.ctypes.data
        mean = work.mean.ctypes.data
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
            share = np.float32(1) / np.float32(max(n_inputs, 1))
            window_loss = cbow_scores(
                n_outputs, n_vectors, inputs, n_inputs, outputs, weights, steps, rate, mean, share
            )
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
                cbow_changes(
                    n_outputs,
                    n_vectors,
                    decays,
                    clips,
                    inputs,
                    n_inputs,
                    outputs,
                    steps,
                    mean,
                    share if exact_gradient else np.float32(1),
                    np.float32(1 - rate * l2),
                    np.float32(rate * gradient_clip),
                )
                loss += window_loss
                n_pairs += 1
        return loss, n_pairs

    return train


@kernel
def _plain_cbow(
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
    exact_gradient: bool,
    l2: float,
    gradient_clip: float,
) -> tuple[float, int]:
    dim = center_vectors.shape[1]
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
                share = center_vectors.dtype.type(1 / (right - left - 1))
                for d in range(dim):
                    work.input[d] = 0
                for j in range(left, right):
                    if j != i:
                        word_id = work.kept_ids[j]
                        for d in range(dim):
                            work.input[d] += center_vectors[word_id, d]
                for d in range(dim):
                    work.input[d] *= share
                loss += learn_input(work.input, n_outputs, rate, table, work)
                if exact_gradient:
                    for d in range(dim):
                        work.input_change[d] *= share
                for j in range(left, right):
                    if j != i:
                        change_row(center_vectors[work.kept_ids[j]], work.input_change, keep, limit)
                scatter_outputs(context_vectors, n_outputs, work, keep, limit)
                n_pairs += 1
        first = stop
        sentence += 1
    return loss, n_pairs
