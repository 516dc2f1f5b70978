"""Looking for texts in every byte of some folders or of a store: as files have them, and unpacked.

A text is looked for in UTF-8, UTF-16 and UTF-32, as JSON and HTML spell it, as given and in lower and upper case. Every
file is searched as it lies there; what unpacks to something else is unpacked and searched again: gz, bz2, xz and zst
streams, the values of Parquet and Arrow files, tables of SQLite databases, entries of zip archives. Text that is
encrypted, cut by a tokenizer into numbers, or packed in a way not listed here is not found.
"""

from __future__ import annotations

import bz2
import gzip
import html
import io
import json
import lzma
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from vecmill.errors import StoreError

_BLOCK_BYTES = 1 << 20
_DEEPEST = 4
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")


@dataclass(frozen=True)
class Hit:
    """A place where a text was found: the file (and what is in it), and which of the texts."""

    place: str
    text_number: int


@dataclass
class Scan:
    """What a search came to.

    Attributes
    ----------
    n_files, n_bytes : searched, as stored
    unread : files that looked packed and could not be unpacked; their stored bytes were searched all the same
    """

    n_files: int = 0
    n_bytes: int = 0
    hits: list[Hit] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def spellings(text: str) -> list[bytes]:
    """Every byte string that stands for a text.

    Raises
    ------
    ValueError : nothing to look for
    """
    if not text.strip():
        raise ValueError("an empty text")
    cases = {text, text.lower(), text.casefold(), text.upper()}
    written = {form for case in cases for form in (case, json.dumps(case)[1:-1], html.escape(case))}
    return sorted({form.encode(encoding) for form in written for encoding in _ENCODINGS})


