"""Garbage collection: what no kept model leads back to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vecmill.errors import StoreError
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.manifest import Manifest
from vecmill.store.runs import pipelines_with_runs, run_records


@dataclass(frozen=True)
class Garbage:
    """Artifacts that may go, and how many stay."""

    artifacts: tuple[Manifest, ...]
    n_kept: int

    @property
    def n_bytes(self) -> int:
        """What removing them would give back."""
        return sum(manifest.n_bytes for manifest in self.artifacts)


def find_garbage(store: ArtifactStore, is_kept: Callable[[Manifest, Path], bool], *, root_stage: str) -> Garbage:
    """List the artifacts from which no kept model descends.

    Parameters
    ----------
    is_kept : whether an artifact of ``root_stage`` (given its manifest and local folder) stands for a model that is
        still in the registry
    root_stage : the stage whose artifacts stand for models

    Raises
    ------
    StoreError : an artifact's manifest cannot be read, so that nobody can say what it leads back to

    Notes
    -----
    Artifacts of a run that is at work right now are kept too, whatever becomes of it.
    """
    _check_readable(store, root_stage)
    everything = {(each.stage, each.key): each for each in store.manifests()}
    kept: set[tuple[str, str]] = set()
    pending = [
        place
        for place, manifest in everything.items()
        if place[0] == root_stage and is_kept(manifest, store.backend.local_folder(manifest))
    ]
    at_work = _at_work(store)
    pending += [place for place in everything if _is_at_work(place, at_work)]
    while pending:
        place = pending.pop()
        if place in kept or place not in everything:
            continue
        kept.add(place)
        pending += [(ref.stage, ref.key) for ref in everything[place].inputs.values()]
        pending += [(ref.stage, ref.key) for ref in everything[place].pieces]
    garbage = tuple(manifest for place, manifest in sorted(everything.items()) if place not in kept)
    return Garbage(garbage, len(kept))


def collect(store: ArtifactStore, garbage: Garbage) -> None:
    """Remove the artifacts that :func:`find_garbage` listed, and what killed processes left half-written."""
    for manifest in garbage.artifacts:
        with store.building(manifest.stage, manifest.key):
            if not _is_at_work((manifest.stage, manifest.key), _at_work(store)):  # a run may have begun since
                store.remove(manifest.stage, manifest.key)
                store.backend.remove_copies(manifest.stage, manifest.key)
    store.backend.sweep()


def _at_work(store: ArtifactStore) -> set[tuple[str, str]]:
    """Stage and key of every artifact that a running pipeline counts on."""
    return {
        place
        for pipeline in pipelines_with_runs(store)
        for record in run_records(store, pipeline)
        if record.active
        for place in record.keys.items()
    }


def _is_at_work(place: tuple[str, str], at_work: set[tuple[str, str]]) -> bool:
    # Keys of pieces are not in a run's record; while their stage may be at work, all of them stay.
    return place in at_work or any(place[0].startswith(f"{stage}.") for stage, _ in at_work)


def _check_readable(store: ArtifactStore, root_stage: str) -> None:
    """Refuse to judge a store with manifests that cannot be read: what they lead back to would look like garbage."""
    for stage in store.stages():
        for key in store.backend.names(stage):
            problem = store.unreadable(stage, key)
            if problem is None and stage == root_stage and store.manifest(stage, key) is None:
                problem = f"{store.uri}/{stage}/{key} has no manifest, though it stands for a model"
            if problem:
                raise StoreError(
                    problem,
                    expected="a manifest that says what the artifact descends from",
                    todo=f"run the pipeline that made it again, or delete the folder {stage}/{key} of the store",
                )
