"""What the artifact store asks of a place: a local disk, or anything fsspec reaches (``s3://``, ``memory://`` …).

Both kinds keep one promise: a reader either finds no manifest, or one whose files were complete when it was written.
Locally a whole folder is renamed into place. Remotely the files go under a prefix of their own first and the manifest,
one object written in one request, makes them visible; of two writers the first one's manifest stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from vecmill.store.byte_scan import ByteScan
from vecmill.store.manifest import FileEntry, Manifest


@dataclass(frozen=True)
class LinkedFile:
    """A file of a standing artifact that is to be a file of another one as well."""

    manifest: Manifest
    entry: FileEntry


class Backend(Protocol):
    """What the artifact store asks of a place."""

    uri: str

    def read(self, path: str) -> bytes | None:
        """Content of a small file below the root, None where there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Write a small file below the root in one step."""

    def names(self, folder: str) -> list[str]:
        """Names of files and folders directly inside a folder, sorted; empty where there is no such folder."""

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all it holds, the manifest first; no error where there is none."""

    def scratch(self, label: str) -> AbstractContextManager[Path]:
        """Context manager giving an empty local folder that is removed afterwards."""

    def sweep(self) -> int:
        """Remove what killed processes left half-written; gives the number of folders removed."""

    def remove_copies(self, stage: str, key: str) -> list[Path]:
        """Remove checkpoints of an artifact and copies of its files on this machine.

        Returns the folders of copies that stay, since somebody reads them just now.
        """

    def remove_leftovers(self) -> None:
        """Remove all half-written work on this machine, and checkpoints; for when nobody is at work."""

    def scan(self, scan: ByteScan, passing: Callable[[str], bool]) -> None:
        """Search every file of the store, except those whose path below the root ``passing`` names."""

    def checkpoints(self, label: str) -> Path:
        """A local folder that outlives a killed process; not created here."""

    def resumable(self, label: str) -> AbstractContextManager[None]:
        """Context manager in which checkpoints of other machines are there, and they see those that are made here."""

    def remove_checkpoints(self, label: str) -> None:
        """Remove the checkpoints of an artifact that was published."""

    def publish(
        self, scratch: Path, manifest: Manifest, replacing: Manifest | None, linked: Mapping[str, LinkedFile]
    ) -> Manifest:
        """Make a finished scratch folder an artifact, in place of the one that the caller found wanting (if any).

        Files that are ``linked`` do not lie in the folder; they are taken from the artifacts that hold them.
        Returns the manifest that stands afterwards, which may be that of another writer who was faster.
        """

    def problem(self, manifest: Manifest) -> str | None:
        """Why the files are not those that the manifest states, None if they are."""

    def local_folder(self, manifest: Manifest, names: Sequence[str] = ()) -> Path:
        """A local folder that holds the artifact's files, or at least those named, for reading."""

    def reading(self, manifest: Manifest, name: str) -> AbstractContextManager[BinaryIO]:
        """Context manager: a file of the artifact, for reading parts of it; only those travel from where it lies."""

    def using(self) -> AbstractContextManager[None]:
        """Context manager: folders that :meth:`local_folder` gave in it may go afterwards, and no sooner."""

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Context manager that keeps other writers of the same name out, where the place can do that."""
