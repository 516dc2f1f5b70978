"""An epoch whose result does not depend on how many threads work on it.

The corpus is taken in rounds of ``round_shards`` shards of ``shard_tokens`` tokens (fewer in a small corpus). Every
shard starts from the model as the round before left it, trains on a copy, and carries home what it changed; the
changes of a round are combined row by row, shard by shard (see ``vecmill.kernels.rounds``). Cut, random draws and
order of every sum follow from configuration and corpus alone, so the bytes are the same for any number of threads,
and a training that goes on from the end of any round ends in the same bytes as one that was never broken.

What it costs: a shard does not see what the others of its round learn. Measured with one seed on 4 M words of film
reviews, skip-gram of 100 dimensions, 3 epochs, against hogwild (two seeds): WordSim-353 0.181 against 0.189 and
0.195, SimLex-999 0.225 against 0.224 and 0.212, MEN 0.241 against 0.243 and 0.235, loss 2.455 against 2.457: once
below both, once above both, once between; one seed is too few to say more. Shards of 65,536 tokens gave 0.142, 0.189
and 0.207, and adding up changes instead of combining them let the loss grow without bound from 16,384 tokens on. In
small corpora hogwild learns faster in the first epochs. In time it costs a good part of the speed, since rows travel
between shards and the model (measured on a busy machine: 0.2 to 0.3 of hogwild's words a second on one thread); in
memory one copy of the model for each thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from vecmill.errors import VecmillError
from vecmill.kernels.negative_sampling import Workspace
from vecmill.kernels.rounds import Marks, combine_changes, mark_rows, refresh_rows, take_changes
from vecmill.progress import Bar
from vecmill.words.config import WordTrainerConfig
from vecmill.words.model import WordModel, copied_model, same_vectors
from vecmill.words.progress_state import Progress
from vecmill.words.run import CHUNK_TOKENS, EPOCH, StreamKeys, Totals, TrainingRun
from vecmill.words.schedule import learning_rate_at

Result = TypeVar("Result")

# In a small corpus of few words a shard meets the same words again and again, and its changes and those of the others
# are much the same, of which only a mean is kept; so shards shrink until an epoch has this many rounds.
MIN_ROUNDS = 256
MIN_SHARD_TOKENS = 64


def shard_size(config: WordTrainerConfig, n_tokens: int) -> int:
    """Tokens of a shard: ``shard_tokens``, fewer where the corpus has too few for enough rounds."""
    return min(config.shard_tokens, max(MIN_SHARD_TOKENS, n_tokens // (config.round_shards * MIN_ROUNDS)))


@dataclass
class _Changes:
    """What the shards of a round change in one matrix.

    Attributes
    ----------
    ids : int64[n_shards, capacity], rows; n_ids : int64[n_shards], how many
    values : float32[n_shards, capacity, row_length]
    owners : int64[n_words], see ``rounds.combine_changes``
    """

    ids: npt.NDArray[np.int64]
    n_ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    owners: npt.NDArray[np.int64]

    @classmethod
    def room(cls, n_shards: int, capacity: int, base: npt.NDArray[np.float32]) -> _Changes:
        n_words, row_length = base.shape
        capacity = min(capacity, n_words)
        return cls(
            ids=np.zeros((n_shards, capacity), np.int64),
            n_ids=np.zeros(n_shards, np.int64),
            values=np.zeros((n_shards, capacity, row_length), np.float32),
            owners=np.full(n_words, -1, np.int64),
        )


@dataclass
class _Worker:
    """One thread's own memory."""

    model: WordModel
    work: Workspace
    center_flags: npt.NDArray[np.bool_]
    context_flags: npt.NDArray[np.bool_]
    kept_ids: npt.NDArray[np.int32]
    kept_positions: npt.NDArray[np.int64]

    @classmethod
    def of(cls, run: TrainingRun) -> _Worker:
        n_words, n_kept = run.model.center_vectors.shape[0], CHUNK_TOKENS + 2 * run.config.window
        return cls(
            model=copied_model(run.model),
            work=run.workspace(),
            center_flags=np.zeros(n_words, np.bool_),
            context_flags=np.zeros(n_words, np.bool_),
            kept_ids=np.empty(n_kept, np.int32),
            kept_positions=np.empty(n_kept, np.int64),
        )


