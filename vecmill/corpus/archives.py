"""Archives (zip, tar) as folders of sources: read entry by entry in their order, nothing is written to disk.

Archives come from strangers. What has no place in a collection of text is refused: names that point out of the archive,
links, devices, archives within archives, and files that unfold to far more than was stored.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Self, cast

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.naming import ARCHIVES, is_wanted, split_name
from vecmill.corpus.opening import decompressed, explained, rewinds_cheaply
from vecmill.corpus.record import OnMalformed, malformed
from vecmill.errors import SourceError

_BUFFER_BYTES = 1 << 18
# A zip's directory is held in memory as a whole, several times its size as objects.
_MOST_DIRECTORY_BYTES = 16 << 20
# Of one entry of a tar: names, owners, times. Python's parser takes quadratic time on headers made for that.
_MOST_HEADER_BYTES = 1 << 15
_ABOUT_ANOTHER = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_DRIVE = re.compile(r"^[A-Za-z]:")
_DAMAGED = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
)


class Budget:
    """How much an archive may still unpack to.

    That is ``corpus.max_unpacking`` times its size as stored, or one largest document where that is more.
    """

    def __init__(self, file: SourceFile, config: CorpusConfig) -> None:
        self._file = file
        self._ratio = config.max_unpacking
        self._n_left = max(file.n_bytes * config.max_unpacking, config.max_document_mib << 20)

    def spend(self, n_bytes: int) -> None:
        self._n_left -= n_bytes
        if self._n_left < 0:
            raise SourceError(
                f"{self._file.uri} unpacks to more than {self._ratio} times its size of {self._file.n_bytes:,} bytes",
                expected="an archive of text, which packs 3- to 20-fold",
                todo="leave it out if a stranger made it, else raise corpus.max_unpacking",
            )


def zip_entries(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[tuple[SourceFile, BinaryIO]]:
    """The readable files of a zip, each open for reading until the next is asked for.

    Raises
    ------
    SourceError : no sound zip, or one whose directory is too large to be held in memory
    """
    with _seekable(stream) as whole:
        if _directory_bytes(whole) > _MOST_DIRECTORY_BYTES:
            raise SourceError(
                f"the directory of {file.uri} is larger than {_MOST_DIRECTORY_BYTES >> 20} MiB",
                todo="pack that many files as a tar, which is read as a stream",
            )
        with _readable(file), zipfile.ZipFile(whole) as archive:
            choice = _Choice(file, config, on_malformed)
            for info in archive.infolist():
                if info.is_dir():
                    continue
                kind = stat.S_IFMT(info.external_attr >> 16)
                entry = choice.entry(info.filename, info.file_size, kind in (0, stat.S_IFREG))
                if entry is None:
                    continue
                if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    how = "encrypted" if info.flag_bits & 1 else f"packed by method {info.compress_type}"
                    choice.refuse(entry.name, f"it is {how}", "stored or deflated, without a password")
                    continue
                with archive.open(info) as content:
                    yield entry, cast(BinaryIO, content)
            choice.finish()


def tar_entries(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[tuple[SourceFile, BinaryIO]]:
    """The readable files of a tar, in one pass; each is open for reading until the next is asked for.

    Raises
    ------
    SourceError : no sound tar, one that is cut off, or that unpacks to more than :class:`Budget` allows
    """
    metered = cast(BinaryIO, _Metered(stream, Budget(file, config)))
    with _readable(file), tarfile.open(fileobj=metered, mode="r|", bufsize=_BUFFER_BYTES, tarinfo=_Header) as archive:
        choice = _Choice(file, config, on_malformed)
        while (info := archive.next()) is not None:
            # The list of what was seen is of no use here, and as long as the archive.
            cast(Any, archive).members = []
            if info.isdir():
                continue
            entry = choice.entry(info.name, info.size, info.isreg() and not info.issparse())
            content = archive.extractfile(info) if entry else None
            if entry and content:
                yield entry, cast(BinaryIO, content)
        choice.finish()
        while block := stream.read(_BUFFER_BYTES):
            if block.strip(b"\0"):
                raise tarfile.ReadError("it goes on behind its end; several archives joined?")


@contextmanager
def open_entry(entry: SourceFile, raw: BinaryIO, archive: SourceFile, budget: Budget) -> Iterator[BinaryIO]:
    """The decompressed content of an entry, counted against what its archive may unpack to."""
    _, compression = split_name(entry.name)
    with explained(entry, compression):
        sound = cast(BinaryIO, io.BufferedReader(cast(Any, _Translated(raw, archive)), _BUFFER_BYTES))
        content = decompressed(sound, compression) if compression else sound
        yield cast(BinaryIO, io.BufferedReader(cast(Any, _Metered(content, budget)), _BUFFER_BYTES))


class _Choice:
    """Which entries are read: those a folder's files would be, and nothing else may be there but folders."""

    def __init__(self, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed) -> None:
        self._file = file
        self._config = config
        self._on_malformed = on_malformed
        self._seen: set[bytes] = set()
        self._n_refused = 0

    def entry(self, name: str, n_bytes: int, is_regular: bool) -> SourceFile | None:
        """The entry as a source, None where it is not to be read."""
        # Names in a tar may be any bytes; those that are no Unicode must not reach an id or a message.
        name = name.encode(errors="surrogateescape").decode(errors="replace").removeprefix("./")
        parts = re.split(r"[/\\]", name)
        problem = ""
        if ".." in parts or name.startswith(("/", "\\")) or _DRIVE.match(name):
            problem = "its name points out of the archive"
        elif not is_regular:
            problem = "it is a link, a device or a file with holes"
        elif split_name(name)[0] in ARCHIVES:
            problem = "it is an archive within an archive"
        if problem:
            self.refuse(name, problem, "an archive of regular files, named below its own folder")
            return None
        if not is_wanted(name, self._config):
            return None
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        if digest in self._seen:
            self.refuse(name, "it stands in the archive twice", "each name once")
            return None
        self._seen.add(digest)
        return SourceFile(f"{self._file.uri}!/{name}", n_bytes, "", name, self._file.location)

    def refuse(self, name: str, found: str, expected: str) -> None:
        self._n_refused += 1
        self._on_malformed(malformed(self._file, f"entry {name[:200]!r}", found, expected))

    def finish(self) -> None:
        if not self._seen and not self._n_refused:
            raise SourceError(
                f"the archive {self._file.uri} holds no file to read",
                expected="files whose ending names a format",
                todo="leave it out, or state corpus.format to read files with other endings",
            )


