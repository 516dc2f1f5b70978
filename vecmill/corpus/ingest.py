"""The ingest stage: sources of text to clean documents in Parquet shards."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.dedup import Duplicates, Fingerprints, Twin, fingerprint
from vecmill.corpus.language import LanguageFinder
from vecmill.corpus.ledger import LEDGER_FILE, Ledger
from vecmill.corpus.listing import SourceFile, list_sources
from vecmill.corpus.record import Document
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.corpus.sources import read_documents
from vecmill.errors import SourceError
from vecmill.progress import track
from vecmill.store.stage import StageIO, StageReport
from vecmill.text.cleaning_column import clean_column

# A row group is what every later stage holds in memory at once.
_ROW_GROUP_BYTES = 4 << 20
_ROW_GROUP_ROWS = 16384
# Texts cleaned at once; reading holds the interpreter's lock, and most of cleaning does not.
_BATCH_CHARS = 1 << 20
_CLEANING_THREADS = 2
_EXCERPT_CHARS = 160
_N_SHOWN = 10

# A document with its doc_id and the URI of its file.
_Named = tuple[str, str, Document]


def ingest(config: CorpusConfig, io: StageIO) -> StageReport:
    """Read every source, clean each document and write them to ``part-00000.parquet`` and so on.

    What does not reach the shards stands in ``dropped.parquet`` (:mod:`vecmill.corpus.ledger`), with its reason.
    Documents stand in the order of their sources' URIs and, within one, in its own order; the same sources and
    configuration give the same bytes. Memory holds one row group (about 4 MiB, or one larger document) and
    three batches that are being cleaned (1 MiB of text each, or one larger document).

    Raises
    ------
    SourceError : a source is missing, unreadable or malformed, or no document is left after cleaning
    CredentialsError : a remote store refused us
    ConfigError : languages are asked for and cannot be identified
    """
    finder = LanguageFinder(config.languages) if config.tells_language else None
    files = list_sources(config)
    n_bytes = sum(file.n_bytes for file in files)
    malformed: list[SourceError] = []
    shown: list[dict[str, Any]] = []
    with (
        track("reading documents", n_bytes, "bytes") as bar,
        Ledger(io.output) as ledger,
        _ShardWriter(io.output, config.shard_mib << 20) as shards,
    ):
        duplicates = None if config.duplicates.drop == "none" else Duplicates(config.duplicates)
        for batch, clean in _cleaned(_read(files, config, ledger, malformed, bar.advance), config, finder):
            reasons = [_why_left_out(*each, config) for each in zip(clean.texts, clean.languages, strict=True)]
            twins = _twins(batch, clean, reasons, duplicates)
            rows = zip(batch, clean.texts, clean.languages, reasons, twins, strict=True)
            for (doc_id, uri, document), text, language, reason, twin in rows:
                if reason is not None:
                    ledger.leave_out(reason, uri, doc_id, detail="" if reason == "empty" else str(language))
                    continue
                if twin is not None:
                    rule, detail = _told(twin)
                    ledger.leave_out(rule, uri, doc_id, twin=twin.doc_id, detail=detail)
                    continue
                title = " ".join(document.title.split())
                shards.write(doc_id, uri, title, text, language)
                if len(shown) < _N_SHOWN:
                    shown.append({"doc_id": doc_id, "title": title, "excerpt": _excerpt(text)})
    n_empty, n_malformed = ledger.count("empty"), ledger.count("malformed")
    if not shards.n_documents:
        n_other = ledger.count("language")
        other = f", {n_other} in other languages than {', '.join(config.languages)}" if n_other else ""
        raise SourceError(
            f"the corpus is empty: {len(files)} source file(s) with {n_bytes} bytes hold no document "
            f"({n_empty} empty after cleaning, {n_malformed} malformed{other}); the first is {files[0].uri}",
            todo=f"check corpus.sources, corpus.text_column and corpus.{'languages' if other else 'cleaning'}",
        )
    return StageReport(
        metrics={
            "n_documents": shards.n_documents,
            **ledger.reconciled(shards.n_documents),
            "n_chars": shards.n_chars,
            "n_source_files": len(files),
            "n_source_bytes": n_bytes,
            "n_malformed": n_malformed,
            "n_empty": n_empty,
            "n_other_language": ledger.count("language"),
            "n_exact_duplicates": ledger.count("exact_duplicate"),
            "n_near_duplicates": ledger.count("near_duplicate"),
        },
        rows={**shards.rows, LEDGER_FILE: ledger.n_rows},
        table=shown,
        markdown=_summary(files, shards.n_documents, malformed, ledger),
    )


def _read(
    files: list[SourceFile],
    config: CorpusConfig,
    ledger: Ledger,
    malformed: list[SourceError],
    advance: Callable[[int], None],
) -> Iterator[_Named]:
    """Every document of the sources in order; counts them, and enters what cannot be read."""
    for file in files:

        def on_malformed(error: SourceError, uri: str = file.uri) -> None:
            if config.malformed == "error":
                raise error
            ledger.n_read += 1
            ledger.leave_out("malformed", uri, None, detail=error.found)
            if len(malformed) < _N_SHOWN:
                malformed.append(error)

        for document in read_documents(file, config, on_malformed, advance):
            ledger.n_read += 1
            yield document_id(file, document), file.uri, document


@dataclass(frozen=True)
class _Clean:
    """A batch after everything that threads can do with it, in order; fingerprints only where duplicates go."""

    texts: list[str]
    languages: list[str] | list[None]
    fingerprints: Fingerprints | None


def _cleaned(
    documents: Iterable[_Named], config: CorpusConfig, finder: LanguageFinder | None
) -> Iterator[tuple[list[_Named], _Clean]]:
    """Batches of documents and their clean texts, in order; two are cleaned while the next is read."""
    waiting: deque[tuple[list[_Named], Future[_Clean]]] = deque()
    with ThreadPoolExecutor(_CLEANING_THREADS, thread_name_prefix="cleaning") as pool:
        for batch in _batches(documents):
            texts = [document.text for _, _, document in batch]
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


def _why_left_out(text: str, language: str | None, config: CorpusConfig) -> Literal["empty", "language"] | None:
    if not text or text.isspace():
        return "empty"
    return "language" if config.languages and language not in config.languages else None


def _twins(
    batch: list[_Named], clean: _Clean, reasons: Sequence[str | None], duplicates: Duplicates | None
) -> list[Twin | None]:
    """The twin of each document that is not left out for another reason, among those kept before it."""
    if duplicates is None or clean.fingerprints is None:
        return [None] * len(batch)
    judged = np.array([reason is None for reason in reasons], np.bool_)
    return duplicates.find([doc_id for doc_id, _, _ in batch], clean.fingerprints, judged)


def _told(twin: Twin) -> tuple[Literal["exact_duplicate", "near_duplicate"], str]:
    if twin.similarity is None:
        return "exact_duplicate", "the same text"
    return "near_duplicate", f"about {twin.similarity:.2f} of the shingles of both are the same"


def _batches(documents: Iterable[_Named]) -> Iterator[list[_Named]]:
    batch: list[_Named] = []
    n_chars = 0
    for named in documents:
        batch.append(named)
        n_chars += len(named[2].text)
        if n_chars >= _BATCH_CHARS or len(batch) >= _ROW_GROUP_ROWS:
            yield batch
            batch, n_chars = [], 0
    if batch:
        yield batch


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
    digest = hashlib.sha256()
    for part in (file.name, place, document.text):
        encoded = part.encode()
        # Lengths keep apart parts that would spell the same when joined.
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:32]


class _ShardWriter:
    """Writes documents to Parquet shards; memory is bounded by the bytes of one row group."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self.n_documents = 0
        self.n_chars = 0
        self.rows: dict[str, int] = {}
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._most_group_bytes = min(_ROW_GROUP_BYTES, shard_bytes)
        self._columns: dict[str, list[Any]] = {name: [] for name in CORPUS_SCHEMA.names}
        self._group_bytes = 0
        self._written_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._close()

    def write(self, doc_id: str, source_uri: str, title: str, text: str, language: str | None) -> None:
        n_bytes = _n_bytes(text) + _n_bytes(title)
        # Before, not after: a large document gets a row group of its own instead of joining a nearly full one.
        if self._group_bytes and self._group_bytes + n_bytes > self._most_group_bytes:
            self._flush()
        row = (doc_id, source_uri, title, text, len(text), language)
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        self._group_bytes += n_bytes
        self.n_documents += 1
        self.n_chars += len(text)
        if len(self._columns["doc_id"]) >= _ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        n_rows = len(self._columns["doc_id"])
        if not n_rows:
            return
        if self._writer is not None and self._written_bytes + self._group_bytes > self._shard_bytes:
            self._close()
        if self._writer is None:
            name = f"part-{len(self.rows):05d}.parquet"
            self.rows[name] = 0
            # Ids are random and texts differ, so a dictionary of them would only cost.
            self._writer = pq.ParquetWriter(
                self._folder / name, CORPUS_SCHEMA, compression="zstd", use_dictionary=["source_uri", "language"]
            )
        self._writer.write_batch(pa.RecordBatch.from_pydict(self._columns, schema=CORPUS_SCHEMA), row_group_size=n_rows)
        self.rows[f"part-{len(self.rows) - 1:05d}.parquet"] += n_rows
        self._written_bytes += self._group_bytes
        self._columns = {name: [] for name in CORPUS_SCHEMA.names}
        self._group_bytes = 0

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._written_bytes = 0


