"""Parquet, by batches of rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.opening import rewinds_cheaply
from vecmill.corpus.record import Document, OnMalformed, Rows, malformed, require_columns, too_large
from vecmill.errors import SourceError
from vecmill.text.arrow_columns import offsets_of, string_column

_BATCH_BYTES = 8 << 20
_MOST_ROWS = 4096


def read_parquet(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    """What :func:`read_parquet_rows` reads, document by document."""
    return chain.from_iterable(rows.documents() for rows in read_parquet_rows(stream, file, config, on_malformed))


def read_parquet_rows(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Rows]:
    """Read the columns that the configuration names; null texts are malformed records, null titles are empty.

    A Parquet file is read from its end, so a compressed one is first unpacked into a temporary file. A malformed record
    is told after the documents before it have been handed over, and before those behind it.
    """
    if rewinds_cheaply(stream):
        yield from _read_seekable(stream, file, config, on_malformed)
        return
    with tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked, 1 << 20)
        unpacked.seek(0)
        yield from _read_seekable(unpacked, file, config, on_malformed)


def _read_seekable(stream: Any, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed) -> Iterator[Rows]:
    try:
        # Columns are read in small pieces as they are needed, instead of whole row groups ahead.
        table = pq.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
        _check_schema(table.schema_arrow, file, config)
        yield from _rows(table, file, config, on_malformed)
    except pa.ArrowException as error:
        raise _damaged(file, error) from error
    except OSError as error:
        # Arrow's own complaints about the content carry no number; those of the operating system and of s3fs do.
        if error.errno is not None:
            raise
        raise _damaged(file, error) from error


def _check_schema(schema: pa.Schema, file: SourceFile, config: CorpusConfig) -> None:
    require_columns(file, config, schema.names, "schema")
    for option, column in (("text_column", config.text_column), ("title_column", config.title_column)):
        if column is not None and not _is_string(schema.field(column).type):
            raise SourceError(
                f"{file.uri}: column {column!r} is {schema.field(column).type}",
                expected="string",
                todo=f"set corpus.{option} to a column of strings",
            )
    if config.id_column is not None:
        kind = schema.field(config.id_column).type
        if not (_is_string(kind) or pa.types.is_integer(kind)):
            raise SourceError(
                f"{file.uri}: column {config.id_column!r} is {kind}",
                expected="string or integer",
                todo="set corpus.id_column to another column",
            )


def _is_string(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _rows(table: pq.ParquetFile, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed) -> Iterator[Rows]:
    wanted = [column for column in (config.text_column, config.title_column, config.id_column) if column is not None]
    first_row = 0
    for group in range(table.num_row_groups):
        n_rows = _batch_rows(table.metadata.row_group(group))
        for batch in table.iter_batches(n_rows, row_groups=[group], columns=wanted, use_threads=False):
            yield from _sound_rows(batch, first_row, file, config, on_malformed)
            first_row += len(batch)


def _sound_rows(
    batch: pa.RecordBatch, first_row: int, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Rows]:
    """The rows between those that are no documents, which are told in their turn.

    Raises
    ------
    SourceError : a text is larger than a document may be
    """
    faults: dict[int, tuple[str, str]] = {}
    texts = _strings(batch[config.text_column], config.text_column, faults)
    too_long = np.flatnonzero(np.diff(offsets_of(texts)) > config.max_document_mib << 20)
    if len(too_long):
        raise too_large(file, f"row {first_row + int(too_long[0])}", config, "leave the file out,")
    titles = _strings(batch[config.title_column], config.title_column, faults) if config.title_column else None
    ids = _names(batch[config.id_column], config.id_column, faults) if config.id_column else None
    for row in _nulls(texts):
        faults.setdefault(row, (f"{config.text_column!r} is null", "a string"))
    first = 0
    for row in [*sorted(faults), len(batch)]:
        if row > first:
            n = row - first
            yield Rows(
                texts.slice(first, n),
                first_row + first,
                None if titles is None else [title or "" for title in titles.slice(first, n).to_pylist()],
                None if ids is None else ids[first:row],
            )
        if row in faults:
            on_malformed(malformed(file, f"row {first_row + row}", *faults[row]))
        first = row + 1


def _strings(column: pa.Array, name: str, faults: dict[int, tuple[str, str]]) -> pa.Array:
    """A column of strings as string or large_string; what is not UTF-8 is a fault, and null (Arrow lets it pass)."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        column = column.cast(pa.large_string())
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        values = column.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
        found = {row: _encoding_fault(value) for row, value in enumerate(values) if value is not None}
        found = {row: said for row, said in found.items() if said}
        if not found:
            raise
        for row, said in found.items():
            faults.setdefault(row, (f"{name!r} is not UTF-8 ({said})", "UTF-8"))
            values[row] = None
        column = string_column([None if value is None else value.decode() for value in values])
    return column


def _encoding_fault(value: bytes) -> str:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f"{error.reason} at byte {error.start}"
    return ""


def _names(column: pa.Array, name: str, faults: dict[int, tuple[str, str]]) -> list[str]:
    """What the source calls its documents; rows without a name are faults."""
    if not pa.types.is_integer(column.type):
        column = _strings(column, name, faults)
    names = ["" if each is None else str(each) for each in column.to_pylist()]
    for row, each in enumerate(names):
        if not each:
            faults.setdefault(row, (f"{name!r} is null or empty", "a name for the document"))
    return names


def _nulls(column: pa.Array) -> list[int]:
    return [row for row, is_null in enumerate(column.is_null().to_pylist()) if is_null] if column.null_count else []


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows that make up a batch of bounded size, judged by the row group's average."""
    bytes_a_row: int = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(_MOST_ROWS, _BATCH_BYTES // bytes_a_row))


def _damaged(file: SourceFile, error: Exception) -> SourceError:
    return SourceError(
        f"{file.uri} is not a sound Parquet file ({str(error).splitlines()[0]})",
        todo="fetch or write the file again, or correct its ending",
    )
