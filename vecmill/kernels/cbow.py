"""CBOW with negative sampling: the mean of the window's vectors learns to tell the centre word from negatives.

Source: Mikolov et al. 2013a; context gradient: Irsoy et al. 2021, "Corrected CBOW performs as well as skip-gram".
Differences: see ``negative_sampling``; any length of sentence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.negative_sampling import Workspace, gather_outputs, learn_input, scatter_outputs
from vecmill.kernels.sampling import GAMMA, Sampler, draw_below, gather_kept, mix64
from vecmill.kernels.sigmoid import SigmoidTable


@kernel
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
                        word_id = work.kept_ids[j]
                        for d in range(dim):
                            center_vectors[word_id, d] += work.input_change[d]
                scatter_outputs(context_vectors, n_outputs, work)
                n_pairs += 1
        first = stop
        sentence += 1
    return loss, n_pairs
