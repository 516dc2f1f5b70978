"""Plain text: one document a file, a line or a paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats.lines import decoded_blocks, decoded_lines
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import Document, OnMalformed, too_large


def read_txt(stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed) -> Iterator[Document]:
    """Read a text file; no record of it can be malformed, since any text is a document."""
    if config.txt_unit == "file":
        yield _whole_file(stream, file, config)
    elif config.txt_unit == "line":
        for number, line in decoded_lines(stream, file, config):
            yield Document(line.rstrip("\r\n"), f"line {number}")
    else:
        yield from _paragraphs(stream, file, config)


def _whole_file(stream: BinaryIO, file: SourceFile, config: CorpusConfig) -> Document:
    blocks = []
    n_chars = 0
    for block in decoded_blocks(stream, file, config):
        blocks.append(block)
        n_chars += len(block)
        if n_chars > config.max_document_mib << 20:
            raise too_large(file, "whole file", config, "make lines or paragraphs the documents with corpus.txt_unit,")
    return Document("".join(blocks), "whole file", title=PurePosixPath(file.name).name.split(".")[0])


def _paragraphs(stream: BinaryIO, file: SourceFile, config: CorpusConfig) -> Iterator[Document]:
    first = 0
    lines: list[str] = []
    n_chars = 0
    for number, line in decoded_lines(stream, file, config):
        if not line.strip():
            if lines:
                yield Document("".join(lines).rstrip(), f"line {first}")
                lines, n_chars = [], 0
            continue
        if not lines:
            first = number
        lines.append(line)
        n_chars += len(line)
        if n_chars > config.max_document_mib << 20:
            raise too_large(file, f"line {first}", config, "make lines the documents with corpus.txt_unit=line,")
    if lines:
        yield Document("".join(lines).rstrip(), f"line {first}")
