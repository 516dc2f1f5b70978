"""A corpus from its pieces: duplicates across all of them, one ledger, shards that are the pieces' own files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.dedup import Duplicates, Fingerprints, Twin
from vecmill.corpus.documents import shard_paths
from vecmill.corpus.ledger import LEDGER_FILE, LEDGER_SCHEMA, N_BEFORE, Ledger, Rule
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.piece_files import DIGESTS_FILE, IDS_FILE, N_SHOWN, SIGNATURES_FILE, SOURCES_FILE
from vecmill.corpus.shards import open_shard, shard_name
from vecmill.errors import SourceError
from vecmill.store.stage import BuiltPiece, Piece, Pieces, StageIO, StageReport
from vecmill.text.arrow_columns import mask_column, numbers_of, read_table

_BATCH_ROWS = 16384
_N_FILES_SHOWN = 10


@dataclass(frozen=True)
class Thinning:
    """Which documents of a piece repeat earlier ones.

    Attributes
    ----------
    folder : of the piece where there is no store, else it is the input ``read``
    rows : int64, their numbers in the piece, sorted
    """

    folder: Path | None
    rows: npt.NDArray[np.int64]


def assemble(
    config: CorpusConfig, output: Path, files: Sequence[SourceFile], pieces: Pieces, read: Sequence[BuiltPiece]
) -> StageReport:
    """Put a corpus together.

    A piece whose documents all stay gives its shards as they are; one that holds duplicates is written again without
    them, as a piece of its own that later runs take over likewise.

    Raises
    ------
    SourceError : no document is left
    """
    with Ledger(output) as ledger:
        twins = _all_twins(config, read)
        faults: list[str] = []
        for piece, found in zip(read, twins, strict=True):
            ledger.n_read += piece.metrics["n_read"]
            _enter(ledger, piece, found, faults)
        kept = _without_twins(pieces, read, twins)
        rows: dict[str, int] = {}
        for piece in kept:
            for name in sorted(name for name in piece.rows if name.startswith("part-")):
                output_name = shard_name(len(rows))
                pieces.link(piece, name, output_name)
                rows[output_name] = piece.rows[name] or 0
    n_documents, n_bytes = sum(rows.values()), sum(file.n_bytes for file in files)
    if not n_documents:
        raise _nothing_left(config, files, n_bytes, ledger)
    built = [piece for piece in read if not piece.taken_over]
    dropped = {twin_row for found in twins for twin_row in found.doc_ids}
    shown = [row for piece in read for row in piece.table if row["doc_id"] not in dropped]
    return StageReport(
        metrics={
            "n_documents": n_documents,
            **ledger.reconciled(n_documents),
            "n_chars": sum(piece.metrics["n_chars"] for piece in kept),
            "n_source_files": len(files),
            "n_source_bytes": n_bytes,
            "n_source_files_read": sum(piece.metrics["n_files_read"] for piece in built),
            "n_source_bytes_read": sum(piece.metrics["n_bytes_read"] for piece in built),
            "n_pieces": len(read),
            "n_malformed": ledger.count("malformed"),
            "n_forgotten": ledger.count("forgotten"),
            "n_empty": ledger.count("empty"),
            "n_other_language": ledger.count("language"),
            "n_exact_duplicates": ledger.count("exact_duplicate"),
            "n_near_duplicates": ledger.count("near_duplicate"),
        },
        rows={**rows, LEDGER_FILE: ledger.n_rows},
        table=shown[:N_SHOWN],
        markdown=_summary(files, n_documents, faults, ledger),
    )


@dataclass(frozen=True)
class _Twins:
    """The documents of a piece that repeat earlier ones: their numbers, names, and what they repeat."""

    rows: list[int]
    doc_ids: list[str]
    twins: list[Twin]


def _all_twins(config: CorpusConfig, read: Sequence[BuiltPiece]) -> list[_Twins]:
    if config.duplicates.drop == "none":
        return [_Twins([], [], []) for _ in read]
    duplicates = Duplicates(config.duplicates)
    return [_twins(duplicates, piece) for piece in read]


def _twins(duplicates: Duplicates, piece: BuiltPiece) -> _Twins:
    found = _Twins([], [], [])
    folder = piece.open(IDS_FILE, DIGESTS_FILE, SIGNATURES_FILE)
    ids, digests, signatures = (np.load(folder / name) for name in (IDS_FILE, DIGESTS_FILE, SIGNATURES_FILE))
    for start in range(0, len(ids), _BATCH_ROWS):
        batch = slice(start, start + _BATCH_ROWS)
        names = [row.tobytes().hex() for row in ids[batch]]
        judged = np.ones(len(names), np.bool_)
        twins = duplicates.find(names, Fingerprints(digests[batch], signatures[batch]), judged)
        for row, (name, twin) in enumerate(zip(names, twins, strict=True), start):
            if twin is not None:
                found.rows.append(row)
                found.doc_ids.append(name)
                found.twins.append(twin)
    return found


def _enter(ledger: Ledger, piece: BuiltPiece, found: _Twins, faults: list[str]) -> None:
    """Enter what a piece left out, and its twins, in the order of the source."""
    folder = piece.open(LEDGER_FILE, SOURCES_FILE)
    rows = read_table(folder / LEDGER_FILE)
    is_malformed = pl.Series(rows["rule"], dtype=pl.String) == "malformed"
    faults += rows["detail"].filter(is_malformed.to_arrow()).slice(0, _N_FILES_SHOWN - len(faults)).to_pylist()
    if not found.rows:
        ledger.take_over(rows.select(LEDGER_SCHEMA.names))
        return
    sources = read_table(folder / SOURCES_FILE)
    uris, ends = sources["source_uri"].to_pylist(), np.cumsum(numbers_of(sources["n_kept"].combine_chunks()))
    left_out = rows.to_pylist()
    position = 0
    for row, doc_id, twin in zip(found.rows, found.doc_ids, found.twins, strict=True):
        while position < len(left_out) and left_out[position][N_BEFORE] <= row:
            _again(ledger, left_out[position])
            position += 1
        rule, detail = _told(twin)
        uri = uris[int(np.searchsorted(ends, row, side="right"))]
        ledger.leave_out(rule, uri, doc_id, twin=twin.doc_id, detail=detail)
    for each in left_out[position:]:
        _again(ledger, each)


def _again(ledger: Ledger, row: dict[str, str]) -> None:
    rule: Rule = row["rule"]  # type: ignore[assignment]
    ledger.leave_out(rule, row["source_uri"], row["doc_id"], twin=row["twin"], detail=row["detail"])


def _told(twin: Twin) -> tuple[Rule, str]:
    if twin.similarity is None:
        return "exact_duplicate", "the same text"
    return "near_duplicate", f"about {twin.similarity:.2f} of the shingles of both are the same"


def _without_twins(pieces: Pieces, read: Sequence[BuiltPiece], twins: Sequence[_Twins]) -> list[BuiltPiece]:
    kept = list(read)
    affected = [number for number, found in enumerate(twins) if found.rows]
    thinned = pieces.build(
        "thin",
        thin_piece,
        [_thinning(read[number], np.array(twins[number].rows, np.int64)) for number in affected],
        description="leaving out duplicates",
    )
    for number, piece in zip(affected, thinned, strict=True):
        kept[number] = piece
    return kept


def _thinning(piece: BuiltPiece, rows: npt.NDArray[np.int64]) -> Piece:
    return Piece(
        config={"rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()},
        argument=Thinning(piece.open() if piece.ref is None else None, rows),
        inputs={} if piece.ref is None else {"read": piece.ref},
        n_bytes=int(piece.metrics["n_chars"]),
    )


def thin_piece(thinning: Thinning, io: StageIO) -> StageReport:
    """Write a piece's shards again, row group by row group, without some of its documents."""
    folder = io.inputs["read"] if thinning.folder is None else thinning.folder
    rows: dict[str, int] = {}
    n_chars = start = 0
    for path in shard_paths(folder):
        writer, name = None, shard_name(len(rows))
        for group in _row_groups(path):
            left_out = thinning.rows[(thinning.rows >= start) & (thinning.rows < start + len(group))] - start
            mask = np.ones(len(group), np.bool_)
            mask[left_out] = False
            start += len(group)
            io.advance(pc.sum(group["n_chars"]).as_py() or 0)
            group = group.filter(mask_column(mask))
            if not len(group):
                continue
            if writer is None:
                writer, rows[name] = open_shard(io.output / name), 0
            writer.write_table(group.combine_chunks(), row_group_size=len(group))
            rows[name] += len(group)
            n_chars += pc.sum(group["n_chars"]).as_py()
        if writer is not None:
            writer.close()
    return StageReport(metrics={"n_documents": sum(rows.values()), "n_chars": n_chars}, rows=rows)


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as shard:
        for group in range(shard.num_row_groups):
            yield shard.read_row_group(group, use_threads=False)


