"""CBOW with subwords: the mean of the rows of all words of a window learns to tell the centre word from negatives.

Source: fastText, where words and n-grams of the window are one bag: h is the mean over all of their rows, so that a
long word weighs more than a short one. gensim does the same. Differences: those of ``subword_skipgram``, and when the
rows are fetched.

fastText fetches all rows of all words of each window, and a word stands in some six windows while the window slides
past it. Here a word's rows are summed once, when the first window needs it; the sum then follows the changes that the
word gets, and the rows get them all at once when the word is left behind: 2 * window + 1 words later, or at the end of
the call. A word that comes again meanwhile shares the sum of its first occurrence. So the sums are exact, but for what
other words near by have changed in n-grams that both have: that is seen 2 * window + 1 words late at most, as changes
of another thread might be.
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
from vecmill.kernels.subword_steps import add_multiples_at, add_to_rows_at, learn_outputs_at, sum_rows_at
from vecmill.kernels.windows import gather_windows


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
    l2: float = 0.0,
    gradient_clip: float = 0.0,
) -> tuple[float, int]:
    """Train on the centre words at positions [first, last).

    loss = - sum over centre words w of [ log sigmoid(h · u_w) + sum over negatives k != w of log sigmoid(-h · u_k) ],
    h = 1/n * sum over the n rows r of all words of the window of z_r

    Parameters are those of ``subword_skipgram.train_subword_skipgram``; where ``exact_gradient``, each of the n rows of
    the window gets 1/n of the change of h, and otherwise all of it, as in fastText. What l2 takes from the rows of the
    window is taken when the word is left behind.

    Returns
    -------
    loss : float64, sum over centre words, each taken before its step;  n_pairs : number of pairs (h, w)

    Threads share ``input_vectors`` and ``context_vectors`` without locks, as in ``train_subword_skipgram``.
    """
    train = _cbow(vectors_of_row(work, l2, gradient_clip), block_of(1 + n_negatives))
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
def _cbow(n_vectors: int, block: int) -> Callable[..., tuple[float, int]]:
    """The kernel for rows of a number of vectors, 0 for the plain loops."""

    @kernel
    def find_slot(
        word_id: int, input_vectors: npt.NDArray[np.floating], subwords: SubwordRows, work: SubwordWorkspace
    ) -> int:
        """The slot of a word that comes near, with the sum of its rows."""
        free = -1
        for slot in range(work.slot_users.shape[0]):
            if work.slot_users[slot] == 0:
                free = slot
            elif work.slot_words[slot] == word_id:
                work.slot_users[slot] += 1
                return slot
        work.slot_words[free], work.slot_users[free], work.decays[free] = word_id, 1, 0
        begin, stop = subwords.offsets[word_id], subwords.offsets[word_id + 1]
        if n_vectors > 0:
            sum_rows_at(
                n_vectors,
                input_vectors.ctypes.data,
                subwords.rows.ctypes.data + 4 * begin,
                stop - begin,
                np.float32(1),
                work.sums.ctypes.data + free * work.sums.strides[0],
            )
        else:
            sum_rows(input_vectors, subwords.rows, begin, stop, work.sums.dtype.type(1), work.sums[free])
        for d in range(work.sums.shape[1]):
            work.first_sums[free, d] = work.sums[free, d]
        return free

    @kernel
    def leave_place(
        place: int,
        input_vectors: npt.NDArray[np.floating],
        subwords: SubwordRows,
        work: SubwordWorkspace,
    ) -> None:
        """Free the place of a word that is left behind; its rows get their change where no other place has the word."""
        slot = work.place_slots[place]
        work.places[place] = -1
        work.slot_users[slot] -= 1
        if work.slot_users[slot] > 0:
            return
        word_id = work.slot_words[slot]
        begin, stop = subwords.offsets[word_id], subwords.offsets[word_id + 1]
        share = work.sums.dtype.type(1) / work.sums.dtype.type(subwords.gains[word_id])
        for d in range(work.sums.shape[1]):
            work.first_sums[slot, d] = (work.sums[slot, d] - work.first_sums[slot, d]) * share
        if n_vectors > 0:
            add_to_rows_at(
                n_vectors,
                input_vectors.ctypes.data,
                subwords.rows.ctypes.data + 4 * begin,
                stop - begin,
                work.first_sums.ctypes.data + slot * work.first_sums.strides[0],
            )
        else:
            change_rows(input_vectors, subwords.rows, begin, stop, work.first_sums[slot], 1 - work.decays[slot], -1.0)

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
        draws = np.uint64(1 + n_negatives)
        n_places = work.places.shape[0]
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
                prefetch_word(work.kept_ids[min(ahead + window, end - 1)], input_vectors, subwords, n_vectors)
            i = ahead - AHEAD
            if i < window:
                continue
            left, right = work.lefts[i], work.rights[i]
            if right - left < 2:
                continue
            learning_rate = last_learning_rate - slope * (last - work.kept_positions[i])
            rate = input_vectors.dtype.type(learning_rate)
            center = work.kept_ids[i]
            work.output_ids[0] = center
            work.weights[0] = 1
            n_outputs = 1
            for k in range(n_negatives):
                word_id = work.negatives[i % REMEMBERED, k]
                if word_id != center:
                    work.output_ids[n_outputs] = word_id
                    work.weights[n_outputs] = -1
                    n_outputs += 1
            n_inputs = n_rows = 0
            place = left % n_places
            for j in range(left, right):
                if j != i:
                    word_id = work.kept_ids[j]
                    if work.places[place] != j:
                        if work.places[place] >= 0:
                            leave_place(place, input_vectors, subwords, work)
                        work.places[place] = j
                        work.place_slots[place] = find_slot(word_id, input_vectors, subwords, work)
                    work.window_slots[n_inputs] = work.place_slots[place]
                    work.window_gains[n_inputs] = subwords.gains[word_id]
                    n_inputs += 1
                    n_rows += subwords.offsets[word_id + 1] - subwords.offsets[word_id]
                place = place + 1 if place + 1 < n_places else 0
            share = input_vectors.dtype.type(1 / n_rows)
            if n_vectors > 0:
                input_at, change_at = work.input.ctypes.data, work.input_change.ctypes.data
                sums_at, slots_at = work.sums.ctypes.data, work.window_slots.ctypes.data
                sum_rows_at(n_vectors, sums_at, slots_at, n_inputs, share, input_at)
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
                sum_rows(work.sums, work.window_slots, 0, n_inputs, share, work.input)
                loss += learn_outputs(context_vectors, 0, n_outputs, rate, table, work, keep, limit)
            if exact_gradient:
                for d in range(work.input_change.shape[0]):
                    work.input_change[d] *= share
            if n_vectors > 0:
                add_multiples_at(n_vectors, sums_at, slots_at, n_inputs, work.window_gains.ctypes.data, change_at)
            else:
                limit_change(work.input_change, limit)
                for c in range(n_inputs):
                    slot, gain = work.window_slots[c], work.window_gains[c]
                    work.decays[slot] += learning_rate * l2
                    for d in range(work.input_change.shape[0]):
                        work.sums[slot, d] += gain * work.input_change[d]
            n_pairs += 1
        for place in range(n_places):
            if work.places[place] >= 0:
                leave_place(place, input_vectors, subwords, work)
        return loss, n_pairs

    return train


@kernel
def limit_change(change: npt.NDArray[np.floating], limit: float) -> None:
    """Scale a change down to the Euclidean norm ``limit``; below 0 there is none."""
    if limit >= 0:
        squares = 0.0
        for d in range(change.shape[0]):
            squares += np.float64(change[d]) * np.float64(change[d])
        if squares > limit * limit:
            factor = change.dtype.type(limit / np.sqrt(squares))
            for d in range(change.shape[0]):
                change[d] *= factor
