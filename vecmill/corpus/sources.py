"""From a source file to its documents: picks the reader, opens the file, keeps to the policy for malformed records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from vecmill.corpus.archives import Budget, open_entry, tar_entries, zip_entries
from vecmill.corpus.config import CorpusConfig, SourceFormat
from vecmill.corpus.formats.code import read_code
from vecmill.corpus.formats.delimited import read_csv, read_tsv
from vecmill.corpus.formats.html import read_html
from vecmill.corpus.formats.jsonl import read_jsonl
from vecmill.corpus.formats.mail import read_eml, read_mbox
from vecmill.corpus.formats.mediawiki import read_mediawiki
from vecmill.corpus.formats.parquet import read_parquet, read_parquet_rows
from vecmill.corpus.formats.txt import read_txt
from vecmill.corpus.listing import SourceFile, format_of
from vecmill.corpus.opening import open_source
from vecmill.corpus.record import Document, OnMalformed, Reader, Rows, malformed

READERS: dict[SourceFormat, Reader] = {
    "txt": read_txt,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "mediawiki": read_mediawiki,
    "html": read_html,
    "mbox": read_mbox,
    "eml": read_eml,
    "code": read_code,
}


class Entries(Protocol):
    """Yields the readable entries of one open archive, each as a source with its content."""

    def __call__(
        self, stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
    ) -> Iterator[tuple[SourceFile, BinaryIO]]: ...


ENTRIES: dict[SourceFormat, Entries] = {"zip": zip_entries, "tar": tar_entries}


def _ignore(n_bytes: int) -> None: ...


def read_records(
    file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed, advance: Callable[[int], None] = _ignore
) -> Iterator[Document | Rows]:
    """Stream the documents of one source in their order, before cleaning; of a table as columns, many at once.

    Parameters
    ----------
    file, config : what to read and how
    on_malformed : called with the reason for each record that cannot be read; raises it, or returns to go on
    advance : told how many bytes of the source were read, as stored

    Raises
    ------
    SourceError : the source cannot be read as what it claims to be
    CredentialsError : a remote store refused us
    """
    with open_source(file, config, advance) as stream:
        if format_of(file, config) == "parquet":
            yield from read_parquet_rows(stream, file, config, on_malformed)
            return
        for document in _documents(stream, file, config, on_malformed):
            # ASCII first: Python knows it of a text without looking.
            is_ascii = document.text.isascii() and document.title.isascii() and document.explicit_id.isascii()
            problem = "" if is_ascii else _not_unicode(document)
            if problem:
                on_malformed(malformed(file, document.position, problem, "Unicode text"))
            else:
                yield document


def _documents(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    kind = format_of(file, config)
    entries = ENTRIES.get(kind)
    if entries is None:
        yield from READERS[kind](stream, file, config, on_malformed)
        return
    inside = config.model_copy(update={"format": "auto"}) if config.format in ENTRIES else config
    budget = Budget(file, config)
    for entry, raw in entries(stream, file, config, on_malformed):
        reader = READERS[format_of(entry, inside)]
        with open_entry(entry, raw, file, budget) as content:
            for document in reader(content, entry, config, on_malformed):
                # Two entries may give their documents the same places and ids.
                own_id = f"{entry.name}: {document.explicit_id}" if document.explicit_id else ""
                yield document._replace(position=f"{entry.name}: {document.position}", explicit_id=own_id)


def _not_unicode(document: Document) -> str:
    """JSON can spell half of a surrogate pair, which no encoding can write; says so, or is empty."""
    for value in (document.text, document.title, document.explicit_id):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"lone surrogate {value[error.start]!a} at character {error.start}"
    return ""
