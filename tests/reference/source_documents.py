"""The documents of a source one by one, whichever way its reader hands them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import Document, OnMalformed, Rows
from vecmill.corpus.sources import read_records


def documents_of(
    file: SourceFile,
    config: CorpusConfig,
    on_malformed: OnMalformed,
    advance: Callable[[int], None] = lambda n_bytes: None,
) -> Iterator[Document]:
    """What `read_records` gives, tables taken apart into their rows."""
    for record in read_records(file, config, on_malformed, advance):
        yield from record.documents() if isinstance(record, Rows) else (record,)
