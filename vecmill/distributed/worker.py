"""One logical worker: a replica of both matrices, and what it changed since each row travelled last."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vecmill.distributed.combine import RowChanges
from vecmill.distributed.precision import Precision, restored, shortened
from vecmill.kernels.negative_sampling import Workspace
from vecmill.kernels.row_exchange import add_rows, add_weighted, follow_rows, gather_changes
from vecmill.kernels.touches import count_touches
from vecmill.words.model import WordModel
from vecmill.words.run import CHUNK_TOKENS, EPOCH, StreamKeys, TrainingRun

MATRICES = ("center_vectors", "context_vectors")


@dataclass
class _Thread:
    """Memory of one thread of a worker; touches int32[n_words] of both matrices."""

    work: Workspace
    kept_ids: npt.NDArray[np.int32]
    kept_positions: npt.NDArray[np.int64]
    touches: dict[str, npt.NDArray[np.int32]]

    @classmethod
    def of(cls, run: TrainingRun) -> _Thread:
        n_words, n_kept = run.model.center_vectors.shape[0], CHUNK_TOKENS + 2 * run.config.window
        return cls(
            work=run.workspace(),
            kept_ids=np.empty(n_kept, np.int32),
            kept_positions=np.empty(n_kept, np.int64),
            touches={name: np.zeros(n_words, np.int32) for name in MATRICES},
        )


@dataclass
class Worker:
    """A worker that trains its part of the text, hogwild on its own threads.

    Attributes
    ----------
    run : the training; ``run.model`` is the reference, what all workers agreed on for each row
    model : this worker's replica; the reference itself where there is one worker only
    n_threads : threads that share the replica
    remainders : bool[n_words] of both matrices, rows that hold what rounding kept from travelling
    """

    run: TrainingRun
    model: WordModel
    n_threads: int
    remainders: dict[str, npt.NDArray[np.bool_]] = field(init=False)

    def __post_init__(self) -> None:
        n_words = self.model.center_vectors.shape[0]
        self.remainders = {name: np.zeros(n_words, np.bool_) for name in MATRICES}
        self._threads = [_Thread.of(self.run) for _ in range(self.n_threads)]
        self._pool = ThreadPoolExecutor(self.n_threads, thread_name_prefix="words") if self.n_threads > 1 else None

    @property
    def is_alone(self) -> bool:
        """Whether the replica is the reference, so that nothing has to travel."""
        return self.model is self.run.model

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def train(
        self, first: int, last: int, learning_rate: Callable[[int], float], keys: StreamKeys, epoch: int
    ) -> tuple[float, int]:
        """Train on [first, last); ``learning_rate`` of a position in it. Returns loss and pairs, sums over pairs."""
        n = self.n_threads
        cuts = [first + (last - first) * i // n for i in range(n + 1)]

        def part(i: int) -> tuple[float, int]:
            # the threads run side by side, so each goes through all the rates of the round
            start, stop = cuts[i], cuts[i + 1]
            speed = (last - first) / max(stop - start, 1)

            def rate(at: int) -> float:
                return learning_rate(at) if n == 1 else learning_rate(round(first + (at - start) * speed))

            return self._train_part(self._threads[i], start, stop, rate, keys, epoch)

        if self._pool is None:
            return part(0)
        results = list(self._pool.map(part, range(n)))
        return sum(loss for loss, _ in results), sum(n_pairs for _, n_pairs in results)

    def _train_part(
        self, thread: _Thread, first: int, last: int, rate: Callable[[int], float], keys: StreamKeys, epoch: int
    ) -> tuple[float, int]:
        run, config = self.run, self.run.config
        loss, n_pairs = 0.0, 0
        for start in range(first, last, CHUNK_TOKENS):
            stop = min(start + CHUNK_TOKENS, last)
            if not self.is_alone:
                for sentence, begin, end in run.spans(start, stop):
                    count_touches(
                        run.token_ids,
                        run.sentence_offsets,
                        sentence,
                        begin,
                        end,
                        run.sampler,
                        thread.kept_ids,
                        thread.kept_positions,
                        config.window,
                        config.negative_samples,
                        keys.keep,
                        keys.draw,
                        *(thread.touches[name] for name in MATRICES),
                    )
            rates = rate(start), rate(stop)
            chunk_loss, chunk_pairs = run.train_chunk(self.model, thread.work, start, stop, rates, keys, epoch)
            loss, n_pairs = loss + chunk_loss, n_pairs + chunk_pairs
        return loss, n_pairs

    def take_changes(
        self, name: str, due: npt.NDArray[np.bool_], precision: Precision, *, whole: bool, n_workers: int
    ) -> list[RowChanges]:
        """What changed in the due rows of a matrix, as it will arrive; the replica keeps what rounding takes away.

        ``due`` is bool[n_words]. Where ``whole``, rows travel that were not touched again but hold a remainder. Each
        row taken has to be brought to what the reference becomes, see :meth:`follow`. Returns what goes to each owner,
        row r to worker r % n_workers.
        """
        touches = self._threads[0].touches[name]
        for thread in self._threads[1:]:
            touches += thread.touches[name]
            thread.touches[name][:] = 0
        rows = np.flatnonzero(due & ((touches > 0) | self.remainders[name]) if whole else due & (touches > 0))
        owners = rows % n_workers
        rows = rows[np.argsort(owners, kind="stable")]
        cuts = np.cumsum([0, *np.bincount(owners, minlength=n_workers)])
        sent_touches = touches[rows]
        touches[rows] = 0
        self.remainders[name][rows] = False
        replica, reference, dim = getattr(self.model, name), getattr(self.run.model, name), self.model.dim
        changes = np.empty((rows.size, dim), np.float32)
        gather_changes(rows, replica, reference, changes)
        values = restored(shortened(changes, precision), precision)
        if precision != "float32":
            replica[rows] = reference[rows]
            self.add_remainder(name, rows, changes - values)
        ids = rows.astype(np.int32)
        parts = (slice(start, stop) for start, stop in pairwise(cuts))
        return [RowChanges(ids[part], sent_touches[part], values[part]) for part in parts]

    def add_remainder(self, name: str, rows: npt.NDArray[np.integer], remainder: npt.NDArray[np.float32]) -> None:
        """Add to the replica's rows what did not travel, float32[n, dim]; it does with the row's next change."""
        add_rows(rows, remainder, getattr(self.model, name))
        self.remainders[name][rows] |= remainder.any(axis=1)

    def follow(self, name: str, rows: npt.NDArray[np.integer], change: npt.NDArray[np.float32]) -> None:
        """Bring the replica's rows to what the reference's have become, by ``change``, float32[n, dim]."""
        follow_rows(rows, change, self.remainders[name], getattr(self.run.model, name), getattr(self.model, name))


def compile_exchange(run: TrainingRun) -> None:
    """Call the kernels of an exchange on nothing, so that they are compiled."""
    model, touches = run.model.center_vectors, np.zeros(1, np.int32)
    keys = StreamKeys.of(run.seed, EPOCH, 0)
    count_touches(
        run.token_ids,
        run.sentence_offsets,
        0,
        0,
        0,
        run.sampler,
        np.empty(0, np.int32),
        np.empty(0, np.int64),
        run.config.window,
        run.config.negative_samples,
        keys.keep,
        keys.draw,
        touches,
        touches,
    )
    places, ids = np.empty(0, np.int64), np.empty(0, np.int32)
    weights, changes = np.empty(0, np.float32), np.empty((0, run.model.dim), np.float32)
    gather_changes(places, model, model, changes)
    add_weighted(places, weights, changes, changes)
    for rows in (places, ids):
        add_rows(rows, changes, model)
    follow_rows(ids, changes, np.zeros(1, np.bool_), model, model)
