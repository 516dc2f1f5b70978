"""An epoch on workers with a replica each: a way to run epochs beside ``words.hogwild`` and ``words.deterministic``.

The corpus is cut into one slice a worker. All train a round of ``sync_words`` words of their slices, then exchange
the rows of the tiers that are due (see ``tiers``, ``exchange``). The learning rate follows the share of the slice that
is done, which is the same for all, as rounds keep them in step. Where the coldest tier is due, all replicas are equal
afterwards: there, and at the end of an epoch, a checkpoint is one model. The result does not depend on which worker
lives in which process, nor on the order in which messages arrive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vecmill.distributed.combine import Way
from vecmill.distributed.exchange import Traffic, exchange_rows
from vecmill.distributed.tiers import due_tier, tiers_of
from vecmill.distributed.transport import Transport
from vecmill.distributed.worker import Worker
from vecmill.errors import VecmillError
from vecmill.progress import Bar
from vecmill.words.distributed_config import DistributedConfig
from vecmill.words.model import copied_model, same_vectors
from vecmill.words.progress_state import Progress
from vecmill.words.run import EPOCH, StreamKeys, Totals, TrainingRun
from vecmill.words.schedule import learning_rate_at
from vecmill.words.touch_rates import PAIR_CURVATURE, curvatures, touch_rates

# In a small corpus rounds are shorter, so that an epoch has this many; and no shorter than this.
MIN_ROUNDS = 32
MIN_ROUND_WORDS = 64


def round_words(sync_words: int, slice_words: int) -> int:
    """Words of a round: ``sync_words``, fewer where a slice has too few for enough rounds."""
    return min(sync_words, max(MIN_ROUND_WORDS, slice_words // MIN_ROUNDS))


class RoundRecord(NamedTuple):
    """What a round took, of the workers of this process.

    Attributes
    ----------
    words : of all workers, those elsewhere too
    compute_seconds : processor time of training, a number each
    exchange_seconds : processor time of the exchange, of all together
    halves : bytes of the two halves of the exchange, see :class:`~vecmill.distributed.exchange.Traffic`
    """

    words: int
    compute_seconds: tuple[float, ...]
    exchange_seconds: float
    halves: tuple[int, int]


class Replicas:
    """Trains epochs of a run on the workers of this process; a context manager.

    Parameters
    ----------
    counts : int64[n_words], how often each word occurs
    threads : threads of each worker
    last_changes : see :func:`~vecmill.distributed.exchange.exchange_rows`
    way, curvature : how changes combine, and the curvature of a pair; others than the defaults are for comparison
    """

    def __init__(
        self,
        run: TrainingRun,
        counts: npt.NDArray[np.int64],
        distributed: DistributedConfig,
        transport: Transport,
        threads: int,
        *,
        way: Way = "touches",
        curvature: float = PAIR_CURVATURE,
        last_changes: dict[str, npt.NDArray[np.float32]] | None = None,
    ) -> None:
        config = run.config
        self.run = run
        self.distributed = distributed
        self.transport = transport
        self.threads = threads
        n = transport.n_workers
        self.cuts = [run.n_tokens * i // n for i in range(n + 1)]
        self.round_words = round_words(distributed.sync_words, -(-run.n_tokens // n))
        self.workers = [Worker(run, run.model if n == 1 else copied_model(run.model), threads) for _ in transport.here]
        self.traffic = Traffic.among(n)
        self.rounds: list[RoundRecord] = []
        rates = touch_rates(
            counts,
            sample=config.sample,
            negative_exponent=config.negative_exponent,
            negative_samples=config.negative_samples,
        )
        self._tiers = {
            name: tiers_of(each, self.round_words, distributed.tiers)
            for name, each in zip(("center_vectors", "context_vectors"), rates, strict=True)
        }
        self._curvatures = curvatures(config, curvature)
        self._way = way
        self._last_changes = last_changes

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers:
            worker.close()

    def advance(self, progress: Progress, bar: Bar, due: Callable[[], bool]) -> None:
        """Train until the epoch is done, or until all replicas are equal and ``due`` is true."""
        run, n_tiers = self.run, self.distributed.tiers
        if not progress.cuts:
            progress.cuts, progress.positions = self.cuts, self.cuts[:-1]
        totals = Totals(bar, f"epoch {progress.epoch + 1}/{run.config.epochs}", progress.loss, progress.n_pairs)
        n_rounds = -(
            -max(at - first for at, first in zip(progress.positions, self.cuts, strict=False)) // self.round_words
        )
        sums = np.zeros((len(self.workers), 2))
        while any(at < end for at, end in zip(progress.positions, self.cuts[1:], strict=True)):
            ends = [min(at + self.round_words, end) for at, end in zip(progress.positions, self.cuts[1:], strict=True)]
            seconds = self._train_round(progress, ends, sums)
            n_words = sum(ends) - sum(progress.positions)
            bar.advance(n_words)
            progress.positions = ends
            n_rounds += 1
            last = ends == self.cuts[1:]
            tier = n_tiers - 1 if last else due_tier(n_rounds, n_tiers)
            started = time.thread_time()
            self._agree(progress, tier)
            exchange_seconds = time.thread_time() - started
            self.rounds.append(RoundRecord(n_words, seconds, exchange_seconds, self.traffic.halves))
            if tier == n_tiers - 1:
                everybody = self.transport.gather(sums)
                totals.add(float(everybody[:, 0].sum()), int(everybody[:, 1].sum()), 0)
                sums[:] = 0
                progress.loss, progress.n_pairs = totals.loss, totals.n_pairs
                if due():
                    break
        self._check_replicas()

    def _train_round(self, progress: Progress, ends: list[int], sums: npt.NDArray[np.float64]) -> tuple[float, ...]:
        run, epoch = self.run, progress.epoch
        keys = StreamKeys.of(run.seed, EPOCH, epoch)
        seconds = []
        for i, (rank, worker) in enumerate(zip(self.transport.here, self.workers, strict=True)):
            first, last = self.cuts[rank], self.cuts[rank + 1]

            def learning_rate(at: int, first: int = first, last: int = last) -> float:
                return learning_rate_at(run.config, (epoch + (at - first) / (last - first)) / run.config.epochs)

            started = time.thread_time()
            if progress.positions[rank] < ends[rank]:
                sums[i] += worker.train(progress.positions[rank], ends[rank], learning_rate, keys, epoch)
            seconds.append(time.thread_time() - started)
        return tuple(seconds)

    def _agree(self, progress: Progress, tier: int) -> None:
        if self.transport.n_workers == 1:
            return
        config = self.run.config
        done = (progress.epoch + progress.n_tokens_done / self.run.n_tokens) / config.epochs
        rate = learning_rate_at(config, min(done, 1.0))
        exchange_rows(
            self.workers,
            self.transport,
            {name: tiers <= tier for name, tiers in self._tiers.items()},
            {name: rate * curvature for name, curvature in self._curvatures.items()},
            self.distributed.precision,
            self.traffic,
            whole=tier == self.distributed.tiers - 1,
            way=self._way,
            last_changes=self._last_changes,
        )

    def _check_replicas(self) -> None:
        # The rows that travel are worked out apart from the kernels that write them.
        if not all(worker.is_alone or same_vectors(self.run.model, worker.model) for worker in self.workers):
            raise VecmillError(
                "a training kernel changed rows that vecmill.kernels.touches.count_touches does not count",
                expected="both to draw the same tokens, windows and negatives",
                todo="report this as a bug of vecmill; train.mode: deterministic works without this count",
            )
