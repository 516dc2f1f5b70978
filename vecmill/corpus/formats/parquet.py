"""Parquet, by batches of rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.opening import rewinds_cheaply
from vecmill.corpus.record import Document, OnMalformed, malformed, require_columns
from vecmill.errors import SourceError

_BATCH_BYTES = 8 << 20
_MOST_ROWS = 4096


def read_parquet(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    """Read the columns that the configuration names; null texts are malformed records, null titles are empty.

    A Parquet file is read from its end, so a compressed one is first unpacked into a temporary file.
    """
    if rewinds_cheaply(stream):
        yield from _read_seekable(stream, file, config, on_malformed)
        return
    with tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked, 1 << 20)
        unpacked.seek(0)
        yield from _read_seekable(unpacked, file, config, on_malformed)


def _read_seekable(
    stream: Any, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
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


def _rows(
    table: pq.ParquetFile, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    wanted = [column for column in (config.text_column, config.title_column, config.id_column) if column is not None]
    row = 0
    for group in range(table.num_row_groups):
        n_rows = _batch_rows(table.metadata.row_group(group))
        for batch in table.iter_batches(n_rows, row_groups=[group], columns=wanted, use_threads=False):
            texts = batch[config.text_column].to_pylist()
            titles = batch[config.title_column].to_pylist() if config.title_column else [""] * len(texts)
            ids = batch[config.id_column].to_pylist() if config.id_column else [""] * len(texts)
            for text, title, explicit_id in zip(texts, titles, ids, strict=True):
                place = f"row {row}"
                row += 1
                if text is None:
                    on_malformed(malformed(file, place, f"{config.text_column!r} is null", "a string"))
                elif config.id_column and explicit_id in (None, ""):
                    on_malformed(
                        malformed(file, place, f"{config.id_column!r} is null or empty", "a name for the document")
                    )
                else:
                    yield Document(text, place, title or "", str(explicit_id))


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows that make up a batch of bounded size, judged by the row group's average."""
    bytes_a_row: int = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(_MOST_ROWS, _BATCH_BYTES // bytes_a_row))


def _damaged(file: SourceFile, error: Exception) -> SourceError:
    return SourceError(
        f"{file.uri} is not a sound Parquet file ({str(error).splitlines()[0]})",
        todo="fetch or write the file again, or correct its ending",
    )
