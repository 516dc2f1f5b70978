"""The manifest: what an artifact is, what made it, and how to tell that it is whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vecmill.errors import StoreError
from vecmill.store.digest import digest_json

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact.

    Attributes
    ----------
    path : relative to the artifact's folder, with forward slashes
    bytes : size
    sha256 : of the content, 64 hex digits
    rows : number of rows, None for files that have none
    etag : what the remote store calls this content, empty on local disks; a changed etag is a changed file
    """

    path: str
    bytes: int
    sha256: str
    rows: int | None = None
    etag: str = ""


@dataclass(frozen=True)
class ArtifactRef:
    """A small reference to a finished artifact: what stages hand each other.

    ``key`` says what the artifact was made from, ``digest`` what came out; both as hex digits.
    """

    stage: str
    key: str
    digest: str


@dataclass(frozen=True)
class Manifest:
    """Everything there is to know about an artifact without opening its files.

    Attributes
    ----------
    stage, key : the artifact's place, ``<stage>/<key>/``
    digest : content digest, over path, size and sha256 of every file
    parts : what the key is the digest of: config, seed, keys of inputs, external files, code, versions
    inputs : references to the input artifacts as they were when this one was made, by stage name
    definitions : digest of every definition in the code closure, by ``module:name``
    files : every data file
    metrics, table, markdown : the stage's report
    seconds : wall time of the core function
    finished_at : UTC time in ISO 8601
    host : name, platform, Python version
    prefix : folder inside the artifact's folder under which a remote store keeps the files of this generation
    pieces : artifacts of its own stage that it was put together from, in their order (:mod:`vecmill.store.pieces`)
    links : of each file that is a piece's as well: ``stage``, ``key`` and ``digest`` of the piece, ``name`` there
    """

    stage: str
    key: str
    digest: str
    parts: Mapping[str, Any]
    inputs: Mapping[str, ArtifactRef]
    definitions: Mapping[str, str]
    files: tuple[FileEntry, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    markdown: str = ""
    seconds: float = 0.0
    finished_at: str = ""
    host: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    schema_version: int = SCHEMA_VERSION
    pieces: tuple[ArtifactRef, ...] = ()
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def ref(self) -> ArtifactRef:
        """The reference that other stages keep."""
        return ArtifactRef(self.stage, self.key, self.digest)

    @property
    def n_bytes(self) -> int:
        """Size of all data files."""
        return sum(entry.bytes for entry in self.files)

    def to_json(self) -> str:
        """The manifest as indented JSON, keys in the order of the fields."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Manifest:
        """Read a manifest.

        Raises
        ------
        StoreError : ``text`` is not a manifest of this schema version; ``where`` is named in the message
        """
        try:
            raw = json.loads(text)
            if raw["schema_version"] != SCHEMA_VERSION:
                raise StoreError(
                    f"{where} has schema version {raw['schema_version']!r}",
                    expected=f"version {SCHEMA_VERSION}",
                    todo="run the stage again, or read the artifact with the version of vecmill that made it",
                )
            raw["inputs"] = {name: ArtifactRef(**ref) for name, ref in raw["inputs"].items()}
            raw["files"] = tuple(FileEntry(**entry) for entry in raw["files"])
            raw["pieces"] = tuple(ArtifactRef(**ref) for ref in raw.get("pieces", ()))
            return cls(**raw)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{where} cannot be read as a manifest ({type(error).__name__}: {error})",
                expected="the JSON that vecmill wrote",
                todo="delete the artifact's folder; the next run builds it again",
            ) from error


def content_digest(files: tuple[FileEntry, ...]) -> str:
    """Digest of an artifact's content, from path, size and sha256 of its files in any order; 64 hex digits."""
    return digest_json(sorted([entry.path, entry.bytes, entry.sha256] for entry in files))