def _nothing_left(config: CorpusConfig, files: Sequence[SourceFile], n_bytes: int, ledger: Ledger) -> SourceError:
    n_other, n_forgotten = ledger.count("language"), ledger.count("forgotten")
    other = f", {n_other} in other languages than {', '.join(config.languages)}" if n_other else ""
    forgotten = f", {n_forgotten} to be forgotten" if n_forgotten else ""
    return SourceError(
        f"the corpus is empty: {len(files)} source file(s) with {n_bytes} bytes hold no document "
        f"({ledger.count('empty')} empty after cleaning, {ledger.count('malformed')} malformed{other}{forgotten}); "
        f"the first is {files[0].uri}",
        todo=f"check corpus.sources, corpus.text_column and corpus.{'languages' if other else 'cleaning'}",
    )


def _summary(files: Sequence[SourceFile], n_documents: int, faults: Sequence[str], ledger: Ledger) -> str:
    sources = "\n".join(f"- `{file.uri}` ({file.n_bytes:,} bytes)" for file in files[:_N_FILES_SHOWN])
    more = f"\n- and {len(files) - _N_FILES_SHOWN:,} more" if len(files) > _N_FILES_SHOWN else ""
    n_exact, n_near = ledger.count("exact_duplicate"), ledger.count("near_duplicate")
    left_out = (
        f"\n{n_exact:,} documents left out that repeat an earlier one word by word, and {n_near:,} nearly; "
        f"`{LEDGER_FILE}` names the twin of each.\n"
        if n_exact + n_near
        else ""
    )
    n_other, n_forgotten = ledger.count("language"), ledger.count("forgotten")
    if n_other:
        left_out += f"\n{n_other:,} documents left out that are in other languages than `corpus.languages` names.\n"
    if n_forgotten:
        left_out += f"\n{n_forgotten:,} documents left out that are to be forgotten.\n"
    found = "".join(f"\n- {each}" for each in faults)
    return f"{n_documents:,} documents from {len(files):,} source files:\n\n{sources}{more}\n{left_out}" + (
        f"\n{ledger.count('malformed'):,} malformed records left out, the first being:\n{found}\n" if faults else ""
    )
