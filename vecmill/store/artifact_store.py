"""The artifact store: finished stages under ``<root>/<stage>/<key>/``, and the records of runs beside them."""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, Field, field_validator

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.config.secrets import check_options, holds_credentials
from vecmill.config.sizes import ByteSize
from vecmill.errors import StoreError, StoreUnavailable
from vecmill.store.backend import Backend, LinkedFile
from vecmill.store.backend_local import LocalBackend
from vecmill.store.digest import sha256_file
from vecmill.store.forgotten import FORGOTTEN_FOLDER, Forgotten, read_forgotten
from vecmill.store.manifest import MANIFEST_NAME, ArtifactRef, FileEntry, Manifest, content_digest
from vecmill.store.memo import DigestMemo
from vecmill.store.os_errors import explained
from vecmill.store.stage import InputFolders, StageReport

# Folders of the store's root that hold no artifacts.
_NO_STAGES = frozenset({"runs", FORGOTTEN_FOLDER, "checkpoints"})


class StoreConfig(Config):
    """Where artifacts are kept. Nothing here counts towards an artifact's key: the same work may lie anywhere."""

    # A refused value may be a secret: it stays out of the message.
    model_config = ConfigDict(hide_input_in_errors=True)

    uri: str = Field(
        ".vecmill/store",
        description="Folder of the artifact store: a path, or a URL such as s3://bucket/prefix or memory://name.",
        json_schema_extra=NOT_IN_KEY,
    )
    cache: str = Field(
        ".vecmill/cache",
        description="Local folder for copies of remote artifacts and remembered digests; may be deleted at any time.",
        json_schema_extra=NOT_IN_KEY,
    )
    cache_size: ByteSize = Field(
        50_000_000_000,
        ge=0,
        description="Bytes (or 200GB) that copies of remote artifacts may take in the cache; beyond it those go that "
        "no running stage uses, the one used longest ago first. Default: 50GB, our choice.",
        json_schema_extra=NOT_IN_KEY,
    )
    storage_options: dict[str, str] = Field(
        default_factory=dict,
        description="Options for a remote store, such as endpoint_url. Credentials belong in the environment.",
        json_schema_extra=NOT_IN_KEY,
    )

    @field_validator("uri", "cache")
    @classmethod
    def _usable(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("an empty path; expected a folder or URL")
        if value.startswith("s3://") and not value.removeprefix("s3://").strip("/"):
            raise ValueError("no bucket is named; expected s3://bucket/prefix")
        if holds_credentials(value):
            raise ValueError("the URL carries credentials; remove them and set the AWS_* environment variables instead")
        return value

    @field_validator("cache")
    @classmethod
    def _local(cls, value: str) -> str:
        if "://" in value:
            raise ValueError("a URL; expected a local folder")
        return value

    @field_validator("storage_options")
    @classmethod
    def _options_without_secrets(cls, options: dict[str, str]) -> dict[str, str]:
        return check_options(options)


@dataclass
class Composition:
    """What an artifact is put together from.

    Attributes
    ----------
    pieces : in their order
    links : files of pieces that are files of the artifact as well, by their name there: the piece and the name in it
    """

    pieces: list[ArtifactRef] = field(default_factory=list)
    links: dict[str, tuple[ArtifactRef, str]] = field(default_factory=dict)


class ArtifactStore:
    """Reads, checks, writes and removes artifacts.

    Parameters
    ----------
    config : where the store is; relative paths are taken from the current folder

    Raises
    ------
    SourceError : the URL's protocol is unknown
    """

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self._cache = Path(config.cache).expanduser().absolute()
        self._memo = DigestMemo(self._cache / "digests.json")
        self.backend = self._open(config)
        is_local = isinstance(self.backend, LocalBackend)
        self._disk = (self.uri, "store.uri") if is_local else (str(self._cache), "store.cache")

    def _open(self, config: StoreConfig) -> Backend:
        if "://" not in config.uri or config.uri.startswith("file://"):
            path = unquote(urlsplit(config.uri).path) if config.uri.startswith("file://") else config.uri
            return LocalBackend(Path(path).expanduser().absolute(), self._memo)
        # Late: opening a local store imports no fsspec.
        from vecmill.store.backend_remote import RemoteBackend
        from vecmill.store.remote import filesystem

        found, root = filesystem(config.uri, config.storage_options)
        return RemoteBackend(config.uri.rstrip("/"), found, root, self._cache, self._memo, config.cache_size)

    @property
    def cache(self) -> Path:
        """Local folder of remembered digests and copies of remote artifacts."""
        return self._cache

    @property
    def uri(self) -> str:
        """Root of the store, absolute."""
        return self.backend.uri

    def file_digest(self, path: Path) -> str:
        """sha256 of a local file, remembered for as long as the file is not touched."""
        return self._memo.sha256(path)

    def remember(self) -> None:
        """Keep what was learnt about file digests for the next process."""
        self._memo.save()

    def manifest(self, stage: str, key: str) -> Manifest | None:
        """The manifest of an artifact, None where there is none or none that can be trusted.

        Raises
        ------
        StoreUnavailable : nobody knows, since a remote store does not answer
        """
        try:
            return self._read_manifest(stage, key)
        except StoreUnavailable:
            raise
        except StoreError:
            return None  # what cannot be read is built again

    def unreadable(self, stage: str, key: str) -> str | None:
        """Why a manifest that lies there cannot be used, None if there is none or it can."""
        try:
            self._read_manifest(stage, key)
        except StoreUnavailable:
            raise
        except StoreError as error:
            return error.found
        return None

    def _read_manifest(self, stage: str, key: str) -> Manifest | None:
        place = f"{stage}/{key}/{MANIFEST_NAME}"
        content = self.backend.read(place)
        if content is None:
            return None
        manifest = Manifest.from_json(content, f"{self.uri}/{place}")
        if (manifest.stage, manifest.key) != (stage, key) or content_digest(manifest.files) != manifest.digest:
            raise StoreError(f"{self.uri}/{place} was altered: what it states does not fit together")
        return manifest

    def problem(self, manifest: Manifest) -> str | None:
        """Why an artifact cannot be used as it lies there, None if it is whole."""
        return self.backend.problem(manifest)

    def folder(self, ref: ArtifactRef) -> Path:
        """A local folder with the artifact's files, for reading only.

        Raises
        ------
        StoreError : the artifact is gone, or not the one that ``ref`` names
        """
        return self.backend.local_folder(self._referred(ref))

    def folders(self, refs: Mapping[str, ArtifactRef]) -> InputFolders:
        """Local folders of artifacts by name; those of a remote store are fetched when they are asked for.

        Raises
        ------
        StoreError : an artifact is gone, or not the one that its reference names
        """
        manifests = {name: self._referred(ref) for name, ref in refs.items()}
        return InputFolders(
            {name: partial(self.backend.local_folder, each) for name, each in manifests.items()},
            {name: partial(self.backend.reading, each) for name, each in manifests.items()},
        )

    def _referred(self, ref: ArtifactRef) -> Manifest:
        manifest = self.manifest(ref.stage, ref.key)
        if manifest is None or manifest.digest != ref.digest:
            raise StoreError(
                f"the artifact {ref.stage}/{ref.key} in {self.uri} is "
                + ("gone" if manifest is None else "another one than this run started from"),
                expected=f"content digest {ref.digest[:16]}…",
                todo="run the pipeline again; somebody changed the store in between",
            )
        return manifest

    def forgotten(self) -> Forgotten:
        """The documents that must never come back."""
        return read_forgotten(self.backend)

    def stages(self) -> list[str]:
        """Names of the stages that have a folder in the store."""
        return [name for name in self.backend.names("") if name not in _NO_STAGES]

    def manifests(self, stage: str | None = None) -> Iterator[Manifest]:
        """Every readable manifest, of one stage or of all, by stage and key."""
        for each in [stage] if stage else self.stages():
            for key in self.backend.names(each):
                found = self.manifest(each, key)
                if found is not None:
                    yield found

    def remove(self, stage: str, key: str) -> None:
        """Remove an artifact, its manifest first."""
        self.backend.remove(f"{stage}/{key}")

    def checkpoints(self, stage: str, key: str) -> Path:
        """Where a stage may keep what it needs to resume after its process was killed; used inside :meth:`building`."""
        return self.backend.checkpoints(f"{stage}-{key}")

    def resumable(self, stage: str, key: str) -> AbstractContextManager[None]:
        """Around what uses :meth:`checkpoints`: those that another machine made are there, and it sees ours."""
        return self.backend.resumable(f"{stage}-{key}")

    def try_disk(self) -> None:
        """Write a little where this machine builds artifacts.

        Raises
        ------
        StoreError : its disk is full, or the folder cannot be made or written
        """
        where, setting = self._disk
        with explained(where, "in a first try", setting), self.backend.scratch("try") as folder:
            (folder / "try").write_bytes(bytes(4096))

    @contextmanager
    def building(self, stage: str, key: str) -> Iterator[None]:
        """Keep other processes from building the same artifact; waits for one that is at it."""
        with self.backend.lock(f"{stage}-{key}"):
            yield

    def build(
        self,
        stage: str,
        key: str,
        parts: Mapping[str, Any],
        inputs: Mapping[str, ArtifactRef],
        definitions: Mapping[str, str],
        work: Callable[[Path], StageReport],
        *,
        replacing: Manifest | None = None,
        composition: Composition | None = None,
    ) -> Manifest:
        """Run ``work`` on an empty folder and publish what it leaves there.

        Called inside :meth:`building`. When ``work`` fails nothing is published and the folder is removed.
        ``replacing`` is the artifact that stands there and cannot be used. ``composition`` is read when ``work`` is
        done, which may fill it.

        Raises
        ------
        StorageFull : no room was left on the disk, or the quota was reached
        """
        where, setting = self._disk
        with explained(where, f"while stage {stage} was writing", setting):
            with self.backend.scratch(f"{stage}-{key}") as folder:
                started = time.perf_counter()
                report = work(folder)
                seconds = time.perf_counter() - started
                made_of = composition or Composition()
                linked = self._linked(made_of)
                files = file_entries(folder, dict(report.rows), linked)
                manifest = Manifest(
                    stage=stage,
                    key=key,
                    digest=content_digest(files),
                    parts=parts,
                    inputs=inputs,
                    definitions=definitions,
                    files=files,
                    metrics=report.metrics,
                    table=report.table,
                    markdown=report.markdown,
                    seconds=round(seconds, 3),
                    finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                    host={
                        "name": socket.gethostname(),
                        "platform": platform.platform(),
                        "python": platform.python_version(),
                    },
                    pieces=tuple(made_of.pieces),
                    links={path: {**asdict(ref), "name": name} for path, (ref, name) in made_of.links.items()},
                )
                published = self.backend.publish(folder, manifest, replacing, linked)
            self.backend.remove_checkpoints(f"{stage}-{key}")
            return published

    def _linked(self, composition: Composition) -> dict[str, LinkedFile]:
        found = {}
        manifests: dict[ArtifactRef, Manifest] = {}
        for output_name, (ref, name) in composition.links.items():
            if ref not in manifests:
                manifest = self.manifest(ref.stage, ref.key)
                if manifest is None or manifest.digest != ref.digest:
                    raise StoreError(
                        f"the piece {ref.stage}/{ref.key} in {self.uri} is gone while {output_name} was linked to it",
                        expected="a store that nobody clears during a run",
                        todo="run again",
                    )
                manifests[ref] = manifest
            entry = next(each for each in manifests[ref].files if each.path == name)
            found[output_name] = LinkedFile(manifests[ref], entry)
        return found


def file_entries(
    folder: Path, rows: Mapping[str, int], linked: Mapping[str, LinkedFile] = MappingProxyType({})
) -> tuple[FileEntry, ...]:
    """An entry for each file below a folder or linked to there, sorted by path; ``rows`` gives numbers of rows."""
    entries = [replace(each.entry, path=name, etag="") for name, each in linked.items()]
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            relative = path.relative_to(folder).as_posix()
            entries.append(FileEntry(relative, path.stat().st_size, sha256_file(path), rows.get(relative)))
    return tuple(sorted(entries, key=lambda each: Path(each.path)))
