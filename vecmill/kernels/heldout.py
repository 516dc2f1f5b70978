"""The loss of held-out text: what negative sampling would learn from it, measured without learning.

Sub-sampling, windows and negatives are drawn from keys that stay the same for every epoch, so that two epochs are
measured on the very same pairs. Scores, sigmoids (no table) and sums are float64.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, Sampler, draw_below, draw_negative, gather_kept, mix64


@kernel
def log_loss(x: float) -> float:
    """-log sigmoid(x), float64, without overflow; not finite where x is not."""
    return math.log1p(math.exp(-abs(x))) + 0.5 * (abs(x) - x)


@kernel
def pair_loss(
    x: npt.NDArray[np.float64],
    context_vectors: npt.NDArray[np.floating],
    center_id: int,
    n_negatives: int,
    counter: np.uint64,
    sampler: Sampler,
) -> float:
    """-log sigmoid(x · u_center) - sum over negatives k other than the centre word of log sigmoid(-x · u_k)."""
    loss = 0.0
    for o in range(1 + n_negatives):
        word_id = center_id if o == 0 else draw_negative(mix64(counter + np.uint64(o) * GAMMA), sampler)
        if o > 0 and word_id == center_id:
            continue
        score = 0.0
        for d in range(x.shape[0]):
            score += x[d] * context_vectors[word_id, d]
        loss += log_loss(score if o == 0 else -score)
    return loss


@kernel
def heldout_loss(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    sentences: npt.NDArray[np.int64],
    center_vectors: npt.NDArray[np.floating],
    context_vectors: npt.NDArray[np.floating],
    sampler: Sampler,
    kept_ids: npt.NDArray[np.int32],
    kept_positions: npt.NDArray[np.int64],
    x: npt.NDArray[np.float64],
    piece_tokens: int,
    window: int,
    dynamic_window: bool,
    n_negatives: int,
    keep_key: np.uint64,
    draw_key: np.uint64,
    mean_of_window: bool,
) -> tuple[float, int]:
    """Loss and number of pairs of some sentences, as ``train_skipgram`` and ``train_cbow`` count them.

    Parameters (others as for ``skipgram.train_skipgram``)
    ----------
    sentences : int64[n], the sentences to measure
    kept_ids, kept_positions : int32 and int64[piece_tokens + 2 * window], memory to work in
    x : float64[row length], memory to work in
    piece_tokens : tokens of a sentence that are looked at in one go
    mean_of_window : CBOW: the mean of a window tells its centre word; else skip-gram: each of its words does

    Returns
    -------
    loss : float64, sum over pairs;  n_pairs : number of pairs
    """
    dim = x.shape[0]
    draws = np.uint64(1 + n_negatives)
    loss = 0.0
    n_pairs = 0
    for sentence in sentences:
        start, end = sentence_offsets[sentence], sentence_offsets[sentence + 1]
        for first in range(start, end, piece_tokens):
            last = min(first + piece_tokens, end)
            kept_start, kept_end, centers_end = gather_kept(
                token_ids, start, end, first, last, window, keep_key, sampler, kept_ids, kept_positions
            )
            for i in range(window, centers_end):
                counter = draw_key + np.uint64(kept_positions[i]) * draws * GAMMA
                reach = window - draw_below(mix64(counter), window) if dynamic_window else window
                left, right = max(kept_start, i - reach), min(kept_end, i + reach + 1)
                if right - left < 2:
                    continue
                x[:] = 0
                for j in range(left, right):
                    if j == i:
                        continue
                    word_id = kept_ids[j]
                    if mean_of_window:
                        for d in range(dim):
                            x[d] += center_vectors[word_id, d]
                    else:
                        for d in range(dim):
                            x[d] = center_vectors[word_id, d]
                        loss += pair_loss(x, context_vectors, kept_ids[i], n_negatives, counter, sampler)
                        n_pairs += 1
                if mean_of_window:
                    for d in range(dim):
                        x[d] /= right - left - 1
                    loss += pair_loss(x, context_vectors, kept_ids[i], n_negatives, counter, sampler)
                    n_pairs += 1
    return loss, n_pairs
