"""A stage's checkpoints in a remote store, so that another machine goes on when the one that made them is lost.

A trainer keeps its checkpoint on the machine's disk, a folder ``checkpoint-00000007`` that is renamed into place when
it is whole, and takes it away when the next one stands (``words/checkpoint.py``). While the stage works, a thread sends
the newest one to the store:

    checkpoints/<stage>-<key>/<prefix>/<file>    its files
    checkpoints/<stage>-<key>/latest.json        its name and files, with sizes and digests; written last

and removes what it sent before. A process that is killed while it sends leaves the one before. A prefix begins with the
time, so that a checkpoint that is only just being sent is known from one that was given up. Nothing here fails a stage:
a checkpoint that cannot be sent or fetched costs time alone. Nor does a stage wait for one that nobody needs: when it
is done, or was interrupted, what is being sent is given up.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from vecmill.errors import VecmillError
from vecmill.store.digest import sha256_file

log = logging.getLogger("vecmill")

REMOTE_CHECKPOINTS = "checkpoints"
_LATEST = "latest.json"
_WHOLE = "checkpoint-????????"
_NAME = re.compile(r"checkpoint-[0-9]{8}")
_TIMED = re.compile(r"[0-9]{1,12}_[0-9a-f]{12}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*")
_LOOK_SECONDS = 1.0
# A checkpoint may be gigabytes: what fails is tried again later and later.
_MOST_WAIT_SECONDS = 300.0
# What is given up ends with the block that is on its way, or, where nothing moves any more, without anybody waiting.
_GIVE_UP_SECONDS = 5.0


class SendingGivenUp(Exception):
    """A file was not sent to its end, because nobody needs it any more."""


class Place(Protocol):
    """What is asked of the remote store."""

    uri: str

    def read(self, path: str) -> bytes | None:
        """Content of a small file below the root, None where there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Write a small file below the root in one step."""

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all it holds; no error where there is none."""

    def put(self, file: Path, path: str, given_up: Callable[[], bool]) -> None:
        """Send a file, and leave nothing of it where it is given up in between: then it raises SendingGivenUp."""

    def get(self, path: str, file: Path) -> None:
        """Fetch a file."""


