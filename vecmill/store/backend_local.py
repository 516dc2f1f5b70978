"""Artifacts in a folder of a local disk: built aside, renamed into place, one writer a key."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vecmill.store.manifest import MANIFEST_NAME, Manifest
from vecmill.store.memo import DigestMemo

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

    def write(self, path: str, content: bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
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

    def checkpoints(self, label: str) -> Path:
        return self.root / _CHECKPOINTS / label

    def publish(self, scratch: Path, manifest: Manifest, replacing: Manifest | None) -> Manifest:
        for entry in manifest.files:
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
        return manifest

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
        return None

    def local_folder(self, manifest: Manifest) -> Path:
        return self.root / manifest.stage / manifest.key

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        folder = self.root / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # let go by the kernel when the process ends, however it ends
            yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
