"""Looking for benchmarks by piece: the candidates of some shards, kept so that tomorrow's run takes them over.

Whether a row is flagged may depend on what stands in the shard before or after. So a piece keeps candidates: those that
its shards flag by themselves, and all within ``COMPANY_CHARS`` of either end, for company across an end holds no other.
Shown in the order of the corpus, candidates of all pieces are flagged as one pass over the text flags them: whatever
company a dropped one was in was too small, and company that is large enough was flagged, hence kept, whole.

A piece depends on its shards, on the documents of them in quarantine, on the benchmarks' files and on how much company
is asked for. ``candidates.parquet`` holds, in the order of the text: ``at`` (int64, characters of these documents that
come before), ``alone`` (bool, flagged without company), and the columns of ``contamination.parquet``, the benchmark as
a number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.corpus.documents import read_row_groups
from vecmill.corpus.shard_shares import ShardShare
from vecmill.evaluation.benchmark_rows import COMPANY_CHARS, Candidate, Companies, Row, RowFinder
from vecmill.evaluation.benchmarks import Benchmark
from vecmill.store.stage import BuiltPiece, Piece, StageIO, StageReport
from vecmill.text.arrow_columns import string_column

KIND = "look"
CANDIDATES_NAME = "candidates.parquet"

_ROWS_PER_GROUP = 4096
_TYPES = {
    **{"at": pa.int64(), "alone": pa.bool_(), "benchmark": pa.int32(), "item": pa.int32(), "kind": pa.string()},
    **{"doc_id": pa.string(), "source_uri": pa.string(), "line": pa.int32(), "excerpt": pa.string()},
}
_SCHEMA = pa.schema([pa.field(name, kind, nullable=False) for name, kind in _TYPES.items()])


@dataclass(frozen=True)
class Looking:
    """What it takes to look through some shards; ``company`` as ``evaluate.contamination_rows``."""

    share: ShardShare
    benchmarks: tuple[Benchmark, ...]
    company: int


def looking_piece(share: ShardShare, benchmarks: tuple[Benchmark, ...], company: int) -> Piece:
    """The piece that looks through a share of the corpus."""
    return Piece(
        config={
            "shards": list(share.names),
            "quarantined": share.quarantine_digest,
            "benchmarks": [[each.digest, *each.scale] for each in benchmarks],
            "company": company,
        },
        argument=Looking(share, benchmarks, company),
        inputs=share.inputs,
        n_bytes=share.n_bytes,
    )


def look_piece(looking: Looking, io: StageIO) -> StageReport:
    """Find the candidates of some shards. Memory: a row group, the pairs, and the candidates near the end.

    Raises
    ------
    StoreError : a shard cannot be read
    """
    share, paths = looking.share, looking.share.paths(io)
    finder = RowFinder(looking.benchmarks)
    companies = Companies(len(looking.benchmarks), looking.company)
    n_documents = n_text_bytes = n_rows = 0
    n_groups = sum(pq.read_metadata(path).num_row_groups for path in paths)
    left_out = string_column(share.quarantined).cast(pa.string()) if share.quarantined else None
    waiting: deque[Candidate] = deque()
    with pq.ParquetWriter(io.output / CANDIDATES_NAME, _SCHEMA, compression="zstd") as writer:
        kept: list[dict[str, object]] = []

        def write(at_least: int) -> None:
            nonlocal n_rows
            if kept and len(kept) >= at_least:
                writer.write_table(pa.Table.from_pylist(kept, schema=_SCHEMA))
                n_rows += len(kept)
                kept.clear()

        def keep(candidate: Candidate) -> None:
            kept.append({"at": candidate.at, "alone": candidate.alone, **asdict(candidate.row)})

        done = -1
        for number, batch in read_row_groups(paths, left_out, ("doc_id", "source_uri", "text")):
            for document in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                for candidate in finder.look(*document):
                    companies.add(candidate)
                    waiting.append(candidate)
                    # What is this far behind will not be flagged any more.
                    while waiting[0].at + COMPANY_CHARS < candidate.at:
                        each = waiting.popleft()
                        if each.flagged or each.at < COMPANY_CHARS:
                            keep(each)
            write(_ROWS_PER_GROUP)
            n_documents += batch.num_rows
            n_text_bytes += pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
            io.advance((number - done) * share.n_bytes / n_groups)
            done = number
        for each in waiting:
            if each.flagged or each.at < COMPANY_CHARS or each.at + COMPANY_CHARS >= finder.n_chars:
                keep(each)
        write(1)
    return StageReport(
        metrics={"n_documents": n_documents, "n_text_bytes": n_text_bytes, "n_chars": finder.n_chars},
        rows={CANDIDATES_NAME: n_rows},
    )


def flagged(pieces: Sequence[BuiltPiece], n_benchmarks: int, company: int) -> Iterator[Row]:
    """The rows that one pass over the documents of all pieces flags, in the same order."""
    companies = Companies(n_benchmarks, company)
    first = 0
    for piece in pieces:
        for row, at, alone in _read(piece.open(CANDIDATES_NAME) / CANDIDATES_NAME):
            yield from companies.add(Candidate(first + at, row, alone))
        first += piece.metrics["n_chars"]


def _read(path: Path) -> Iterator[tuple[Row, int, bool]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_PER_GROUP, use_threads=False):
            for values in batch.to_pylist():
                at, alone = values.pop("at"), values.pop("alone")
                yield Row(**values), at, alone
