"""Batches of documents: cut without cutting a document, worked on in threads, handed on in order."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_vocabulary import stage_io

from vecmill.vocabulary.token_batches import cut_batch, map_documents


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 60))
def test_slices_are_bounded_and_make_up_the_batch(n_bytes: list[int], max_bytes: int) -> None:
    batch = pa.record_batch(
        {"doc_id": pa.array(map(str, range(len(n_bytes)))), "text": pa.array(["x" * n for n in n_bytes], pa.string())}
    )
    slices = list(cut_batch(batch, max_bytes))
    assert [doc_id for part in slices for doc_id in part["doc_id"].to_pylist()] == batch["doc_id"].to_pylist()
    for part in slices:
        assert part.num_rows == 1 or sum(map(len, part["text"].to_pylist())) <= max_bytes


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_corpus_order(tmp_path: Path, threads: int) -> None:
    documents = [(f"doc-{number:02d}", str(number)) for number in range(40)]
    io = stage_io(tmp_path, [documents[:13], documents[13:]], quarantined=["doc-05", "doc-30"], group=3)
    found = list(
        map_documents(
            lambda batch: batch["text"].to_pylist(),
            io.inputs["ingest"],
            io.inputs["contract"] / "quarantine.parquet",
            threads,
        )
    )
    assert [text for _, texts in found for text in texts] == [
        str(number) for number in range(40) if number not in (5, 30)
    ]
    assert all(batch["text"].to_pylist() == texts for batch, texts in found)


def test_an_error_in_a_thread_comes_out(tmp_path: Path) -> None:
    io = stage_io(tmp_path, [[(f"doc-{number}", "x") for number in range(20)]], group=1)

    def fail(batch: pa.RecordBatch) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        list(map_documents(fail, io.inputs["ingest"], io.inputs["contract"] / "quarantine.parquet", 2))
