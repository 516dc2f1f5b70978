"""Rows that a shard of a deterministic round changes, their changes, and how changes of several shards combine.

Shards train apart from each other on copies of one model. To carry their changes home, the rows that a training kernel
may have written must be known without looking at the whole model: :func:`mark_rows` draws once more what the kernel
drew, which costs little, since draws are functions of positions (see ``sampling``). ``vecmill.words.deterministic``
compares whole models now and then, so that a kernel that writes other rows does not go unnoticed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, Sampler, draw_negative, gather_kept, mix64


class Marks(NamedTuple):
    """A set of rows that can be listed; empty when all flags are False.

    Attributes
    ----------
    flags : bool[n_words]
    ids : int64[capacity], the rows whose flag is set come first, in the order in which they were marked
    """

    flags: npt.NDArray[np.bool_]
    ids: npt.NDArray[np.int64]


@kernel
def mark(word_id: int, n_marked: int, marks: Marks) -> int:
    """Add a row; returns how many there are now."""
    if marks.flags[word_id]:
        return n_marked
    marks.flags[word_id] = True
    marks.ids[n_marked] = word_id
    return n_marked + 1


@kernel
def mark_rows(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    sentence: int,
    first: int,
    last: int,
    sampler: Sampler,
    kept_ids: npt.NDArray[np.int32],
    kept_positions: npt.NDArray[np.int64],
    window: int,
    n_negatives: int,
    keep_key: np.uint64,
    draw_key: np.uint64,
    n_center: int,
    center_marks: Marks,
    n_context: int,
    context_marks: Marks,
) -> tuple[int, int]:
    """Mark the rows of center and context vectors that training on [first, last) may write.

    Parameters are those of ``skipgram.train_skipgram``; n_center and n_context say how many rows are marked already.

    Returns
    -------
    n_center, n_context : how many rows are marked now
    """
    draws = np.uint64(1 + n_negatives)
    while first < last:
        start, end = sentence_offsets[sentence], sentence_offsets[sentence + 1]
        stop = min(last, end)
        if first < stop:
            kept_start, kept_end, centers_end = gather_kept(
                token_ids, start, end, first, stop, window, keep_key, sampler, kept_ids, kept_positions
            )
            for i in range(kept_start, kept_end):
                n_center = mark(kept_ids[i], n_center, center_marks)
            for i in range(window, centers_end):
                n_context = mark(kept_ids[i], n_context, context_marks)
                counter = draw_key + np.uint64(kept_positions[i]) * draws * GAMMA
                for _ in range(n_negatives):
                    counter += GAMMA
                    n_context = mark(draw_negative(mix64(counter), sampler), n_context, context_marks)
        first = stop
        sentence += 1
    return n_center, n_context


@kernel
def take_changes(
    marks: Marks,
    n_marked: int,
    base: npt.NDArray[np.floating],
    copy: npt.NDArray[np.floating],
    changes: npt.NDArray[np.floating],
) -> None:
    """changes[k] = copy[r] - base[r] for the k-th marked row r; the copy is the base again and the flags are cleared.

    Parameters
    ----------
    base, copy : floating[n_words, dim]; changes : floating[>= n_marked, dim], result
    """
    for k in range(n_marked):
        row = marks.ids[k]
        marks.flags[row] = False
        for d in range(base.shape[1]):
            changes[k, d] = copy[row, d] - base[row, d]
            copy[row, d] = base[row, d]


@kernel
def combine_changes(
    ids: npt.NDArray[np.int64],
    n_ids: npt.NDArray[np.int64],
    changes: npt.NDArray[np.floating],
    owners: npt.NDArray[np.int64],
    base: npt.NDArray[np.floating],
    part: int,
    n_parts: int,
) -> None:
    """Add the changes of all shards to the base, for the rows r with r % n_parts == part.

    Changes a, b of one row by two shards combine, shard by shard in rising order, to

        (1 - a·b / 2|a|²) a + (1 - a·b / 2|b|²) b

    which is the sum where they are orthogonal, their mean where they are equal. The plain sum diverges on frequent
    words, whose changes mostly agree; the mean loses most of what only one of many shards learned.

    Parameters
    ----------
    ids : int64[n_shards, capacity], n_ids : int64[n_shards]; shard s changed the rows ids[s, :n_ids[s]], each once
    changes : floating[n_shards, capacity, dim], destroyed
    owners : int64[n_words], all -1, and again when done
    base : floating[n_words, dim], result

    Rows do not depend on each other, so the result is the same for any ``n_parts``, and parts may run side by side.
    Source: Gill et al. 2021, "Distributed training of embeddings using graph analytics"; Maleki et al. 2020 (Adasum).
    """
    capacity, dim = ids.shape[1], base.shape[1]
    for shard in range(ids.shape[0]):
        for k in range(n_ids[shard]):
            row = ids[shard, k]
            if row % n_parts != part:
                continue
            b = changes[shard, k]
            if owners[row] < 0:
                owners[row] = shard * capacity + k
                continue
            a = changes[owners[row] // capacity, owners[row] % capacity]
            ab = aa = bb = 0.0
            for d in range(dim):
                x, y = np.float64(a[d]), np.float64(b[d])
                ab += x * y
                aa += x * x
                bb += y * y
            if bb != 0:  # NaN is not 0 either, and has to come through
                of_a = base.dtype.type(1 - ab / (2 * aa)) if aa > 0 else base.dtype.type(1)
                of_b = base.dtype.type(1 - ab / (2 * bb))
                for d in range(dim):
                    a[d] = of_a * a[d] + of_b * b[d]
    for shard in range(ids.shape[0]):
        for k in range(n_ids[shard]):
            row = ids[shard, k]
            if row % n_parts == part and owners[row] == shard * capacity + k:
                owners[row] = -1
                for d in range(dim):
                    base[row, d] += changes[shard, k, d]


@kernel
def refresh_rows(
    ids: npt.NDArray[np.int64],
    n_ids: npt.NDArray[np.int64],
    base: npt.NDArray[np.floating],
    copy: npt.NDArray[np.floating],
    part: int,
    n_parts: int,
) -> None:
    """Bring the rows r that any shard changed, with r % n_parts == part, from the base to a copy."""
    for shard in range(ids.shape[0]):
        for k in range(n_ids[shard]):
            row = ids[shard, k]
            if row % n_parts == part:
                for d in range(base.shape[1]):
                    copy[row, d] = base[row, d]
