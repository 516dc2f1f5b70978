"""Writing documents to Parquet shards."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.schema import CORPUS_SCHEMA

# A row group is what every later stage holds in memory at once.
ROW_GROUP_ROWS = 16384
_ROW_GROUP_BYTES = 4 << 20


@dataclass
class Columns:
    """Documents as columns, n of each."""

    doc_ids: list[str] = field(default_factory=list)
    uris: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.doc_ids)


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
        self._columns: dict[str, list[Any]] = {name: [] for name in CORPUS_SCHEMA.names}
        self._group_bytes = 0
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

    def write(self, documents: Columns) -> None:
        """Write documents, after those written before; titles and texts are Unicode."""
        sizes = [
            len(text) + len(title) if text.isascii() and title.isascii() else len(text.encode()) + len(title.encode())
            for text, title in zip(documents.texts, documents.titles, strict=True)
        ]
        start = 0
        n_waiting, n_bytes = len(self._columns["doc_id"]), self._group_bytes
        for row, size in enumerate(sizes):
            # Before, not after: a large document gets a row group of its own instead of joining a nearly full one.
            if n_waiting >= ROW_GROUP_ROWS or (n_bytes and n_bytes + size > self._most_group_bytes):
                self._gather(documents, start, row, n_bytes)
                self._flush()
                start, n_waiting, n_bytes = row, 0, 0
            n_waiting += 1
            n_bytes += size
        self._gather(documents, start, len(sizes), n_bytes)
        if n_waiting >= ROW_GROUP_ROWS:
            self._flush()

    def _gather(self, documents: Columns, start: int, stop: int, n_bytes: int) -> None:
        """Put some rows of the columns into the group, which then holds ``n_bytes``."""
        texts = documents.texts[start:stop]
        n_chars = [len(text) for text in texts]
        parts: tuple[list[Any], ...] = (
            documents.doc_ids[start:stop],
            documents.uris[start:stop],
            documents.titles[start:stop],
            texts,
            n_chars,
            documents.languages[start:stop],
        )
        for column, part in zip(self._columns.values(), parts, strict=True):
            column.extend(part)
        self._group_bytes = n_bytes
        self.n_documents += stop - start
        self.n_chars += sum(n_chars)

    def _flush(self) -> None:
        n_rows = len(self._columns["doc_id"])
        if not n_rows:
            return
        # At most one row group waits, and a failure to write is told by the next document.
        self._wait()
        if self._writer is not None and self._written_bytes + self._group_bytes > self._shard_bytes:
            self._close()
        if self._writer is None:
            name = shard_name(len(self.rows))
            self.rows[name] = 0
            self._writer = open_shard(self._folder / name)
        self._writing = self._thread.submit(_write_group, self._writer, self._columns)
        self.rows[shard_name(len(self.rows) - 1)] += n_rows
        self._written_bytes += self._group_bytes
        self._columns = {name: [] for name in CORPUS_SCHEMA.names}
        self._group_bytes = 0

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._written_bytes = 0


def _write_group(writer: pq.ParquetWriter, columns: dict[str, list[Any]]) -> None:
    batch = pa.RecordBatch.from_pydict(columns, schema=CORPUS_SCHEMA)
    writer.write_batch(batch, row_group_size=len(batch))


def shard_name(number: int) -> str:
    """What the shard of this number is called."""
    return f"part-{number:05d}.parquet"


def open_shard(path: Path) -> pq.ParquetWriter:
    """A writer of one shard."""
    # Ids are random and texts differ, so a dictionary of them would only cost.
    return pq.ParquetWriter(path, CORPUS_SCHEMA, compression="zstd", use_dictionary=["source_uri", "language"])
