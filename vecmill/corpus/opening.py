"""Opening a source as a stream of bytes: local or remote, decompressed, counted, with errors that name the file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile, remote_fingerprint
from vecmill.corpus.naming import Compression, split_name
from vecmill.errors import SourceError, VecmillError

_BUFFER_BYTES = 1 << 20


@contextmanager
def open_source(file: SourceFile, config: CorpusConfig, advance: Callable[[int], None]) -> Iterator[BinaryIO]:
    """Open a source for reading its decompressed bytes in order.

    Parameters
    ----------
    file, config : what to open and with which storage options
    advance : told how many bytes were read as stored, for progress; ends at ``file.n_bytes``

    Raises
    ------
    SourceError : the file has gone, changed since it was listed, cannot be read, or its compressed stream is damaged
    CredentialsError : a remote store refused us
    """
    _, compression = split_name(file.name)
    with ExitStack() as stack, explained(file, compression):
        raw = stack.enter_context(_open_raw(file, config))
        counted = _Counted(raw, advance, file.n_bytes)
        buffered = cast(BinaryIO, io.BufferedReader(counted, _BUFFER_BYTES))
        yield stack.enter_context(decompressed(buffered, compression)) if compression else buffered
        counted.finish()


@contextmanager
def _open_raw(file: SourceFile, config: CorpusConfig) -> Iterator[Any]:
    if file.is_local:
        path = Path(file.location)
        with path.open("rb", buffering=0) as stream:
            before = path.stat()
            if before.st_size != file.n_bytes:
                raise _changed(file)
            yield stream
            after = path.stat()
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise _changed(file)
        return
    from vecmill.store.patience import PatientStream
    from vecmill.store.remote import filesystem

    fs, path_on_fs = filesystem(file.location, config.storage_options)

    def reopen() -> Any:
        info = fs.info(path_on_fs)
        # Comparing an ETag costs one small request; comparing content would cost another reading.
        same = int(info["size"] or 0) == file.n_bytes
        if same and not file.fingerprint.startswith("sha256:"):
            same = remote_fingerprint(fs, path_on_fs, info) == file.fingerprint
        if not same:
            raise _changed(file)
        return fs.open(path_on_fs, "rb")

    with PatientStream(reopen) as patient:
        yield patient


def decompressed(stream: BinaryIO, compression: Compression) -> Any:
    """A stream of what a compressed stream unpacks to, in bounded memory."""
    if compression == "gz":
        return gzip.GzipFile(fileobj=stream, mode="rb")
    if compression == "bz2":
        return bz2.BZ2File(stream, "rb")
    if compression == "xz":
        return lzma.LZMAFile(stream, "rb")
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")


def rewinds_cheaply(stream: Any) -> bool:
    """Whether a stream may be read from its end; decompressing ones claim to, and start over each time."""
    return bool(stream.seekable()) and type(stream).__module__ not in {"gzip", "bz2", "lzma", "pyarrow.lib"}


class _Counted(io.RawIOBase):
    """Passes a stream through and tells how far it has been read."""

    def __init__(self, stream: Any, advance: Callable[[int], None], n_bytes: int) -> None:
        self._stream = stream
        self._advance = advance
        self._n_left = n_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        self._count(len(block))
        return len(block)

    def finish(self) -> None:
        """Count what never had to be read (columns that nobody asked for)."""
        self._count(self._n_left)

    def _count(self, n_bytes: int) -> None:
        # Random access may read a part twice; the bar still ends at the file's size.
        counted = min(n_bytes, self._n_left)
        if counted:
            self._n_left -= counted
            self._advance(counted)


@contextmanager
def explained(file: SourceFile, compression: Compression | None) -> Iterator[None]:
    """Say which file was being read when reading it failed."""
    try:
        yield
    except VecmillError:
        raise
    except EOFError as error:
        raise SourceError(
            f"{file.uri} is cut off: its {compression} stream ends in the middle",
            todo="fetch the file again, and compare its size with the original",
        ) from error
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise _damaged(file, compression, error) from error
    except (FileNotFoundError, PermissionError) as error:
        if file.is_local:
            raise SourceError(
                f"cannot read {file.uri} ({error.strerror}); it was there when the sources were listed",
                todo="check that nothing moves or deletes the sources during a run, then run again",
            ) from error
        raise _remote_error(file, error) from error
    except OSError as error:
        if _is_cut_off(error):
            raise SourceError(
                f"{file.uri} is cut off: its {compression} stream ends in the middle",
                todo="fetch the file again, and compare its size with the original",
            ) from error
        # Decompressors raise OSError without a number; the operating system's own errors carry one.
        if compression is not None and error.errno is None:
            raise _damaged(file, compression, error) from error
        raise _remote_error(file, error) from error
    except Exception as error:
        if file.is_local:
            raise
        raise _remote_error(file, error) from error


def _is_cut_off(error: OSError) -> bool:
    return "truncated compressed stream" in str(error).lower()


def _damaged(file: SourceFile, compression: Compression | None, error: Exception) -> SourceError:
    return SourceError(
        f"{file.uri} is not a sound {compression} file ({error})",
        expected=f"a {compression} stream, as the file's name says",
        todo="fetch the file again, or correct its ending",
    )


def _changed(file: SourceFile) -> SourceError:
    return SourceError(
        f"{file.uri} changed between being listed and being read", todo="run again when nothing writes to it"
    )


def _remote_error(file: SourceFile, error: Exception) -> VecmillError:
    from vecmill.store.remote import explain_remote_error

    return explain_remote_error(error, file.uri)
