"""Asking remote storage again when it fails for a moment, in listing sources and in the middle of reading one."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from vecmill.store.remote_faults import may_pass

log = logging.getLogger("vecmill")

# How long to wait before each further try: four tries in all. S3's own client asks five times by itself before that.
PAUSES_SECONDS = (0.2, 0.8, 3.2)
# The same for an artifact store that has answered before: one minute, in which a server is restarted.
STORE_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_QUESTIONS = frozenset({"cat_file", "cp_file", "find", "get_file", "info", "ls", "pipe_file", "put_file", "rm"})
Answer = TypeVar("Answer")

# Stores that answered when they were asked last, of this process.
_answering: set[str] = set()


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


def known_to_answer(uri: str) -> None:
    """Note that a store has answered to somebody else in this run, so that this process waits for it too."""
    _answering.add(uri.rstrip("/"))


class PatientFileSystem:
    """An fsspec file system of an artifact store that is asked again for a minute when it does not answer any more.

    One that has never answered is not waited for: that its address is misspelt, or that no server runs, is said at
    once. Every question may be asked twice; who creates an object only if there is none may find his own.

    Parameters
    ----------
    filesystem : what is asked
    uri : the store's, as people should see it
    """

    def __init__(self, filesystem: Any, uri: str) -> None:
        self._filesystem = filesystem
        self._uri = uri

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._filesystem, name)
        return partial(self._asked, found) if name in _QUESTIONS else found

    def _asked(self, question: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        pauses, told = iter(STORE_PAUSES_SECONDS), False
        while True:
            try:
                answer = question(*arguments, **options)
            except Exception as error:
                # Every client behind fsspec has errors of its own.
                if not may_pass(error):
                    _answering.add(self._uri)
                    raise
                pause = next(pauses, None)
                if pause is None:
                    _answering.discard(self._uri)
                if self._uri not in _answering or pause is None:
                    raise
                if not told:
                    log.warning("%s does not answer (%s); asking again for a minute", self._uri, type(error).__name__)
                told = True
            else:
                _answering.add(self._uri)
                if told:
                    log.warning("%s answers again", self._uri)
                return answer
            time.sleep(pause)


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
