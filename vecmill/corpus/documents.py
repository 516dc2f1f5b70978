"""Reading an ingested corpus back, document by document, without what the contract put into quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.errors import StoreError


def shard_paths(corpus_dir: Path) -> list[Path]:
    """The Parquet shards of an ingest artifact in their order.

    Raises
    ------
    StoreError : the folder holds no shard
    """
    paths = sorted(corpus_dir.glob("part-*.parquet"))
    if not paths:
        raise StoreError(
            f"no corpus shards in {corpus_dir}",
            expected="part-00000.parquet and so on, as the ingest stage writes them",
            todo="run the pipeline again with --refresh ingest",
        )
    return paths


def iter_documents(
    corpus_dir: Path,
    quarantine: Path | None = None,
    columns: Sequence[str] = ("doc_id", "text"),
) -> Iterator[pa.RecordBatch]:
    """Stream the documents of a corpus in the order in which ingest wrote them.

    Parameters and errors are those of :func:`iter_row_groups`.
    """
    for _, batch in iter_row_groups(corpus_dir, quarantine, columns):
        yield batch


def iter_row_groups(
    corpus_dir: Path,
    quarantine: Path | None = None,
    columns: Sequence[str] = ("doc_id", "text"),
    first: int = 0,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Stream documents as :func:`iter_documents` does, each batch with the number of its row group in the corpus.

    One batch comes from one row group, which holds a few MiB of text (or a single larger document), so memory stays
    bounded whatever the size of the corpus. Batches are never empty.

    Parameters
    ----------
    corpus_dir : folder of an ingest artifact
    quarantine : ``quarantine.parquet`` of the contract artifact; documents whose ``doc_id`` it lists are left out.
        The listed ids are held in memory (32 bytes each).
    columns : columns of :data:`vecmill.corpus.schema.CORPUS_SCHEMA` to read, in the order wanted
    first : row groups before this one are passed over unread

    Raises
    ------
    StoreError : the folder holds no shard
    """
    left_out = None if quarantine is None else listed_ids(quarantine)
    yield from read_row_groups(shard_paths(corpus_dir), left_out, columns, first)


def read_row_groups(
    shards: Iterable[Path | AbstractContextManager[BinaryIO]],
    left_out: pa.Array | None,
    columns: Sequence[str] = ("doc_id", "text"),
    first: int = 0,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Stream the documents of some shards as :func:`iter_row_groups` does.

    Parameters
    ----------
    shards : files, or what opens them (:meth:`vecmill.store.stage.StageIO.opened`)
    left_out : string[n], ids of documents that are left out; None for none
    """
    wanted = list(columns)
    to_read = wanted if left_out is None or "doc_id" in wanted else [*wanted, "doc_id"]
    number = -1
    for source in shards:
        with ExitStack() as opened:
            file = source if isinstance(source, Path) else opened.enter_context(source)
            shard = opened.enter_context(pq.ParquetFile(file))
            for group in range(shard.num_row_groups):
                number += 1
                if number < first:
                    continue
                table = shard.read_row_group(group, columns=to_read, use_threads=False)
                if left_out is not None:
                    table = table.filter(pc.invert(pc.is_in(table["doc_id"], value_set=left_out)))
                for batch in table.select(wanted).combine_chunks().to_batches():
                    yield number, batch


def listed_ids(quarantine: Path) -> pa.Array | None:
    """The distinct ids in quarantine, None where there are none."""
    # Not pq.read_table, which loads Arrow's datasets and with them pandas.
    with pq.ParquetFile(quarantine) as file:
        ids = file.read(columns=["doc_id"], use_threads=False)["doc_id"].combine_chunks()
    return pc.unique(ids).cast(pa.string()) if len(ids) else None
