"""Counting co-occurrences of a corpus of any size in bounded memory.

The corpus is taken in segments whose lists of occurrences fit in memory. Each is counted by row, several ranges of rows
at a time in threads, and comes out sorted by row. Of a single segment that is the result; several are written to files
and added up, row by row. Counts are exact integers until the end, and within a row the columns stand in the order in
which the corpus brings them, so the result is the same whatever the memory, the cuts and the threads.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.kernels.cooccurrence import (
    COUNT,
    PAIR,
    add_word_counts,
    count_rows,
    list_occurrences,
    merge_rows,
    pair_units,
)
from vecmill.progress import Bar, track

Records = npt.NDArray[Any]

# Records that one task of a thread may find; also what is read from a run at a time, where memory allows.
_BLOCK_RECORDS = 1 << 18
# A segment is never shorter, however little memory there is: each brings the same few passes over the vocabulary.
_SMALLEST_SEGMENT = 1 << 12
# Runs that are added up at once, each an open file.
_MAX_RUNS = 128


@dataclass(frozen=True)
class PairCounting:
    """What is counted, and with what means.

    Attributes
    ----------
    token_ids : int32[n_tokens], each in [0, n_words)
    sentence_offsets : int64[n_sentences + 1]
    n_words : size of the vocabulary
    window : tokens to each side; pairs never cross a sentence boundary
    symmetric : windows reach to both sides; otherwise to the left only
    threads : threads that count
    memory_bytes : what counting may take, as far as the vocabulary leaves a choice
    folder : for temporary files
    """

    token_ids: npt.NDArray[np.int32]
    sentence_offsets: npt.NDArray[np.int64]
    n_words: int
    window: int
    symmetric: bool
    threads: int
    memory_bytes: int
    folder: Path

    def pairs(self) -> Iterator[Records]:
        """The entries of X above 0 as blocks of PAIR, sorted by row; where X is symmetric, those with col <= row.

        X[i, j] = sum over occurrences of (i, j) of 1/d,   d = distance in tokens, d <= window       (GloVe, sec. 4.2)

        A block is valid until the next one is asked for. Values are exact sums rounded once, to float32.
        """
        _, scale = pair_units(self.window)
        for counts in self._counts():
            block = np.empty(counts.size, PAIR)
            block["row"], block["col"], block["value"] = counts["row"], counts["col"], counts["units"] / scale
            yield block

    def _counts(self) -> Iterator[Records]:
        cuts = self._segments()
        with track("counting word pairs", total=self.token_ids.size, unit="tokens") as bar:
            if len(cuts) == 2:
                yield from self._segment(cuts[0], cuts[1], bar)
                return
            runs = []
            for i in range(len(cuts) - 1):
                runs.append(self._write(i, self._segment(cuts[i], cuts[i + 1], bar)))
        with track("adding up word pairs", total=sum(run.stat().st_size for run in runs), unit="bytes") as bar:
            n_written = len(runs)
            while len(runs) > _MAX_RUNS:
                groups = [runs[i : i + _MAX_RUNS] for i in range(0, len(runs), _MAX_RUNS)]
                runs = [self._write(n_written + i, self._merged(group, None)) for i, group in enumerate(groups)]
                n_written += len(groups)
            yield from self._merged(runs, bar)

    # --- one segment -------------------------------------------------------------------------------------------------

    def _room(self) -> tuple[int, int, int]:
        """Tokens of a segment, threads, and records of a thread's result, within the memory there is."""
        largest_row = self.n_words
        threads = self.threads
        block = max(largest_row, _BLOCK_RECORDS)
        while True:
            fixed = 16 * self.n_words + (threads + 1) * (12 * self.n_words + (COUNT.itemsize + PAIR.itemsize) * block)
            if fixed <= self.memory_bytes // 2 or (threads == 1 and block == largest_row):
                break
            if block > largest_row:
                block = max(largest_row, block // 2)
            else:
                threads -= 1
        return max(_SMALLEST_SEGMENT, (self.memory_bytes - fixed) // 8), threads, block

    def _segments(self) -> list[int]:
        n_tokens = self.token_ids.size
        n_segments = max(1, -(-n_tokens // self._room()[0]))
        return [n_tokens * i // n_segments for i in range(n_segments + 1)]

    def _segment(self, first: int, last: int, bar: Bar) -> Iterator[Records]:
        """Counts of the windows around the tokens [first, last)."""
        _, threads, block = self._room()
        starts = np.zeros(self.n_words + 1, np.int64)
        add_word_counts(self.token_ids, first, last, starts[1:])
        # no row has more columns than there are words at its places, nor than there are words
        most = np.minimum(starts[1:] * (2 * self.window), self.n_words)
        if self.symmetric:
            np.minimum(most, np.arange(1, self.n_words + 1), out=most)
        np.cumsum(most, out=most)
        np.cumsum(starts, out=starts)
        occurrences = np.empty(last - first, np.int64)
        sentence = int(np.searchsorted(self.sentence_offsets, first, side="right")) - 1
        list_occurrences(
            self.token_ids,
            self.sentence_offsets,
            sentence,
            first,
            last,
            self.window,
            self.symmetric,
            starts[:-1].copy(),
            occurrences,
        )
        units, _ = pair_units(self.window)

        def count(work: _CountingWork, rows: tuple[int, int]) -> int:
            return count_rows(
                self.token_ids,
                first,
                starts,
                occurrences,
                *rows,
                units,
                self.symmetric,
                work.sums,
                work.touched,
                work.records,
            )

        for (first_row, last_row), counts in _in_order(count, _row_ranges(most, block), threads, self.n_words, block):
            bar.advance(int(starts[last_row] - starts[first_row]))
            yield counts

    # --- several -----------------------------------------------------------------------------------------------------

    def _write(self, number: int, blocks: Iterator[Records]) -> Path:
        path = self.folder / f"run-{number:06}"
        with path.open("wb") as file:
            for block in blocks:
                file.write(block.view(np.uint8).data)
        return path

    def _merged(self, runs: list[Path], bar: Bar | None) -> Iterator[Records]:
        """The sums of runs, whose files are removed."""
        n_loaded = self.memory_bytes // 2 // COUNT.itemsize // len(runs)
        loaded = np.empty((len(runs), min(max(n_loaded, 1 << 8), _BLOCK_RECORDS)), COUNT)
        places, lengths = np.zeros(len(runs), np.int64), np.zeros(len(runs), np.int64)
        at_end = np.zeros(len(runs), np.bool_)
        state = np.array([-1, 0])
        sums, touched = np.zeros(self.n_words, np.int64), np.empty(self.n_words + 1, np.int32)
        records = np.empty(max(self.n_words, min(loaded.shape[1], _BLOCK_RECORDS)), COUNT)
        with ExitStack() as files:
            opened = [files.enter_context(run.open("rb", buffering=0)) for run in runs]
            finished = False
            while not finished:
                for r in np.flatnonzero((places == lengths) & ~at_end):
                    n_bytes = opened[r].readinto(loaded[r].view(np.uint8).data)
                    places[r], lengths[r], at_end[r] = 0, n_bytes // COUNT.itemsize, n_bytes == 0
                    if bar is not None:
                        bar.advance(n_bytes)
                n_records, finished = merge_rows(loaded, places, lengths, at_end, state, sums, touched, records)
                yield records[:n_records]
        for run in runs:
            run.unlink()


@dataclass(frozen=True)
class _CountingWork:
    """Memory of one task: see ``count_rows``."""

    sums: npt.NDArray[np.int64]
    touched: npt.NDArray[np.int32]
    records: Records


def _row_ranges(most: npt.NDArray[np.int64], block: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that have at most ``block`` records each; ``most`` is the running sum of each row's most."""
    row, before = 0, 0
    while row < most.size:
        last = int(np.searchsorted(most, before + block, side="right"))
        yield row, last
        row, before = last, int(most[last - 1])


def _in_order(
    count: Callable[[_CountingWork, tuple[int, int]], int],
    ranges: Iterator[tuple[int, int]],
    threads: int,
    n_words: int,
    block: int,
) -> Iterator[tuple[tuple[int, int], Records]]:
    """Count row ranges in threads and give their results in order; a result is valid until the next is asked for."""
    free: queue.SimpleQueue[_CountingWork] = queue.SimpleQueue()
    for _ in range(threads + 1):
        free.put(_CountingWork(np.zeros(n_words, np.int64), np.empty(n_words + 1, np.int32), np.empty(block, COUNT)))
    waiting: deque[tuple[tuple[int, int], _CountingWork, Future[int]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="pairs") as pool:
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and not free.empty():
                rows = next(ranges, None)
                if rows is None:
                    exhausted = True
                else:
                    work = free.get()
                    waiting.append((rows, work, pool.submit(count, work, rows)))
            if waiting:
                rows, work, counted = waiting.popleft()
                yield rows, work.records[: counted.result()]
                free.put(work)
