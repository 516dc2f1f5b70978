"""Removing from a store what held some documents or was computed from them.

What follows from a document is read from the manifests: an artifact follows from each of its inputs and pieces, by
stage and key. Removal begins with what nothing follows from and ends with the corpora, so that one that was broken off
finds the documents again and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from vecmill.errors import StoreError
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.manifest import ArtifactRef, Manifest
from vecmill.store.runs import pipelines_with_runs, run_records

Place = tuple[str, str]

# Who reads a copy on this machine, to answer a question or to draw a report, is done in less.
_READING_SECONDS = 10.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Affected:
    """What has to go.

    Attributes
    ----------
    artifacts : in the order in which they are removed, what nothing follows from first
    orphans : those among them whose own inputs are gone, so that nobody can say what they were made from
    n_kept : artifacts that stay
    """

    artifacts: list[Manifest] = field(default_factory=list)
    orphans: list[Manifest] = field(default_factory=list)
    n_kept: int = 0


def refuse_while_running(store: ArtifactStore) -> None:
    """Refuse to remove anything while a pipeline may still publish what it computed from it.

    Raises
    ------
    StoreError : names the run
    """
    for pipeline in pipelines_with_runs(store):
        for record in run_records(store, pipeline):
            if record.active:
                raise StoreError(
                    f"a run of {pipeline} is at work on {store.uri} (process {record.pid} on {record.host}, since "
                    f"{record.started_at})",
                    expected="no run, since it might bring back what is to be forgotten",
                    todo="wait until it has ended, or stop it, then forget again",
                )


def affected_by(store: ArtifactStore, holding: Iterable[Place]) -> Affected:
    """Everything that follows from some artifacts, themselves included, and everything whose origin is gone.

    Raises
    ------
    StoreError : a manifest cannot be read, so that nobody can say what its artifact was made from
    """
    for stage in store.stages():
        for key in store.backend.names(stage):
            problem = store.unreadable(stage, key)
            if problem:
                raise StoreError(
                    problem,
                    expected="a manifest that says what the artifact descends from",
                    todo=f"delete the folder {stage}/{key} of the store, then forget again",
                )
    everything = {(each.stage, each.key): each for each in store.manifests()}
    origins = {place: _origins(manifest) for place, manifest in everything.items()}
    going = {place for place in holding if place in everything}
    orphans = {place for place, refs in origins.items() if any(_place(ref) not in everything for ref in refs)}
    going |= orphans
    while more := {
        place for place, refs in origins.items() if place not in going and any(_place(ref) in going for ref in refs)
    }:
        going |= more
    order: list[Place] = []
    left = set(going)
    while left:
        needed = {_place(ref) for place in left for ref in origins[place]}
        ends = sorted(place for place in left if place not in needed)
        order += ends
        left -= set(ends)
    return Affected(
        [everything[place] for place in order],
        [everything[place] for place in order if place in orphans],
        len(everything) - len(order),
    )


def remove_affected(store: ArtifactStore, affected: Affected) -> int:
    """Remove artifacts, their checkpoints and their copies on this machine; and what killed processes left.

    Returns
    -------
    int : what that gives back, in bytes as stored

    Raises
    ------
    StoreError : somebody on this machine goes on reading a copy; the artifact stays as well, so that the next try
        finds it
    """
    for manifest in affected.artifacts:
        with store.building(manifest.stage, manifest.key):
            _remove_copies(store, manifest)
            store.remove(manifest.stage, manifest.key)
    store.backend.remove_leftovers()
    return sum(manifest.n_bytes for manifest in affected.artifacts)


def _remove_copies(store: ArtifactStore, manifest: Manifest) -> None:
    deadline = time.monotonic() + _READING_SECONDS
    while left := store.backend.remove_copies(manifest.stage, manifest.key):
        if time.monotonic() > deadline:
            raise StoreError(
                f"another process reads {left[0]}, a copy of what is to be forgotten",
                expected="nobody who reads it",
                todo="end the process that does (`fuser -v` with this folder names it), then forget again",
            )
        time.sleep(_LOOK_SECONDS)


def _origins(manifest: Manifest) -> list[ArtifactRef]:
    return [*manifest.inputs.values(), *manifest.pieces]


def _place(ref: ArtifactRef) -> Place:
    return ref.stage, ref.key
