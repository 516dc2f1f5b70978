"""Reading a corpus back: order, quarantine, columns, and bounded batches."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.corpus.documents import iter_documents
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.errors import StoreError


def _corpus(folder: Path, shards: list[int], rows_a_group: int = 3) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    ids = []
    for number, n_rows in enumerate(shards):
        names = [f"{number}-{row}" for row in range(n_rows)]
        ids += names
        texts = [f"text of {name}" for name in names]
        columns = [names, ["u"] * n_rows, [""] * n_rows, texts, [len(text) for text in texts], [None] * n_rows]
        pq.write_table(
            pa.table(columns, schema=CORPUS_SCHEMA), folder / f"part-{number:05d}.parquet", row_group_size=rows_a_group
        )
    return ids


def _quarantine(path: Path, ids: list[str]) -> Path:
    pq.write_table(pa.table({"doc_id": pa.array(ids, pa.string()), "rule": ["r"] * len(ids)}), path)
    return path


@settings(max_examples=30, deadline=None)
@given(shards=st.lists(st.integers(0, 8), min_size=1, max_size=3), data=st.data())
def test_leaves_out_exactly_what_is_quarantined_and_keeps_the_order(tmp_path_factory, shards, data):
    folder = tmp_path_factory.mktemp("corpus")
    ids = _corpus(folder, shards)
    out = data.draw(st.lists(st.sampled_from([*ids, "elsewhere"]), max_size=12))
    quarantine = _quarantine(folder / "quarantine.parquet", out)
    kept = [name for name in ids if name not in out]
    batches = list(iter_documents(folder, quarantine))
    assert all(batch.num_rows for batch in batches)
    assert [name for batch in batches for name in batch["doc_id"].to_pylist()] == kept
    assert [text for batch in batches for text in batch["text"].to_pylist()] == [f"text of {name}" for name in kept]


def test_columns_come_in_the_order_asked_for(tmp_path):
    _corpus(tmp_path / "c", [2])
    quarantine = _quarantine(tmp_path / "q.parquet", ["0-0"])
    (batch,) = iter_documents(tmp_path / "c", quarantine, columns=("n_chars", "text"))
    assert batch.to_pydict() == {"n_chars": [11], "text": ["text of 0-1"]}
    (batch,) = iter_documents(tmp_path / "c", columns=("text", "doc_id"))
    assert batch.schema.names == ["text", "doc_id"]


def test_a_batch_is_no_more_than_a_row_group(tmp_path):
    _corpus(tmp_path, [10, 4], rows_a_group=4)
    assert [batch.num_rows for batch in iter_documents(tmp_path)] == [4, 4, 2, 4]


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no corpus shards in .*Expected: part-00000\.parquet"):
        next(iter_documents(tmp_path))
