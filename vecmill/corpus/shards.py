"""Writing documents to Parquet shards."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.schema import CORPUS_SCHEMA

# A row group is what every later stage holds in memory at once.
ROW_GROUP_ROWS = 16384
_ROW_GROUP_BYTES = 4 << 20


class ShardWriter:
    """Writes documents to Parquet shards; memory is bounded by the bytes of one row group."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._close()

    def write(self, doc_id: str, source_uri: str, title: str, text: str, language: str | None) -> None:
        n_bytes = _n_bytes(text) + _n_bytes(title)
        # Before, not after: a large document gets a row group of its own instead of joining a nearly full one.
        if self._group_bytes and self._group_bytes + n_bytes > self._most_group_bytes:
            self._flush()
        row = (doc_id, source_uri, title, text, len(text), language)
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        self._group_bytes += n_bytes
        self.n_documents += 1
        self.n_chars += len(text)
        if len(self._columns["doc_id"]) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        n_rows = len(self._columns["doc_id"])
        if not n_rows:
            return
        if self._writer is not None and self._written_bytes + self._group_bytes > self._shard_bytes:
            self._close()
        if self._writer is None:
            name = shard_name(len(self.rows))
            self.rows[name] = 0
            self._writer = open_shard(self._folder / name)
        self._writer.write_batch(pa.RecordBatch.from_pydict(self._columns, schema=CORPUS_SCHEMA), row_group_size=n_rows)
        self.rows[shard_name(len(self.rows) - 1)] += n_rows
        self._written_bytes += self._group_bytes
        self._columns = {name: [] for name in CORPUS_SCHEMA.names}
        self._group_bytes = 0

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._written_bytes = 0


def shard_name(number: int) -> str:
    """What the shard of this number is called."""
    return f"part-{number:05d}.parquet"


def open_shard(path: Path) -> pq.ParquetWriter:
    """A writer of one shard."""
    # Ids are random and texts differ, so a dictionary of them would only cost.
    return pq.ParquetWriter(path, CORPUS_SCHEMA, compression="zstd", use_dictionary=["source_uri", "language"])


def _n_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
