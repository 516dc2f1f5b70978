"""Bytes to lines of text, with the place of everything that goes wrong: shared by txt, jsonl and csv."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import too_large
from vecmill.errors import SourceError

_BLOCK_BYTES = 1 << 18


def decoded_blocks(stream: BinaryIO, file: SourceFile, config: CorpusConfig) -> Iterator[str]:
    """Decode a stream block by block, line breaks as they stand.

    Raises
    ------
    SourceError : bytes that the encoding does not know (with their offset), or NUL characters: the file is not text
    """
    # A byte order mark belongs to the file, not to its first word.
    encoding = "utf-8-sig" if codecs.lookup(config.encoding).name == "utf-8" else config.encoding
    decoder = codecs.getincrementaldecoder(encoding)(errors=_POLICIES[config.encoding_errors])
    n_bytes_before = 0
    n_chars_before = 0
    while True:
        block = stream.read(_BLOCK_BYTES)
        n_pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise _badly_encoded(file, config, error, n_bytes_before - n_pending + error.start) from error
        except UnicodeError as error:
            raise SourceError(
                f"{file.uri} is not {config.encoding} text ({error})",
                todo="set corpus.encoding to the file's own encoding",
            ) from error
        nul = text.find("\0")
        if nul >= 0:
            raise SourceError(
                f"{file.uri} is binary: it holds a NUL at character {n_chars_before + nul}",
                expected=f"{config.encoding} text",
                todo="set corpus.encoding (utf-16?) or corpus.format, or leave the file out",
            )
        yield text
        if not block:
            return
        n_bytes_before += len(block)
        n_chars_before += len(text)


def decoded_lines(stream: BinaryIO, file: SourceFile, config: CorpusConfig) -> Iterator[tuple[int, str]]:
    r"""Yield (line number from 1, line with its ``\n``) of a text.

    Only ``\n`` ends a line (a ``\r`` before it stays), because other separators may stand inside a JSON string or a
    quoted cell.

    Raises
    ------
    SourceError : as :func:`decoded_blocks`, or a line longer than the configuration's largest document
    """
    limit = config.max_document_mib << 20
    number = 1
    pending: list[str] = []
    n_pending = 0
    for block in decoded_blocks(stream, file, config):
        start = 0
        while (end := block.find("\n", start)) >= 0:
            pending.append(block[start : end + 1])
            yield number, "".join(pending)
            pending.clear()
            n_pending = 0
            number += 1
            start = end + 1
        if start < len(block):
            pending.append(block[start:])
            n_pending += len(block) - start
            if n_pending > limit:
                raise too_large(file, f"line {number}", config, "check that the file has line breaks,")
    if pending:
        yield number, "".join(pending)


_POLICIES = {"error": "strict", "replace": "replace"}


def _badly_encoded(file: SourceFile, config: CorpusConfig, error: UnicodeDecodeError, offset: int) -> SourceError:
    bad = error.object[error.start : min(error.end, error.start + 4)].hex(" ")
    return SourceError(
        f"{file.uri} is badly encoded at byte {offset} ({bad}): {error.reason}",
        expected=f"{config.encoding} text",
        todo="set corpus.encoding to the file's own encoding, or corpus.encoding_errors=replace to read on regardless",
    )
