"""Documents in runs of any length make the same shards as one at a time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.corpus import shards
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.corpus.shards import ShardWriter

texts = st.lists(st.text("aé中", min_size=1, max_size=30), min_size=1, max_size=25)


def columns(of: list[str], first: int) -> pa.RecordBatch:
    names = [f"{number:032x}" for number in range(first, first + len(of))]
    n_chars = [len(text) for text in of]
    made = [names, ["u"] * len(of), [text[:2] for text in of], of, n_chars, [None] * len(of)]
    return pa.RecordBatch.from_pydict(dict(zip(CORPUS_SCHEMA.names, made, strict=True)), schema=CORPUS_SCHEMA)


def write(folder: Path, runs: list[list[str]], shard_bytes: int) -> dict[str, int]:
    with ShardWriter(folder, shard_bytes) as writer:
        for run in runs:
            writer.write(columns(run, writer.n_documents))
    assert writer.n_documents == sum(writer.rows.values()) == sum(len(run) for run in runs)
    assert writer.n_chars == sum(len(text) for run in runs for text in run)
    return writer.rows


@settings(deadline=None, max_examples=40)
@given(texts, st.lists(st.integers(0, 25), max_size=4), st.integers(20, 200))
def test_runs_make_the_same_bytes(found: list[str], cuts: list[int], shard_bytes: int) -> None:
    edges = [0, *sorted(min(cut, len(found)) for cut in cuts), len(found)]
    runs = [found[start:stop] for start, stop in pairwise(edges)]
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROW_GROUP_ROWS", 6)
        folders = [Path(name) / "single", Path(name) / "runs"]
        for folder, parts in zip(folders, ([[text] for text in found], runs), strict=True):
            folder.mkdir()
            write(folder, parts, shard_bytes)
        single, together = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
        assert single == together


def test_a_group_ends_before_it_is_too_large_or_when_it_has_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROW_GROUP_ROWS", 3)
    # With their titles the texts have 8, 8, 22, 2, 4, 2 and 2 bytes, of which a group has room for 16.
    write(tmp_path, [["a" * 6, "a" * 6, "a" * 20, "a", "é", "a"], ["a"]], 16)
    groups = []
    for path in sorted(tmp_path.glob("part-*.parquet")):
        metadata = pq.read_metadata(path)
        groups += [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [2, 1, 3, 1]
