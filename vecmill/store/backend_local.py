"""Artifacts in a folder of a local disk: built aside, renamed into place, one writer a key."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from vecmill.errors import StoreError
from vecmill.store.backend import LinkedFile
from vecmill.store.byte_scan import ByteScan
from vecmill.store.manifest import MANIFEST_NAME, Manifest
from vecmill.store.memo import DigestMemo
from vecmill.store.os_errors import explained

# What a file system says that knows no hard links, or allows no more of them to one file.
_NO_LINKS = frozenset({errno.EPERM, errno.EMLINK, errno.EXDEV, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_SCRATCH = ".tmp"
_LOCKS = ".locks"
_CHECKPOINTS = ".checkpoints"


class LocalBackend:
    """Artifacts in a folder of a local (or mounted) disk."""

    def __init__(self, root: Path, memo: DigestMemo) -> None:
        self.root = root
        self.uri = str(root)
        self._memo = memo

    def read(self, path: str) -> bytes | None:
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(
                f"{self.root / path} cannot be read ({error.strerror})", todo="check the file and its permissions"
            ) from error

    def write(self, path: str, content: bytes) -> None:
        target = self.root / path
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        with explained(self.uri, "while a record was being written"):
            self._write(target, temporary, content)

    def _write(self, target: Path, temporary: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        place = self.root / folder
        if not place.is_dir():
            return []
        return sorted(entry.name for entry in place.iterdir() if not entry.name.startswith("."))

    def remove(self, path: str) -> None:
        target = self.root / path
        if target.is_dir():
            (target / MANIFEST_NAME).unlink(missing_ok=True)
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    @contextmanager
    def scratch(self, label: str) -> Iterator[Path]:
        parent = self.root / _SCRATCH
        parent.mkdir(parents=True, exist_ok=True)
        # Called under the lock of `label`, so whatever has this label was left by a process that was killed.
        for leftover in parent.glob(f"{label}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = parent / f"{label}-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> int:
        """Remove what killed processes left half-written; gives the number of folders removed."""
        n_removed = 0
        for leftover in (self.root / _SCRATCH).glob("*"):
            label = leftover.name.removesuffix("-old").rpartition("-")[0]
            with (self.root / _LOCKS / label).open("a") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # somebody is at work there
                shutil.rmtree(leftover, ignore_errors=True)
                n_removed += 1
        return n_removed

    def remove_copies(self, stage: str, key: str) -> list[Path]:
        self.remove_checkpoints(f"{stage}-{key}")
        return []

    def remove_leftovers(self) -> None:
        shutil.rmtree(self.root / _SCRATCH, ignore_errors=True)
        shutil.rmtree(self.root / _CHECKPOINTS, ignore_errors=True)

    def scan(self, scan: ByteScan, passing: Callable[[str], bool]) -> None:
        scan.folder(self.root, lambda path: passing(path.relative_to(self.root).as_posix()))

    def checkpoints(self, label: str) -> Path:
        return self.root / _CHECKPOINTS / label

    def resumable(self, label: str) -> AbstractContextManager[None]:
        return nullcontext()  # who reaches the store reaches its checkpoints

    def remove_checkpoints(self, label: str) -> None:
        shutil.rmtree(self.checkpoints(label), ignore_errors=True)

    def publish(
        self, scratch: Path, manifest: Manifest, replacing: Manifest | None, linked: Mapping[str, LinkedFile]
    ) -> Manifest:
        for name, each in linked.items():
            self._link(self.local_folder(each.manifest) / each.entry.path, scratch / name)
        for entry in manifest.files:
            if entry.path not in linked:
                _sync(scratch / entry.path)
        manifest_path = scratch / MANIFEST_NAME
        manifest_path.write_text(manifest.to_json(), encoding="utf-8")
        _sync(manifest_path)
        final = self.root / manifest.stage / manifest.key
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():  # refreshed, or found damaged: out of the way first, since a rename needs an empty target
            aside = scratch.with_name(f"{scratch.name}-old")
            final.rename(aside)
            scratch.rename(final)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            scratch.rename(final)
        _sync(final.parent)
        for entry in manifest.files:
            self._memo.learn(final / entry.path, entry.sha256)
        for each in linked.values():
            # A new link changes the times by which a file is known, not its content.
            self._memo.learn(self.local_folder(each.manifest) / each.entry.path, each.entry.sha256)
        return manifest

    def _link(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(source, target)
            _sync(target)

    def problem(self, manifest: Manifest) -> str | None:
        folder = self.root / manifest.stage / manifest.key
        for entry in manifest.files:
            path = folder / entry.path
            try:
                n_bytes = path.stat().st_size
                if n_bytes != entry.bytes:
                    return f"{entry.path} has {n_bytes:,} bytes, its manifest states {entry.bytes:,}"
                if self._memo.sha256(path) != entry.sha256:
                    return f"{entry.path} was altered: its sha256 is not the one in the manifest"
            except FileNotFoundError:
                return f"{entry.path} is missing"
            except OSError as error:
                return f"{entry.path} cannot be read ({error.strerror})"
        # A file that nobody stated would be read by whoever takes all files of a kind.
        stated = {entry.path for entry in manifest.files} | {MANIFEST_NAME}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if name not in stated and not path.is_dir():
                return f"{name} lies there, but its manifest does not state it"
        return None

    def local_folder(self, manifest: Manifest, names: Sequence[str] = ()) -> Path:
        return self.root / manifest.stage / manifest.key

    def reading(self, manifest: Manifest, name: str) -> AbstractContextManager[BinaryIO]:
        return (self.local_folder(manifest) / name).open("rb")

    def using(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            with explained(self.uri, "while a lock was being taken"):
                folder = self.root / _LOCKS
                folder.mkdir(parents=True, exist_ok=True)
                stream = stack.enter_context((folder / name).open("a"))
                fcntl.flock(stream, fcntl.LOCK_EX)  # let go by the kernel when the process ends, however it ends
            yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
