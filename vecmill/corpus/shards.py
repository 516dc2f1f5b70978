"""Writing documents to Parquet shards."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.text.arrow_columns import numbers_of, offsets_of

# A row group is what every later stage holds in memory at once.
ROW_GROUP_ROWS = 16384
_ROW_GROUP_BYTES = 4 << 20


class ShardWriter:
    """Writes documents to Parquet shards; memory is bounded by the bytes of two row groups.

    One is written, in a thread of its own since compressing holds no lock of the interpreter, while the next gathers.
    """

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self.n_documents = 0
        self.n_chars = 0
        self.rows: dict[str, int] = {}
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._most_group_bytes = min(_ROW_GROUP_BYTES, shard_bytes)
        self._group: list[pa.RecordBatch] = []
        self._group_rows = self._group_bytes = 0
        self._written_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writing")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
                self._wait()
        finally:
            self._thread.shutdown()
            self._close()

    def write(self, documents: pa.RecordBatch) -> None:
        """Write documents, columns of :data:`CORPUS_SCHEMA`, after those written before."""
        # Bytes of all rows up to each, text and title.
        ends = _byte_ends(documents["text"]) + _byte_ends(documents["title"])
        start, n = 0, len(documents)
        while start < n:
            before = int(ends[start - 1]) if start else 0
            # Before, not after: a large document gets a row group of its own instead of joining a nearly full one.
            stop = int(np.searchsorted(ends, before + self._most_group_bytes - self._group_bytes, side="right"))
            if not self._group_bytes:
                stop = max(stop, int(np.searchsorted(ends, before, side="right")) + 1)
            stop = max(start, min(stop, start + ROW_GROUP_ROWS - self._group_rows, n))
            if stop > start:
                self._gather(documents.slice(start, stop - start), int(ends[stop - 1]) - before)
            start = stop
            if start < n or self._group_rows >= ROW_GROUP_ROWS:
                self._flush()

    def _gather(self, documents: pa.RecordBatch, n_bytes: int) -> None:
        """Put rows into the group."""
        self._group.append(documents)
        self._group_rows += len(documents)
        self._group_bytes += n_bytes
        self.n_documents += len(documents)
        self.n_chars += int(numbers_of(documents["n_chars"]).sum())

    def _flush(self) -> None:
        if not self._group_rows:
            return
        # At most one row group waits, and a failure to write is told by the next document.
        self._wait()
        if self._writer is not None and self._written_bytes + self._group_bytes > self._shard_bytes:
            self._close()
        if self._writer is None:
            name = shard_name(len(self.rows))
            self.rows[name] = 0
            self._writer = open_shard(self._folder / name)
        self._writing = self._thread.submit(_write_group, self._writer, self._group)
        self.rows[shard_name(len(self.rows) - 1)] += self._group_rows
        self._written_bytes += self._group_bytes
        self._group, self._group_rows, self._group_bytes = [], 0, 0

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._written_bytes = 0


def _write_group(writer: pq.ParquetWriter, group: list[pa.RecordBatch]) -> None:
    # As one piece: where pages end would otherwise tell how the rows came.
    batch = pa.concat_batches(group)
    writer.write_batch(batch, row_group_size=len(batch))


def _byte_ends(texts: pa.Array) -> npt.NDArray[np.int64]:
    offsets = offsets_of(texts)
    return np.asarray(offsets[1:] - offsets[0])


def shard_name(number: int) -> str:
    """What the shard of this number is called."""
    return f"part-{number:05d}.parquet"


def open_shard(path: Path) -> pq.ParquetWriter:
    """A writer of one shard."""
    # Ids are random and texts differ, so a dictionary of them would only cost.
    return pq.ParquetWriter(path, CORPUS_SCHEMA, compression="zstd", use_dictionary=["source_uri", "language"])
