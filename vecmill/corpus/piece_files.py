"""What a piece of ingest holds: the documents of some source files, as far as they can be judged without the others.

| file | holds |
| --- | --- |
| ``part-00000.parquet`` … | the documents kept, in order |
| ``dropped.parquet`` | the records left out in reading and cleaning, each with the number of documents kept before it |
| ``sources.parquet`` | for each file, what it held, kept and left out |
| ``ids.npy``, ``digests.npy``, ``signatures.npy`` | where duplicates go: names and fingerprints of the documents kept |
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
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
from vecmill.corpus.ledger import LEDGER_FILE, N_BEFORE, Ledger, Rule
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.corpus.shards import ShardWriter
from vecmill.store.forgotten import Forgotten
from vecmill.store.stage import StageReport
from vecmill.text.arrow_columns import number_column, read_table, string_column

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

    def copy(self, uri: str, older: OlderFiles) -> None:
        """Write all that an older piece holds of one of its files."""
        place = older.place(uri)
        fingerprints = older.fingerprints(uri) if self._compares else None
        shift = self._shards.n_documents - place.first_kept
        row = 0
        for batch in older.documents(uri):
            columns = [batch[name] for name in CORPUS_SCHEMA.names]
            self.keep(pa.RecordBatch.from_arrays(columns, schema=CORPUS_SCHEMA), fingerprints, row)
            row += len(batch)
        if place.n_left_out:
            rows = older.left_out(uri)
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


@dataclass(frozen=True)
class _Group:
    """A row group of a piece, and the numbers of its documents."""

    path: Path
    number: int
    start: int
    stop: int


@dataclass
class _Older:
    """What the footers of a piece and its list of files tell."""

    places: dict[str, _Place]
    groups: list[_Group]


class OlderFiles:
    """What older pieces hold of some files.

    Files that follow one another here do so in the older pieces as well, and share row groups: the last one that was
    read is held, and so are the rows left out of the last piece and views of its fingerprints.

    Parameters
    ----------
    taken : the folder of the piece that holds a file, by URI
    """

    def __init__(self, taken: Mapping[str, Path]) -> None:
        self._taken = taken
        self._known: dict[Path, _Older] = {}
        self._group: tuple[_Group, pa.Table] | None = None
        self._ledger: tuple[Path, pa.Table] | None = None
        self._fingerprints: tuple[Path, Fingerprints] | None = None

    def place(self, uri: str) -> _Place:
        """Where the records of a file stand."""
        return self._of(uri).places[uri]

    def documents(self, uri: str) -> Iterator[pa.RecordBatch]:
        """The documents of a file, a row group or less at a time."""
        older, place = self._of(uri), self.place(uri)
        first, end = place.first_kept, place.first_kept + place.n_kept
        at = bisect_right(older.groups, first, key=lambda group: group.stop) if place.n_kept else len(older.groups)
        for group in older.groups[at:]:
            if group.start >= end:
                break
            rows = self._rows(group)
            begin, n = max(first - group.start, 0), min(end, group.stop) - max(first, group.start)
            for batch in rows.slice(begin, n).combine_chunks().to_batches():
                # A copy of a part: whoever gathers small files must not hold a row group for each.
                yield batch if n == len(rows) else pa.concat_batches([batch])

    def left_out(self, uri: str) -> pa.Table:
        """The rows of the ledger on a file."""
        folder, place = self._taken[uri], self.place(uri)
        if self._ledger is None or self._ledger[0] != folder:
            self._ledger = folder, read_table(folder / LEDGER_FILE)
        return self._ledger[1].slice(place.first_left_out, place.n_left_out)

    def fingerprints(self, uri: str) -> Fingerprints:
        """Of the documents of a file."""
        folder, place = self._taken[uri], self.place(uri)
        if self._fingerprints is None or self._fingerprints[0] != folder:
            digests, signatures = (np.load(folder / name, mmap_mode="r") for name in (DIGESTS_FILE, SIGNATURES_FILE))
            self._fingerprints = folder, Fingerprints(digests, signatures)
        kept = slice(place.first_kept, place.first_kept + place.n_kept)
        whole = self._fingerprints[1]
        return Fingerprints(whole.digests[kept], whole.signatures[kept])

    def holds_forgotten(self, uri: str, forgotten: Forgotten) -> bool:
        """Whether a file has a document that must be forgotten."""
        return any(
            forgotten.holds(doc_id, text)
            for batch in self.documents(uri)
            for doc_id, text in zip(batch["doc_id"].to_pylist(), batch["text"].to_pylist(), strict=True)
        )

    def _of(self, uri: str) -> _Older:
        folder = self._taken[uri]
        if folder not in self._known:
            self._known[folder] = _Older(_places(folder), _groups(folder))
        return self._known[folder]

    def _rows(self, group: _Group) -> pa.Table:
        if self._group is None or self._group[0] != group:
            self._group = None
            with pq.ParquetFile(group.path) as shard:
                self._group = group, shard.read_row_group(group.number, use_threads=False)
        return self._group[1]


def _places(folder: Path) -> dict[str, _Place]:
    table = read_table(folder / SOURCES_FILE)
    places: dict[str, _Place] = {}
    kept = left_out = 0
    for row in table.to_pylist():
        places[row["source_uri"]] = _Place(kept, row["n_kept"], left_out, row["n_left_out"])
        kept += row["n_kept"]
        left_out += row["n_left_out"]
    return places


def _groups(folder: Path) -> list[_Group]:
    groups: list[_Group] = []
    start = 0
    # Of files without a document there are no shards.
    for path in sorted(folder.glob("part-*.parquet")):
        metadata = pq.read_metadata(path)
        for number in range(metadata.num_row_groups):
            stop = start + metadata.row_group(number).num_rows
            groups.append(_Group(path, number, start, stop))
            start = stop
    return groups


def _excerpt(text: str) -> str:
    line = " ".join(text[: 4 * _EXCERPT_CHARS].split())
    return line if len(line) <= _EXCERPT_CHARS else line[: _EXCERPT_CHARS - 1] + "…"
