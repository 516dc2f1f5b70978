"""The ingest stage: sources of text to clean documents in Parquet shards."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from vecmill.corpus.assembly import assemble
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.dedup import Fingerprints, fingerprint
from vecmill.corpus.division import Reading, divide, reading_piece, with_what_stands
from vecmill.corpus.language import LanguageFinder
from vecmill.corpus.ledger import Rule
from vecmill.corpus.listing import SourceFile, list_sources
from vecmill.corpus.piece_files import PieceWriter, holds_forgotten
from vecmill.corpus.record import Document
from vecmill.corpus.shards import ROW_GROUP_ROWS, Columns
from vecmill.corpus.sources import read_documents
from vecmill.errors import SourceError
from vecmill.store.loose_pieces import pieces_of
from vecmill.store.stage import StageIO, StageReport
from vecmill.text.cleaning_column import clean_column

# Texts cleaned at once; reading holds the interpreter's lock, and most of cleaning does not. A batch costs about 5 ms
# beyond what its texts do.
_BATCH_CHARS = 1 << 21
_CLEANING_THREADS = 2

# A document with its doc_id and the URI of its file, or why a record of that file cannot be read.
_Record = tuple[str | None, str, Document | SourceError]


def ingest(config: CorpusConfig, io: StageIO) -> StageReport:
    """Read every source, clean each document and write them to ``part-00000.parquet`` and so on.

    What does not reach the shards stands in ``dropped.parquet`` (:mod:`vecmill.corpus.ledger`), with its reason.
    Documents stand in the order of their sources' URIs and, within one, in its own order; the same sources and
    configuration give the same bytes, whatever earlier runs have read already. Files are read in pieces
    (:mod:`vecmill.corpus.division`), each of which later runs take over as long as nobody touches its files. Memory
    holds two row groups (about 4 MiB, or one larger document) and three batches that are being cleaned (2 MiB of text
    each, or one larger document), and what :mod:`vecmill.corpus.dedup` keeps of each document.

    Raises
    ------
    SourceError : a source is missing, unreadable or malformed, or no document is left after cleaning
    CredentialsError : a remote store refused us
    ConfigError : languages are asked for and cannot be identified
    """
    files = list_sources(config, io.file_digest)
    wanted = [reading_piece(group, config, io.forgotten) for group in divide(files)]
    with pieces_of(io) as pieces:
        read = pieces.build("read", read_piece, wanted, description="reading documents", prepare=with_what_stands)
        return assemble(config, io.output, files, pieces, read)


def read_piece(reading: Reading, io: StageIO) -> StageReport:
    """Read some source files, clean their documents, and write what :mod:`vecmill.corpus.piece_files` describes."""
    config = reading.config
    finder = _finder(config.languages) if config.tells_language else None
    taken = {
        uri: folder
        for uri, folder in reading.taken.items()
        if not (reading.forgotten and holds_forgotten(folder, uri, reading.forgotten))
    }
    with PieceWriter(io.output, config, [file.uri for file in reading.files]) as piece:
        for is_taken, run in groupby(reading.files, lambda file: file.uri in taken):
            if is_taken:
                for file in run:
                    piece.copy(file.uri, taken[file.uri])
                    io.advance(file.n_bytes)
                continue
            for batch, clean in _cleaned(_read(run, config, io.advance, piece.note_read), config, finder):
                _enter(piece, batch, clean, reading)
    return piece.report()


def _enter(piece: PieceWriter, batch: list[_Record], clean: _Clean, reading: Reading) -> None:
    """Write the documents of a batch to a piece, in runs of those that stay, and what is left out to its ledger."""
    config, forgotten = reading.config, reading.forgotten
    stay = Columns()
    first = 0
    for row, ((doc_id, uri, record), text, language) in enumerate(
        zip(batch, clean.texts, clean.languages, strict=True)
    ):
        rule: Rule
        name, detail = doc_id, ""
        if isinstance(record, SourceError) or doc_id is None:
            rule, name, detail = "malformed", None, str(getattr(record, "found", ""))
        elif forgotten and forgotten.holds(doc_id, text):
            # Without its name: nothing is left that leads back to it.
            rule, name = "forgotten", None
        elif not text or text.isspace():
            rule = "empty"
        elif config.languages and language not in config.languages:
            rule, detail = "language", str(language)
        else:
            stay.doc_ids.append(doc_id)
            stay.uris.append(uri)
            stay.titles.append(" ".join(record.title.split()) if record.title else "")
            stay.texts.append(text)
            stay.languages.append(language)
            continue
        piece.keep(stay, clean.fingerprints, first)
        stay, first = Columns(), row + 1
        piece.leave_out(rule, uri, name, detail)
    piece.keep(stay, clean.fingerprints, first)


def _read(
    files: Iterable[SourceFile],
    config: CorpusConfig,
    advance: Callable[[float], None],
    note_read: Callable[[SourceFile], None],
) -> Iterator[_Record]:
    """Every record of the sources in order."""
    for file in files:
        note_read(file)
        malformed: list[SourceError] = []

        def on_malformed(error: SourceError, malformed: list[SourceError] = malformed) -> None:
            if config.malformed == "error":
                raise error
            malformed.append(error)

        for document in read_documents(file, config, on_malformed, advance):
            if malformed:
                yield from ((None, file.uri, error) for error in malformed)
                malformed.clear()
            yield document_id(file, document), file.uri, document
        yield from ((None, file.uri, error) for error in malformed)


@dataclass(frozen=True)
class _Clean:
    """A batch after everything that threads can do with it, in order; fingerprints only where duplicates go."""

    texts: list[str]
    languages: list[str] | list[None]
    fingerprints: Fingerprints | None


def _cleaned(
    documents: Iterable[_Record], config: CorpusConfig, finder: LanguageFinder | None
) -> Iterator[tuple[list[_Record], _Clean]]:
    """Batches of documents and their clean texts, in order; two are cleaned while the next is read."""
    waiting: deque[tuple[list[_Record], Future[_Clean]]] = deque()
    with ThreadPoolExecutor(_CLEANING_THREADS, thread_name_prefix="cleaning") as pool:
        for batch in _batches(documents):
            texts = [_text_of(record) for _, _, record in batch]
            waiting.append((batch, pool.submit(_clean, texts, config, finder)))
            if len(waiting) > _CLEANING_THREADS:
                done, cleaned = waiting.popleft()
                yield done, cleaned.result()
        for done, cleaned in waiting:
            yield done, cleaned.result()


def _clean(texts: list[str], config: CorpusConfig, finder: LanguageFinder | None) -> _Clean:
    texts = clean_column(texts, config.cleaning)
    drops = config.duplicates.drop != "none"
    return _Clean(
        texts,
        [None] * len(texts) if finder is None else finder.languages_of(texts),
        fingerprint(texts, config.duplicates) if drops else None,
    )


def _batches(documents: Iterable[_Record]) -> Iterator[list[_Record]]:
    batch: list[_Record] = []
    n_chars = 0
    for each in documents:
        batch.append(each)
        n_chars += len(_text_of(each[2]))
        if n_chars >= _BATCH_CHARS or len(batch) >= ROW_GROUP_ROWS:
            yield batch
            batch, n_chars = [], 0
    if batch:
        yield batch


def _text_of(record: Document | SourceError) -> str:
    return record.text if isinstance(record, Document) else ""


@cache
def _finder(languages: tuple[str, ...]) -> LanguageFinder:
    # Its model takes half a second to read, and there may be many pieces.
    return LanguageFinder(languages)


def document_id(file: SourceFile, document: Document) -> str:
    """Name a document by its source's name, its own id (or else its position), and its text before cleaning.

    The id stays when the source's folder moves or goes to S3, when shards are cut differently and when other cleaning
    is chosen. It changes with the text: two runs that share an id read the same words. Two documents share one only
    if a source gives two records the same id *and* text.

    Returns
    -------
    str : the first 16 bytes of a sha256, as 32 hex digits
    """
    place = f"id {document.explicit_id}" if document.explicit_id else document.position
    name, place_bytes, text = file.name.encode(), place.encode(), document.text.encode()
    # Lengths keep apart parts that would spell the same when joined.
    sizes = [len(part).to_bytes(8, "big") for part in (name, place_bytes, text)]
    digest = hashlib.sha256(b"".join((sizes[0], name, sizes[1], place_bytes, sizes[2])))
    digest.update(text)
    return digest.hexdigest()[:32]
