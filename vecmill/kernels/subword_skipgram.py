"""Skip-gram with subwords: a word and its character n-grams learn together to tell the words around from negatives.

Source: Bojanowski et al. 2017, "Enriching word vectors with subword information"; fastText.
As in fastText the centre word is the input (``skipgram`` has it the other way round), so its many rows are fetched
once and written once for the whole window; all steps of the window start from the h that was fetched.
The negatives are drawn once for a centre word and shared by its window: each counts for all pairs whose right word it
is not. Since they all meet the same h, sharing leaves fewer different examples than in ``skipgram``; the trainer
therefore draws more of them and gives each less weight. What else differs from fastText stands in ``subword_rows``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, Sampler
from vecmill.kernels.sigmoid import SigmoidTable
from vecmill.kernels.subword_rows import (
    AHEAD,
    REMEMBERED,
    SubwordRows,
    SubwordWorkspace,
    block_of,
    change_rows,
    draw_ahead,
    learn_outputs,
    prefetch_word,
    sum_rows,
    vectors_of_row,
)
from vecmill.kernels.subword_steps import LARGEST_BLOCK, add_to_rows_at, learn_outputs_at, sum_rows_at
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
    negative_weight: float,
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
           [ log sigmoid(h_w · u_c) + b * sum over negatives k != c of log sigmoid(-h_w · u_k) ]

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
    n_negatives : negatives of each centre word
    negative_weight : b, what one of them counts against a right word
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
    train = _skipgram(vectors_of_row(work, l2, gradient_clip), block_of(LARGEST_BLOCK))
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
        negative_weight,
        first_learning_rate,
        last_learning_rate,
        keep_key,
        draw_key,
        exact_gradient,
        l2,
        gradient_clip,
    )


@functools.cache
def _skipgram(n_vectors: int, block: int) -> Callable[..., tuple[float, int]]:
    """The kernel for rows of a number of vectors, 0 for the plain loops."""

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
        negative_weight: float,
        first_learning_rate: float,
        last_learning_rate: float,
        keep_key: np.uint64,
        draw_key: np.uint64,
        exact_gradient: bool,
        l2: float,
        gradient_clip: float,
    ) -> tuple[float, int]:
        slope = (last_learning_rate - first_learning_rate) / max(last - first, 1)
        draws = np.uint64(1 + n_negatives)
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
                draw_ahead(ahead, n_negatives, counter, context_vectors, sampler, work, n_vectors)
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
            n_outputs = 0
            for j in range(left, right):
                if j != i:
                    work.output_ids[n_outputs] = work.kept_ids[j]
                    work.weights[n_outputs] = 1
                    n_outputs += 1
            for k in range(n_negatives):
                word_id = work.negatives[i % REMEMBERED, k]
                n_others = n_right
                for o in range(n_right):
                    n_others -= work.output_ids[o] == word_id
                if n_others > 0:
                    work.output_ids[n_outputs] = word_id
                    work.weights[n_outputs] = -n_others * negative_weight
                    n_outputs += 1
            begin, stop = subwords.offsets[work.kept_ids[i]], subwords.offsets[work.kept_ids[i] + 1]
            share = input_vectors.dtype.type(1 / (stop - begin))
            if n_vectors > 0:
                rows_at, n_rows = subwords.rows.ctypes.data + 4 * begin, stop - begin
                input_at, change_at = work.input.ctypes.data, work.input_change.ctypes.data
                sum_rows_at(n_vectors, input_vectors.ctypes.data, rows_at, n_rows, share, input_at)
                loss += learn_outputs_at(
                    n_vectors,
                    block,
                    context_vectors.ctypes.data,
                    work.output_ids.ctypes.data,
                    work.weights.ctypes.data,
                    work.steps.ctypes.data,
                    n_outputs,
                    rate,
                    input_at,
                    change_at,
                )
            else:
                keep, limit = 1 - learning_rate * l2, learning_rate * gradient_clip if gradient_clip > 0 else -1.0
                sum_rows(input_vectors, subwords.rows, begin, stop, share, work.input)
                loss += learn_outputs(context_vectors, n_outputs, rate, table, work, keep, limit)
            if exact_gradient:
                for d in range(work.input_change.shape[0]):
                    work.input_change[d] *= share
            if n_vectors > 0:
                add_to_rows_at(n_vectors, input_vectors.ctypes.data, rows_at, n_rows, change_at)
            else:
                change_rows(input_vectors, subwords.rows, begin, stop, work.input_change, keep, limit)
            n_pairs += n_right
        return loss, n_pairs

    return train
