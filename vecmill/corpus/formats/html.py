"""HTML pages: one document a page, its text as a reader would see it.

The tags are removed by the cleaning step ``html``, so that a page reads the same here as inside a cell of a table. Not
by :mod:`html.parser`: it takes quadratic time on pages made for that (a row of comments that never end), and pages come
from strangers.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats.lines import decoded_blocks
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import Document, OnMalformed, too_large
from vecmill.text.cleaning import html

_BLOCK_BYTES = 1 << 18
# Browsers look for the declaration in as many bytes (WHATWG HTML, 13.2.3.2); some pages have it a little later.
_DECLARED_WITHIN_BYTES = 4096
_DECLARED = re.compile(rb"<meta\s[^<>]*?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_TITLE = (re.compile(r"<title(?:\s[^<>]*+)?>", re.IGNORECASE), re.compile(r"</title\s*>", re.IGNORECASE))
_UNSHOWN = (
    (re.compile(r"<!--"), re.compile(r"-->")),
    (re.compile(r"<head(?:\s[^<>]*+)?>", re.IGNORECASE), re.compile(r"</head\s*>|<body(?=[\s>/])", re.IGNORECASE)),
    (re.compile(r"<template(?:\s[^<>]*+)?>", re.IGNORECASE), re.compile(r"</template\s*>", re.IGNORECASE)),
    (re.compile(r"<svg(?:\s[^<>]*+)?>", re.IGNORECASE), re.compile(r"</svg\s*>", re.IGNORECASE)),
)


def read_html(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    """Read a page as one document, titled as the page is, else as its file.

    Its encoding is that of its byte order mark, else the one it declares, else the configured one.

    Raises
    ------
    SourceError : a page larger than the largest document, bytes that the encoding does not know, NUL characters
    """
    blocks: list[bytes] = []
    n_bytes = 0
    while block := stream.read(_BLOCK_BYTES):
        blocks.append(block)
        n_bytes += len(block)
        if n_bytes > config.max_document_mib << 20:
            raise too_large(file, "whole page", config, "leave the page out,")
    page = b"".join(blocks)
    known = config.model_copy(update={"encoding": encoding_of(page, config.encoding)})
    markup = "".join(decoded_blocks(io.BytesIO(page), file, known))
    title, text = html_text(markup)
    yield Document(text, "whole page", title or PurePosixPath(file.name).name.split(".")[0])


def encoding_of(page: bytes, otherwise: str) -> str:
    """The encoding of a page as Python names it: by its mark, by its own words, else ``otherwise``.

    >>> encoding_of(b'<html><meta charset="iso-8859-1">', "utf-8"), encoding_of(b"<p>text", "utf-8")
    ('cp1252', 'utf-8')
    """
    for mark, encoding in _MARKS:
        if page.startswith(mark):
            return encoding
    declared = _DECLARED.search(page[:_DECLARED_WITHIN_BYTES])
    if declared is None:
        return otherwise
    try:
        name = codecs.lookup(declared[1].decode()).name
        "".encode(name)
    except (LookupError, ValueError):
        return otherwise
    # What the standard says of two names: Latin-1 is taken for Windows-1252, and a page whose declaration could be read
    # byte by byte is not UTF-16.
    return {"iso8859-1": "cp1252", "ascii": "cp1252"}.get(name, "utf-8" if name.startswith("utf-16") else name)


def html_text(markup: str) -> tuple[str, str]:
    """Title and visible text of a page; the title is empty where the page has none.

    >>> html_text("<title>A &amp; B</title><body><p>Fish &amp; <b>chip</b>s</p></body>")
    ('A & B', 'Fish & chips')
    """
    title = ""
    start = _TITLE[0].search(markup)
    end = _TITLE[1].search(markup, start.end()) if start else None
    if start and end:
        title = " ".join(html(markup[start.end() : end.start()]).split())
        markup = f"{markup[: start.start()]} {markup[end.end() :]}"
    for opening, closing in _UNSHOWN:
        markup = _without(markup, opening, closing)
    return title, html(markup).strip()


def _without(markup: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """Leave out each stretch from ``opening`` to the next ``closing``; one that is never closed stays."""
    pieces = []
    position = 0
    while start := opening.search(markup, position):
        end = closing.search(markup, start.end())
        if end is None:
            break
        pieces += [markup[position : start.start()], " "]
        position = end.end()
    return "".join([*pieces, markup[position:]])
