"""Archives: what folders give, without a file written; and archives made to escape, to unfold or to look whole."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reference.source_documents import documents_of
from vecmill.corpus import archives
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.ingest import ingest
from vecmill.corpus.listing import list_sources
from vecmill.errors import SourceError
from vecmill.store.stage import StageIO


def _read(path: object, on_malformed=None, **settings: object) -> list[tuple[str, str]]:
    def stop(error: SourceError) -> None:
        raise error

    config = CorpusConfig(sources=(str(path),), **settings)
    documents = [d for file in list_sources(config) for d in documents_of(file, config, on_malformed or stop)]
    return [(d.position, d.text) for d in documents]


def _refusal(path: Path, content: bytes, **settings: object) -> str:
    path.write_bytes(content)
    with pytest.raises(SourceError) as refusal:
        _read(path, **settings)
    assert str(path) in str(refusal.value)
    return str(refusal.value)


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["row"]}), sink)
    return sink.getvalue()


_FILES = {
    "a.txt": b"plain",
    "deep/b.jsonl.gz": gzip.compress(json.dumps({"text": "json"}).encode()),
    "deep/c.parquet": _parquet(),
    "d.bin": b"\0\0",
    ".hidden.txt": b"no",
    "__MACOSX/._a.txt": b"no",
    "é.txt": "naïve".encode(),
}
_DOCUMENTS = [
    ("a.txt: whole file", "plain"),
    ("deep/b.jsonl.gz: line 1", "json"),
    ("deep/c.parquet: row 0", "row"),
    ("é.txt: whole file", "naïve"),
]


def _zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return sink.getvalue()


def _member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, io.BytesIO]:
    member = tarfile.TarInfo(name)
    member.size, member.type = len(content), kind
    return member, io.BytesIO(content)


def _tar(*members: tuple[tarfile.TarInfo, io.BytesIO], **settings: object) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", **settings) as archive:
        for member, content in members:
            content.seek(0)
            archive.addfile(member, content)
    return sink.getvalue()


_TAR = _tar(*(_member(name, content) for name, content in _FILES.items()))
_ARCHIVES = {
    "x.zip": _zip(_FILES),
    "stored.ZIP": _zip(_FILES, zipfile.ZIP_STORED),
    "x.zip.gz": gzip.compress(_zip(_FILES)),
    "x.tar": _TAR,
    "gnu.tar": _tar(*(_member(name, content) for name, content in _FILES.items()), format=tarfile.GNU_FORMAT),
    "x.tar.gz": gzip.compress(_TAR),
    "x.tgz": gzip.compress(_TAR),
    "x.tar.bz2": bz2.compress(_TAR),
    "x.txz": lzma.compress(_TAR),
    "x.tar.zst": pa.Codec("zstd").compress(_TAR, asbytes=True),
}


@pytest.mark.parametrize("name", _ARCHIVES)
def test_an_archive_gives_what_its_files_would(tmp_path, name):
    (tmp_path / name).write_bytes(_ARCHIVES[name])
    assert _read(tmp_path) == _DOCUMENTS
    assert _read(tmp_path / name) == _DOCUMENTS
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_archives_on_remote_storage():
    memory = fsspec.filesystem("memory")
    memory.pipe({"/archives/x.zip": _ARCHIVES["x.zip"], "/archives/y.tgz": _ARCHIVES["x.tgz"]})
    try:
        assert _read("memory://archives") == 2 * _DOCUMENTS
    finally:
        memory.rm("/archives", recursive=True)


def test_the_format_is_that_of_the_files_in_it(tmp_path):
    (tmp_path / "x.zip").write_bytes(_zip({"README": b"one\ntwo", "./b.txt": b"three"}))
    read = _read(tmp_path, format="txt", txt_unit="line")
    assert read == [("README: line 1", "one"), ("README: line 2", "two"), ("b.txt: line 1", "three")]
    (tmp_path / "x.zip").rename(tmp_path / "noending")
    assert _read(tmp_path / "noending", format="zip") == [("b.txt: whole file", "three")]


def test_documents_of_an_archive_have_ids_of_their_own(tmp_path):
    rows = b'{"text": "same", "id": 1}\n'
    (tmp_path / "x.zip").write_bytes(_zip({"a.jsonl": rows, "b.jsonl": rows}))
    for column in (None, "id"):
        output = tmp_path / f"out-{column}"
        output.mkdir()
        report = ingest(CorpusConfig(sources=(str(tmp_path / "x.zip"),), id_column=column), StageIO({}, output))
        assert len({row["doc_id"] for row in report.table}) == 2


_GOOD = _member("a.txt", b"good")
_LINK = _member("l.txt", kind=tarfile.SYMTYPE)
_LINK[0].linkname = "/etc/passwd"
_ZIP_LINK = zipfile.ZipInfo("l.txt")
_ZIP_LINK.external_attr = 0o120777 << 16


@pytest.mark.parametrize(
    "name", ["../up.txt", "x/../../up.txt", "/etc/abs.txt", "..\\up.txt", "C:\\up.txt", "C:/up.txt"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_point_out_of_the_archive(tmp_path, name, kind):
    content = _zip({"a.txt": b"good", name: b"bad"}) if kind == "zip" else _tar(_GOOD, _member(name, b"bad"))
    message = _refusal(tmp_path / f"x.{kind}", content)
    assert f"entry {name!r}: its name points out of the archive" in message
    assert "corpus.malformed=skip" in message
    skipped: list[SourceError] = []
    assert _read(tmp_path, skipped.append) == [("a.txt: whole file", "good")]
    assert len(skipped) == 1


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (_tar(_GOOD, _LINK), "entry 'l.txt': it is a link, a device or a file with holes"),
        (_tar(_GOOD, _member("l.txt", kind=tarfile.LNKTYPE)), "it is a link"),
        (_tar(_GOOD, _member("d.txt", kind=tarfile.CHRTYPE)), "a device"),
        (_tar(_GOOD, _member("p.txt", kind=tarfile.FIFOTYPE)), "a device"),
        (_tar(_GOOD, _member("in.tar.gz", b"x")), "entry 'in.tar.gz': it is an archive within an archive"),
        (_tar(_GOOD, _member("a.txt", b"again")), "entry 'a.txt': it stands in the archive twice"),
    ],
)
def test_entries_of_a_tar_that_are_no_text(tmp_path, content, found):
    assert found in _refusal(tmp_path / "x.tar", content)
    skipped: list[SourceError] = []
    assert _read(tmp_path, skipped.append) == [("a.txt: whole file", "good")]
    assert len(skipped) == 1


def test_entries_of_a_zip_that_are_no_text(tmp_path):
    path = tmp_path / "x.zip"
    assert "entry 'l.txt': it is a link" in _refusal(path, _zip({_ZIP_LINK: b"/etc/passwd"}))
    assert "entry 'y.zip': it is an archive within an archive" in _refusal(path, _zip({"y.zip": _zip({})}))
    assert "entry 'a.txt': it is packed by method 12" in _refusal(path, _zip({"a.txt": b"x"}, zipfile.ZIP_BZIP2))
    locked = bytearray(_zip({"a.txt": b"x"}))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "entry 'a.txt': it is encrypted" in _refusal(path, bytes(locked))


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "inner.zip", "inner.tar"])
def test_archives_that_unfold_without_bound(tmp_path, name):
    zeros = b"0" * (32 << 20)
    bomb = {"a.txt": b"fine", "b.txt": zeros}
    if name.startswith("inner"):
        bomb = {"a.txt": b"fine", "b.txt.bz2": bz2.compress(zeros)}
    content = _zip(bomb) if name.endswith("zip") else _tar(*(_member(*item) for item in bomb.items()))
    if name.endswith("gz"):
        content = gzip.compress(content)
    settings = {"txt_unit": "line", "max_document_mib": 16}
    message = _refusal(tmp_path / name, content, **settings)
    assert "unpacks to more than 200 times its size of" in message
    assert "raise corpus.max_unpacking" in message
    if name == "x.zip":
        with pytest.raises(SourceError, match="a document is larger than 16 MiB"):
            _read(tmp_path, max_unpacking=2000, **settings)


def test_a_zip_whose_directory_fills_the_memory(tmp_path, monkeypatch):
    content = _zip({f"{n}.txt": b"" for n in range(100)})
    monkeypatch.setattr(archives, "_MOST_DIRECTORY_BYTES", 1 << 12)
    assert "larger than 0 MiB. What to do: pack that many files as a tar" in _refusal(tmp_path / "x.zip", content)


def test_headers_made_to_fill_the_memory(tmp_path):
    long = _tar(_member("a" * 40_000 + ".txt", b"x"), format=tarfile.PAX_FORMAT)
    assert "is not a sound archive (a header of 40," in _refusal(tmp_path / "x.tar", long)


def test_files_with_holes(tmp_path):
    holes = _member("a.txt", b"x", tarfile.GNUTYPE_SPARSE)
    assert "'a.txt' is a file with holes" in _refusal(tmp_path / "x.tar", _tar(holes))


@pytest.mark.parametrize("keep", [700, 1024, 1300, 0])
def test_a_tar_that_is_cut_off_is_not_taken_for_a_shorter_one(tmp_path, keep):
    whole = _tar(_member("a.txt", b"x" * 300), _member("b.txt", b"y" * 300))
    assert "x.tar is cut off. What to do: fetch the file again" in _refusal(tmp_path / "x.tar", whole[:keep])
    message = _refusal(tmp_path / "x.tgz", gzip.compress(whole)[:-20])
    assert "x.tgz is cut off. What to do: fetch" in message


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    whole = bytearray(_tar(_member("a.txt", b"x" * 300), _member("b.txt", b"y" * 300)))
    whole[1024] ^= 1
    assert "is not a sound archive (bad checksum)" in _refusal(tmp_path / "x.tar", bytes(whole))
    assert "it goes on behind its end" in _refusal(tmp_path / "x.tar", _TAR + b"\0" * (1 << 19) + _TAR)


def test_damaged_zips(tmp_path):
    path = tmp_path / "x.zip"
    whole = _zip({"a.txt": bytes(range(48, 90)) * 999}, zipfile.ZIP_STORED)
    assert "is not a sound archive (File is not a zip file)" in _refusal(path, whole[:-100])
    assert "is not a sound archive (File is not a zip file)" in _refusal(path, b"text")
    assert "Bad CRC-32 for file 'a.txt'" in _refusal(path, whole.replace(b"0123", b"3210", 1))
    packed = bytearray(_zip({"a.txt": bytes(range(48, 90)) * 999}))
    packed[50:60] = b"\xff" * 10
    assert "is not a sound archive" in _refusal(path, bytes(packed))


def test_a_damaged_file_in_an_archive_is_named(tmp_path):
    cut = gzip.compress(b"text " * 999)[:-9]
    for name, content in (("x.zip", _zip({"a.txt.gz": cut})), ("x.tar", _tar(_member("a.txt.gz", cut)))):
        assert f"{name}!/a.txt.gz is cut off: its gz stream" in _refusal(tmp_path / name, content)
    message = _refusal(tmp_path / "x.zip", _zip({"in/b.jsonl": b"oops"}))
    assert "x.zip!/in/b.jsonl, line 1: not JSON" in message


def test_an_archive_without_text(tmp_path):
    for name, content in (("x.zip", _zip({"a.bin": b"x"})), ("x.tar", _tar(_member("README", b"x")))):
        assert f"{name} holds no file to read" in _refusal(tmp_path / name, content)
