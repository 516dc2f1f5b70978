"""Batches of records: the names of documents against their definition, and tables that hold what is no document."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.corpus import batch as batch_module
from vecmill.corpus import shards
from vecmill.corpus.batch import Batch, document_ids, read_batches, uris_of
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.ingest import ingest
from vecmill.corpus.ledger import LEDGER_FILE
from vecmill.corpus.listing import SourceFile, list_sources
from vecmill.corpus.record import Document
from vecmill.errors import SourceError
from vecmill.store.stage import StageIO

# Of two bytes a character, and longer than what is hashed without letting go of the interpreter's lock.
_LONG = "Ünï" * 1000
_TEXTS = st.lists(st.one_of(st.text(max_size=8), st.just(_LONG)), max_size=8)


def by_definition(file: SourceFile, place: str, text: str) -> str:
    """sha256 over name, place and text, each behind its length in eight bytes, of which 16 bytes stay."""
    digest = hashlib.sha256()
    sizes = [len(part.encode()).to_bytes(8, "big") for part in (file.name, place, text)]
    for part in (sizes[0], file.name.encode(), sizes[1], place.encode(), sizes[2], text.encode()):
        digest.update(part)
    return digest.hexdigest()[:32]


def source(name: str) -> SourceFile:
    return SourceFile(f"/in/{name}", 1, "", name, f"/in/{name}")


@settings(deadline=None)
@given(_TEXTS, st.data())
def test_ids_and_uris_of_a_batch(texts: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(texts)))
    files = [(source("é.txt"), cut), (source("b"), len(texts) - cut)]
    places = data.draw(st.lists(st.text(max_size=5), min_size=len(texts), max_size=len(texts)))
    of_rows = [file for file, n in files for _ in range(n)]
    expected = list(map(by_definition, of_rows, places, texts))
    # A column may be part of a longer one.
    whole = pl.Series(["before", *texts, "behind"], dtype=pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())
    for column in (whole.slice(1, len(texts)), whole.cast(pa.string()).slice(1, len(texts))):
        batch = Batch(column, places, None, files)
        assert document_ids(batch, batch.text_column()).to_pylist() == expected
        assert uris_of(batch).to_pylist() == [file.uri for file in of_rows]
    batch = Batch(texts, places, None, files)
    assert document_ids(batch, batch.text_column()).to_pylist() == expected


def test_ids_tell_source_place_and_text_apart() -> None:
    file = source("a.txt")
    documents = [
        (file, Document("text", "line 1")),
        (file, Document("text", "line 2")),
        (file, Document("text.", "line 1")),
        (file, Document("text", "line 1", explicit_id="1")),
        (file, Document("text", "line 2", explicit_id="2")),
        (source("b.txt"), Document("text", "line 1")),
    ]
    ids = [_id(file, document) for file, document in documents]
    assert len(set(ids)) == 6
    assert _id(file, Document("text", "line 9", "title", "1")) == ids[3]
    assert all(len(doc_id) == 32 and int(doc_id, 16) >= 0 for doc_id in ids)


def _id(file: SourceFile, document: Document) -> str:
    batch = Batch([document.text], [document.place], None, [(file, 1)])
    return str(document_ids(batch, batch.text_column())[0].as_py())


def test_tables_and_lines_in_turns_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "BATCH_BYTES", 40)
    (tmp_path / "a.txt").write_text("one\ntwo")
    pq.write_table(pa.table({"text": [f"row {n:03d}" for n in range(300)]}), tmp_path / "b.parquet")
    (tmp_path / "c.txt").write_text("x" * 100)
    config = CorpusConfig(sources=(str(tmp_path),), txt_unit="line")
    noted: list[str] = []
    batches = list(read_batches(list_sources(config), config, lambda n: None, lambda file: noted.append(file.name)))
    texts = [batch.text_column().to_pylist() for batch in batches]
    assert [text for of_batch in texts for text in of_batch] == [
        *("one", "two"),
        *(f"row {n:03d}" for n in range(300)),
        "x" * 100,
    ]
    assert [place for batch in batches for place in batch.places][1:4] == ["line 2", "row 0", "row 1"]
    assert noted == ["a.txt", "b.parquet", "c.txt"]
    # 2,100 bytes of the table in 53 parts as alike as rows allow.
    assert len(batches) == 55 and {len(of_batch) for of_batch in texts[1:-1]} == {5, 6}
    assert all(sum(n for _, n in batch.files) == len(batch) for batch in batches)


def test_rows_between_nulls_share_a_batch(tmp_path: Path) -> None:
    texts = [None if n % 5 == 3 else f"row {n}" for n in range(1000)]
    pq.write_table(pa.table({"text": texts, "title": texts, "id": range(1000)}), tmp_path / "a.parquet")
    settings: dict[str, Any] = {"sources": (str(tmp_path),), "title_column": "title", "id_column": "id"}
    config = CorpusConfig(malformed="skip", **settings)
    (batch,) = read_batches(list_sources(config), config, lambda n: None, lambda file: None)
    assert batch.text_column().to_pylist() == [text or "" for text in texts] == batch.titles
    assert list(batch.faults) == [row for row, text in enumerate(texts) if text is None]
    assert batch.places[:5] == ["id 0", "id 1", "id 2", "", "id 4"]


def _held(batches: list[pa.RecordBatch]) -> int:
    """Bytes of memory that cannot be given back as long as these are there."""
    buffers = [buffer for batch in batches for column in batch.columns for buffer in column.buffers() if buffer]
    return sum({buffer.address: buffer.size for buffer in buffers}.values())


@pytest.mark.parametrize("drop", ["none", "exact", "near"])
def test_documents_hold_nothing_of_those_left_out_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drop: str
) -> None:
    """Where few documents stay, those of a row group come from many batches."""
    held: list[tuple[int, int]] = []
    write = shards._write_group

    def watched(writer: pq.ParquetWriter, group: list[pa.RecordBatch]) -> None:
        held.append((_held(group), sum(batch.nbytes for batch in group)))
        write(writer, group)

    monkeypatch.setattr(shards, "_write_group", watched)
    monkeypatch.setattr(batch_module, "BATCH_BYTES", 20_000)
    # Cleaning leaves nothing of most.
    texts = [f"kept {n}" if n % 400 == 7 else "<" + "b" * 100 + ">" for n in range(4000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    config = CorpusConfig(sources=(str(tmp_path / "a.parquet"),), cleaning=("html",), duplicates={"drop": drop})
    report = ingest(config, StageIO({}, _folder(tmp_path / "out")))
    assert (report.metrics["n_documents"], report.metrics["n_empty"]) == (10, 3990)
    assert len(held) == 1 and held[0][0] < 2 * held[0][1] + 10_000


_STRINGS = [b"one", b"\xff", b"", None, "é".encode(), b"last"]


def _strings(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """A column that says it is UTF-8, whatever its bytes; Arrow writes and reads such."""
    letters = b"".join(value or b"" for value in values)
    ends = np.cumsum([0, *(len(value or b"") for value in values)]).astype(np.int32)
    valid = np.packbits([value is not None for value in values], bitorder="little")
    buffers = [pa.py_buffer(valid), pa.py_buffer(ends), pa.py_buffer(letters)]
    return pa.Array.from_buffers(pa.string(), len(values), buffers).cast(kind)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("faulty", ["text", "title", "id"])
def test_rows_that_are_no_documents(tmp_path: Path, faulty: str, kind: pa.DataType) -> None:
    columns: dict[str, Any] = {name: pa.array([f"{name} {n}" for n in range(6)]) for name in ("text", "title", "id")}
    pq.write_table(pa.table({**columns, faulty: _strings(_STRINGS, kind)}), tmp_path / "a.parquet")
    settings = {"sources": (str(tmp_path / "a.parquet"),), "title_column": "title", "id_column": "id"}
    with pytest.raises(SourceError, match=f"a.parquet, row 1: '{faulty}' is not UTF-8 .invalid start byte at byte 0"):
        ingest(CorpusConfig(**settings), StageIO({}, _folder(tmp_path / "refused")))
    report = ingest(CorpusConfig(malformed="skip", **settings), StageIO({}, _folder(tmp_path / "out")))
    ledger = [row["rule"] for row in pq.read_table(tmp_path / "out" / LEDGER_FILE).to_pylist()]
    kept = [row for found in iter_documents(tmp_path / "out", columns=("text", "title")) for row in found.to_pylist()]
    if faulty == "text":
        assert ledger == ["malformed", "empty", "malformed"]
        assert [row["text"] for row in kept] == ["one", "é", "last"]
    elif faulty == "title":
        assert ledger == ["malformed"]
        assert [row["title"] for row in kept] == ["one", "", "", "é", "last"]
    else:
        assert ledger == ["malformed", "malformed", "malformed"]
        assert [row["text"] for row in kept] == ["text 0", "text 4", "text 5"]
    assert report.metrics["n_read"] == 6 and "is not UTF-8" in report.markdown


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_a_row_that_is_too_large_stops_the_run(tmp_path: Path, kind: pa.DataType) -> None:
    largest = "é" * (1 << 19)
    settings = {"sources": (str(tmp_path / "a.parquet"),), "malformed": "skip", "max_document_mib": 1}
    pq.write_table(pa.table({"text": pa.array(["one", largest], kind)}), tmp_path / "a.parquet")
    report = ingest(CorpusConfig(**settings), StageIO({}, _folder(tmp_path / "out")))
    assert report.metrics["n_documents"] == 2
    pq.write_table(pa.table({"text": pa.array(["one", None, largest + "e"], kind)}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"a.parquet, row 2: a document is larger than 1 MiB.*corpus.max_document"):
        ingest(CorpusConfig(**settings), StageIO({}, _folder(tmp_path / "refused")))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
