"""Co-occurrence counts of word pairs, one row after the other, and the merging of runs that were counted apart.

X[i, j] = sum over occurrences of j within ``window`` of an occurrence of i of 1/d,   d = their distance in tokens

Source: Pennington et al. 2014, sec. 4.2. How it is counted differs from the authors' program, which adds pairs as
they come to a triangle of frequent words and to a buffer that is sorted. Here the occurrences of each word are listed
first; then a row of X is summed at a time in one array of ``n_words`` sums, of which the frequent words' part stays in
the processor's first cache. Nothing is sorted, and rows may be counted by different threads.

Sums are integers, in units of a fraction of 1 (:func:`pair_units`): they are exact, so neither the order of additions
nor the cuts between segments of the corpus can change a count.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, draw_below, mix64

# A pair's count in one run, and one entry of X; both are also the layout of temporary files.
COUNT = np.dtype([("row", np.int32), ("col", np.int32), ("units", np.int64)])
PAIR = np.dtype([("row", np.int32), ("col", np.int32), ("value", np.float32)])

# How far the window of an occurrence reaches to the left and right takes ten bits each, beside its position.
LARGEST_WINDOW = 1000
_REACH_BITS = 10
_REACH_MASK = (1 << _REACH_BITS) - 1

# Up to this window the least common multiple of all distances is a scale at which each 1/d is a whole number; beyond
# it the units are 2**-30, a rounding of 1/d that stays below the precision of the float32 that is kept in the end.
_LARGEST_EXACT_WINDOW = 22
_ROUNDED_SCALE = 1 << 30


def pair_units(window: int) -> tuple[npt.NDArray[np.int64], int]:
    """The weights of the distances as integers, and how many units make 1.

    Returns
    -------
    units : int64[window + 1], entry d for distance d, entry 0 unused;  scale : 1/d = units[d] / scale
    """
    scale = math.lcm(*range(1, window + 1)) if window <= _LARGEST_EXACT_WINDOW else _ROUNDED_SCALE
    return np.array([0, *(round(scale / d) for d in range(1, window + 1))], np.int64), scale


@kernel
def add_word_counts(token_ids: npt.NDArray[np.int32], first: int, last: int, counts: npt.NDArray[np.int64]) -> None:
    """Add how often each word occurs in token_ids[first:last] to ``counts``, int64[n_words]."""
    for position in range(first, last):
        counts[token_ids[position]] += 1


@kernel
def list_occurrences(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    sentence: int,
    first: int,
    last: int,
    window: int,
    symmetric: bool,
    cursors: npt.NDArray[np.int64],
    occurrences: npt.NDArray[np.int64],
) -> None:
    """List where each word stands in the segment [first, last) of the corpus, and how far its windows reach.

    Parameters
    ----------
    token_ids : int32[n_tokens], each in [0, n_words)
    sentence_offsets : int64[n_sentences + 1];  sentence : the one that holds position ``first``
    window : tokens to each side, at most LARGEST_WINDOW; windows end with their sentence, not with the segment
    symmetric : false where windows reach to the left only
    cursors : int64[n_words], where the list of each word begins in ``occurrences``; afterwards where it ends
    occurrences : int64[last - first], result, in the order of the corpus for each word:
        (position - first) << 20 | reach to the left << 10 | reach to the right
    """
    base = first
    while first < last:
        start, end = sentence_offsets[sentence], sentence_offsets[sentence + 1]
        stop = min(last, end)
        for position in range(first, stop):
            left = min(window, position - start)
            right = min(window, end - 1 - position) if symmetric else 0
            word_id = token_ids[position]
            place = cursors[word_id]
            occurrences[place] = (((position - base) << _REACH_BITS) | left) << _REACH_BITS | right
            cursors[word_id] = place + 1
        first = max(first, stop)
        sentence += 1


@kernel
def count_rows(
    token_ids: npt.NDArray[np.int32],
    base: int,
    starts: npt.NDArray[np.int64],
    occurrences: npt.NDArray[np.int64],
    first_row: int,
    last_row: int,
    units: npt.NDArray[np.int64],
    symmetric: bool,
    sums: npt.NDArray[np.int64],
    touched: npt.NDArray[np.int32],
    records: npt.NDArray[Any],
) -> int:
    """Count the rows [first_row, last_row) of X over one segment of the corpus.

    Parameters
    ----------
    base : position of the segment's first token
    starts : int64[n_words + 1], the list of word i is occurrences[starts[i]:starts[i + 1]]
    occurrences : see :func:`list_occurrences`
    units : see :func:`pair_units`
    symmetric : keep the triangle col <= row only, as X is then symmetric
    sums : int64[n_words], all zero, and again so afterwards;  touched : int32[n_words + 1], any contents
    records : COUNT[n], result, by row, within a row in the order in which columns first occur in the corpus; must have
        room for min(2 * window * occurrences, n_words or, where symmetric, row + 1) records of each row

    Returns
    -------
    Number of records.
    """
    n_records = 0
    for row in range(first_row, last_row):
        n_touched = 0
        for k in range(starts[row], starts[row + 1]):
            packed = occurrences[k]
            position = base + (packed >> (2 * _REACH_BITS))
            # All columns are summed, also those beyond the triangle: dropping them here would be a branch that the
            # processor cannot foresee. `touched` is written always and kept where the column is new, likewise.
            for d in range(1, ((packed >> _REACH_BITS) & _REACH_MASK) + 1):
                col = token_ids[position - d]
                touched[n_touched] = col
                n_touched += sums[col] == 0
                sums[col] += units[d]
            for d in range(1, (packed & _REACH_MASK) + 1):
                col = token_ids[position + d]
                touched[n_touched] = col
                n_touched += sums[col] == 0
                sums[col] += units[d]
        for t in range(n_touched):
            col = touched[t]
            if col <= row or not symmetric:
                records[n_records]["row"] = row
                records[n_records]["col"] = col
                records[n_records]["units"] = sums[col]
                n_records += 1
            sums[col] = 0
    return n_records


@kernel
def merge_rows(
    loaded: npt.NDArray[Any],
    places: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    at_end: npt.NDArray[np.bool_],
    state: npt.NDArray[np.int64],
    sums: npt.NDArray[np.int64],
    touched: npt.NDArray[np.int32],
    records: npt.NDArray[Any],
) -> tuple[int, bool]:
    """Add up runs of counts, row by row, until a run has to be read on, the result is full, or all is done.

    Parameters
    ----------
    loaded : COUNT[n_runs, n], parts of runs, each sorted by row; run r goes on at loaded[r, places[r]:lengths[r]]
    at_end : bool[n_runs], whether nothing of the run is left beyond what is loaded
    state : int64[2], the row being added (-1 for none) and its number of touched columns; begins as [-1, 0]
    sums : int64[n_words], begins all zero;  touched : int32[n_words + 1]
        These three, and ``places``, are kept between calls.
    records : COUNT[>= n_words], result, by row, within a row the columns of the first run first, and so on

    Returns
    -------
    n_records : written this time;  finished : whether every run was added to its end
    """
    n_runs = loaded.shape[0]
    n_records = 0
    while True:
        if state[0] < 0:
            row = np.int64(-1)
            for r in range(n_runs):
                if places[r] < lengths[r]:
                    candidate = np.int64(loaded[r, places[r]]["row"])
                    if row < 0 or candidate < row:
                        row = candidate
                elif not at_end[r]:
                    return n_records, False
            if row < 0:
                return n_records, True
            state[0], state[1] = row, 0
        row, n_touched = state[0], state[1]
        for r in range(n_runs):
            while places[r] < lengths[r] and loaded[r, places[r]]["row"] == row:
                col = loaded[r, places[r]]["col"]
                touched[n_touched] = col
                n_touched += sums[col] == 0
                sums[col] += loaded[r, places[r]]["units"]
                places[r] += 1
            state[1] = n_touched
            if places[r] == lengths[r] and not at_end[r]:
                return n_records, False
        if n_records + n_touched > records.shape[0]:
            return n_records, False
        for t in range(n_touched):
            col = touched[t]
            records[n_records]["row"] = row
            records[n_records]["col"] = col
            records[n_records]["units"] = sums[col]
            sums[col] = 0
            n_records += 1
        state[0] = -1


@kernel
def count_chunks(n_pairs: int, key: np.uint64, sizes: npt.NDArray[np.int64]) -> None:
    """Add to ``sizes``, int64[n_chunks], how many of the first ``n_pairs`` pairs fall to each chunk.

    Which chunk a pair falls to is drawn from the stream of ``key`` by the pair's number (see ``sampling``).
    """
    for i in range(n_pairs):
        sizes[draw_below(mix64(key + np.uint64(i) * GAMMA), sizes.shape[0])] += 1


@kernel
def group_by_chunk(
    pairs: npt.NDArray[Any],
    first: int,
    key: np.uint64,
    chunks: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int64],
    grouped: npt.NDArray[Any],
) -> None:
    """Order a block of pairs by their chunk, keeping the order of pairs within a chunk.

    Parameters
    ----------
    pairs : PAIR[n], of which the first is pair number ``first``
    chunks : int32[>= n], memory that the work needs
    ends : int64[n_chunks], result: chunk c of the block is grouped[ends[c - 1]:ends[c]], from 0 for the first
    grouped : PAIR[>= n], result
    """
    n_chunks = ends.shape[0]
    ends[:] = 0
    for i in range(pairs.shape[0]):
        chunks[i] = draw_below(mix64(key + np.uint64(first + i) * GAMMA), n_chunks)
        ends[chunks[i]] += 1
    place = np.int64(0)
    for c in range(n_chunks):
        size = ends[c]
        ends[c] = place
        place += size
    for i in range(pairs.shape[0]):
        place = ends[chunks[i]]
        grouped[place] = pairs[i]
        ends[chunks[i]] = place + 1


@kernel
def put_in_random_order(pairs: npt.NDArray[Any], key: np.uint64) -> None:
    """Shuffle PAIR[n] in place (Fisher and Yates); the order depends on n and the key alone."""
    for i in range(pairs.shape[0] - 1, 0, -1):
        j = draw_below(mix64(key + np.uint64(i) * GAMMA), i + 1)
        row, col, value = pairs[i]["row"], pairs[i]["col"], pairs[i]["value"]
        pairs[i]["row"], pairs[i]["col"], pairs[i]["value"] = pairs[j]["row"], pairs[j]["col"], pairs[j]["value"]
        pairs[j]["row"], pairs[j]["col"], pairs[j]["value"] = row, col, value
