"""Bootstrap resamples of rank correlations, several columns on the same draws.

A resample is described by how often it holds each item. Its ranks follow from the one grouping of the whole sample: a
group of tied values that the resample holds k times, after m smaller ones, has the mean rank m + (k + 1) / 2 (Kendall
1945). So nothing is sorted, and a resample costs a few passes over the items, which stay in a core's cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel
from vecmill.kernels.sampling import GAMMA, draw_below, mix64


@kernel
def centred_ranks(
    groups: npt.NDArray[np.int32],
    n_groups: int,
    held: npt.NDArray[np.int32],
    ranks: npt.NDArray[np.float64],
) -> float:
    """Mean rank of each group of tied values in a resample, minus the mean of all ranks.

    Parameters
    ----------
    groups : int32[n], the group of each item's value, by rising value
    held : int32[n], how often the resample holds each item; n in all
    ranks : float64[>= n_groups], result

    Returns
    -------
    Sum of the squares of the items' centred ranks.
    """
    n = groups.shape[0]
    for group in range(n_groups):
        ranks[group] = 0.0
    for item in range(n):
        ranks[groups[item]] += held[item]
    middle = (n + 1.0) / 2.0
    before = 0.0
    squares = 0.0
    for group in range(n_groups):
        in_group = ranks[group]
        rank = before + (in_group + 1.0) / 2.0 - middle
        squares += in_group * rank * rank
        ranks[group] = rank
        before += in_group
    return squares


@kernel
def resample_rank_correlations(
    keys: npt.NDArray[np.uint64],
    stratum_offsets: npt.NDArray[np.int64],
    rating_groups: npt.NDArray[np.int32],
    n_rating_groups: int,
    column_groups: npt.NDArray[np.int32],
    n_column_groups: npt.NDArray[np.int64],
    held: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float64],
    ranks: npt.NDArray[np.float64],
    correlations: npt.NDArray[np.float64],
) -> None:
    """Spearman's coefficient of each column with the ratings, in each stratified resample of the items.

    Parameters
    ----------
    keys : uint64[n_resamples], the stream of each resample's draws
    stratum_offsets : int64[n_strata + 1]; stratum s is the items [offsets[s], offsets[s + 1]), and a resample draws as
        many of them, with replacement
    rating_groups, n_rating_groups : int32[n], the group of tied ratings of each item, by rising rating; how many
    column_groups, n_column_groups : int32[n_columns, n] and int64[n_columns], the same for each column
    held, weights, ranks : int32[n], float64[n], float64[n]: room to work in
    correlations : float64[n_resamples, n_columns], result. A column that is constant in a resample ranks nothing and
        gets 0; where the ratings are constant, there is nothing to rank, and all columns get NaN

    Difference to one bootstrap after the other: all columns see the same draws, so that differences are paired.
    """
    n = rating_groups.shape[0]
    n_columns = column_groups.shape[0]
    for resample in range(keys.shape[0]):
        held[:] = 0
        counter = keys[resample]
        for stratum in range(stratum_offsets.shape[0] - 1):
            start = stratum_offsets[stratum]
            size = stratum_offsets[stratum + 1] - start
            for _ in range(size):
                counter += GAMMA
                held[start + draw_below(mix64(counter), size)] += 1
        rating_squares = centred_ranks(rating_groups, n_rating_groups, held, ranks)
        for item in range(n):
            weights[item] = held[item] * ranks[rating_groups[item]]
        for column in range(n_columns):
            groups = column_groups[column]
            squares = centred_ranks(groups, n_column_groups[column], held, ranks)
            if rating_squares == 0.0:
                correlations[resample, column] = np.nan
            elif squares == 0.0:
                correlations[resample, column] = 0.0
            else:
                covariance = 0.0
                for item in range(n):
                    covariance += weights[item] * ranks[groups[item]]
                correlations[resample, column] = covariance / np.sqrt(rating_squares * squares)
