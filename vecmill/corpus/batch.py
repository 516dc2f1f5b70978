"""Batches of records on their way through ingest, and the names of their documents.

Text stands in Arrow columns from a table in a source to a table in a shard: Python sees only the few texts that need a
step of cleaning which is written in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import Document, Rows
from vecmill.corpus.shards import ROW_GROUP_ROWS
from vecmill.corpus.sources import read_records
from vecmill.errors import SourceError
from vecmill.text.arrow_columns import offsets_of, string_column

# Text that is cleaned at once. A batch costs about 5 ms beyond what its texts do.
BATCH_BYTES = 4 << 20
# Fewer rows of a table at a time, as stand between two that are no documents, join a batch one by one.
FEWEST_ROWS = 256

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Batch:
    """Records in the order of their sources, n of each column.

    Attributes
    ----------
    texts : before cleaning, string or large_string without nulls, or a list of them; empty where ``faults`` has the row
    places : see :attr:`vecmill.corpus.record.Document.place`
    titles : empty where the source states none; None where all are
    files : the sources, and how many of the records each has, one after the other
    faults : why a record cannot be read, by row
    """

    texts: pa.Array | list[str]
    places: list[str]
    titles: list[str] | None
    files: list[tuple[SourceFile, int]]
    faults: dict[int, SourceError] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.places)

    def text_column(self) -> pa.Array:
        """The texts as string or large_string."""
        return string_column(self.texts) if isinstance(self.texts, list) else self.texts


def read_batches(
    files: Iterable[SourceFile],
    config: CorpusConfig,
    advance: Callable[[float], None],
    note_read: Callable[[SourceFile], None],
) -> Iterator[Batch]:
    """Every record of the sources in order, in batches of some 4 MiB, or of one larger document.

    Parameters
    ----------
    advance : told how many bytes of the sources were read, as stored
    note_read : told of each source before it is read

    Raises
    ------
    SourceError : a source cannot be read, or a record of it, unless the configuration has those skipped
    CredentialsError : a remote store refused us
    """
    gathered = _Gathered()
    for file, record in _records(files, config, advance, note_read):
        if isinstance(record, Rows) and len(record.texts) >= FEWEST_ROWS:
            if len(gathered):
                yield gathered.batch()
                gathered = _Gathered()
            yield from _of_rows(file, record)
            continue
        for each in record.documents() if isinstance(record, Rows) else (record,):
            gathered.add(file, each)
            if gathered.is_full:
                yield gathered.batch()
                gathered = _Gathered()
    if len(gathered):
        yield gathered.batch()


def _records(
    files: Iterable[SourceFile],
    config: CorpusConfig,
    advance: Callable[[float], None],
    note_read: Callable[[SourceFile], None],
) -> Iterator[tuple[SourceFile, Document | Rows | SourceError]]:
    for file in files:
        note_read(file)
        malformed: list[SourceError] = []

        def on_malformed(error: SourceError, malformed: list[SourceError] = malformed) -> None:
            if config.malformed == "error":
                raise error
            malformed.append(error)

        for record in read_records(file, config, on_malformed, advance):
            if malformed:
                yield from ((file, error) for error in malformed)
                malformed.clear()
            yield file, record
        yield from ((file, error) for error in malformed)


class _Gathered:
    """Records that come one by one, on their way into a batch."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._places: list[str] = []
        self._titles: list[str] = []
        self._files: list[tuple[SourceFile, int]] = []
        self._faults: dict[int, SourceError] = {}
        self._n_chars = 0

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def is_full(self) -> bool:
        return self._n_chars >= BATCH_BYTES or len(self._texts) >= ROW_GROUP_ROWS

    def add(self, file: SourceFile, record: Document | SourceError) -> None:
        if isinstance(record, SourceError):
            self._faults[len(self._texts)] = record
            text = place = title = ""
        else:
            text, place, title = record.text, record.place, record.title
        self._texts.append(text)
        self._places.append(place)
        self._titles.append(title)
        self._n_chars += len(text)
        n = self._files.pop()[1] if self._files and self._files[-1][0] is file else 0
        self._files.append((file, n + 1))

    def batch(self) -> Batch:
        titles = self._titles if any(self._titles) else None
        return Batch(self._texts, self._places, titles, self._files, self._faults)


def _of_rows(file: SourceFile, rows: Rows) -> Iterator[Batch]:
    """Columns in parts of about the same size."""
    offsets = offsets_of(rows.texts)
    n_bytes = int(offsets[-1] - offsets[0])
    n_parts = -(-n_bytes // BATCH_BYTES) or 1
    cuts = np.searchsorted(offsets[1:] - offsets[0], np.arange(1, n_parts) * (n_bytes / n_parts)).tolist()
    places = rows.places
    for start, stop in pairwise(sorted({0, *cuts, len(places)})):
        titles = rows.titles[start:stop] if rows.titles else None
        yield Batch(rows.texts.slice(start, stop - start), places[start:stop], titles, [(file, stop - start)])


def document_ids(batch: Batch, texts: pa.Array) -> pa.Array:
    """Name each document by its source's name, its own id (or else its position), and its text before cleaning.

    An id stays when the source's folder moves or goes to S3, when shards are cut differently and when other cleaning
    is chosen. It changes with the text: two runs that share an id read the same words. Two documents share one only
    if a source gives two records the same id *and* text.

    Parameters
    ----------
    texts : string[n] or large_string[n], the texts of the batch

    Returns
    -------
    string[n], the first 16 bytes of a sha256 each, as 32 hex digits; of a record that cannot be read it names nothing
    """
    offsets = offsets_of(texts).tolist()
    letters = memoryview(texts.buffers()[2] or b"")
    found = []
    first = 0
    for file, n in batch.files:
        name = file.name.encode()
        # Lengths keep apart parts that would spell the same when joined.
        name = len(name).to_bytes(8, "big") + name
        rows = slice(first, first + n)
        for place, start, stop in zip(
            batch.places[rows], offsets[rows], offsets[first + 1 : first + n + 1], strict=True
        ):
            place_bytes = place.encode()
            n_place, n_text = len(place_bytes).to_bytes(8, "big"), (stop - start).to_bytes(8, "big")
            whole = b"".join((name, n_place, place_bytes, n_text, letters[start:stop]))
            found.append(hashlib.sha256(whole).digest()[:_DIGEST_BYTES])
        first += n
    digits = b"".join(found).hex().encode()
    ends = np.arange(len(found) + 1, dtype=np.int32) * np.int32(2 * _DIGEST_BYTES)
    return pa.Array.from_buffers(pa.string(), len(found), [None, pa.py_buffer(ends), pa.py_buffer(digits)])


def uris_of(batch: Batch) -> pa.Array:
    """string[n], the URI of each record's source."""
    uris = [file.uri.encode() for file, _ in batch.files]
    counts = [n for _, n in batch.files]
    ends = np.zeros(len(batch) + 1, np.int32)
    np.cumsum(np.repeat([len(uri) for uri in uris], counts), out=ends[1:])
    letters = b"".join(uri * n for uri, n in zip(uris, counts, strict=True))
    return pa.Array.from_buffers(pa.string(), len(batch), [None, pa.py_buffer(ends), pa.py_buffer(letters)])
