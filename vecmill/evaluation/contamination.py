"""Whether the corpus holds the very benchmarks that its models are judged by.

A model that has read the answers is not better than one that has not. What is looked for are rows of the benchmarks'
files (:mod:`vecmill.evaluation.benchmark_rows`). Two words of a pair in ordinary sentences are no row. Case is folded.
Analogy questions are not looked for: they do not decide between models.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vecmill.corpus.shard_shares import shares_let_through
from vecmill.evaluation.benchmark_rows import KINDS, Kind, Row
from vecmill.evaluation.benchmarks import benchmark_files, load_benchmark
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.contamination_piece import KIND, flagged, look_piece, looking_piece
from vecmill.store.loose_pieces import pieces_of
from vecmill.store.stage import StageIO, StageReport

CONTAMINATION_NAME = "contamination.json"
ROWS_NAME = "contamination.parquet"

_ROWS_PER_WRITE = 1000
_N_DOCUMENTS_SHOWN = 5


def find_contamination(config: EvaluationConfig, io: StageIO) -> StageReport:
    """Look for the configured benchmarks in the documents that the contract let through.

    Reads ``ingest`` and ``contract`` and the benchmarks' files. Writes

    - ``contamination.json``: one object a benchmark: ``benchmark``, ``title``, ``n_pairs``, ``n_found`` (pairs of
      which at least one row was found), ``n_rows``, ``exact``, ``shuffled``, ``near`` (rows of each kind),
      ``documents`` (the first few that hold one)
    - ``contamination.parquet``: each row found: ``benchmark`` (string), ``item`` (int32, line of the benchmark's table
      from 0), ``kind`` (string), ``doc_id``, ``source_uri`` (string), ``line`` (int32, of the document from 1),
      ``excerpt`` (string, at most 200 characters)

    Each shard is looked at by itself, as a piece that later runs take over; the files are the same bytes whatever was
    taken over. ``n_text_bytes_read``, a metric, is the UTF-8 of the texts that were read.

    Raises
    ------
    ConfigError, FormatError : a benchmark's file is missing, or not one
    StoreError : the ingest artifact holds no shard
    """
    benchmark_files(config)
    benchmarks = tuple(load_benchmark(entry) for entry in config.benchmarks)
    counts = [Counter[Kind]() for _ in benchmarks]
    items: list[set[int]] = [set() for _ in benchmarks]
    documents: list[dict[str, None]] = [{} for _ in benchmarks]
    with pieces_of(io) as pieces:
        wanted = [looking_piece(share, benchmarks, config.contamination_rows) for share in shares_let_through(io)]
        looked = pieces.build(KIND, look_piece, wanted, description="looking for the benchmarks in the corpus")
        rows = flagged(looked, len(benchmarks), config.contamination_rows)

        def counted() -> Iterator[Row]:
            for row in rows:
                counts[row.benchmark][row.kind] += 1
                items[row.benchmark].add(row.item)
                if len(documents[row.benchmark]) < _N_DOCUMENTS_SHOWN:
                    documents[row.benchmark][row.doc_id] = None
                yield row

        n_rows = _write_rows(io.output / ROWS_NAME, counted(), [each.name for each in benchmarks])
    found = [
        {
            "benchmark": each.name,
            "title": each.title,
            "n_pairs": len(each),
            "n_found": len(items[number]),
            "n_rows": counts[number].total(),
            **{kind: counts[number][kind] for kind in KINDS},
            "documents": list(documents[number]),
        }
        for number, each in enumerate(benchmarks)
    ]
    (io.output / CONTAMINATION_NAME).write_text(
        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return StageReport(
        metrics={
            "n_rows": n_rows,
            "n_contaminated": sum(each["n_found"] > 0 for each in found),
            **{f"{each['benchmark']}_found": each["n_found"] for each in found if each["n_found"]},
            "said": said(found),
            "n_text_bytes_read": sum(piece.metrics["n_text_bytes"] for piece in looked if not piece.taken_over),
        },
        rows={ROWS_NAME: n_rows},
        table=[{key: value for key, value in each.items() if key != "documents"} for each in found],
        markdown=_markdown(found),
    )


def said(found: Iterable[dict[str, Any]]) -> str:
    """In a few words, which benchmarks were found, given ``contamination.json``; empty if none was.

    >>> said([{"title": "MEN", "n_found": 3, "n_pairs": 3000}, {"title": "SCWS", "n_found": 0, "n_pairs": 2003}])
    '3 of 3,000 pairs of MEN'
    """
    return ", ".join(
        f"{each['n_found']:,} of {each['n_pairs']:,} pairs of {each['title']}" for each in found if each["n_found"]
    )


def _write_rows(path: Path, rows: Iterable[Row], names: Sequence[str]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"benchmark": pa.string(), "item": pa.int32(), "kind": pa.string(), "doc_id": pa.string()}
    kinds |= {"source_uri": pa.string(), "line": pa.int32(), "excerpt": pa.string()}
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])
    n_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            batch.clear()

        for row in rows:
            batch.append({**row.__dict__, "benchmark": names[row.benchmark]})
            n_rows += 1
            if len(batch) == _ROWS_PER_WRITE:
                flush()
        flush()
    return n_rows


def _markdown(found: Sequence[dict[str, Any]]) -> str:
    if not any(each["n_found"] for each in found):
        return "No row of a benchmark stands in the corpus."
    where = "; ".join(f"{each['title']}: {', '.join(each['documents'])}" for each in found if each["n_found"])
    return (
        f"The corpus holds {said(found)}. A model that was trained on it has read answers that it is judged by. "
        f"`{ROWS_NAME}` lists each row. First documents: {where}."
    )
