"""Asking remote storage again when it fails for a moment, in listing sources and in the middle of reading one."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any, TypeVar

from vecmill.store.remote_faults import may_pass

# How long to wait before each further try: four tries in all. S3's own client asks five times by itself before that.
PAUSES_SECONDS = (0.2, 0.8, 3.2)
Answer = TypeVar("Answer")


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer to one question, asked again after a pause when what went wrong may pass.

    Raises
    ------
    what ``ask`` raised, at the last try or where asking again is of no use
    """
    for pause in PAUSES_SECONDS:
        try:
            return ask()
        except Exception as error:
            # Every client behind fsspec has errors of its own.
            if not may_pass(error):
                raise
        time.sleep(pause)
    return ask()


class PatientStream(io.RawIOBase):
    """A remote file that is opened again, where reading had come to, when a read fails and that may pass.

    Parameters
    ----------
    reopen : opens the file at its beginning; raises where its content is no longer the one that was listed
    """

    def __init__(self, reopen: Callable[[], Any]) -> None:
        self._reopen = reopen
        self._stream: Any = patiently(reopen)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        # Buffered remote files only note the place; the request comes with the next read.
        self._position = int(self._stream.seek(offset, whence))
        return self._position

    def read(self, size: int = -1) -> bytes:
        failed = False

        def ask() -> bytes:
            nonlocal failed
            if failed:
                self._stream.close()
                self._stream = self._reopen()
                self._stream.seek(self._position)
            failed = True
            return bytes(self._stream.read(size))

        block = patiently(ask)
        self._position += len(block)
        return block

    def readinto(self, buffer: Any) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()
