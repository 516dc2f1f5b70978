"""HTML pages: what a reader sees, in the encoding that the page declares, in time linear in the page."""

import doctest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.source_documents import documents_of
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats import html
from vecmill.corpus.listing import list_sources
from vecmill.corpus.record import Document
from vecmill.errors import SourceError

_PAGE = """<!DOCTYPE html><html><head><meta charset="{}"><title> Café
 &amp; Bar</title><style>p {{color: red}}</style></head>
<body class="x"><!-- <p>draft</p> --><p>Prix: 5 £, <b>très</b> bon.</p><script>if (a < b) x()</script>
<template><p>row</p></template><svg><title>icon</title></svg>Fin</body></html>"""


def _read(path: Path, **settings: object) -> list[Document]:
    def stop(error: SourceError) -> None:
        raise error

    config = CorpusConfig(sources=(str(path),), **settings)
    return [document for file in list_sources(config) for document in documents_of(file, config, stop)]


def test_examples_in_docstrings():
    assert doctest.testmod(html).failed == 0


@pytest.mark.parametrize(
    ("declared", "written"),
    [("utf-8", "utf-8"), ("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("nonsense", "utf-8")],
)
def test_a_page_is_read_as_it_is_seen(tmp_path, declared, written):
    (tmp_path / "page.html").write_bytes(_PAGE.format(declared).encode(written))
    (document,) = _read(tmp_path)
    assert (document.title, document.position) == ("Café & Bar", "whole page")
    assert document.text.split() == ["Prix:", "5", "£,", "très", "bon.", "Fin"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_counts_for_more_than_a_declaration(tmp_path, encoding):
    (tmp_path / "page.htm").write_bytes(_PAGE.format("latin-1").encode(encoding))
    assert "£" in _read(tmp_path)[0].text


def test_a_page_without_title_or_declaration(tmp_path):
    (tmp_path / "about.us.html").write_bytes("<p>é".encode("latin-1"))
    assert _read(tmp_path, encoding="latin-1") == [Document("é", "whole page", "about")]
    with pytest.raises(SourceError, match=r"about\.us\.html is badly encoded at byte 3 \(e9\).*corpus\.encoding"):
        _read(tmp_path)


def test_pages_that_are_refused(tmp_path):
    path = tmp_path / "a.html"
    path.write_bytes(b"<p>" + b"x" * (1 << 20))
    with pytest.raises(SourceError, match=r"a\.html, whole page: a document is larger than 1 MiB"):
        _read(path, max_document_mib=1)
    path.write_bytes(b"<p>\0</p>")
    with pytest.raises(SourceError, match=r"a\.html is binary: it holds a NUL at character 3"):
        _read(path)


@pytest.mark.parametrize("piece", ["<!--", "<head>", "<svg ", "<title>", "<", "</", "<script>", "&lt;", "<!", "<a b='"])
@pytest.mark.timeout(60)
def test_pages_made_to_take_long(piece):
    # A search from each of 200,000 places to the end would take minutes.
    html.html_text(piece * 200_000)


@given(st.lists(st.sampled_from(["<", ">", "/", "!", "-", "p", "head", "title", "&", ";", "x", " "]), max_size=60))
def test_any_markup_is_read(pieces):
    title, text = html.html_text("".join(pieces))
    assert isinstance(title + text, str)
