"""An epoch on threads that share one model without locks (Recht et al. 2011).

The corpus is cut into as many slices as there are threads, each slice into chunks of tokens. A thread takes its slice
chunk by chunk; between two chunks it reports progress, and stops where a checkpoint is due. Random draws belong to
positions in the corpus (see ``vecmill.kernels.sampling``), so every thread has its own and none depends on the cut.
Rows of the commonest words are shared a little later than the others, see ``own_rows``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from vecmill.kernels.negative_sampling import Workspace
from vecmill.progress import Bar
from vecmill.words.own_rows import OwnRows
from vecmill.words.progress_state import Progress
from vecmill.words.run import CHUNK_TOKENS, EPOCH, StreamKeys, Totals, TrainingRun
from vecmill.words.schedule import learning_rate_at


class Hogwild:
    """Trains epochs of a run on ``threads`` threads; a context manager."""

    def __init__(self, run: TrainingRun, threads: int) -> None:
        self.run = run
        # With less than a chunk each, threads would mostly write to the same few rows.
        self.threads = max(1, min(threads, run.n_tokens // CHUNK_TOKENS))
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="words")

    def __enter__(self) -> Hogwild:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def advance(self, progress: Progress, bar: Bar, due: Callable[[], bool]) -> None:
        """Train until the epoch is done or ``due`` is true; a resumed epoch keeps the slices it began with."""
        n_tokens, config = self.run.n_tokens, self.run.config
        if not progress.cuts:
            progress.cuts = [n_tokens * i // self.threads for i in range(self.threads + 1)]
            progress.positions = progress.cuts[:-1]
        totals = Totals(bar, f"epoch {progress.epoch + 1}/{config.epochs}", progress.loss, progress.n_pairs)
        slices = [
            self._pool.submit(self.train_slice, i, progress, self.run.workspace(), totals, due)
            for i in range(len(progress.positions))
        ]
        try:
            progress.positions = [each.result() for each in slices]
        except BaseException:
            self.run.stop.set()  # an interrupt reaches this thread only; the others look here after each chunk
            raise
        progress.loss, progress.n_pairs = totals.loss, totals.n_pairs

    def train_slice(self, i: int, progress: Progress, work: Workspace, totals: Totals, due: Callable[[], bool]) -> int:
        """Train on what is left of slice ``i``; returns the position that comes next.

        The learning rate follows this thread's own progress, which is everyone's as long as threads keep step.
        """
        run, epoch = self.run, progress.epoch
        first, last, position = progress.cuts[i], progress.cuts[i + 1], progress.positions[i]
        keys = StreamKeys.of(run.seed, EPOCH, epoch)

        def learning_rate(at: int) -> float:
            return learning_rate_at(run.config, (epoch + (at - first) / (last - first)) / run.config.epochs)

        own = OwnRows(run, self.threads, work)
        while position < last and not run.stop.is_set():
            stop = min(position + own.step, last)
            rates = learning_rate(position), learning_rate(stop)
            loss, n_pairs = run.train_chunk(run.model, work, position, stop, rates, keys, epoch)
            own.trained(stop - position, rates[1])
            totals.add(loss, n_pairs, stop - position)
            position = stop
            if due():
                break
        own.settle(learning_rate(position))
        return position
