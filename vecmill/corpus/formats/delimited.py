"""Comma-separated (RFC 4180) and tab-separated tables with a header line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, BinaryIO

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats.lines import decoded_lines
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import Document, OnMalformed, malformed, require_columns
from vecmill.errors import SourceError


def read_csv(stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed) -> Iterator[Document]:
    """Read a table whose cells are separated by the configured delimiter."""
    return _read_table(stream, file, config, on_malformed, config.csv_delimiter)


def read_tsv(stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed) -> Iterator[Document]:
    """Read a table whose cells are separated by tabs."""
    return _read_table(stream, file, config, on_malformed, "\t")


def _read_table(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed, delimiter: str
) -> Iterator[Document]:
    # The limit is the module's, for the whole process, and 128 KiB unless set: less than many a document. An unclosed
    # quote swallows the rest of the file, so there must be one.
    csv.field_size_limit(max(csv.field_size_limit(), config.max_document_mib << 20))
    lines = (line for _, line in decoded_lines(stream, file, config))
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _next_row(rows, file)
    if not header:
        raise SourceError(
            f"{file.uri} has no header line", expected="a first line that names the columns", todo="add one"
        )
    require_columns(file, config, header, "line 1")
    text_pos = header.index(config.text_column)
    title_pos = header.index(config.title_column) if config.title_column else None
    id_pos = header.index(config.id_column) if config.id_column else None
    while True:
        # line_num counts lines read so far, so a record with line breaks in its cells is named by its first line.
        place = f"line {rows.line_num + 1}"
        row = _next_row(rows, file)
        if row is None:
            return
        if not row:
            continue
        if len(row) != len(header):
            on_malformed(
                malformed(file, place, f"found {_cells(len(row))}", f"{_cells(len(header))}, as in the header line")
            )
            continue
        explicit_id = row[id_pos] if id_pos is not None else ""
        if id_pos is not None and not explicit_id:
            on_malformed(malformed(file, place, f"{config.id_column!r} is empty", "a name for the document"))
            continue
        yield Document(row[text_pos], place, row[title_pos] if title_pos is not None else "", explicit_id)


def _next_row(rows: Any, file: SourceFile) -> list[str] | None:
    first = rows.line_num + 1
    try:
        return next(rows, None)
    except csv.Error as error:
        # The reader has lost track of quotes: what follows cannot be trusted, so this is not a record to skip.
        raise SourceError(
            f"{file.uri}, record that begins at line {first}: {error} (line {rows.line_num})",
            expected='double quotes around cells that hold quotes, delimiters or line breaks, inner ones doubled ("")',
            todo="correct the quotes, or set corpus.csv_delimiter",
        ) from error


def _cells(n: int) -> str:
    return f"{n} cell{'' if n == 1 else 's'}"
