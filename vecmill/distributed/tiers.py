"""Which rows travel how often: rows that workers touch often must agree often, rare ones need not.

Two workers that touch the same row between two exchanges work against an old vector. How often that happens follows
from the row's expected touches, which counts, sub-sampling and the distribution of negatives give exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Exchanges of one tier for one of the next.
TIER_RATIO = 4
# A row is put in the coldest tier in which a worker is expected to touch it at most this often between two exchanges;
# fewer cost more bytes, about in inverse proportion.
QUIET_TOUCHES = 16.0


def tiers_of(rates: npt.NDArray[np.float64], words: float, n_tiers: int) -> npt.NDArray[np.uint8]:
    """The tier of each row, 0 the hottest.

    Parameters
    ----------
    rates : expected touches for one word, see :func:`~vecmill.words.touch_rates.touch_rates`
    words : words that a worker trains between two exchanges of tier 0
    n_tiers : how many there are
    """
    borders = QUIET_TOUCHES / (words * float(TIER_RATIO) ** np.arange(1, n_tiers))
    tiers = np.zeros(rates.size, np.uint8)
    for border in borders:
        tiers += rates <= border
    return tiers


def due_tier(n_rounds: int, n_tiers: int) -> int:
    """The coldest tier that travels after ``n_rounds`` rounds of an epoch."""
    tier = 0
    while tier + 1 < n_tiers and n_rounds % TIER_RATIO ** (tier + 1) == 0:
        tier += 1
    return tier
