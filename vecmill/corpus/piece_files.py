"""What a piece of ingest holds: the documents of some source files, as far as they can be judged without the others.

| file | holds |
| --- | --- |
| ``part-00000.parquet`` … | the documents kept, in order |
| ``dropped.parquet`` | the records left out in reading and cleaning, each with the number of documents kept before it |
| ``sources.parquet`` | for each file, what it held, kept and left out |
| ``ids.npy``, ``digests.npy``, ``signatures.npy`` | where duplicates go: names and fingerprints of the documents kept |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.dedup import Fingerprints
from vecmill.corpus.documents import shard_paths
from vecmill.corpus.ledger import LEDGER_FILE, N_BEFORE, Ledger, Rule
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.corpus.shards import ShardWriter
from vecmill.store.forgotten import Forgotten
from vecmill.store.stage import StageReport
from vecmill.text.arrow_columns import number_column, numbers_of, read_table, string_column

SOURCES_FILE = "sources.parquet"
IDS_FILE, DIGESTS_FILE, SIGNATURES_FILE = "ids.npy", "digests.npy", "signatures.npy"
N_SHOWN = 10
_EXCERPT_CHARS = 160
_SOURCES_SCHEMA = pa.schema(
    [
        pa.field("source_uri", pa.string(), nullable=False),
        pa.field("n_kept", pa.int64(), nullable=False),
        pa.field("n_left_out", pa.int64(), nullable=False),
    ]
)


@dataclass
class _Tally:
    n_kept: int = 0
    n_left_out: int = 0


class PieceWriter:
    """Writes a piece, record by record in the order of its files; memory holds a row group and the fingerprints."""

    def __init__(self, folder: Path, config: CorpusConfig, uris: Sequence[str]) -> None:
        self._folder = folder
        self._compares = config.duplicates.drop != "none"
        self._tallies = {uri: _Tally() for uri in uris}
        self._shards = ShardWriter(folder, config.shard_mib << 20)
        self._ledger = Ledger(folder, of_piece=True)
        self._ids: list[str] = []
        self._digests: list[npt.NDArray[np.uint64]] = []
        self._signatures: list[npt.NDArray[np.uint8]] = []
        self._n_files_read = self._n_bytes_read = 0
        self._shown: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._shards.__enter__()
        self._ledger.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.__exit__(kind, error, trace)
        self._shards.__exit__(kind, error, trace)

    def note_read(self, file: SourceFile) -> None:
        """A file is being read that no earlier run has read."""
        self._n_files_read += 1
        self._n_bytes_read += file.n_bytes

    def keep(self, documents: pa.RecordBatch, fingerprints: Fingerprints | None, first: int) -> None:
        """Write documents, columns of the corpus; those of the first one stand at ``first`` in ``fingerprints``."""
        n = len(documents)
        if not n:
            return
        self._shards.write(documents)
        for found in pc.value_counts(documents["source_uri"]).to_pylist():
            self._tallies[found["values"]].n_kept += found["counts"]
        if fingerprints is not None:
            self._ids += documents["doc_id"].to_pylist()
            self._digests.append(fingerprints.digests[first : first + n])
            self._signatures.append(fingerprints.signatures[first : first + n])
        for row in documents.slice(0, N_SHOWN - len(self._shown)).to_pylist():
            self._shown.append({"doc_id": row["doc_id"], "title": row["title"], "excerpt": _excerpt(row["text"])})

    def leave_out(self, rule: Rule, uri: str, doc_id: str | None, detail: str) -> None:
        """Enter a record that does not reach the corpus."""
        self._ledger.leave_out(rule, uri, doc_id, detail=detail, n_before=self._shards.n_documents)
        self._tallies[uri].n_left_out += 1

    def copy(self, uri: str, older: Path) -> None:
        """Write all that an older piece holds of one of its files."""
        place = _place(older, uri)
        fingerprints = None
        if self._compares:
            kept = slice(place.first_kept, place.first_kept + place.n_kept)
            fingerprints = Fingerprints(
                np.load(older / DIGESTS_FILE, mmap_mode="r")[kept],
                np.load(older / SIGNATURES_FILE, mmap_mode="r")[kept],
            )
        shift = self._shards.n_documents - place.first_kept
        row = 0
        for batch in documents_of(older, place.first_kept, place.n_kept):
            columns = [batch[name] for name in CORPUS_SCHEMA.names]
            self.keep(pa.RecordBatch.from_arrays(columns, schema=CORPUS_SCHEMA), fingerprints, row)
            row += len(batch)
        if place.n_left_out:
            rows = read_table(older / LEDGER_FILE).slice(place.first_left_out, place.n_left_out)
            moved = pc.add(rows[N_BEFORE], pa.scalar(shift, pa.int64()))
            self._ledger.take_over(rows.set_column(rows.column_names.index(N_BEFORE), N_BEFORE, moved))
            self._tallies[uri].n_left_out += place.n_left_out

    def report(self) -> StageReport:
        """Write what is left to write; after the last record."""
        columns = [
            string_column(list(self._tallies)).cast(pa.string()),
            number_column(np.array([each.n_kept for each in self._tallies.values()], np.int64)),
            number_column(np.array([each.n_left_out for each in self._tallies.values()], np.int64)),
        ]
        sources = pa.Table.from_arrays(columns, schema=_SOURCES_SCHEMA)
        pq.write_table(sources, self._folder / SOURCES_FILE, compression="zstd")
        if self._compares:
            n = len(self._ids)
            ids = np.frombuffer(bytes.fromhex("".join(self._ids)), np.uint8).reshape(n, 16)
            np.save(self._folder / IDS_FILE, ids)
            np.save(self._folder / DIGESTS_FILE, np.concatenate(self._digests) if n else np.zeros((0, 2), np.uint64))
            signatures = np.concatenate(self._signatures) if n else np.zeros((0, 0), np.uint8)
            np.save(self._folder / SIGNATURES_FILE, signatures)
        return StageReport(
            metrics={
                "n_documents": self._shards.n_documents,
                "n_read": self._shards.n_documents + self._ledger.n_rows,
                "n_chars": self._shards.n_chars,
                "n_files_read": self._n_files_read,
                "n_bytes_read": self._n_bytes_read,
            },
            rows={
                **self._shards.rows,
                LEDGER_FILE: self._ledger.n_rows,
                SOURCES_FILE: len(self._tallies),
            },
            table=self._shown,
        )


@dataclass(frozen=True)
class _Place:
    """Where the records of one file stand in a piece."""

    first_kept: int
    n_kept: int
    first_left_out: int
    n_left_out: int


def _place(folder: Path, uri: str) -> _Place:
    table = read_table(folder / SOURCES_FILE)
    row = pc.index(table["source_uri"], uri).as_py()
    kept, left_out = (numbers_of(table[name].combine_chunks()) for name in ("n_kept", "n_left_out"))
    return _Place(int(kept[:row].sum()), int(kept[row]), int(left_out[:row].sum()), int(left_out[row]))


def documents_of(folder: Path, first: int, n: int) -> Iterator[pa.RecordBatch]:
    """A run of a piece's documents by their numbers, a row group or less at a time."""
    if not n:
        return
    start = 0
    for path in shard_paths(folder):
        with pq.ParquetFile(path) as shard:
            for group in range(shard.num_row_groups):
                stop = start + shard.metadata.row_group(group).num_rows
                if start < first + n and stop > first:
                    rows = shard.read_row_group(group, use_threads=False)
                    begin, end = max(first - start, 0), min(first + n, stop) - start
                    for batch in rows.slice(begin, end - begin).combine_chunks().to_batches():
                        # A copy of a part: whoever gathers small files must not hold a row group for each.
                        yield batch if end - begin == len(rows) else pa.concat_batches([batch])
                start = stop


def holds_forgotten(folder: Path, uri: str, forgotten: Forgotten) -> bool:
    """Whether what a piece holds of a file has a document that must be forgotten."""
    place = _place(folder, uri)
    return any(
        forgotten.holds(doc_id, text)
        for batch in documents_of(folder, place.first_kept, place.n_kept)
        for doc_id, text in zip(batch["doc_id"].to_pylist(), batch["text"].to_pylist(), strict=True)
    )


def _excerpt(text: str) -> str:
    line = " ".join(text[: 4 * _EXCERPT_CHARS].split())
    return line if len(line) <= _EXCERPT_CHARS else line[: _EXCERPT_CHARS - 1] + "…"
