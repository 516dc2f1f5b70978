"""Correlations and their bootstrap intervals.

Spearman's coefficient is Pearson's coefficient of the ranks, ties sharing their mean rank (Kendall 1945). Nothing here
returns NaN: where a coefficient is undefined the answer is None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Numbers in one block of resamples: it stays in a core's cache. Fixed, since the stream of draws depends on it.
_BLOCK_ITEMS = 1 << 17


@dataclass(frozen=True)
class Interval:
    """Lower and upper end of an interval."""

    lower: float
    upper: float


def mean_ranks(values: Floats) -> Floats:
    """Ranks from 1 to n; equal values share the mean of their ranks."""
    group_ids, group_sizes = _groups(values)
    rank_of_group: Floats = np.cumsum(group_sizes) - (group_sizes - 1) / 2
    return rank_of_group[group_ids]


def pearson(x: Floats, y: Floats) -> float | None:
    """Pearson's product-moment coefficient of x and y, float64[n]; None if one of them is constant or n < 2."""
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return None
    x, y = _centred(x), _centred(y)
    return float(np.clip(np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)), -1.0, 1.0))


def _centred(values: Floats) -> Floats:
    # Scaled before and after centring, so that neither a sum nor a square leaves the range of float64.
    centred = values / np.abs(values).max()
    centred -= centred.mean()
    scaled: Floats = centred / np.abs(centred).max()
    return scaled


def spearman(x: Floats, y: Floats) -> float | None:
    """Spearman's rank coefficient of x and y, float64[n]; None if one of them is constant or n < 2."""
    return pearson(mean_ranks(x), mean_ranks(y)) if len(x) else None


def spearman_resamples(x: Floats, y: Floats, n_resamples: int, rng: np.random.Generator) -> Floats:
    """Spearman's coefficient of bootstrap resamples of the pairs (x[i], y[i]).

    A resample is described by how often it holds each pair, c[i]. Its ranks follow from the one sorting of the whole
    sample: a group of tied values that the resample holds k times, after m smaller ones, has the mean rank
    m + (k + 1) / 2. So no resample is sorted, and the cost is linear.

    Parameters
    ----------
    x, y : float64[n], n at least 1
    n_resamples : how many are drawn, each of n pairs, with replacement
    rng : the stream of draws

    Returns
    -------
    float64[at most n_resamples]: resamples that are constant in x or y have no coefficient and are left out.
    """
    n = len(x)
    # In the order of x, groups of tied x are runs. The draws themselves name pairs, in the order they are given in, so
    # two models with the same pairs and stream are resampled alike.
    x_order, y_order = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    x_groups, y_groups = _groups(x), _groups(y)
    step = max(1, _BLOCK_ITEMS // n)
    found = []
    for start in range(0, n_resamples, step):
        n_rows = min(step, n_resamples - start)
        draws = rng.integers(0, n, size=(n_rows, n))
        draws += np.arange(n_rows)[:, None] * n
        held = np.bincount(draws.ravel(), minlength=n_rows * n).reshape(n_rows, n).astype(np.float64)
        x_ranks, x_variances = _centred_ranks(held[:, x_order], *x_groups)
        y_ranks, y_variances = _centred_ranks(held[:, y_order], *y_groups)
        covariances = np.einsum("ij,ij,ij->i", held, x_ranks, y_ranks)
        squares = x_variances * y_variances
        defined = squares > 0
        found.append(covariances[defined] / np.sqrt(squares[defined]))
    correlations: Floats = np.clip(np.concatenate(found), -1.0, 1.0)
    return correlations


def percentile_interval(resamples: Floats, confidence: float) -> Interval | None:
    """The middle ``confidence`` of the resamples (Efron and Tibshirani 1993, section 13.3); None if there are none."""
    if len(resamples) == 0:
        return None
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(resamples, [tail, 1.0 - tail])
    return Interval(float(lower), float(upper))


def _groups(values: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The group of tied values that each value belongs to, by rising value, and the size of each group."""
    _, group_ids, group_sizes = np.unique(values, return_inverse=True, return_counts=True)
    return group_ids.astype(np.int64), group_sizes.astype(np.int64)


def _centred_ranks(
    held: Floats, group_ids: npt.NDArray[np.int64], group_sizes: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Mean ranks minus their mean, and the sum of their squares, in each resample.

    Parameters
    ----------
    held : float64[n_rows, n], how often each resample holds each pair, pairs in the order of the groups
    group_ids, group_sizes : as from :func:`_groups`, for the pairs in the order that the ranks are wanted in

    Returns
    -------
    float64[n_rows, n] and float64[n_rows]
    """
    starts = np.cumsum(group_sizes) - group_sizes
    in_group = np.add.reduceat(held, starts, axis=1)
    ranks = np.cumsum(in_group, axis=1) - in_group
    ranks += (in_group + 1.0) / 2.0
    ranks -= (held.shape[1] + 1.0) / 2.0
    return ranks[:, group_ids], np.einsum("ij,ij,ij->i", in_group, ranks, ranks)
