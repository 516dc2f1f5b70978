"""The paired, stratified bootstrap: several models scored on the same resamples of a benchmark's items."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from vecmill.evaluation.statistics import Floats

# Resamples that one call of the kernel makes; many calls, so that threads of unequal speed share the work.
_RESAMPLES_PER_CALL = 250


def paired_resamples(
    ratings: Floats,
    columns: Floats,
    strata: npt.NDArray[np.int64],
    n_resamples: int,
    seed: Sequence[int],
    threads: int | None = None,
) -> Floats:
    """Spearman's coefficient of every column with the ratings, in bootstrap resamples that all columns share.

    Each resample draws, with replacement, as many items of every stratum as the sample has. The coefficients are exact,
    ties included.

    Parameters
    ----------
    ratings : float64[n], n at least 1, finite
    columns : float64[n_columns, n], finite; the cosines of one model each
    strata : int64[n], the stratum of each item, any numbers
    n_resamples : how many are drawn
    seed : integers >= 0. The draws depend on them, on n and on the strata alone: not on the columns nor on the threads
    threads : how many work; None: as many as this process has processors

    Returns
    -------
    float64[n_resamples, n_columns]. 0 where a column is constant in a resample, NaN where the ratings are.
    """
    from vecmill.kernels.rank_resamples import resample_rank_correlations

    order = np.argsort(strata, kind="stable")
    sizes = np.unique(strata, return_counts=True)[1]
    stratum_offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rating_groups, n_rating_groups = _groups(ratings[order])
    grouped = [_groups(column[order]) for column in columns]
    column_groups = np.ascontiguousarray([groups for groups, _ in grouped], dtype=np.int32)
    n_column_groups = np.array([n_groups for _, n_groups in grouped], dtype=np.int64)
    keys: npt.NDArray[np.uint64] = (
        np.random.SeedSequence(list(seed)).generate_state(n_resamples, np.uint64).astype(np.uint64)
    )
    found = np.empty((n_resamples, len(columns)))

    def work(first: int) -> None:
        part = slice(first, first + _RESAMPLES_PER_CALL)
        n = len(ratings)
        room = np.empty(n, np.int32), np.empty(n), np.empty(n)
        resample_rank_correlations(
            keys[part],
            stratum_offsets,
            rating_groups,
            n_rating_groups,
            column_groups,
            n_column_groups,
            *room,
            found[part],
        )

    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        list(pool.map(work, range(0, n_resamples, _RESAMPLES_PER_CALL)))
    return np.clip(found, -1.0, 1.0, out=found)


def _groups(values: Floats) -> tuple[npt.NDArray[np.int32], int]:
    """The group of tied values that each value belongs to, by rising value, and how many groups there are."""
    distinct, group_ids = np.unique(values, return_inverse=True)
    return group_ids.astype(np.int32), len(distinct)
