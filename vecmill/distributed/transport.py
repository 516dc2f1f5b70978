"""How changed rows get from worker to worker; here within one process, in ``gloo.py`` between processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vecmill.distributed.combine import RowChanges
from vecmill.distributed.precision import WIRE_TYPES, Precision

# What one worker sends another in one exchange: the rows of each matrix, in the order of worker.MATRICES.
Message = tuple[RowChanges, ...]
_HEADER_BYTES = 8


class Transport(Protocol):
    """The workers of a training, some of which live in this process.

    Attributes
    ----------
    n_workers : all of them
    here : the ranks of those in this process, rising
    """

    n_workers: int
    here: Sequence[int]

    def exchange(self, outgoing: list[list[Message]], precision: Precision, with_touches: bool) -> list[list[Message]]:
        """Send outgoing[i][to] from the i-th worker here to each worker; returns incoming[i][from] alike.

        ``with_touches`` says whether counts of touches travel too; else they arrive as zeros.
        """

    def gather(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """float64[n_workers, m] of all workers, from float64[n_here, m] of those here."""

    def spread(self, content: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Worker 0's bytes, wherever it lives; elsewhere ``content`` says only how many to wait for."""


class OneProcess:
    """All workers in one process, which does the work of one after the other."""

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self.here: Sequence[int] = range(n_workers)

    def exchange(self, outgoing: list[list[Message]], precision: Precision, with_touches: bool) -> list[list[Message]]:
        return [[outgoing[source][to] for source in self.here] for to in self.here]

    def gather(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return values

    def spread(self, content: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return content


def wire_bytes(message: Message, precision: Precision, with_touches: bool) -> int:
    """Bytes that a message takes on the wire."""
    n_bytes = 0
    for rows in message:
        a_row = rows.values.shape[1] * np.dtype(WIRE_TYPES[precision]).itemsize + (8 if with_touches else 4)
        n_bytes += _HEADER_BYTES + rows.ids.size * a_row
    return n_bytes
