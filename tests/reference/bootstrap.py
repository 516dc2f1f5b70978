"""The stratified bootstrap in plain steps: draw item numbers, let scipy rank them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


def mix64(counter: int) -> int:
    """SplitMix64's finaliser on Python's integers."""
    z = ((counter ^ (counter >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def plain_resamples(
    ratings: np.ndarray, columns: np.ndarray, strata: np.ndarray, n_resamples: int, seed: Sequence[int]
) -> np.ndarray:
    """What ``vecmill.evaluation.resampling.paired_resamples`` gives, one resample after the other."""
    keys = np.random.SeedSequence(list(seed)).generate_state(n_resamples, np.uint64)
    found = np.full((n_resamples, len(columns)), np.nan)
    for row, key in enumerate(keys.tolist()):
        counter, drawn = key, []
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            for _ in members:
                counter = (counter + _GAMMA) & _MASK
                drawn.append(members[((mix64(counter) >> 32) * len(members)) >> 32])
        for at, column in enumerate(columns):
            if len(set(ratings[drawn])) > 1:
                constant = len(set(column[drawn])) == 1
                found[row, at] = 0.0 if constant else stats.spearmanr(ratings[drawn], column[drawn]).statistic
    return found
