"""CBOW with subwords: the mean of the rows of all words of a window learns to tell the centre word from negatives.

Source: fastText, where words and n-grams of the window are one bag: h is the mean over all of their rows, so that a
long word weighs more than a short one. gensim does the same. Differences: those of ``subword_skipgram``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, Sampler, draw_below, draw_negative, gather_kept, mix64
from vecmill.kernels.sigmoid import SigmoidTable
from vecmill.kernels.subword_rows import SubwordRows, SubwordWorkspace, add_rows, add_to_rows, learn_outputs


@kernel
def train_subword_cbow(
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
) -> tuple[float, int]:
    """Train on the centre words at positions [first, last).

    loss = - sum over centre words w of [ log sigmoid(h · u_w) + sum over negatives k != w of log sigmoid(-h · u_k) ],
    h = 1/n * sum over the n rows r of all words of the window of z_r

    Parameters are those of ``subword_skipgram.train_subword_skipgram``; where ``exact_gradient``, each of the n rows of
    the window gets 1/n of the change of h, and otherwise all of it, as in fastText.

    Returns
    -------
    loss : float64, sum over centre words, each taken before its step;  n_pairs : number of pairs (h, w)

    Threads share ``input_vectors`` and ``context_vectors`` without locks, as in ``train_subword_skipgram``.
    """
    dim = input_vectors.shape[1]
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
                rate = input_vectors.dtype.type(last_learning_rate - slope * (last - position))
                center = work.kept_ids[i]
                work.output_ids[0] = center
                work.weights[0] = 1
                n_outputs = 1
                for _ in range(n_negatives):
                    counter += GAMMA
                    word_id = draw_negative(mix64(counter), sampler)
                    if word_id != center:
                        work.output_ids[n_outputs] = word_id
                        work.weights[n_outputs] = 1
                        n_outputs += 1
                n_rows = 0
                for d in range(dim):
                    work.input[d] = 0
                for j in range(left, right):
                    if j != i:
                        word_id = work.kept_ids[j]
                        rows = subwords.rows[subwords.offsets[word_id] : subwords.offsets[word_id + 1]]
                        add_rows(input_vectors, rows, work.input)
                        n_rows += rows.shape[0]
                share = input_vectors.dtype.type(1 / n_rows)
                for d in range(dim):
                    work.input[d] *= share
                loss += learn_outputs(context_vectors, n_outputs, 1, rate, table, work)
                if exact_gradient:
                    for d in range(dim):
                        work.input_change[d] *= share
                for j in range(left, right):
                    if j != i:
                        word_id = work.kept_ids[j]
                        rows = subwords.rows[subwords.offsets[word_id] : subwords.offsets[word_id + 1]]
                        add_to_rows(input_vectors, rows, work.input_change)
                n_pairs += 1
        first = stop
        sentence += 1
    return loss, n_pairs
