"""MediaWiki XML dumps (``pages-articles``): one document an article, as prose.

Markup is removed by gensim's own ``filter_wiki``; what that leaves is the business of the ``wiki`` cleaning step. Pages
are found as gensim's ``extract_pages`` finds them (a test compares the two), with three differences made for dumps that
are large or hostile: the tree is emptied after each page, where gensim leaves an element a page behind; a page has a
largest size; and a document type declaration, where entity bombs live, is refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, ParseError, iterparse

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import Document, OnMalformed, too_large
from vecmill.errors import SourceError

_HEAD_BYTES = 1 << 16
_ARTICLES = "0"


def read_mediawiki(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    """Read the articles of a dump: pages of the main namespace that are no redirects, named by their page id."""
    from gensim.corpora.wikicorpus import filter_wiki

    for page_id, title, namespace, markup in pages(stream, file, config):
        if namespace == _ARTICLES and not markup.lstrip()[:9].upper().startswith("#REDIRECT"):
            yield Document(filter_wiki(markup), f"page {page_id}", title, page_id)


def pages(stream: BinaryIO, file: SourceFile, config: CorpusConfig) -> Iterator[tuple[str, str, str, str]]:
    """Yield (page id, title, namespace number, wiki markup) of every page; memory holds one page at a time.

    Raises
    ------
    SourceError : not well-formed XML (with line and column), not a MediaWiki dump, a document type declaration, a
        page that is too large
    """
    metered = _Metered(stream, file, config)
    _refuse_doctype(metered.head, file)
    events = iter(iterparse(metered, events=("start", "end")))
    try:
        _, root = next(events)
        prefix = _namespace(root, file)
        for event, element in events:
            if event == "end" and element.tag == f"{prefix}page":
                yield _page(element, prefix, file)
                # Not only the page: the root would keep an empty element for each of millions of pages.
                root.clear()
                metered.page_ended()
    except ParseError as error:
        line, column = error.position
        raise SourceError(
            f"{file.uri}, line {line}, column {column}: malformed XML ({str(error).partition(':')[0]})",
            expected="a complete MediaWiki XML dump",
            todo="fetch the dump again, and compare its checksum with the one published beside it",
        ) from error


def _page(page: Element, prefix: str, file: SourceFile) -> tuple[str, str, str, str]:
    title = page.findtext(f"{prefix}title", "")
    page_id = page.findtext(f"{prefix}id")
    if not page_id:
        raise SourceError(
            f"{file.uri}: the page {title!r} has no id", expected="a MediaWiki dump, where every page has one"
        )
    text = page.findtext(f"{prefix}revision/{prefix}text", "")
    return page_id, title, page.findtext(f"{prefix}ns", _ARTICLES), text


def _namespace(root: Element, file: SourceFile) -> str:
    prefix, closing, _ = root.tag.partition("}")
    if not closing or not prefix.startswith("{http://www.mediawiki.org/xml/export-"):
        raise SourceError(
            f"{file.uri} is XML but not a MediaWiki dump: its root element is <{root.tag}>",
            expected="<mediawiki> with a namespace such as http://www.mediawiki.org/xml/export-0.11/",
            todo="convert it to text, jsonl, csv or Parquet first, or leave it out",
        )
    return prefix + closing


def _refuse_doctype(head: bytes, file: SourceFile) -> None:
    """Entities can be declared only in a document type declaration, and no MediaWiki dump has one."""
    if any("<!DOCTYPE".encode(encoding) in head for encoding in ("utf-8", "utf-16-le", "utf-16-be")):
        raise SourceError(
            f"{file.uri} declares a document type (<!DOCTYPE>), which could make it unfold without bound",
            expected="a MediaWiki dump, which has none",
            todo="use a dump made by MediaWiki itself",
        )


class _Metered:
    """A stream for the XML parser that stops a page from growing beyond what the configuration grants a document."""

    def __init__(self, stream: Any, file: SourceFile, config: CorpusConfig) -> None:
        self.head: bytes = stream.read(_HEAD_BYTES)
        self._head = io.BytesIO(self.head)
        self._stream = stream
        self._file = file
        self._config = config
        self._n_since_page = 0

    def read(self, n_bytes: int = -1) -> bytes:
        block = self._head.read(n_bytes) or bytes(self._stream.read(n_bytes))
        self._n_since_page += len(block)
        # The parser may be a block ahead of the page that just ended.
        if self._n_since_page > (self._config.max_document_mib << 20) + _HEAD_BYTES:
            raise too_large(self._file, "a page of the dump", self._config, "leave the dump out,")
        return block

    def page_ended(self) -> None:
        self._n_since_page = 0
