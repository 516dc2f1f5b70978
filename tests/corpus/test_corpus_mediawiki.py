"""MediaWiki dumps: the same pages as gensim finds, prose out of markup, and XML that is broken or hostile."""

import bz2
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from gensim.corpora.wikicorpus import extract_pages

from reference.source_documents import documents_of
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats.mediawiki import pages
from vecmill.corpus.listing import SourceFile, list_sources
from vecmill.errors import SourceError

_NAMESPACE = "http://www.mediawiki.org/xml/export-0.11/"


def _dump(*page_texts: str, namespace: str = _NAMESPACE) -> str:
    return f'<mediawiki xmlns="{namespace}">\n' + "\n".join(page_texts) + "\n</mediawiki>\n"


def _page(page_id: int, title: str, text: str, ns: int = 0) -> str:
    return (
        f"<page><title>{title}</title><ns>{ns}</ns><id>{page_id}</id>"
        f'<revision><id>9</id><text xml:space="preserve">{text}</text></revision></page>'
    )


def _read(path: Path):
    def stop(error: SourceError) -> None:
        raise error

    config = CorpusConfig(sources=(str(path),))
    return list(documents_of(list_sources(config)[0], config, stop))


@pytest.mark.parametrize("position", [0, 1])
def test_finds_the_pages_that_gensim_finds(position):
    config = CorpusConfig()
    file = list_sources(config)[position]
    with bz2.open(file.location) as stream:
        ours = [(title, text, page_id) for page_id, title, _, text in pages(stream, file, config)]
    with bz2.open(file.location) as stream:
        theirs = list(extract_pages(stream))
    assert len(ours) >= 5
    assert ours == theirs


def test_builtin_sample_is_english_prose(capfd, caplog):
    config = CorpusConfig()
    texts = [d.text for d in documents_of(list_sources(config)[1], config, lambda error: None)]
    prose = "\n".join(texts)
    assert "The concept was first used on a national scale in West Germany, but is today also used in other" in prose
    assert "[[" not in prose
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_only_articles_are_read(tmp_path):
    path = tmp_path / "wiki.xml"
    path.write_text(
        _dump(
            _page(1, "Cat", "A [[cat|house cat]] is '''small'''.{{cite}}&lt;ref&gt;Book&lt;/ref&gt;"),
            _page(2, "Kitty", "#REDIRECT [[Cat]]"),
            _page(3, "Talk:Cat", "I disagree.", ns=1),
            _page(4, "Empty", ""),
        )
    )
    documents = _read(path)
    assert [(d.explicit_id, d.position, d.title, d.text) for d in documents] == [
        ("1", "page 1", "Cat", "A house cat is '''small'''."),
        ("4", "page 4", "Empty", ""),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_dump(_page(1, "Cat", "text"))[:-20], "line 2, column 113: malformed XML (unclosed token)"),
        (_dump("<page><title>Cat</titel></page>"), "line 2, column 18: malformed XML (mismatched tag)"),
        (_dump(_page(1, "Cat", "R&B;")), "malformed XML (undefined entity)"),
        ("plain text", "line 1, column 0: malformed XML (syntax error)"),
        ("", "malformed XML (no element found)"),
        (_dump(_page(1, "C", "t"), namespace="http://www.w3.org/1999/xhtml"), "is XML but not a MediaWiki dump"),
        ("<html><p>text</p></html>", "its root element is <html>. Expected: <mediawiki> with a namespace"),
        (_dump("<page><title>Cat</title></page>"), "the page 'Cat' has no id"),
    ],
)
def test_broken_dumps(tmp_path, content, message):
    path = tmp_path / "wiki.xml"
    path.write_text(content)
    with pytest.raises(SourceError) as refusal:
        _read(path)
    assert str(path) in str(refusal.value)
    assert message in str(refusal.value)


def _bomb() -> str:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE x [<!ENTITY e0 "boom">{levels}]>' + _dump(_page(1, "Bomb", "&e11;"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_bombs_are_refused(tmp_path, encoding):
    path = tmp_path / "wiki.xml"
    path.write_text(_bomb(), encoding=encoding)
    with pytest.raises(SourceError, match="declares a document type"):
        _read(path)


def test_entity_bombs_behind_a_long_comment_are_stopped_by_the_parser(tmp_path):
    path = tmp_path / "wiki.xml"
    path.write_text(f"<!-- {'x' * 100_000} -->" + _bomb())
    with pytest.raises(SourceError, match="limit on input amplification factor"):
        _read(path)


class _LongDump:
    """A dump that is made while it is read."""

    def __init__(self, n_pages: int) -> None:
        self._parts = self._make(n_pages)

    def _make(self, n_pages: int) -> Iterator[str]:
        yield _dump().split("\n")[0]
        for number in range(n_pages):
            yield _page(number, f"Title {number}", "text") + "\n  "
        yield "</mediawiki>"

    def read(self, n_bytes: int = -1) -> bytes:
        return next(self._parts, "").encode()


def test_memory_does_not_grow_with_the_number_of_pages():
    def peak_bytes(n_pages: int) -> int:
        tracemalloc.start()
        n_read = sum(1 for _ in pages(_LongDump(n_pages), SourceFile("x", 0, "", "x.xml", "x"), CorpusConfig()))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_read == n_pages
        return used

    peak_bytes(10)
    # An element left behind for each page would come to some hundred bytes times 9,000.
    assert peak_bytes(10_000) < peak_bytes(1_000) + 50_000
