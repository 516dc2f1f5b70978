"""The corpus as shares for the pieces of later stages: one a shard, named so that tomorrow's corpus has the same ones.

A shard that is a file of a piece of ingest is read as that, for its name in the corpus may be another one tomorrow.
What is made from a share has the piece of ingest among its inputs, so that forgetting a document removes it as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.corpus.documents import listed_ids, read_row_groups, shard_paths
from vecmill.store.manifest import ArtifactRef
from vecmill.store.stage import StageIO

_INPUT = "read"


@dataclass(frozen=True)
class ShardShare:
    """Some shards that a piece reads; may be pickled.

    Attributes
    ----------
    names : of the files, where they are read
    folder : of the corpus where there is no store, else they are files of an input of the piece
    inputs : the inputs of the piece
    n_bytes : size of the files
    quarantined : ids of their documents in quarantine, sorted
    """

    names: tuple[str, ...]
    folder: Path | None
    inputs: Mapping[str, ArtifactRef] = field(default_factory=dict)
    n_bytes: int = 0
    quarantined: tuple[str, ...] = ()

    def paths(self, io: StageIO) -> list[Path]:
        """The files, given the ``io`` of the piece that reads them."""
        folder = io.small_files(_INPUT, *self.names) if self.folder is None else self.folder
        return [folder / name for name in self.names]

    @property
    def quarantine_digest(self) -> str:
        """For the key of a piece that leaves out what is in quarantine."""
        return hashlib.sha256(json.dumps(self.quarantined).encode()).hexdigest()


def shard_shares(io: StageIO) -> list[ShardShare]:
    """Shares of the corpus in its order, of whatever is in quarantine: one a shard; one in all where nothing is kept.

    Raises
    ------
    StoreError : the ingest artifact holds no shard
    """
    return [share for share, _ in _shares(io)]


def shares_let_through(io: StageIO) -> list[ShardShare]:
    """The same, with what the contract put into quarantine; of shards only ``doc_id`` is read, and only where there is
    something in quarantine; of a remote store no other column travels."""
    quarantine = listed_ids(io.small_files("contract", "quarantine.parquet") / "quarantine.parquet")
    if quarantine is None:
        return shard_shares(io)
    return [
        ShardShare(share.names, share.folder, share.inputs, share.n_bytes, _quarantined(io, names, quarantine))
        for share, names in _shares(io)
    ]


def names_let_through(io: StageIO, first: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The ``doc_id`` of what the contract let through, row group by row group from one on, with its number; of a remote
    store no other column travels. Where ``io`` tells what the corpus consists of."""
    quarantine = listed_ids(io.small_files("contract", "quarantine.parquet") / "quarantine.parquet")
    shards = (io.opened("ingest", name) for _, names in _shares(io) for name in names)
    yield from read_row_groups(shards, quarantine, ("doc_id",), first)


def _shares(io: StageIO) -> list[tuple[ShardShare, Sequence[str]]]:
    """Each share, and the names of its files in the corpus."""
    if io.pieces is None or "ingest" not in io.lineage:
        paths = shard_paths(io.inputs["ingest"])
        names = tuple(path.name for path in paths)
        return [(ShardShare(names, io.inputs["ingest"], n_bytes=sum(path.stat().st_size for path in paths)), names)]
    corpus = io.lineage["ingest"]
    found: list[tuple[ShardShare, Sequence[str]]] = []
    for file in sorted(corpus["files"], key=lambda file: str(file["path"])):
        name = file["path"]
        if not name.startswith("part-"):
            continue
        # Of a manifest that names no pieces the corpus itself is read.
        link = corpus.get("links", {}).get(name) or {**corpus, "name": name}
        inputs = {_INPUT: ArtifactRef(link["stage"], link["key"], link["digest"])}
        found.append((ShardShare((link["name"],), None, inputs, file["bytes"]), (name,)))
    if not found:
        shard_paths(io.inputs["ingest"])
    return found


def _quarantined(io: StageIO, names: Sequence[str], quarantine: pa.Array) -> tuple[str, ...]:
    ids: set[str] = set()
    for name in names:
        with io.opened("ingest", name) as shard, pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(columns=["doc_id"], use_threads=False):
                column = batch.column("doc_id")
                ids.update(column.filter(pc.is_in(column, value_set=quarantine)).to_pylist())
    return tuple(sorted(ids))