class _Header(tarfile.TarInfo):
    """A header of a tar that is checked where Python's own reading takes damage for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("unexpected end of data")
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):
                raise tarfile.ReadError(str(error)) from error
            raise
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"{header.name[:200]!r} is a file with holes")
        if header.type in _ABOUT_ANOTHER and header.size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


class _Metered(io.RawIOBase):
    """Passes a stream through and spends its bytes from a budget."""

    def __init__(self, stream: Any, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        self._budget.spend(len(block))
        buffer[: len(block)] = block
        return len(block)


class _Translated(io.RawIOBase):
    """Passes an entry through and says of which archive the damage is that shows while reading it."""

    def __init__(self, stream: Any, archive: SourceFile) -> None:
        self._stream = stream
        self._archive = archive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _readable(self._archive):
            block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


@contextmanager
def _readable(file: SourceFile) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        if isinstance(error, EOFError) or "unexpected end of data" in str(error):
            raise SourceError(
                f"the archive {file.uri} is cut off",
                todo="fetch the file again, and compare its size with the original",
            ) from error
        raise SourceError(
            f"{file.uri} is not a sound archive ({str(error) or type(error).__name__})",
            expected="a zip or tar file, as the file's name says",
            todo="fetch the file again, or correct its ending",
        ) from error


@contextmanager
def _seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The stream, or its content in a temporary file: a zip is read from its end."""
    if rewinds_cheaply(stream):
        yield stream
        return
    with tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(stream, unpacked, 1 << 20)
        unpacked.seek(0)
        yield cast(BinaryIO, unpacked)


def _directory_bytes(stream: BinaryIO) -> int:
    """The size that a zip's end states for its directory (APPNOTE 4.3.14 to 4.3.16), 0 where there is no such end."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - (1 << 16) - 42))
    tail = stream.read()
    stream.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        return 0
    stated = int.from_bytes(tail[end + 12 : end + 16], "little")
    large = tail.rfind(b"PK\x06\x06", 0, end)
    return int.from_bytes(tail[large + 40 : large + 48], "little") if large >= 0 else stated
