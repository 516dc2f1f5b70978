"""Skip-gram with subwords: a word and its character n-grams learn together to tell the words around from negatives.

Source: Bojanowski et al. 2017, "Enriching word vectors with subword information"; fastText.
As in fastText the centre word is the input (``skipgram`` has it the other way round), and each pair has negatives of
its own and starts from the h that the pair before it left. The word's many rows are fetched once and written once for
the whole window, which comes to the same: h is followed meanwhile. Only a row that stands twice in a word would have
moved h by more than is followed here. What else differs from fastText stands in ``subword_rows``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import inlined_kernel, kernel
from vecmill.kernels.sampling import GAMMA, Sampler
from vecmill.kernels.sigmoid import SigmoidTable
from vecmill.kernels.subword_pairs import MOST_OUTPUTS, learn_pairs_at
from vecmill.kernels.subword_rows import (
    AHEAD,
    REMEMBERED,
    SubwordRows,
    SubwordWorkspace,
    change_rows,
    draw_ahead,
    learn_outputs,
    prefetch_word,
    sum_rows,
    vectors_of_row,
)
from vecmill.kernels.subword_steps import add_to_rows_at, sum_rows_at
from vecmill.kernels.windows import gather_windows


def train_subword_skipgram(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    sentence: int,
    first: int,
    last: int,
    input_vectors: npt.NDArray[np.floating],
    context_vectors: npt.NDArray[np.floating],
    subwords: SubwordRows,
    sampler: Sampler,
    table: SigmoidTable,
    work: SubwordWorkspace,
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

    loss = - sum over pairs (w, c) of
           [ log sigmoid(h_w · u_c) + sum over its negatives k != c of log sigmoid(-h_w · u_k) ]

    Parameters
    ----------
    token_ids : int32[n_tokens], C-contiguous, each in [0, n_words)
    sentence_offsets : int64[n_sentences + 1], non-decreasing; sentence s is token_ids[offsets[s]:offsets[s + 1]]
    sentence : the sentence that position ``first`` lies in; not looked at where first == last
    first, last : positions of the centre words; sentences may be cut, their windows are whole all the same
    input_vectors : floating[n_words + n_ngram_rows, dim], z, changed in place
    context_vectors : floating[n_words, dim], u, changed in place
    subwords : the rows of ``input_vectors`` that make up each word
    table : of the plain loops; the vector instructions compute sigmoid and loss, within 3e-7
    work : made for at least last - first tokens, this window and this number of negatives
    window : words to each side; where ``dynamic_window``, drawn for each centre word from 1 ... window
    n_negatives : negatives of each pair; more than 15 are left to the plain loops, at about half the speed
    first_learning_rate, last_learning_rate : at position ``first`` and ``last``, straight line between
    keep_key, draw_key : uint64, streams for sub-sampling and for windows and negatives
    exact_gradient : each of the n rows of a word gets 1/n of the change of h, the derivative of the mean; where false
        each gets all of it, as in fastText
    l2 : a row that is changed also loses learning rate * l2 * the row as the change found it; 0: none
    gradient_clip : the gradient that a row gets from one window is scaled down to this Euclidean norm where it is
        longer; 0: never. With either the plain loops run, at about half the speed

    Returns
    -------
    loss : float64, sum over pairs, each taken before its step;  n_pairs : number of pairs (w, c)

    Threads share ``input_vectors`` and ``context_vectors`` without locks: a row read while another thread writes it
    may mix old and new numbers, and of two additions to a row at once one may be lost. N-grams of frequent words are
    touched most. Steps are small, and the training converges all the same (Recht et al. 2011, Hogwild). A single
    thread is deterministic.
    """
    n_vectors = vectors_of_row(work, l2, gradient_clip) if n_negatives < MOST_OUTPUTS else 0
    train = _skipgram(n_vectors, 1 + n_negatives if n_vectors > 0 else 0)
    return train(
        token_ids,
        sentence_offsets,
        sentence,
        first,
        last,
        input_vectors,
        context_vectors,
        subwords,
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
def _skipgram(n_vectors: int, n_outputs: int) -> Callable[..., tuple[float, int]]:
    """The kernel for rows of a number of vectors and a number of outputs a pair; 0 and 0 for the plain loops."""

    @kernel
    def train(
        token_ids: npt.NDArray[np.int32],
        sentence_offsets: npt.NDArray[np.int64],
        sentence: int,
        first: int,
        last: int,
        input_vectors: npt.NDArray[np.floating],
        context_vectors: npt.NDArray[np.floating],
        subwords: SubwordRows,
        sampler: Sampler,
        table: SigmoidTable,
        work: SubwordWorkspace,
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
        slope = (last_learning_rate - first_learning_rate) / max(last - first, 1)
        draws = np.uint64(1 + 2 * window * n_negatives)
        end = gather_windows(
            token_ids,
            sentence_offsets,
            sentence,
            first,
            last,
            window,
            dynamic_window,
            draws,
            keep_key,
            draw_key,
            sampler,
            work,  # type: ignore[arg-type]  # has all that it looks at
        )
        loss = 0.0
        n_pairs = 0
        for ahead in range(window, end + AHEAD):
            if ahead < end:
                counter = draw_key + np.uint64(work.kept_positions[ahead]) * draws * GAMMA
                n_drawn = n_negatives * (work.rights[ahead] - work.lefts[ahead] - 1)
                draw_ahead(ahead, n_drawn, counter, context_vectors, sampler, work, n_vectors)
                prefetch_word(work.kept_ids[ahead], input_vectors, subwords, n_vectors)
            i = ahead - AHEAD
            if i < window:
                continue
            left, right = work.lefts[i], work.rights[i]
            n_right = right - left - 1
            if n_right < 1:
                continue
            learning_rate = last_learning_rate - slope * (last - work.kept_positions[i])
            rate = input_vectors.dtype.type(learning_rate)
            begin, stop = subwords.offsets[work.kept_ids[i]], subwords.offsets[work.kept_ids[i] + 1]
            share = input_vectors.dtype.type(1 / (stop - begin))
            part = share if exact_gradient else input_vectors.dtype.type(1)
            rows_at, n_rows = subwords.rows.ctypes.data + 4 * begin, stop - begin
            n_listed = _list_pairs(i, n_negatives, work)
            if n_vectors > 0:
                sum_rows_at(n_vectors, input_vectors.ctypes.data, rows_at, n_rows, share, work.input.ctypes.data)
                loss += learn_pairs_at(
                    n_vectors,
                    n_outputs,
                    context_vectors.ctypes.data,
                    work.output_ids.ctypes.data,
                    work.weights.ctypes.data,
                    n_right,
                    rate,
                    part,
                    work.input.ctypes.data,
                    work.total_change.ctypes.data,
                )
                add_to_rows_at(n_vectors, input_vectors.ctypes.data, rows_at, n_rows, work.total_change.ctypes.data)
            else:
                keep, limit = 1 - learning_rate * l2, learning_rate * gradient_clip if gradient_clip > 0 else -1.0
                sum_rows(input_vectors, subwords.rows, begin, stop, share, work.input)
                for d in range(work.input.shape[0]):
                    work.total_change[d] = 0
                for o in range(0, n_listed, 1 + n_negatives):
                    loss += learn_outputs(context_vectors, o, o + 1 + n_negatives, rate, table, work, keep, limit)
                    for d in range(work.input.shape[0]):
                        change = part * work.input_change[d]
                        work.input[d] += change
                        work.total_change[d] += change
                change_rows(input_vectors, subwords.rows, begin, stop, work.total_change, keep, limit)
            n_pairs += n_right
        return loss, n_pairs

    return train


@inlined_kernel
def _list_pairs(i: int, n_negatives: int, work: SubwordWorkspace) -> int:
    """Write each pair's right word and its negatives to the list of outputs; returns how many there are."""
    place, o, k = i % REMEMBERED, 0, 0
    for j in range(work.lefts[i], work.rights[i]):
        if j != i:
            word_id = work.kept_ids[j]
            work.output_ids[o] = word_id
            work.weights[o] = 1
            for _ in range(n_negatives):
                o += 1
                negative = work.negatives[place, k]
                k += 1
                work.output_ids[o] = negative
                work.weights[o] = -1 if negative != word_id else 0
            o += 1
    return o
