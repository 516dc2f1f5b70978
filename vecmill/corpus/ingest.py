"""The ingest stage: sources of text to clean documents in Parquet shards."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import numpy as np
import polars as pl
import pyarrow as pa

from vecmill.corpus.assembly import assemble
from vecmill.corpus.batch import Batch, document_ids, read_batches, uris_of
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.dedup import Fingerprints, fingerprint
from vecmill.corpus.division import Reading, divide, reading_piece, with_what_stands
from vecmill.corpus.language import LanguageFinder
from vecmill.corpus.ledger import Rule
from vecmill.corpus.listing import list_sources
from vecmill.corpus.piece_files import OlderFiles, PieceWriter
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.store.loose_pieces import pieces_of
from vecmill.store.stage import StageIO, StageReport
from vecmill.text.arrow_columns import mask_column, string_column
from vecmill.text.cleaning_column import clean_column, is_blank

_CLEANING_THREADS = 2


def ingest(config: CorpusConfig, io: StageIO) -> StageReport:
    """Read every source, clean each document and write them to ``part-00000.parquet`` and so on.

    What does not reach the shards stands in ``dropped.parquet`` (:mod:`vecmill.corpus.ledger`), with its reason.
    Documents stand in the order of their sources' URIs and, within one, in its own order; the same sources and
    configuration give the same bytes, whatever earlier runs have read already. Files are read in pieces
    (:mod:`vecmill.corpus.division`), each of which later runs take over as long as nobody touches its files. Memory
    holds two row groups (about 4 MiB, or one larger document) and three batches that are being cleaned (4 MiB of text
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
    older = OlderFiles(reading.taken)
    taken = {uri for uri in reading.taken if not (reading.forgotten and older.holds_forgotten(uri, reading.forgotten))}
    with PieceWriter(io.output, config, [file.uri for file in reading.files]) as piece:
        for is_taken, run in groupby(reading.files, lambda file: file.uri in taken):
            if is_taken:
                for file in run:
                    piece.copy(file.uri, older)
                    io.advance(file.n_bytes)
                continue
            for clean in _cleaned(read_batches(run, config, io.advance, piece.note_read), reading, finder):
                _enter(piece, clean)
    return piece.report()


@dataclass(frozen=True)
class _Clean:
    """A batch after everything that threads can do with it.

    Attributes
    ----------
    documents : columns of the corpus, of the n documents that stay
    left_out : of each record that does not stay, in order: how many of the documents stand before it, rule, source,
        doc_id (None where it is not told) and detail
    fingerprints : of the documents; only where duplicates go
    """

    documents: pa.RecordBatch
    left_out: list[tuple[int, Rule, str, str | None, str]]
    fingerprints: Fingerprints | None


def _enter(piece: PieceWriter, clean: _Clean) -> None:
    """Write the documents of a batch to a piece, in runs of those that stay, and what is left out to its ledger."""
    first = 0
    for stop, rule, uri, doc_id, detail in clean.left_out:
        piece.keep(clean.documents.slice(first, stop - first), clean.fingerprints, first)
        piece.leave_out(rule, uri, doc_id, detail)
        first = stop
    piece.keep(clean.documents.slice(first), clean.fingerprints, first)


def _cleaned(batches: Iterable[Batch], reading: Reading, finder: LanguageFinder | None) -> Iterator[_Clean]:
    """Batches as documents of the corpus, in order; two are cleaned while the next is read."""
    waiting: deque[Future[_Clean]] = deque()
    with ThreadPoolExecutor(_CLEANING_THREADS, thread_name_prefix="cleaning") as pool:
        for batch in batches:
            waiting.append(pool.submit(_clean, batch, reading, finder))
            if len(waiting) > _CLEANING_THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _clean(batch: Batch, reading: Reading, finder: LanguageFinder | None) -> _Clean:
    config, forgotten = reading.config, reading.forgotten
    raw = batch.text_column()
    doc_ids = document_ids(batch, raw)
    texts = clean_column(pl.Series("text", raw, dtype=pl.String), config.cleaning)
    languages = None if finder is None else finder.languages_of(texts.to_list())
    blank, n_chars = texts.to_frame("text").select_seq(
        is_blank(pl.col("text")).alias("blank"), pl.col("text").str.len_chars().cast(pl.Int64).alias("n_chars")
    )
    left_out: dict[int, tuple[Rule, str | None, str]] = {}
    if config.languages and languages:
        other = [row for row, language in enumerate(languages) if language not in config.languages]
        left_out |= {row: ("language", doc_ids[row].as_py(), languages[row]) for row in other}
    left_out |= {row: ("empty", doc_ids[row].as_py(), "") for row in blank.arg_true().to_list()}
    if forgotten:
        names = enumerate(zip(doc_ids.to_pylist(), texts, strict=True))
        # Without its name: nothing is left that leads back to it.
        left_out |= {row: ("forgotten", None, "") for row, (name, text) in names if forgotten.holds(name, text)}
    left_out |= {row: ("malformed", None, error.found) for row, error in batch.faults.items()}
    titles = [" ".join(title.split()) for title in batch.titles or ()]
    columns = [
        doc_ids,
        uris_of(batch),
        string_column(titles or [""] * len(batch)).cast(pa.string()),
        texts.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string()),
        n_chars.to_arrow(),
        pa.nulls(len(batch), pa.string()) if languages is None else string_column(languages).cast(pa.string()),
    ]
    documents = pa.RecordBatch.from_arrays(columns, schema=CORPUS_SCHEMA)
    rows = sorted(left_out)
    uris = [documents["source_uri"][row].as_py() for row in rows]
    if rows:
        stays = np.ones(len(batch), np.bool_)
        stays[rows] = False
        # A copy: a row group that waits for its last document must not hold what was left out beside the first ones.
        documents = documents.filter(mask_column(stays))
        texts = texts.filter(stays)
    return _Clean(
        documents,
        [
            (row - n, left_out[row][0], uri, *left_out[row][1:])
            for n, (row, uri) in enumerate(zip(rows, uris, strict=True))
        ],
        fingerprint(texts.to_list(), config.duplicates) if config.duplicates.drop != "none" else None,
    )


@cache
def _finder(languages: tuple[str, ...]) -> LanguageFinder:
    # Its model takes half a second to read, and there may be many pieces.
    return LanguageFinder(languages)
