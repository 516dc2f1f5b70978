"""What the changes of several workers to one row come to.

Between two exchanges each worker k touches a row n_k times, starting from the same vector, and ends with a change d_k.
Each touch is a step of stochastic gradient descent. Near the point w that a worker's text pulls the row to, n steps go
a share 1 - q^n of the way there, with q = exp(-a), a = learning rate times curvature of the loss of a touch. So d_k
tells where worker k is pulled: d_k / (1 - q^(n_k)) from here. One worker alone, with the text of all, would have made
N = sum of n_k touches and been pulled to the mean of these points, weighted by touches; it would have come

    sum over k of  g(N) / g(n_k) · d_k,     g(n) = (1 - q^n) / n

of the way. Three cases say what that is. A row that one worker touched moves by all of its change. A rare row
(a·N small) moves by the sum of changes: nothing that a worker learned about it is lost, while a mean over K workers
would keep 1/K of it. A row that each worker touches often (a·n_k large) moves by the mean, weighted by touches: the
sum would overshoot K times, and grow without bound. What a mean holds back is made up for by later exchanges, see
``exchange``; docs/scale.md has the derivation of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.kernels.row_exchange import add_weighted

# "touches" is what vecmill trains with. The others are what it is measured against.
Way = Literal["touches", "mean", "sum"]


class RowChanges(NamedTuple):
    """What one worker changed in one matrix, or what all of them changed.

    Attributes
    ----------
    ids : int32[n], rising, each once
    touches : int32[n], how often each row was touched; 0 where only a remainder of earlier changes is sent
    values : float32[n, dim]
    """

    ids: npt.NDArray[np.int32]
    touches: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]


def go_on_share(touches: npt.NDArray[np.integer], step: float) -> npt.NDArray[np.float64]:
    """g(n) = (1 - exp(-step · n)) / n over ``step``, so 1 at n = 0 and falling with n.

    Parameters
    ----------
    touches : n, integers >= 0
    step : a, learning rate times curvature of a touch, >= 0
    """
    x = step * touches.astype(np.float64)
    shares: npt.NDArray[np.float64] = np.ones_like(x)
    np.divide(-np.expm1(-x), x, out=shares, where=x > 0)
    return shares


def combined(
    parts: Sequence[RowChanges], n_workers: int, step: float, way: Way = "touches"
) -> tuple[RowChanges, npt.NDArray[np.float32]]:
    """Combine the changes of all workers to one matrix, or to some of its rows.

    Parameters
    ----------
    parts : one for each worker that changed anything, in the order of workers, which is the order of every sum
    n_workers : how many there are, for the plain mean
    step : a of the module's docstring

    Returns
    -------
    changes : of the rows that any worker changed
    shares : float32[n], of the sum of changes, how much the changes are: mean of weights, by touches
    """
    ids = np.unique(np.concatenate([each.ids for each in parts]))
    places = [np.searchsorted(ids, each.ids) for each in parts]
    touches = np.zeros(ids.size, np.int64)
    for place, each in zip(places, parts, strict=True):
        touches[place] += each.touches
    values = np.zeros((ids.size, parts[0].values.shape[1]), np.float32)
    shares = np.zeros(ids.size)
    of_all = go_on_share(touches, step)
    for place, each in zip(places, parts, strict=True):
        if way == "touches":
            weights = (of_all[place] / go_on_share(each.touches, step)).astype(np.float32)
            shares[place] += weights * each.touches / np.maximum(touches[place], 1)
        else:
            weights = np.ones(place.size, np.float32)
        add_weighted(place, weights, each.values, values)
    if way == "mean":
        values /= np.float32(n_workers)
    together = RowChanges(ids, np.minimum(touches, np.iinfo(np.int32).max).astype(np.int32), values)
    return together, shares.astype(np.float32)
