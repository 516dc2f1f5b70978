"""The corpus as batches of texts: read in order, worked on by several threads, handed on in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecmill.corpus.documents import iter_row_groups
from vecmill.text.arrow_columns import numbers_of

Result = TypeVar("Result")
Tool = TypeVar("Tool")

# UTF-8 text in one batch; what is found in it takes up to two and a half times as much. A single larger document still
# makes a single batch.
BATCH_BYTES = 1 << 20

# What a thread holds besides its tools: a batch at work and one that waits, and its share of what is being read.
THREAD_BYTES = 10 * BATCH_BYTES


def cut_batch(batch: pa.RecordBatch, max_bytes: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
    """Cut a batch of documents into slices of about ``max_bytes`` of text; documents stay whole."""
    ends = np.cumsum(numbers_of(pc.binary_length(batch.column("text"))), dtype=np.int64)
    start = 0
    while start < batch.num_rows:
        taken = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, taken + max_bytes, side="right")))
        yield batch.slice(start, stop - start)
        start = stop


def map_documents(
    work: Callable[[pa.RecordBatch], Result],
    corpus: Path,
    quarantine: Path,
    threads: int,
    keep: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
) -> Iterator[tuple[pa.RecordBatch, Result]]:
    """Apply ``work`` to every batch of documents in threads; batches and results come in corpus order.

    Parameters are those of :func:`map_row_groups`.
    """
    for _, batch, result in map_row_groups(work, corpus, quarantine, threads, keep):
        yield batch, result


def map_row_groups(
    work: Callable[[pa.RecordBatch], Result],
    corpus: Path,
    quarantine: Path,
    threads: int,
    keep: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
    first: int = 0,
) -> Iterator[tuple[int, pa.RecordBatch, Result]]:
    """Do what :func:`map_documents` does, and say of each batch which row group of the corpus it comes from.

    At most ``threads + 1`` batches are in flight, so memory is bounded whatever the consumer does.

    Parameters
    ----------
    work : called in a thread with columns ``doc_id`` and ``text``; its heavy part should release the interpreter lock
    corpus : folder of the ingest artifact
    quarantine : ``quarantine.parquet`` of the contract artifact
    threads : 0 for one a core
    keep : takes documents out of a batch before anything is done with it
    first : row groups before this one are passed over unread
    """
    n_threads = threads or available_cores()
    waiting: deque[tuple[int, pa.RecordBatch, Future[Result]]] = deque()
    with ThreadPoolExecutor(n_threads, thread_name_prefix="tokens") as pool:
        try:
            for group, documents in iter_row_groups(corpus, quarantine, first=first):
                for batch in cut_batch(documents if keep is None else keep(documents)):
                    waiting.append((group, batch, pool.submit(work, batch)))
                    if len(waiting) > n_threads:
                        number, done, result = waiting.popleft()
                        yield number, done, result.result()
            while waiting:
                number, done, result = waiting.popleft()
                yield number, done, result.result()
        finally:
            for _, _, result in waiting:
                result.cancel()


class Tools(Generic[Tool]):
    """One tool for each thread that works, whichever thread that is.

    Parameters
    ----------
    make : makes a tool
    threads : how many; 0 for one a core
    """

    def __init__(self, make: Callable[[], Tool], threads: int) -> None:
        self.all = [make() for _ in range(threads or available_cores())]
        self._free: SimpleQueue[Tool] = SimpleQueue()
        for tool in self.all:
            self._free.put(tool)

    @contextmanager
    def one(self) -> Iterator[Tool]:
        """A tool that nobody else uses inside the block."""
        tool = self._free.get()
        try:
            yield tool
        finally:
            self._free.put(tool)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
