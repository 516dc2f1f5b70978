"""The deterministic mode on several workers: the shards of a round are shared among them.

Worker k trains the shards s with s % n == k. What they changed goes to everybody, and everybody combines the changes of
all shards in their order, as ``vecmill.words.deterministic`` does in one process. So the bytes are those of one process
with the same ``round_shards``, for any number of workers.
"""

from __future__ import annotations

import numpy as np

from vecmill.distributed.combine import RowChanges
from vecmill.distributed.transport import Transport
from vecmill.words.deterministic import Rounds
from vecmill.words.run import TrainingRun


class SharedRounds(Rounds):
    """Trains epochs of a run in rounds whose shards several workers train; a context manager."""

    def __init__(self, run: TrainingRun, threads: int, transport: Transport) -> None:
        self.transport = transport
        self.own = [s for s in range(run.config.round_shards) if s % transport.n_workers in transport.here]
        super().__init__(run, min(threads, max(1, len(self.own))))

    def own_shards(self) -> list[int]:
        return self.own

    def share_changes(self, results: dict[int, tuple[float, int]]) -> dict[int, tuple[float, int]]:
        """Bring the changes of the shards that were trained here to everybody, and everybody's here."""
        transport, n = self.transport, self.transport.n_workers
        if len(transport.here) == n:
            return results
        sums = np.zeros((len(transport.here), 2 * self.n_shards))
        for i, rank in enumerate(transport.here):
            for shard in range(rank, self.n_shards, n):
                sums[i, 2 * shard : 2 * shard + 2] = results[shard]
        told = transport.gather(sums)
        for turn in range(-(-self.n_shards // n)):
            outgoing = [[self._changes_of(turn * n + rank)] * n for rank in transport.here]
            incoming = transport.exchange(outgoing, "float32", False)[0]
            for rank, message in enumerate(incoming):
                shard = turn * n + rank
                if shard >= self.n_shards or rank in transport.here:
                    continue
                for changes, rows in zip((self._center, self._context), message, strict=True):
                    k = rows.ids.size
                    changes.n_ids[shard] = k
                    changes.ids[shard, :k] = rows.ids
                    changes.values[shard, :k, : self.run.model.dim] = rows.values
                    changes.values[shard, :k, self.run.model.dim :] = 0
        return {
            shard: (float(told[shard % n, 2 * shard]), int(told[shard % n, 2 * shard + 1]))
            for shard in range(self.n_shards)
        }

    def _changes_of(self, shard: int) -> tuple[RowChanges, ...]:
        if shard >= self.n_shards:
            none = np.empty(0, np.int32)
            return (RowChanges(none, none, np.empty((0, self.run.model.dim), np.float32)),) * 2
        return tuple(
            RowChanges(
                each.ids[shard, : each.n_ids[shard]].astype(np.int32),
                np.zeros(each.n_ids[shard], np.int32),
                each.values[shard, : each.n_ids[shard], : self.run.model.dim],
            )
            for each in (self._center, self._context)
        )
