"""From a source file to its documents: picks the reader, opens the file, keeps to the policy for malformed records."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vecmill.corpus.config import CorpusConfig, SourceFormat
from vecmill.corpus.formats.delimited import read_csv, read_tsv
from vecmill.corpus.formats.html import read_html
from vecmill.corpus.formats.jsonl import read_jsonl
from vecmill.corpus.formats.mail import read_eml, read_mbox
from vecmill.corpus.formats.mediawiki import read_mediawiki
from vecmill.corpus.formats.parquet import read_parquet
from vecmill.corpus.formats.txt import read_txt
from vecmill.corpus.listing import SourceFile, format_of
from vecmill.corpus.opening import open_source
from vecmill.corpus.record import Document, OnMalformed, Reader, malformed

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
}


def _ignore(n_bytes: int) -> None: ...


def read_documents(
    file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed, advance: Callable[[int], None] = _ignore
) -> Iterator[Document]:
    """Stream the documents of one source in their order, before cleaning.

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
    reader = READERS[format_of(file, config)]
    with open_source(file, config, advance) as stream:
        for document in reader(stream, file, config, on_malformed):
            problem = _not_unicode(document)
            if problem:
                on_malformed(malformed(file, document.position, problem, "Unicode text"))
            else:
                yield document


def _not_unicode(document: Document) -> str:
    """JSON can spell half of a surrogate pair, which no encoding can write; says so, or is empty."""
    for value in (document.text, document.title, document.explicit_id):
        if value.isascii():
            continue
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"lone surrogate {value[error.start]!a} at character {error.start}"
    return ""