class CheckpointMirror:
    """The newest checkpoint of one stage, here and in a remote store.

    Parameters
    ----------
    label : of the artifact that is being built
    folder : where checkpoints lie here; may not exist
    """

    def __init__(self, place: Place, label: str, folder: Path) -> None:
        self._place = place
        self._at = f"{REMOTE_CHECKPOINTS}/{label}"
        self._folder = folder
        self._label = label
        self._sent = ""  # name of the checkpoint that the store holds
        self._prefix = ""  # of its files
        self._is_in_store = False
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._warned = False

    @property
    def is_in_store(self) -> bool:
        """Whether the store may hold something of it."""
        return self._is_in_store

    @contextmanager
    def working(self) -> Iterator[None]:
        """Fetch what there is, and send what comes while the block runs; when it fails, what is left to send too.

        Where it succeeds nobody needs a checkpoint any more, and who interrupts it wants it to end.
        """
        with self._told("fetched"):
            self._fetch_newest()
        thread = threading.Thread(target=self._send_all, name="checkpoints", daemon=True)
        thread.start()
        try:
            yield
        except Exception:
            self._ended.set()
            thread.join()
            with self._told("sent"):
                self._send()
            raise
        finally:
            self._ended.set()
            self._given_up.set()
            thread.join(_GIVE_UP_SECONDS)

    def _send_all(self) -> None:
        pause = _LOOK_SECONDS
        while not self._ended.wait(pause):
            pause = min(2 * pause, max(_MOST_WAIT_SECONDS, _LOOK_SECONDS))
            with self._told("sent"):
                self._send()
                pause = _LOOK_SECONDS

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say once what goes wrong, and go on."""
        try:
            yield
        except SendingGivenUp:
            return
        except (VecmillError, OSError, ValueError, KeyError, TypeError) as error:
            # What was given up may fail in any way, for its folder is gone.
            level = logging.DEBUG if self._warned or self._given_up.is_set() else logging.WARNING
            self._warned = True
            log.log(
                level,
                "a checkpoint of %s could not be %s (%s); without one in the store, another machine begins the "
                "stage anew",
                self._label.partition("-")[0],
                what,
                getattr(error, "found", error),
            )

    def _newest(self) -> Path | None:
        return max(self._folder.glob(_WHOLE), default=None)

    def _send(self) -> None:
        newest = self._newest()
        if newest is None or newest.name == self._sent:
            return
        with tempfile.TemporaryDirectory(prefix="sending-", dir=self._folder) as name:
            held = Path(name)
            try:
                # The trainer may take it away while it is being sent.
                shutil.copytree(newest, held / newest.name, copy_function=_link)
            except (shutil.Error, FileNotFoundError):
                return
            if self._newest() != newest:  # so it may have been taken away in part before it was held
                return
            self._send_held(held / newest.name)

    def _send_held(self, checkpoint: Path) -> None:
        prefix, before = f"{round(time.time())}_{uuid.uuid4().hex[:12]}", self._prefix
        files = []
        self._is_in_store = True
        try:
            for path in sorted(checkpoint.iterdir()):
                self._place.put(path, f"{self._at}/{prefix}/{path.name}", self._given_up.is_set)
                files.append({"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)})
            if self._given_up.is_set():
                raise SendingGivenUp
            record = {"checkpoint": checkpoint.name, "prefix": prefix, "sent_at": round(time.time()), "files": files}
            self._place.write(f"{self._at}/{_LATEST}", json.dumps(record).encode())
        except Exception:
            with contextlib.suppress(VecmillError):  # else each try would leave as much there
                self._place.remove(f"{self._at}/{prefix}")
            raise
        self._sent, self._prefix = checkpoint.name, prefix
        if before:
            self._place.remove(f"{self._at}/{before}")

    def _fetch_newest(self) -> None:
        content = self._place.read(f"{self._at}/{_LATEST}")
        while content is not None:
            self._is_in_store = True
            try:
                self._fetch(content)
                return
            except VecmillError:
                # One that was lost and still works, as the engine cannot see, may have sent another in its place.
                before, content = content, self._place.read(f"{self._at}/{_LATEST}")
                if content == before:
                    raise

    def _fetch(self, content: bytes) -> None:
        record: dict[str, Any] = json.loads(content)
        name, prefix, files = str(record["checkpoint"]), str(record["prefix"]), record["files"]
        if not _NAME.fullmatch(name) or not all(_FILE.fullmatch(str(text)) for text in _names(prefix, files)):
            raise ValueError(f"{self._place.uri}/{self._at}/{_LATEST} names what no checkpoint holds")
        self._prefix = prefix
        newest = self._newest()
        if newest is not None and newest.name >= name:
            self._sent = name if newest.name == name else ""
            return
        building = self._folder / f"{name}.tmp"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        try:
            for each in files:
                path = building / each["name"]
                self._place.get(f"{self._at}/{prefix}/{each['name']}", path)
                if sha256_file(path) != each["sha256"]:
                    raise ValueError(f"{each['name']} is not what {_LATEST} states")
            building.rename(self._folder / name)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        self._sent = name
        log.info("%s: a checkpoint that another machine made is fetched from the store", self._label.partition("-")[0])


def sent_at(content: bytes | None, names: Iterable[str]) -> float:
    """When something was sent last, in seconds since 1970; 0 where nobody can say.

    Parameters
    ----------
    content : the record of the checkpoint, None where there is none (yet)
    names : what lies beside it
    """
    times = [float(name.partition("_")[0]) for name in names if _TIMED.fullmatch(name)]
    with contextlib.suppress(ValueError, KeyError, TypeError):
        times.append(float(json.loads(content or b"")["sent_at"]))
    return max(times, default=0.0)


def latest_of(label: str) -> str:
    """Where the record of an artifact's checkpoint lies in the store."""
    return f"{REMOTE_CHECKPOINTS}/{label}/{_LATEST}"


def _names(prefix: str, files: list[dict[str, Any]]) -> list[str]:
    return [prefix, *(str(each["name"]) for each in files)]


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