def _n_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _excerpt(text: str) -> str:
    line = " ".join(text[: 4 * _EXCERPT_CHARS].split())
    return line if len(line) <= _EXCERPT_CHARS else line[: _EXCERPT_CHARS - 1] + "…"


def _summary(files: list[SourceFile], n_documents: int, malformed: list[SourceError], ledger: Ledger) -> str:
    sources = "\n".join(f"- `{file.uri}` ({file.n_bytes:,} bytes)" for file in files[:_N_SHOWN])
    more = f"\n- and {len(files) - _N_SHOWN:,} more" if len(files) > _N_SHOWN else ""
    n_exact, n_near = ledger.count("exact_duplicate"), ledger.count("near_duplicate")
    repeated = (
        f"\n{n_exact:,} documents left out that repeat an earlier one word by word, and {n_near:,} nearly; "
        f"`{LEDGER_FILE}` names the twin of each.\n"
        if n_exact + n_near
        else ""
    )
    n_other = ledger.count("language")
    if n_other:
        repeated += f"\n{n_other:,} documents left out that are in other languages than `corpus.languages` names.\n"
    left_out = "".join(f"\n- {error.found}" for error in malformed)
    return f"{n_documents:,} documents from {len(files):,} source files:\n\n{sources}{more}\n{repeated}" + (
        f"\n{ledger.count('malformed'):,} malformed records left out, the first being:\n{left_out}\n"
        if malformed
        else ""
    )