class Rounds:
    """Trains epochs of a run in rounds; a context manager."""

    def __init__(self, run: TrainingRun, threads: int) -> None:
        config = run.config
        self.run = run
        self.n_shards = config.round_shards
        self.shard_tokens = shard_size(config, run.n_tokens)
        self.threads = max(1, min(threads, self.n_shards, -(-run.n_tokens // self.shard_tokens)))
        self._workers = [_Worker.of(run) for _ in range(self.threads)]
        longest = min(self.shard_tokens, run.n_tokens)
        self._center = _Changes.room(self.n_shards, longest + 2 * config.window, run.model.center_vectors)
        self._context = _Changes.room(self.n_shards, longest * (1 + config.negative_samples), run.model.context_vectors)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="words")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def advance(self, progress: Progress, bar: Bar, due: Callable[[], bool]) -> None:
        """Train until the epoch is done or ``due`` is true."""
        run = self.run
        if not progress.cuts:
            progress.cuts, progress.positions = [0, run.n_tokens], [0]
        totals = Totals(bar, f"epoch {progress.epoch + 1}/{run.config.epochs}", progress.loss, progress.n_pairs)
        position = progress.positions[0]
        while position < run.n_tokens:
            last = min(position + self.n_shards * self.shard_tokens, run.n_tokens)
            loss, n_pairs = self._train_round(position, last, progress.epoch)
            totals.add(loss, n_pairs, last - position)
            position = last
            if due():
                break
        progress.positions, progress.loss, progress.n_pairs = [position], totals.loss, totals.n_pairs
        self._check_copies()

    def _train_round(self, first: int, last: int, epoch: int) -> tuple[float, int]:
        cuts = [first + (last - first) * i // self.n_shards for i in range(self.n_shards + 1)]

        shards = self.own_shards()

        def train(part: int) -> dict[int, tuple[float, int]]:
            return {s: self._train_shard(self._workers[part], s, cuts, epoch) for s in shards[part :: self.threads]}

        parts = self._side_by_side(train)
        results = self.share_changes({shard: each for part in parts for shard, each in part.items()})
        self._side_by_side(self._combine)
        # in the order of the shards, whichever thread had which
        in_order = [results[shard] for shard in range(self.n_shards)]
        return math.fsum(loss for loss, _ in in_order), sum(n_pairs for _, n_pairs in in_order)

    def own_shards(self) -> list[int]:
        """The shards of a round that are trained here: all of them."""
        return list(range(self.n_shards))

    def share_changes(self, results: dict[int, tuple[float, int]]) -> dict[int, tuple[float, int]]:
        """Called between training and combining, with loss and pairs of each shard trained here; returns all."""
        return results

    def _train_shard(self, worker: _Worker, shard: int, cuts: list[int], epoch: int) -> tuple[float, int]:
        """Train one shard on the worker's copy, which is the base again in the end; returns loss and pairs.

        The learning rate falls within each shard as it falls over the round, in which all shards run side by side.
        """
        run, config = self.run, self.run.config
        first, last = cuts[shard], cuts[shard + 1]
        keys = StreamKeys.of(run.seed, EPOCH, epoch)
        center_marks = Marks(worker.center_flags, self._center.ids[shard])
        context_marks = Marks(worker.context_flags, self._context.ids[shard])
        speed = (cuts[-1] - cuts[0]) / max(last - first, 1)

        def learning_rate(at: int) -> float:
            in_epoch = (cuts[0] + (at - first) * speed) / run.n_tokens
            return learning_rate_at(config, min((epoch + in_epoch) / config.epochs, 1.0))

        loss, n_pairs, n_center, n_context = 0.0, 0, 0, 0
        for start in range(first, last, CHUNK_TOKENS):
            stop = min(start + CHUNK_TOKENS, last)
            for sentence, begin, end in run.spans(start, stop):
                n_center, n_context = mark_rows(
                    run.token_ids,
                    run.sentence_offsets,
                    sentence,
                    begin,
                    end,
                    run.sampler,
                    worker.kept_ids,
                    worker.kept_positions,
                    config.window,
                    config.negative_samples,
                    keys.keep,
                    keys.draw,
                    n_center,
                    center_marks,
                    n_context,
                    context_marks,
                )
            rates = learning_rate(start), learning_rate(stop)
            chunk_loss, chunk_pairs = run.train_chunk(worker.model, worker.work, start, stop, rates, keys, epoch)
            loss, n_pairs = loss + chunk_loss, n_pairs + chunk_pairs
        for marks, n_marked, changes, base, copy in (
            (center_marks, n_center, self._center, run.model.center_vectors, worker.model.center_vectors),
            (context_marks, n_context, self._context, run.model.context_vectors, worker.model.context_vectors),
        ):
            take_changes(marks, n_marked, base, copy, changes.values[shard])
            changes.n_ids[shard] = n_marked
        return loss, n_pairs

    def _combine(self, part: int) -> None:
        """Bring the rows r of the round with r % threads == part to the model and to every worker's copy."""
        for name, changes in (("center_vectors", self._center), ("context_vectors", self._context)):
            base = getattr(self.run.model, name)
            combine_changes(changes.ids, changes.n_ids, changes.values, changes.owners, base, part, self.threads)
            for worker in self._workers:
                refresh_rows(changes.ids, changes.n_ids, base, getattr(worker.model, name), part, self.threads)

    def _side_by_side(self, function: Callable[[int], Result]) -> list[Result]:
        """Call ``function(part)`` for each thread's part, and wait for all of them."""
        parts = [self._pool.submit(function, part) for part in range(1, self.threads)]
        try:
            return [function(0), *(each.result() for each in parts)]
        finally:
            wait(parts)  # after a failure too: nothing may write to the model behind our back

    def _check_copies(self) -> None:
        # The rows that shards carry home are worked out apart from the kernels that write them.
        if not all(same_vectors(self.run.model, worker.model) for worker in self._workers):
            raise VecmillError(
                "a training kernel changed rows that vecmill.kernels.rounds.mark_rows does not list",
                expected="both to draw the same tokens, windows and negatives",
                todo="report this as a bug of vecmill; train.mode: hogwild works without this list",
            )
