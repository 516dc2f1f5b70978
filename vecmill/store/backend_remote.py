"""Artifacts on a file system that fsspec knows: files first, then the manifest in one request."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from vecmill.errors import StoreError, VecmillError
from vecmill.store.backend import LinkedFile
from vecmill.store.byte_scan import ByteScan, scan_objects
from vecmill.store.checkpoint_mirror import REMOTE_CHECKPOINTS, CheckpointMirror, SendingGivenUp, latest_of, sent_at
from vecmill.store.copies import (
    Copies,
    held_folder,
    last_touched,
    remove_unless_held,
    remove_unmarked_checkpoints,
)
from vecmill.store.digest import sha256_file
from vecmill.store.manifest import MANIFEST_NAME, Manifest
from vecmill.store.memo import DigestMemo
from vecmill.store.os_errors import explained
from vecmill.store.patience import PatientFileSystem, PatientStream
from vecmill.store.remote import S3_BLOCK_BYTES, explain_remote_error, mark_of, sha256_of_object

_ABANDONED_SECONDS = 86_400
# A training that was killed so long ago, and that nobody went on with, is given up by `vecmill gc`.
_FORSAKEN_SECONDS = 14 * 86_400
_MOST_SHOWN = 5


_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
_S3 = {"s3", "s3a"}
_S3_MOST_PARTS = 10_000


class RemoteBackend:
    """Artifacts on a file system that fsspec knows; stages work in local folders, results are uploaded.

    There is no lock: two writers of one key both work, and the first complete one is kept.
    """

    def __init__(
        self, uri: str, filesystem: Any, root: str, cache: Path, memo: DigestMemo, cache_size: int = 50 * 10**9
    ) -> None:
        self.uri = uri
        self._raw, self._fs = filesystem, PatientFileSystem(filesystem, uri)
        self._root = root.rstrip("/")
        self._cache = cache
        # Several stores may share a cache. What one of them removes is its own.
        self._mark = mark_of(self.uri, filesystem)
        self._memo = memo
        self._copies = Copies(cache / "artifacts", cache_size)
        self._mirrors: dict[str, CheckpointMirror] = {}
        # An object store has no folders. Asked for one all the same, s3fs looks whether the bucket exists, which narrow
        # rights do not allow (infra/s3), and then tries to create it.
        protocols = {filesystem.protocol} if isinstance(filesystem.protocol, str) else set(filesystem.protocol)
        self._is_object_store = not protocols.isdisjoint(_OBJECT_STORES)
        self._is_s3 = not protocols.isdisjoint(_S3)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _explained(self, path: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Turn what the cloud library raises into our errors, except what the caller deals with itself."""
        try:
            with explained(str(self._cache), "while a copy was being made", "store.cache"):
                yield
        except passing:
            raise
        except VecmillError:
            raise
        except Exception as error:  # cloud libraries share no base class; the original stays as the cause
            raise explain_remote_error(error, f"{self.uri}/{path}", StoreError) from error

    def read(self, path: str) -> bytes | None:
        try:
            with self._explained(path, passing=(FileNotFoundError,)):
                return bytes(self._fs.cat_file(self._at(path)))
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        with self._explained(path):
            self._fs.pipe_file(self._at(path), content)

    def names(self, folder: str) -> list[str]:
        try:
            with self._explained(folder, passing=(FileNotFoundError,)):
                self._fs.invalidate_cache(self._at(folder))
                found = self._fs.ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted({PurePosixPath(name).name for name in found} - {PurePosixPath(folder).name})

    def remove(self, path: str) -> None:
        with self._explained(path):
            self._remove_quietly(f"{path}/{MANIFEST_NAME}")
            self._remove_quietly(path)
            self._fs.invalidate_cache()
            self._refuse_what_stands(path)

    def _refuse_what_stands(self, path: str) -> None:
        """Look after a removal: s3fs passes over the objects that a bulk delete answers with AccessDenied."""
        standing = sorted(self._fs.find(self._at(path)))
        if standing:
            shown = ", ".join(f"{self.uri}{name[len(self._root) :]}" for name in standing[:_MOST_SHOWN])
            more = f" and {len(standing) - _MOST_SHOWN:,} more" if len(standing) > _MOST_SHOWN else ""
            raise StoreError(
                f"the storage did not delete {shown}{more}, and reported no error",
                expected="that what is removed is gone",
                todo="let these credentials delete objects (s3:DeleteObject, see infra/s3), lift what locks them, and "
                "run the same command again",
            )

    @contextmanager
    def scratch(self, label: str) -> Iterator[Path]:
        self._cache.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=f"scratch-{label}-", dir=self._cache) as folder,
            held_folder(Path(folder)),  # `sweep` and `remove_leftovers`, of whatever store, leave it alone
        ):
            yield Path(folder)

    def sweep(self) -> int:
        n_removed = 0
        for leftover in self._cache.glob("scratch-*"):  # on this host; where nothing can be locked, their age must do
            if time.time() - last_touched(leftover) > _ABANDONED_SECONDS:
                n_removed += remove_unless_held(leftover)
        for local in (self._cache / "checkpoints").glob("*"):  # of what another machine has finished, or nobody
            if time.time() - last_touched(local) > _FORSAKEN_SECONDS:
                shutil.rmtree(local, ignore_errors=True)
                n_removed += 1
        for label in self.names(REMOTE_CHECKPOINTS):
            sent = sent_at(self.read(latest_of(label)), self.names(f"{REMOTE_CHECKPOINTS}/{label}"))
            if time.time() - sent > _FORSAKEN_SECONDS:
                self.remove(f"{REMOTE_CHECKPOINTS}/{label}")
                n_removed += 1
        return n_removed

    def remove_copies(self, stage: str, key: str) -> list[Path]:
        self.remove_checkpoints(f"{stage}-{key}")
        return self._copies.remove(f"{stage}/{key}-*-{self._mark}")

    def remove_leftovers(self) -> None:
        if self.names(REMOTE_CHECKPOINTS):
            self.remove(REMOTE_CHECKPOINTS)
        for local in (self._cache / "checkpoints").glob(f"*-{self._mark}"):
            shutil.rmtree(local, ignore_errors=True)
        remove_unmarked_checkpoints(self._cache / "checkpoints")
        for leftover in self._cache.glob("scratch-*"):
            remove_unless_held(leftover)

    def scan(self, scan: ByteScan, passing: Callable[[str], bool]) -> None:
        with self._explained(""):
            scan_objects(scan, self._fs, self._root, self.uri, passing)

    def checkpoints(self, label: str) -> Path:
        return self._cache / "checkpoints" / f"{label}-{self._mark}"

    @contextmanager
    def resumable(self, label: str) -> Iterator[None]:
        mirror = self._mirrors[label] = CheckpointMirror(self, label, self.checkpoints(label))
        with mirror.working():
            yield

    def remove_checkpoints(self, label: str) -> None:
        shutil.rmtree(self.checkpoints(label), ignore_errors=True)
        mirror = self._mirrors.pop(label, None)
        if mirror is not None and mirror.is_in_store:
            with contextlib.suppress(StoreError):  # the artifact stands; `sweep` finds what is left
                self.remove(f"{REMOTE_CHECKPOINTS}/{label}")

    def put(self, file: Path, path: str, given_up: Callable[[], bool] = lambda: False) -> None:
        """Send a file to a place below the root; what is given up in between raises SendingGivenUp.

        This and :meth:`get` ask once: who carries checkpoints has a patience of its own.
        """
        from fsspec.callbacks import Callback

        class Watch(Callback):  # type: ignore[misc]
            def relative_update(self, inc: int = 1) -> None:
                # Raised between two blocks; s3fs then lets the storage drop those that it has.
                if given_up():
                    raise SendingGivenUp

        with self._explained(path, passing=(SendingGivenUp,)):
            try:
                self._put(self._raw, file, self._at(path), callback=Watch())
            except SendingGivenUp:
                self._remove_quietly(path)
                raise

    def get(self, path: str, file: Path) -> None:
        """Fetch a file from a place below the root."""
        with self._explained(path):
            self._raw.get_file(self._at(path), str(file))

    def publish(
        self, scratch: Path, manifest: Manifest, replacing: Manifest | None, linked: Mapping[str, LinkedFile]
    ) -> Manifest:
        place = f"{manifest.stage}/{manifest.key}"
        prefix = uuid.uuid4().hex[:12]
        with self._explained(place):
            files = []
            for entry in manifest.files:
                target = self._at(f"{place}/{prefix}/{entry.path}")
                if entry.path in linked:
                    if not self._is_object_store:
                        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                    # Within the storage: nothing travels through this machine.
                    self._fs.cp_file(self._at(_place_of(linked[entry.path])), target)
                else:
                    self._put(self._fs, scratch / entry.path, target)
                files.append(replace(entry, etag=self._etag(target)))
            whole = replace(manifest, files=tuple(files), prefix=prefix)
            standing = self._read_manifest(place)
            if standing is not None and replacing is not None and standing.prefix == replacing.prefix:
                self._remove_quietly(f"{place}/{MANIFEST_NAME}")
                self._remove_quietly(f"{place}/{standing.prefix}")
            if not self._create(f"{place}/{MANIFEST_NAME}", whole.to_json().encode()):
                winner = self._read_manifest(place)
                is_ours = winner is not None and winner.prefix == prefix  # asked again, since an answer was lost
                if winner is not None and not is_ours and self.problem(winner) is None:
                    self._remove_quietly(f"{place}/{prefix}")
                    return winner
                if not is_ours:
                    self._fs.pipe_file(self._at(f"{place}/{MANIFEST_NAME}"), whole.to_json().encode())
        self._keep_copies(scratch, whole, linked)
        self._link_copies(whole, linked)
        return whole

    def _put(self, filesystem: Any, path: Path, target: str, **options: Any) -> None:
        # s3fs has an upload's block size apart from that of its other transfers.
        if not self._is_object_store:
            self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        n_bytes = path.stat().st_size
        parts = {"chunksize": max(S3_BLOCK_BYTES, -(-n_bytes // _S3_MOST_PARTS))} if self._is_s3 else {}
        filesystem.put_file(str(path), target, **parts, **options)

    def _keep_copies(self, scratch: Path, manifest: Manifest, linked: Mapping[str, LinkedFile]) -> None:
        """What was built on this machine need not be fetched by the stage that reads it here."""
        built = [entry for entry in manifest.files if entry.path not in linked]
        with contextlib.suppress(OSError), self._copies.held(self._copy_of(manifest)) as folder:
            self._copies.expect(sum(entry.bytes for entry in built))
            for entry in built:
                target = folder / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                (scratch / entry.path).replace(target)
                self._memo.learn(target, entry.sha256)

    def _link_copies(self, manifest: Manifest, linked: Mapping[str, LinkedFile]) -> None:
        """What lies in the cache as a piece need not be fetched again as a file of what the piece belongs to."""
        for name, each in linked.items():
            if not (self._copies.path(self._copy_of(each.manifest)) / each.entry.path).is_file():
                continue  # built on another machine, as most pieces of a stage on a cluster are
            with (
                contextlib.suppress(OSError),
                self._copies.held(self._copy_of(each.manifest)) as source,
                self._copies.held(self._copy_of(manifest)) as folder,
            ):
                copy, target = source / each.entry.path, folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(copy, target)
                self._memo.learn(copy, each.entry.sha256)
                self._memo.learn(target, each.entry.sha256)

    def using(self) -> AbstractContextManager[None]:
        return self._copies.using()

    def _remove_quietly(self, path: str) -> None:
        """Remove a file or folder; that another writer was faster is no error."""
        try:
            self._fs.rm(self._at(path), recursive=True)
        except FileNotFoundError:
            return
        except OSError as error:
            # S3 removes a thousand objects in one request, which some servers that speak its language do not know
            if error.errno != errno.ENOSYS:
                raise
            for name in self._fs.find(self._at(path)):
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(name)

    def _create(self, path: str, content: bytes) -> bool:
        """Write a file only if there is none; False if another writer was first."""
        try:
            self._fs.pipe_file(self._at(path), content, mode="create")
        except FileExistsError:
            return False
        return True

    def _read_manifest(self, place: str) -> Manifest | None:
        content = self.read(f"{place}/{MANIFEST_NAME}")
        if content is None:
            return None
        try:
            return Manifest.from_json(content, f"{self.uri}/{place}/{MANIFEST_NAME}")
        except StoreError:
            return None

    def _etag(self, target: str) -> str:
        self._fs.invalidate_cache(target.rsplit("/", 1)[0])
        info = self._fs.info(target)
        return str(info.get("ETag") or info.get("etag") or "").strip('"')

    def problem(self, manifest: Manifest) -> str | None:
        place = f"{manifest.stage}/{manifest.key}/{manifest.prefix}"
        with self._explained(place):
            self._fs.invalidate_cache()
            for entry in manifest.files:
                target = self._at(f"{place}/{entry.path}")
                try:
                    info = self._fs.info(target)
                except FileNotFoundError:
                    return f"{entry.path} is missing"
                if info["size"] != entry.bytes:
                    return f"{entry.path} has {info['size']:,} bytes, its manifest states {entry.bytes:,}"
                if entry.etag:
                    found = str(info.get("ETag") or info.get("etag") or "").strip('"')
                    if found != entry.etag:
                        return f"{entry.path} was altered: its ETag is not the one in the manifest"
                elif sha256_of_object(self._fs, target) != entry.sha256:
                    return f"{entry.path} was altered: its sha256 is not the one in the manifest"
        return None

    def local_folder(self, manifest: Manifest, names: Sequence[str] = ()) -> Path:
        place = f"{manifest.stage}/{manifest.key}"
        with self._explained(place):
            wanted = [entry for entry in manifest.files if not names or entry.path in names]
            if not wanted:
                return self._copies.path(self._copy_of(manifest))
            folder = self._copies.use(self._copy_of(manifest))
            for entry in wanted:
                target = folder / entry.path
                if target.is_file() and self._memo.sha256(target) == entry.sha256:
                    continue
                self._copies.expect(entry.bytes)
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
                try:
                    self._fs.get_file(self._at(f"{place}/{manifest.prefix}/{entry.path}"), str(temporary))
                    if sha256_file(temporary) != entry.sha256:
                        raise StoreError(
                            f"{self.uri}/{place}/{manifest.prefix}/{entry.path} is not what its manifest states",
                            expected=f"sha256 {entry.sha256}",
                            todo=f"run again with --refresh {manifest.stage}",
                        )
                    temporary.replace(target)
                    self._memo.learn(target, entry.sha256)
                finally:
                    temporary.unlink(missing_ok=True)
        return folder

    def _copy_of(self, manifest: Manifest) -> str:
        return f"{manifest.stage}/{manifest.key}-{manifest.digest[:16]}-{self._mark}"

    @contextmanager
    def reading(self, manifest: Manifest, name: str) -> Iterator[BinaryIO]:
        entry = next(each for each in manifest.files if each.path == name)
        copy = self._copies.path(self._copy_of(manifest)) / name
        with contextlib.ExitStack() as stack:
            local: BinaryIO | None = None
            with contextlib.suppress(FileNotFoundError):  # there is none, or somebody has just made room
                local = stack.enter_context(copy.open("rb"))  # stays readable while it is open
                if self._memo.sha256(copy) != entry.sha256:
                    local = None
            if local is not None:
                yield local
                return
        place = f"{manifest.stage}/{manifest.key}/{manifest.prefix}/{name}"
        # Reading ahead is for those who read on.
        options = {"cache_type": "none"} if self._is_object_store else {}
        with self._explained(place), PatientStream(lambda: self._raw.open(self._at(place), "rb", **options)) as remote:
            yield cast(BinaryIO, remote)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        yield


def _place_of(linked: LinkedFile) -> str:
    manifest = linked.manifest
    return f"{manifest.stage}/{manifest.key}/{manifest.prefix}/{linked.entry.path}"
