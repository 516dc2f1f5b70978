"""The byte scan: a planted text is found however it is written and packed, and nowhere else."""

from __future__ import annotations

import bz2
import gzip
import html
import json
import lzma
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.store.byte_scan import ByteScan, spellings

TOKEN = "Zqüx & Söhne"
AROUND = f"something {TOKEN} after"


def _parquet(path: Path) -> None:
    # A dictionary and statistics apart, the text lies in compressed pages.
    table = pa.table({"text": pa.array([*["filler " * 40] * 2000, AROUND]), "n": list(range(2001))})
    pq.write_table(table, path, compression="zstd", write_statistics=False, use_dictionary=False)


def _dictionary_parquet(path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array(["a", AROUND] * 50).dictionary_encode()}), path, compression="gzip")


def _arrow(path: Path) -> None:
    table = pa.table({"list": pa.array([["x" * 1000], [AROUND, "y"]])})
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer,
    ):
        writer.write_table(table)


def _arrow_stream(path: Path) -> None:
    table = pa.table({"text": ["x" * 1000, AROUND]})
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer,
    ):
        writer.write_table(table)


def _zst(path: Path) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(AROUND.encode())


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.gz", gzip.compress(AROUND.encode()))


def _npy(path: Path) -> None:
    np.save(path, np.array(["word", TOKEN]))
    Path(f"{path}.npy").rename(path)


def _sqlite(path: Path) -> None:
    # Long enough to be cut into overflow pages.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a TEXT, b BLOB)")
        connection.execute("INSERT INTO t VALUES (?, ?)", ("x" * 4050 + AROUND + "y" * 9000, b"blob"))
        connection.commit()


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text(AROUND, encoding="utf-8"),
    "json": lambda path: path.write_text(json.dumps({"a": AROUND})),
    "html": lambda path: path.write_text(html.escape(AROUND)),
    "lowered": lambda path: path.write_text(AROUND.lower()),
    "utf-16": lambda path: path.write_text(AROUND, encoding="utf-16"),
    "across blocks": lambda path: path.write_bytes(b"x" * ((1 << 20) - 5) + AROUND.encode()),
    "gz": lambda path: path.write_bytes(gzip.compress(AROUND.encode())),
    "gz in gz": lambda path: path.write_bytes(gzip.compress(gzip.compress(AROUND.encode()))),
    "bz2": lambda path: path.write_bytes(bz2.compress(AROUND.encode())),
    "xz": lambda path: path.write_bytes(lzma.compress(AROUND.encode())),
    "zst": _zst,
    "zip": _zip,
    "npy": _npy,
    "parquet": _parquet,
    "dictionary": _dictionary_parquet,
    "arrow file": _arrow,
    "arrow stream": _arrow_stream,
    "sqlite": _sqlite,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_planted_text_is_found_however_it_is_packed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "deep" / ".hidden" / "file"
    path.parent.mkdir(parents=True)
    WRITERS[kind](path)
    scan = ByteScan(["absent", TOKEN])
    scan.folder(tmp_path)
    assert (scan.found.n_files, scan.found.n_bytes) == (1, path.stat().st_size)
    assert {hit.text_number for hit in scan.found.hits} == {1}
    assert all(hit.place.startswith(str(path)) for hit in scan.found.hits)
    assert scan.found.unread == []


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    for number, write in enumerate(WRITERS.values()):
        write(tmp_path / f"{number}")
    scan = ByteScan(["another text"])
    scan.folder(tmp_path)
    assert scan.found.n_files == len(WRITERS)
    assert scan.found.hits == []


def test_what_cannot_be_unpacked_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(AROUND.encode() * 50)[:-20])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no table " + AROUND.encode())
    scan = ByteScan([TOKEN])
    scan.folder(tmp_path)
    assert scan.found.unread == [str(tmp_path / "a.gz"), str(tmp_path / "b.parquet")]
    assert str(tmp_path / "b.parquet") in {hit.place for hit in scan.found.hits}


def test_files_may_be_passed_over(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(TOKEN)
    scan = ByteScan([TOKEN])
    scan.folder(tmp_path, lambda path: path.name == "a")
    assert [Path(hit.place).name for hit in scan.found.hits] == ["b"]


def test_nothing_to_look_for_is_refused() -> None:
    with pytest.raises(ValueError, match="an empty text"):
        spellings(" ")
