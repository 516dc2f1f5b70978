"""Skip-gram with subwords: a word and its character n-grams learn together to tell the words around from negatives.

Source: Bojanowski et al. 2017, "Enriching word vectors with subword information"; fastText.
As in fastText the centre word is the input (``skipgram`` has it the other way round), so its many rows are fetched
once and written once for the whole window; all steps of the window start from the h that was fetched.
The negatives are drawn once for a centre word and shared by its window: each counts for all pairs whose right word it
is not. Since they all meet the same h, sharing leaves fewer different examples than in ``skipgram``; the trainer
therefore draws more of them and gives each less weight. What else differs from fastText stands in ``subword_rows``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, Sampler, draw_below, draw_negative, gather_kept, mix64
from vecmill.kernels.sigmoid import SigmoidTable
from vecmill.kernels.subword_rows import SubwordRows, SubwordWorkspace, add_rows, add_to_rows, learn_outputs


@kernel
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
    work : made for at least last - first tokens, this window and this number of negatives
    window : words to each side; where ``dynamic_window``, drawn for each centre word from 1 ... window
    n_negatives : negatives of each centre word
    negative_weight : b, what one of them counts against a right word
    first_learning_rate, last_learning_rate : at position ``first`` and ``last``, straight line between
    keep_key, draw_key : uint64, streams for sub-sampling and for windows and negatives
    exact_gradient : each of the n rows of a word gets 1/n of the change of h, the derivative of the mean; where false
        each gets all of it, as in fastText

    Returns
    -------
    loss : float64, sum over pairs, each taken before its step;  n_pairs : number of pairs (w, c)

    Threads share ``input_vectors`` and ``context_vectors`` without locks: a row read while another thread writes it
    may mix old and new numbers, and of two additions to a row at once one may be lost. N-grams of frequent words are
    touched most. Steps are small, and the training converges all the same (Recht et al. 2011, Hogwild). A single
    thread is deterministic.
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
                n_right = right - left - 1
                if n_right < 1:
                    continue
                rate = input_vectors.dtype.type(last_learning_rate - slope * (last - position))
                n_outputs = 0
                for j in range(left, right):
                    if j != i:
                        work.output_ids[n_outputs] = work.kept_ids[j]
                        work.weights[n_outputs] = 1
                        n_outputs += 1
                for _ in range(n_negatives):
                    counter += GAMMA
                    word_id = draw_negative(mix64(counter), sampler)
                    weight = 0
                    for o in range(n_right):
                        weight += 1 if work.output_ids[o] != word_id else 0
                    if weight > 0:
                        work.output_ids[n_outputs] = word_id
                        work.weights[n_outputs] = weight * negative_weight
                        n_outputs += 1
                center = work.kept_ids[i]
                rows = subwords.rows[subwords.offsets[center] : subwords.offsets[center + 1]]
                share = input_vectors.dtype.type(1 / rows.shape[0])
                for d in range(dim):
                    work.input[d] = 0
                add_rows(input_vectors, rows, work.input)
                for d in range(dim):
                    work.input[d] *= share
                loss += learn_outputs(context_vectors, n_outputs, n_right, rate, table, work)
                if exact_gradient:
                    for d in range(dim):
                        work.input_change[d] *= share
                add_to_rows(input_vectors, rows, work.input_change)
                n_pairs += n_right
        first = stop
        sentence += 1
    return loss, n_pairs
