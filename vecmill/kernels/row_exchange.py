"""What an exchange of rows between replicas does to matrices, without the copies that NumPy's indexing would make."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vecmill.kernels.jit import kernel


@kernel
def gather_changes(
    rows: npt.NDArray[np.integer],
    replica: npt.NDArray[np.floating],
    reference: npt.NDArray[np.floating],
    changes: npt.NDArray[np.floating],
) -> None:
    """changes[i, d] = replica[rows[i], d] - reference[rows[i], d].

    Parameters
    ----------
    rows : integer[n]; replica, reference : floating[n_words, row_length]
    changes : floating[n, dim], dim <= row_length, result
    """
    for i in range(rows.shape[0]):
        row = rows[i]
        for d in range(changes.shape[1]):
            changes[i, d] = replica[row, d] - reference[row, d]


@kernel
def add_weighted(
    places: npt.NDArray[np.integer],
    weights: npt.NDArray[np.floating],
    changes: npt.NDArray[np.floating],
    target: npt.NDArray[np.floating],
) -> None:
    """target[places[i], d] += weights[i] * changes[i, d], in the order of i.

    Parameters
    ----------
    places : integer[n]; weights : floating[n]; changes : floating[n, dim]
    target : floating[m, >= dim], result
    """
    for i in range(places.shape[0]):
        place, weight = places[i], weights[i]
        for d in range(changes.shape[1]):
            target[place, d] += weight * changes[i, d]


@kernel
def add_rows(
    rows: npt.NDArray[np.integer], changes: npt.NDArray[np.floating], target: npt.NDArray[np.floating]
) -> None:
    """target[rows[i], d] += changes[i, d], shapes as in :func:`add_weighted`."""
    for i in range(rows.shape[0]):
        row = rows[i]
        for d in range(changes.shape[1]):
            target[row, d] += changes[i, d]


@kernel
def follow_rows(
    rows: npt.NDArray[np.integer],
    changes: npt.NDArray[np.floating],
    remainders: npt.NDArray[np.bool_],
    reference: npt.NDArray[np.floating],
    replica: npt.NDArray[np.floating],
) -> None:
    """Bring a replica's rows to what the reference's have become.

    Parameters
    ----------
    rows : integer[n]; changes : floating[n, dim], by how much each has changed
    remainders : bool[n_words], rows in which the replica holds more than the reference did: the change is added there
    reference, replica : floating[n_words, row_length]; the second is the result
    """
    for i in range(rows.shape[0]):
        row = rows[i]
        if remainders[row]:
            for d in range(changes.shape[1]):
                replica[row, d] += changes[i, d]
        else:
            for d in range(changes.shape[1]):
                replica[row, d] = reference[row, d]


@kernel
def settle_rows(
    shared: npt.NDArray[np.floating],
    own: npt.NDArray[np.floating],
    seen: npt.NDArray[np.floating],
    touches: npt.NDArray[np.float64],
    step: float,
    n_threads: int,
) -> None:
    """Add what a thread has changed in its own rows to the shared ones, and bring its own up to these.

    shared[r] += g(N n) / g(n) / N · (own[r] - seen[r]) with g(n) = 1 - exp(-step · n), n = touches[r], N = n_threads;
    then own[r] = seen[r] = shared[r].

    Parameters
    ----------
    shared : floating[n_words, row_length], changed by all threads without locks
    own, seen : floating[n_rows, row_length], n_rows <= n_words: the thread's rows, and what they were the last time
    touches : float64[n_rows], expected touches of each row by one thread since the last call, >= 0, in any unit
    step : learning rate times curvature of a touch, by the same unit, >= 0
    """
    for r in range(own.shape[0]):
        x = step * touches[r]
        weight = own.dtype.type(math.expm1(-n_threads * x) / (n_threads * math.expm1(-x)) if x > 0 else 1.0)
        for d in range(own.shape[1]):
            value = shared[r, d] + weight * (own[r, d] - seen[r, d])
            shared[r, d] = value
            own[r, d] = value
            seen[r, d] = value
