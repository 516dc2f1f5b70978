"""Garbage collection: what no kept model leads back to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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

    Notes
    -----
    Artifacts of a run that is at work right now are kept too, whatever becomes of it.
    """
    everything = {(each.stage, each.key): each for each in store.manifests()}
    kept: set[tuple[str, str]] = set()
    pending = [
        place
        for place, manifest in everything.items()
        if place[0] == root_stage and is_kept(manifest, store.backend.local_folder(manifest))
    ]
    for pipeline in pipelines_with_runs(store):
        for record in run_records(store, pipeline):
            if record.active:
                pending += [place for place in record.keys.items() if place in everything]
    while pending:
        place = pending.pop()
        if place in kept or place not in everything:
            continue
        kept.add(place)
        pending += [(ref.stage, ref.key) for ref in everything[place].inputs.values()]
    garbage = tuple(manifest for place, manifest in sorted(everything.items()) if place not in kept)
    return Garbage(garbage, len(kept))


def collect(store: ArtifactStore, garbage: Garbage) -> None:
    """Remove the artifacts that :func:`find_garbage` listed."""
    for manifest in garbage.artifacts:
        with store.building(manifest.stage, manifest.key):
            store.remove(manifest.stage, manifest.key)
