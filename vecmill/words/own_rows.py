"""Rows of the commonest words that each thread keeps for itself, so that threads do not wait for each other's caches.

A few hundred words take most of the steps. When two cores write the same row in turns, each waits for it to come over
from the other's cache: two threads were 1.7 times as fast as one, and are 1.9 times with rows of their own (see
docs/performance.md). From time to time a thread adds what it has changed to the model's rows, and takes over what the
others did meanwhile.

How a change counts: between two such times N threads pull a row from where all of them found it. If steps are few, or
small, their changes add up. If each of them has gone all the way to where its text pulls the row, their sum would
overshoot N times, and with four threads the training diverges. In between, n steps of rate times curvature a go the
share 1 - exp(-an) of the way, N·n steps the share 1 - exp(-aNn); the quotient of the two, over N, is what a change
counts. ``vecmill.distributed.combine`` has the same problem and derives it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vecmill.kernels.row_exchange import settle_rows
from vecmill.kernels.windows import VectorWorkspace
from vecmill.words.run import CHUNK_TOKENS, TrainingRun
from vecmill.words.touch_rates import curvatures, touch_rates

# Tokens that all threads together train between two times that one of them settles its rows. Copies are staler the
# more threads there are, hence in all.
STALE_TOKENS = 2 * CHUNK_TOKENS
# Tokens for each own row between two times, so that settling takes the same small part of the work with any number of
# threads: 512 rows with two. docs/performance.md has what fewer and more of them gave.
TOKENS_PER_ROW = 32
# Of so many words one has rows of its own, and so often a thread has to settle in an epoch. Below that most rows would
# be stale most of the time, in a training that is done in a moment anyway.
WORDS_PER_ROW = 64
MIN_SETTLINGS = 32


@dataclass(frozen=True)
class _Matrix:
    shared: npt.NDArray[np.float32]
    own: npt.NDArray[np.float32]
    seen: npt.NDArray[np.float32]
    touch_rates: npt.NDArray[np.float64]
    curvature: float


class OwnRows:
    """The own rows of one thread; none where there is one thread, or too little text.

    Parameters
    ----------
    run : the training, its words by falling count (rows of others are as right, and gain less)
    threads : how many share its model
    work : the thread's workspace, which is told where the rows are; they live as long as this object

    Attributes
    ----------
    step : tokens that the thread may train before it calls ``trained``
    """

    def __init__(self, run: TrainingRun, threads: int, work: object) -> None:
        self.step = CHUNK_TOKENS
        self._threads = threads
        self._n_trained = 0
        self._interval = interval = max(1, STALE_TOKENS // threads)
        self._matrices: list[_Matrix] = []
        n_rows = min(interval // TOKENS_PER_ROW, run.counts.size // WORDS_PER_ROW)
        if not isinstance(work, VectorWorkspace) or threads < 2 or n_rows == 0:
            return
        if run.n_tokens // threads < MIN_SETTLINGS * interval:
            return
        self.step = min(CHUNK_TOKENS, interval)
        config = run.config
        rates = touch_rates(
            run.counts,
            sample=config.sample,
            negative_exponent=config.negative_exponent,
            negative_samples=config.negative_samples,
        )
        for (name, curvature), rate in zip(curvatures(config).items(), rates, strict=True):
            shared = getattr(run.model, name)
            own = shared[:n_rows].copy()
            self._matrices.append(_Matrix(shared, own, own.copy(), rate[:n_rows], curvature))
        centers, contexts = self._matrices
        work.own_rows[:] = n_rows, centers.own.ctypes.data, contexts.own.ctypes.data

    def trained(self, n_tokens: int, learning_rate: float) -> None:
        """Note that the thread has trained so much, and settle where it is time."""
        self._n_trained += n_tokens
        if self._n_trained >= self._interval:
            self.settle(learning_rate)

    def settle(self, learning_rate: float) -> None:
        """Add what has changed to the model, and take over what others have added; afterwards nothing is held back."""
        for each in self._matrices:
            step = learning_rate * each.curvature * self._n_trained
            settle_rows(each.shared, each.own, each.seen, each.touch_rates, step, self._threads)
        self._n_trained = 0
