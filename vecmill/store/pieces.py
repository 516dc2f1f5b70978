"""Stages built from pieces: shares of their work that are artifacts of their own.

A piece stands in the store as ``<stage>.<kind>/<key>``, with a manifest like any artifact. Its key is the digest of the
closure of its function, of the configuration that matters to it, of the fingerprints of its files and the keys of its
inputs, so that tomorrow's run takes over every piece whose files nobody touched. The stage's manifest names the pieces
it was made from.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from vecmill.errors import SourceError
from vecmill.progress import track
from vecmill.store.artifact_store import ArtifactStore, Composition, StoreConfig
from vecmill.store.manifest import SCHEMA_VERSION, ArtifactRef, Manifest
from vecmill.store.plan import key_of, loaded_roots
from vecmill.store.stage import BuiltPiece, OlderPiece, Piece, PieceFunction, Prepare, StageIO, StageReport

log = logging.getLogger("vecmill")

# Remote stores answer one question in some ten milliseconds.
_LOOKING_THREADS = 16
# Artifacts of the stage, newest first, whose pieces may hold what a new piece wants.
_MOST_OLDER = 2


@dataclass(frozen=True)
class PieceJob:
    """What a process needs to build one piece; may be pickled."""

    stage: str
    key: str
    parts: Mapping[str, Any]
    inputs: Mapping[str, ArtifactRef]
    definitions: Mapping[str, str]
    function: PieceFunction
    argument: Any
    local_files: Mapping[str, str]
    refresh: bool = False
    memory_bytes: int = 0


# Applies a function to jobs and gives the results in their order: the built-in map, an executor's, Ray's pool's.
Mapper = Callable[[Callable[[PieceJob], Manifest], Iterable[PieceJob]], Iterable[Manifest]]


def build_piece(
    job: PieceJob, place: StoreConfig | ArtifactStore, advance: Callable[[float], None] = lambda amount: None
) -> Manifest:
    """Build one piece, or take it if another process finished it meanwhile.

    Raises
    ------
    SourceError : one of its files changed while it was read; nothing is published then
    """
    store = ArtifactStore(place) if isinstance(place, StoreConfig) else place
    with store.backend.using(), store.building(job.stage, job.key):
        standing = store.manifest(job.stage, job.key)
        if not job.refresh and standing is not None and piece_problem(store, standing, job.inputs) is None:
            return standing
        folders = store.folders(job.inputs)

        def work(folder: Path) -> StageReport:
            io = StageIO(folders, folder, file_digest=store.file_digest, advance=advance)
            report = job.function(job.argument, io)
            loaded_roots((_root(job.function),), job.stage)
            for path, digest in job.local_files.items():
                if store.file_digest(Path(path)) != digest:
                    raise SourceError(
                        f"{path} changed while stage {job.stage.partition('.')[0]} was reading",
                        expected="sources that stay as they are during a run",
                        todo="run again when nothing writes to them",
                    )
            return report

        return store.build(job.stage, job.key, job.parts, job.inputs, job.definitions, work, replacing=standing)


def piece_problem(store: ArtifactStore, manifest: Manifest, inputs: Mapping[str, ArtifactRef]) -> str | None:
    """Why a piece that stands cannot be taken over, None if it can."""
    for name, ref in inputs.items():
        if manifest.inputs[name].digest != ref.digest:
            return f"{name} was rebuilt and holds other content now"
    return store.problem(manifest)


@dataclass
class StorePieces:
    """The :class:`~vecmill.store.stage.Pieces` of a stage that is being built in a store.

    Attributes
    ----------
    stage, libraries : of the stage whose pieces they are
    mapper : spreads the building over processes or machines; None builds one after the other in this process. Each
        worker opens the store by its configuration
    refresh : build every piece again
    composition : what the stage asked for; its manifest keeps it
    n_built, n_taken_over : pieces of all kinds so far
    """

    store: ArtifactStore
    stage: str
    libraries: tuple[str, ...] = ()
    mapper: Mapper | None = None
    refresh: bool = False
    composition: Composition = field(default_factory=Composition)
    n_built: int = 0
    n_taken_over: int = 0

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
        """See :meth:`vecmill.store.stage.Pieces.build`."""
        stage = f"{self.stage}.{kind}"
        code = loaded_roots((_root(function),), stage)
        parts = [self._parts(stage, code.digest, piece) for piece in wanted]
        keys = [key_of(each) for each in parts]
        found = self._standing(stage, keys, wanted)
        missing = [n for n, manifest in enumerate(found) if manifest is None]
        if missing:
            older = self._older(stage, parts[missing[0]]) if prepare else []
            jobs = [
                PieceJob(
                    stage,
                    keys[n],
                    parts[n],
                    wanted[n].inputs,
                    code.definitions,
                    function,
                    prepare(wanted[n], older) if prepare else wanted[n].argument,
                    wanted[n].local_files,
                    self.refresh,
                    wanted[n].memory_bytes,
                )
                for n in missing
            ]
            sizes = [wanted[n].n_bytes for n in missing]
            if warm_up is not None and self.mapper is None:
                warm_up()
            with track(description, sum(sizes), "bytes") as bar:
                if len(missing) < len(wanted):
                    bar.note(f"{len(wanted) - len(missing)} of {len(wanted)} pieces taken over")
                for n, manifest in zip(missing, self._built(jobs, sizes, bar.advance, at_once), strict=True):
                    found[n] = manifest
        built = set(missing)
        self.n_built += len(built)
        self.n_taken_over += len(wanted) - len(built)
        result = [self._described(each, n not in built) for n, each in enumerate(found) if each is not None]
        self.composition.pieces += [each.ref for each in result if each.ref is not None]
        return result

    def _parts(self, stage: str, code: str, piece: Piece) -> dict[str, Any]:
        return {
            "stage": stage,
            "schema_version": SCHEMA_VERSION,
            "config": dict(piece.config),
            "seed": None,
            "inputs": {name: ref.key for name, ref in piece.inputs.items()},
            "external": {name: dict(each) for name, each in piece.external.items()},
            "code": code,
            "versions": {
                "python": f"{sys.version_info.major}.{sys.version_info.minor}",
                **{name: metadata.version(name) for name in self.libraries},
            },
        }

    def _standing(self, stage: str, keys: Sequence[str], wanted: Sequence[Piece]) -> list[Manifest | None]:
        if self.refresh:
            return [None] * len(keys)
        present = set(self.store.backend.names(stage))

        def look(key: str, piece: Piece) -> Manifest | None:
            manifest = self.store.manifest(stage, key) if key in present else None
            return manifest if manifest and piece_problem(self.store, manifest, piece.inputs) is None else None

        with ThreadPoolExecutor(_LOOKING_THREADS) as pool:
            return list(pool.map(look, keys, wanted))

    def _older(self, stage: str, parts: Mapping[str, Any]) -> list[OlderPiece]:
        """What the newest artifacts of the stage were made from by this very code and configuration."""
        if self.refresh:
            return []
        newest = sorted(self.store.manifests(self.stage), key=lambda each: each.finished_at, reverse=True)
        refs = {ref.key: ref for each in newest[:_MOST_OLDER] for ref in each.pieces if ref.stage == stage}
        recipe = {name: value for name, value in parts.items() if name not in ("external", "config")}
        found = []
        for ref in refs.values():
            manifest = self.store.manifest(stage, ref.key)
            if manifest is None or self.store.problem(manifest):
                continue
            if all(manifest.parts.get(name) == value for name, value in recipe.items()) and _same_settings(
                manifest.parts["config"], parts["config"]
            ):
                found.append(OlderPiece(manifest.parts["external"], partial(self._folder, manifest)))
        return found

    def _built(
        self, jobs: list[PieceJob], sizes: list[int], advance: Callable[[float], None], at_once: int
    ) -> Iterator[Manifest]:
        if self.mapper is None and (at_once == 1 or len(jobs) == 1):
            for job in jobs:
                yield build_piece(job, self.store, advance)
            return
        if self.mapper is None:
            yield from _side_by_side(jobs, self.store, advance, at_once)
            return
        for manifest, n_bytes in zip(
            self.mapper(partial(build_piece, place=self.store.config), jobs), sizes, strict=True
        ):
            advance(n_bytes)
            yield manifest

    def _described(self, manifest: Manifest, taken_over: bool) -> BuiltPiece:
        return BuiltPiece(
            manifest.ref,
            manifest.metrics,
            manifest.table,
            {each.path: each.rows for each in manifest.files},
            partial(self._folder, manifest),
            taken_over,
        )

    def _folder(self, manifest: Manifest, *names: str) -> Path:
        return self.store.backend.local_folder(manifest, names)

    def folder(self, ref: ArtifactRef, *names: str) -> Path | None:
        """See :meth:`vecmill.store.stage.Pieces.folder`."""
        manifest = self.store.manifest(ref.stage, ref.key)
        if manifest is None or manifest.digest != ref.digest or self.store.problem(manifest) is not None:
            return None
        return self._folder(manifest, *names)

    def link(self, piece: BuiltPiece, name: str, output_name: str) -> None:
        """See :meth:`vecmill.store.stage.Pieces.link`."""
        assert piece.ref is not None
        self.composition.links[output_name] = (piece.ref, name)


class _Unwanted(Exception):
    """Said to a piece that is being built when another one has failed or the run was stopped."""


def _side_by_side(
    jobs: Sequence[PieceJob], store: ArtifactStore, advance: Callable[[float], None], at_once: int
) -> Iterator[Manifest]:
    """Build pieces in threads, so that one computes while another waits for the disk; manifests come in their order."""
    lock, stopped = threading.Lock(), threading.Event()
    failures: list[BaseException] = []

    def advance_or_stop(amount: float) -> None:
        if stopped.is_set():
            raise _Unwanted
        with lock:
            advance(amount)

    def build(job: PieceJob) -> Manifest:
        if stopped.is_set():
            raise _Unwanted
        try:
            return build_piece(job, store, advance_or_stop)
        except _Unwanted:
            raise
        except BaseException as error:
            # At once, not when its turn comes: those before it may be at work for long.
            failures.append(error)
            stopped.set()
            raise

    with ThreadPoolExecutor(at_once, thread_name_prefix="piece") as pool:
        building: list[Future[Manifest]] = []
        try:
            # Ctrl-C may come while they are handed out.
            building.extend(pool.submit(build, job) for job in jobs)
            for each in building:
                yield each.result()
        except _Unwanted:
            raise failures[0] from None
        finally:
            stopped.set()
            for each in building:
                each.cancel()


def _same_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two pieces differ at most in what is forgotten of their files."""
    return {**old, "forgotten": None} == {**new, "forgotten": None}


def _root(function: PieceFunction) -> str:
    return f"{function.__module__}:{function.__qualname__}"
