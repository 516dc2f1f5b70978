"""How often training touches each row, counted by drawing once more what a training kernel draws."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, Sampler, draw_negative, gather_kept, mix64


@kernel
def count_touches(
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
    center_touches: npt.NDArray[np.int32],
    context_touches: npt.NDArray[np.int32],
) -> None:
    """Add what training on [first, last) touches to ``center_touches`` and ``context_touches``, int32[n_words].

    A center vector is touched by each occurrence that sub-sampling keeps, in or around [first, last), however many
    windows it lies in; a context vector by each kept centre word in [first, last) and each negative drawn for one.
    Every row that a training kernel writes has a count above zero.

    Parameters are those of ``rounds.mark_rows``.
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
                center_touches[kept_ids[i]] += 1
            for i in range(window, centers_end):
                context_touches[kept_ids[i]] += 1
                counter = draw_key + np.uint64(kept_positions[i]) * draws * GAMMA
                for _ in range(n_negatives):
                    counter += GAMMA
                    context_touches[draw_negative(mix64(counter), sampler)] += 1
        first = stop
        sentence += 1
