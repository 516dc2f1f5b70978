"""What a stage is: one core function from a configuration and input folders to an output folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from vecmill.store.digest import sha256_file
from vecmill.store.forgotten import NOTHING_FORGOTTEN, Forgotten
from vecmill.store.manifest import ArtifactRef


@dataclass(frozen=True)
class Piece:
    """A share of a stage's work that is an artifact of its own, so that tomorrow's run takes it over.

    Attributes
    ----------
    config : what decides its result beside code, files and inputs, as JSON values
    argument : what its function is given, made of the above; it may cross to another process
    external : size and fingerprint of each file outside the store that it reads, by name
    inputs : artifacts that it reads, by name
    local_files : sha256 of those of the files that lie on this machine, by path; looked at again when it is done
    n_bytes : size of the work, for progress
    memory_bytes : that it may take beside what any process does, for whoever places it on a machine; 0: little
    """

    config: Mapping[str, Any]
    argument: Any
    external: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inputs: Mapping[str, ArtifactRef] = field(default_factory=dict)
    local_files: Mapping[str, str] = field(default_factory=dict)
    n_bytes: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True)
class BuiltPiece:
    """A finished piece.

    Attributes
    ----------
    ref : the artifact; None where there is no store
    metrics, table : its report
    rows : number of rows (None where it has none) of each of its files, by path
    open : gives a local folder that holds its files (those named, or all), for reading only
    taken_over : whether it stood already
    """

    ref: ArtifactRef | None
    metrics: Mapping[str, Any]
    table: list[dict[str, Any]]
    rows: Mapping[str, int | None]
    open: Callable[..., Path]
    taken_over: bool = False


@dataclass(frozen=True)
class OlderPiece:
    """A piece of an earlier run by the same code and configuration over other files."""

    external: Mapping[str, Mapping[str, Any]]
    open: Callable[..., Path]


# (argument, io) -> report; writes into io.output and nowhere else. A definition of a module: its code is in the key.
PieceFunction = Callable[[Any, "StageIO"], "StageReport"]
# Given a piece that has to be built and the older ones, the argument that saves reading again what they hold.
Prepare = Callable[[Piece, Sequence[OlderPiece]], Any]


class Pieces(Protocol):
    """Builds the pieces of a stage, or takes over those that stand."""

    def build(
        self,
        kind: str,
        function: PieceFunction,
        wanted: Sequence[Piece],
        *,
        description: str,
        prepare: Prepare | None = None,
        at_once: int = 1,
        warm_up: Callable[[], None] | None = None,
    ) -> list[BuiltPiece]:
        """The pieces in the order wanted; finished ones stay when a later one fails or the process is killed.

        Parameters
        ----------
        kind : what the pieces of this function are called, ``[a-z]+``; their place in the store is ``<stage>.<kind>``
        description : for the progress bar
        at_once : so many are built side by side, in threads, where they are built in this process; each says now and
            then how far it is (``io.advance``), since that is where one ends that nobody wants any more
        warm_up : called first, in the caller's thread, where any are built in this process
        """

    def folder(self, ref: ArtifactRef, *names: str) -> Path | None:
        """A local folder that holds a piece's files (those named, or all), for reading only.

        ``ref`` may be a piece of another stage, as ``StageIO.lineage`` names it. None where it does not stand whole.
        """

    def link(self, piece: BuiltPiece, name: str, output_name: str) -> None:
        """Make a file of a piece a file of the stage's output as well, without copying it where that can be avoided."""


class InputFolders(Mapping[str, Path]):
    """Folders of inputs by name, each brought to this machine when it is first asked for.

    Parameters
    ----------
    fetch : for each input what gives its folder, with the files named in it, or with all
    read : for each input what opens one of its files where it lies
    """

    def __init__(
        self,
        fetch: Mapping[str, Callable[[Sequence[str]], Path]],
        read: Mapping[str, Callable[[str], AbstractContextManager[BinaryIO]]],
    ) -> None:
        self._fetch = fetch
        self._read = read
        self._whole: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        if name not in self._whole:
            self._whole[name] = self._fetch[name](())
        return self._whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fetch)

    def __len__(self) -> int:
        return len(self._fetch)

    def some(self, name: str, files: Sequence[str]) -> Path:
        """The folder of an input, where these files need not all be there, and others may be missing."""
        return self._whole[name] if name in self._whole else self._fetch[name](files)

    def opened(self, name: str, file: str) -> AbstractContextManager[BinaryIO]:
        """One of the files of an input, which need not come to this machine as a whole."""
        return (self._whole[name] / file).open("rb") if name in self._whole else self._read[name](file)


@dataclass(frozen=True)
class StageIO:
    """Where a stage finds its inputs and puts its output.

    Attributes
    ----------
    inputs : local folder of each input artifact, by the name of the stage that made it; read only. One that lies
        elsewhere is fetched when it is asked for
    output : an empty local folder; what stands in it when the stage returns is the artifact
    seed : seed of the run, an integer >= 0; every random stream of the stage is derived from it
    checkpoints : a local folder of this very artifact that outlives a killed process, for a stage that can resume; it
        may not exist yet, is removed when the artifact is published, and is None where nothing is kept
    lineage : manifests (as JSON values) of every artifact that the output descends from, by stage name
    pieces : builds shares of the work as artifacts of their own; None where there is no store
    file_digest : sha256 of a local file, remembered for as long as nobody touches it where there is a store
    forgotten : documents that must not reach the output
    advance : of a piece: told how much of its ``n_bytes`` is done
    """

    inputs: Mapping[str, Path]
    output: Path
    seed: int = 0
    lineage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checkpoints: Path | None = None
    pieces: Pieces | None = None
    file_digest: Callable[[Path], str] = sha256_file
    forgotten: Forgotten = NOTHING_FORGOTTEN
    advance: Callable[[float], None] = field(default=lambda amount: None)

    def small_files(self, name: str, *files: str) -> Path:
        """Folder of an input for one who reads these of its files alone, so that a large input need not travel."""
        return self.inputs.some(name, files) if isinstance(self.inputs, InputFolders) else self.inputs[name]

    def opened(self, name: str, file: str) -> AbstractContextManager[BinaryIO]:
        """A file of an input for one who reads a part of it, such as a column, so that the rest need not travel."""
        if isinstance(self.inputs, InputFolders):
            return self.inputs.opened(name, file)
        return (self.inputs[name] / file).open("rb")


@dataclass(frozen=True)
class StageReport:
    """What a stage says about its output; kept in the manifest, shown in Prefect, on the terminal and in MLflow.

    Attributes
    ----------
    metrics : numbers and short texts worth keeping, by snake_case name with unit suffix (``n_documents``, ``seconds``)
    rows : number of rows of each output file that has rows, by path relative to the output folder
    table : a few rows for people to look at (every row the same keys, plain JSON values)
    markdown : a description in Markdown that goes with the table
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    markdown: str = ""


# (config section, io) -> report. The function writes into io.output and nowhere else.
StageFunction = Callable[[Any, StageIO], StageReport]


def replica_seed(seed: int, replica: int) -> int:
    """The seed of a replica, a stage that is run again with other random numbers and all else equal.

    Replica 0 has the run's own seed, so that it is what a plain run gives.
    """
    if replica == 0:
        return seed
    digest = hashlib.sha256(f"vecmill replica {seed} {replica}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