class ByteScan:
    """Searches files for texts; adds up what it found.

    Parameters
    ----------
    texts : what to look for, none of them empty
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.found = Scan()
        self._needles = [(needle, number) for number, text in enumerate(texts) for needle in spellings(text)]
        self._overlap = max((len(needle) for needle, _ in self._needles), default=1) - 1

    def folder(self, root: Path, passing: Callable[[Path], bool] = lambda path: False) -> None:
        """Search every file below a folder, hidden ones too, except those that ``passing`` names."""
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink() and not passing(path):
                self.file(path)

    def file(self, path: Path) -> None:
        """Search one file."""
        self.found.n_files += 1
        self.found.n_bytes += path.stat().st_size
        with path.open("rb") as stream:
            self._stream(stream, str(path), 0)

    def stream(self, stream: BinaryIO, place: str, n_bytes: int) -> None:
        """Search something that can be read and rewound."""
        self.found.n_files += 1
        self.found.n_bytes += n_bytes
        self._stream(stream, place, 0)

    def _stream(self, stream: Any, place: str, depth: int) -> None:
        head = self._plain(stream, place)
        unpack = _unpacker(head)
        if unpack is None:
            return
        if depth >= _DEEPEST:
            self.found.unread.append(place)
            return
        stream.seek(0)
        try:
            for name, content in unpack(stream):
                inner = f"{place} ({name})" if name else place
                if isinstance(content, bytes):
                    self._block(content, inner)
                else:
                    self._stream(_Rewindable(content), inner, depth + 1)
        except _DAMAGED:
            self.found.unread.append(place)

    def _plain(self, stream: Any, place: str) -> bytes:
        """Search the bytes as they are; gives the first of them."""
        head = tail = b""
        while block := stream.read(_BLOCK_BYTES):
            head = head or block[:16]
            self._block(tail + block, place)
            tail = (tail + block)[-self._overlap :] if self._overlap else b""
        return head

    def _block(self, block: bytes, place: str) -> None:
        for needle, number in self._needles:
            if needle in block and Hit(place, number) not in self.found.hits:
                self.found.hits.append(Hit(place, number))


class _Rewindable:
    """A stream that is opened again instead of being rewound, which decompressors do at the price of starting over."""

    def __init__(self, open_: Callable[[], Any]) -> None:
        self._open = open_
        self._stream = open_()

    def read(self, size: int = -1) -> bytes:
        return bytes(self._stream.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        if (offset, whence) == (0, 0):
            self._stream = self._open()
            return 0
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)


_DAMAGED = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, sqlite3.Error)
# A name within, and either bytes or a function that opens a stream.
_Unpacked = Iterator[tuple[str, Any]]


def _unpacker(head: bytes) -> Callable[[Any], _Unpacked] | None:
    for magic, unpack in _MAGIC.items():
        if head.startswith(magic):
            return unpack
    return None


def _again(stream: Any) -> Any:
    stream.seek(0)
    return stream


def _gz(stream: Any) -> _Unpacked:
    yield "unpacked", lambda: gzip.GzipFile(fileobj=_again(stream))


def _bz2(stream: Any) -> _Unpacked:
    yield "unpacked", lambda: bz2.BZ2File(_again(stream))


def _xz(stream: Any) -> _Unpacked:
    yield "unpacked", lambda: lzma.LZMAFile(_again(stream))  # noqa: SIM115 - the search reads it to its end


def _zst(stream: Any) -> _Unpacked:
    import pyarrow as pa

    yield "unpacked", lambda: pa.CompressedInputStream(pa.PythonFile(_again(stream), mode="r"), "zstd")


def _zip(stream: Any) -> _Unpacked:
    with zipfile.ZipFile(io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream) as archive:
        for name in archive.namelist():
            yield name, lambda name=name: archive.open(name)


def _parquet(stream: Any) -> _Unpacked:
    import pyarrow.parquet as pq

    with pq.ParquetFile(stream) as table:
        for group in range(table.num_row_groups):
            yield from _columns(table.read_row_group(group, use_threads=False))


def _arrow_file(stream: Any) -> _Unpacked:
    import pyarrow as pa

    with pa.ipc.open_file(stream) as reader:
        for number in range(reader.num_record_batches):
            yield from _columns(pa.Table.from_batches([reader.get_batch(number)]))


def _arrow_stream(stream: Any) -> _Unpacked:
    import pyarrow as pa

    with pa.ipc.open_stream(stream) as reader:
        for batch in reader:
            yield from _columns(pa.Table.from_batches([batch]))


def _columns(table: Any) -> _Unpacked:
    """The bytes of every value that may hold text; the values of a column follow on each other, so none is cut."""
    import pyarrow as pa

    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks:
            plain = chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk
            for buffer in plain.buffers():
                if buffer is not None:
                    yield f"column {name}", buffer.to_pybytes()


def _sqlite(stream: Any) -> _Unpacked:
    path = getattr(stream, "name", None)
    if not isinstance(path, str | Path) or not Path(path).is_file():
        raise ValueError("a database that is no file of this machine")
    # Read as it lies there: its log, if it has one, is a file of its own and is searched as such.
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            quoted = table.replace('"', '""')
            for row in connection.execute(f'SELECT * FROM "{quoted}"'):
                values = [each.encode() if isinstance(each, str) else each for each in row]
                yield f"table {table}", b"\0".join(each for each in values if isinstance(each, bytes))


_MAGIC: dict[bytes, Callable[[Any], _Unpacked]] = {
    b"\x1f\x8b": _gz,
    b"BZh": _bz2,
    b"\xfd7zXZ\x00": _xz,
    b"\x28\xb5\x2f\xfd": _zst,
    b"PK\x03\x04": _zip,
    b"PAR1": _parquet,
    b"ARROW1": _arrow_file,
    b"\xff\xff\xff\xff": _arrow_stream,
    b"SQLite format 3\x00": _sqlite,
}


def scan_objects(scan: ByteScan, filesystem: Any, root: str, uri: str, passing: Callable[[str], bool]) -> None:
    """Search every object below a root of an fsspec file system, except those whose path there ``passing`` names.

    Raises
    ------
    StoreError : an object cannot be read, so that nothing can be proven
    """
    try:
        filesystem.invalidate_cache()
        found = filesystem.find(root, detail=True)
        for name, info in sorted(found.items()):
            if passing(name[len(root) :].lstrip("/")):
                continue
            with filesystem.open(name, "rb") as stream:
                scan.stream(stream, f"{uri}{name[len(root) :]}", int(info["size"] or 0))
    except FileNotFoundError as error:
        raise StoreError(
            f"{error} went away while {uri} was being searched",
            expected="a store that stays as it is meanwhile",
            todo="prove it again with the same command",
        ) from error
