"""Pairs that a new model has lost: what they count in a comparison with the model that knows them.

In the middle of the ranks, where pairs with an unknown word stand otherwise, a lost pair costs a good model something
and pays a model that had it wrong: the champion less the ten words that it is worst at would be the better model. So
in a comparison each lost pair stands where it lowers the score most. Whatever the model would have made of it, its
score would have been no lower; losing words that the champion knows can never raise the score that the gate reads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vecmill.evaluation.items import BenchmarkItems, filled_cosines
from vecmill.evaluation.statistics import Floats, mean_ranks


def ranked_against(items: BenchmarkItems, known: npt.NDArray[np.bool_]) -> Floats:
    """Numbers that rank a model's pairs of two different words, beside a model that knows the pairs ``known``.

    Pairs that it covers are ranked by their cosines; those that neither knows stand in the middle
    (:func:`vecmill.evaluation.items.filled_cosines`); those that it has lost where Spearman's coefficient with the
    ratings becomes smallest.

    The coefficient's numerator is the sum of products of ranks. Above j of the other pairs, by rising cosine, a lost
    pair of rating rank r adds j r and one more place to each pair above it: up to a constant, the sum of r - r_i over
    the j pairs below it. The smallest of these sums says where it goes. A higher r never goes higher, so that all lost
    pairs together are placed best by placing each, in falling order of r where several meet.

    Parameters
    ----------
    known : bool[n], of all pairs of the benchmark, those that the other model covers

    Returns
    -------
    float64[n_different]; the cosines themselves where nothing is lost
    """
    different = items.different
    cosines = filled_cosines(items)
    lost = (known & ~items.covered)[different]
    if not lost.any():
        return cosines
    rating_ranks = mean_ranks(items.ratings[different])
    order = np.argsort(cosines[~lost], kind="stable")
    levels, first = np.unique(cosines[~lost][order], return_index=True)
    # Of the other pairs below each gap between two levels of cosine: how many they are, and their rating ranks' sum.
    n_below = np.append(first, len(order))
    ranks_below = np.append(0.0, np.cumsum(rating_ranks[~lost][order]))[n_below]

    placed = np.empty(len(cosines))
    # Levels become odd numbers, the gaps around them even ones.
    placed[~lost] = 2 * np.searchsorted(levels, cosines[~lost]) + 1
    falling = np.flatnonzero(lost)[np.argsort(-rating_ranks[lost], kind="stable")]
    for at, pair in enumerate(falling.tolist()):
        gap = int(np.argmin(rating_ranks[pair] * n_below - ranks_below))
        placed[pair] = 2 * gap + (at + 1) / (len(falling) + 1) - 0.5
    return placed
