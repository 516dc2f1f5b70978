"""The ledger of ingest: what is read is kept, dropped or quarantined, and every row that is left out says why."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.ingest import ingest
from vecmill.corpus.ledger import LEDGER_SCHEMA, Ledger
from vecmill.errors import SourceError, StoreError
from vecmill.store.stage import StageIO

_RECORDS = st.one_of(
    st.sampled_from(["one text", "another text", "a third text, of more words than the others have"]),
    st.sampled_from(["", "  ", "<p></p>"]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.none(),
)


@settings(max_examples=60, deadline=None)
@given(files=st.lists(st.lists(_RECORDS, max_size=12), min_size=1, max_size=3))
def test_the_ledger_reconciles_and_names_every_document_once(files):
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "out").mkdir()
        for number, records in enumerate(files):
            # A record of none stands for a line that is no JSON.
            lines = ["oops" if text is None else json.dumps({"text": text}) for text in records]
            (folder / f"{number}.jsonl").write_text("".join(f"{line}\n" for line in lines))
        config = CorpusConfig(sources=(f"{folder}/*.jsonl",), malformed="skip")
        try:
            metrics = ingest(config, StageIO({}, folder / "out")).metrics
        except SourceError as refusal:
            assert "the corpus is empty" in str(refusal)
            return
        n_records = sum(map(len, files))
        n_malformed = sum(text is None for records in files for text in records)
        assert metrics["n_read"] == n_records
        assert metrics["n_quarantined"] == n_malformed
        assert metrics["n_read"] == metrics["n_kept"] + metrics["n_dropped"] + metrics["n_quarantined"]
        left_out = pq.read_table(folder / "out/dropped.parquet")
        kept = [name for batch in iter_documents(folder / "out") for name in batch["doc_id"].to_pylist()]
        names = kept + [name for name in left_out["doc_id"].to_pylist() if name is not None]
        assert left_out.schema.equals(LEDGER_SCHEMA)
        assert (len(kept), left_out.num_rows) == (metrics["n_kept"], n_records - metrics["n_kept"])
        assert len(set(names)) == len(names) == n_records - n_malformed


def test_rows_say_rule_step_and_what_was_found(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "kept"}\noops\n{"text": " "}\n')
    (tmp_path / "out").mkdir()
    config = CorpusConfig(sources=(f"{tmp_path}/a.jsonl",), malformed="skip")
    report = ingest(config, StageIO({}, tmp_path / "out"))
    first, second = pq.read_table(tmp_path / "out/dropped.parquet").to_pylist()
    assert first.pop("detail").endswith("a.jsonl, line 2: not JSON: Expecting value at column 1")
    uri = f"{tmp_path}/a.jsonl"
    assert first == {"doc_id": None, "source_uri": uri, "rule": "malformed", "step": "read", "twin": None}
    assert re.fullmatch("[0-9a-f]{32}", second.pop("doc_id"))
    assert second == {"source_uri": uri, "rule": "empty", "step": "clean", "twin": None, "detail": ""}
    assert report.rows["dropped.parquet"] == 2


def test_more_rows_than_memory_holds(tmp_path):
    with Ledger(tmp_path) as ledger:
        for number in range(20_000):
            ledger.n_read += 1
            ledger.leave_out("empty", "uri", f"{number}")
    ids = pq.read_table(tmp_path / "dropped.parquet")["doc_id"].to_pylist()
    assert ids == [f"{number}" for number in range(20_000)]
    assert ledger.reconciled(0) == {"n_read": 20_000, "n_kept": 0, "n_dropped": 20_000, "n_quarantined": 0}


def test_a_ledger_that_does_not_add_up_is_refused(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.n_read = 3
        ledger.leave_out("empty", "uri", "id")
    with pytest.raises(StoreError) as refusal:
        ledger.reconciled(1)
    assert "3 records read, but 1 kept, 1 dropped and 0 quarantined" in str(refusal.value)
    assert "read = kept + dropped + quarantined" in str(refusal.value)
