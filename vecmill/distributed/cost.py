"""What distributed training costs on machines that are not there: words a second from measured work and bytes.

A round of K machines takes

    w / c  +  2 L  +  (a + b) / B

seconds: w words of each machine at its measured speed of c words a second; two messages of latency L; and the bytes
of both halves of an exchange, a to the owners of rows and b back, through a link of B bytes a second that sends and
receives at once. What a and b are follows from the expected touches of each row (``words.touch_rates``): a row with
rate r is touched by a worker in m words with probability 1 - exp(-r m). So a machine sends the rows it touched to their
owners, all but its own share 1/K, and gets back what any of the K touched, all but its own share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vecmill.distributed.precision import WIRE_TYPES, Precision
from vecmill.distributed.tiers import TIER_RATIO, tiers_of


@dataclass(frozen=True)
class Link:
    """A machine's place in a network that is not overloaded elsewhere.

    Attributes
    ----------
    bytes_per_second : in each direction
    latency_seconds : of one message between any two machines
    """

    bytes_per_second: float
    latency_seconds: float

    def seconds(self, halves: tuple[float, float]) -> float:
        """What an exchange takes in which the busiest machine moves so many bytes in each half."""
        return sum(self.latency_seconds + each / self.bytes_per_second for each in halves)


@dataclass(frozen=True)
class CostModel:
    """Words a second of any number of machines.

    Attributes
    ----------
    rates : expected touches of each row for one word, float64[n_words] for each matrix
    dim : numbers of a row
    sync_words, n_tiers, precision : as configured
    words_per_second : measured, of one machine alone that trains and counts touches
    row_seconds : measured, processor time that a machine spends on each row it sends, combines or takes over
    """

    rates: Sequence[npt.NDArray[np.float64]]
    dim: int
    sync_words: int
    n_tiers: int
    precision: Precision
    words_per_second: float
    row_seconds: float = 0.0

    def rows_per_round(self, n_machines: int) -> tuple[float, float, float]:
        """Rows that one machine touched and sends, that it owns and combines, that come back to it: means a round."""
        short, whole = self._rows(n_machines)
        union = short[1] + whole[1]
        return short[0] + whole[0], union / n_machines, union

    def bytes_per_round(self, n_machines: int) -> tuple[float, float]:
        """Mean bytes a round that one machine sends to owners, and that come back to it; 0 for one machine."""
        if n_machines == 1:
            return 0.0, 0.0
        away = (n_machines - 1) / n_machines
        first = second = 0.0
        for (sent, union), n_bytes in zip(
            self._rows(n_machines), (np.dtype(WIRE_TYPES[self.precision]).itemsize, 4), strict=True
        ):
            first += sent * away * (self.dim * n_bytes + 8)
            second += union * away * (self.dim * n_bytes + 4)
        return first, second

    def _rows(self, n_machines: int) -> list[tuple[float, float]]:
        """Rows that one machine touched, and that any did, mean over rounds: in exchanges of some tiers, and of all.

        Those of all tiers carry float32 whatever ``precision`` is, and, where it is another, every row that was
        touched since the last of them, for it holds a remainder.
        """
        whole_every = TIER_RATIO ** (self.n_tiers - 1)
        found = [np.zeros(2), np.zeros(2)]
        for rates in self.rates:
            tiers = tiers_of(rates, self.sync_words, self.n_tiers)
            for tier in range(self.n_tiers):
                period = TIER_RATIO**tier
                of_tier = rates[tiers == tier] * self.sync_words
                rounds = period if self.precision == "float32" else whole_every
                found[0] += _touched(of_tier * period, n_machines) * (1 / period - 1 / whole_every)
                found[1] += _touched(of_tier * rounds, n_machines) / whole_every
        return [(float(sent), float(union)) for sent, union in found]

    def speed(self, n_machines: int, link: Link) -> float:
        """Words a second of all machines together."""
        return n_machines * self.sync_words / self.round_seconds(n_machines, link)

    def round_seconds(self, n_machines: int, link: Link) -> float:
        """Seconds of a round, exchange included."""
        compute = self.sync_words / self.words_per_second
        if n_machines == 1:
            return compute
        rows = sum(self.rows_per_round(n_machines))
        return compute + rows * self.row_seconds + link.seconds(self.bytes_per_round(n_machines))


def _touched(touches: npt.NDArray[np.float64], n_machines: int) -> npt.NDArray[np.float64]:
    """How many rows one machine touches, and any of them, from expected touches by one machine; float64[2]."""
    return np.array([-np.expm1(-touches).sum(), -np.expm1(-touches * n_machines).sum()])
