"""Running one stage: take the artifact that stands, or build it while nobody else does."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from vecmill.errors import SourceError
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.forgotten import NOTHING_FORGOTTEN
from vecmill.store.manifest import ArtifactRef, Manifest
from vecmill.store.pieces import Mapper, StorePieces
from vecmill.store.plan import PlannedStage, Stage, artifact_problem, external_parts, key_of, loaded_code, stage_parts
from vecmill.store.stage import StageFunction, StageIO, StageReport

log = logging.getLogger("vecmill")


@dataclass(frozen=True)
class StageOutcome:
    """What running a stage came to; small enough to hand around.

    Attributes
    ----------
    ref : the artifact
    cached : whether it stood already
    seconds : wall time spent in this run (looking it up, or building it)
    metrics, table, markdown : the stage's report, from the manifest
    core_seconds : wall time of its function, 0 if it was cached
    n_pieces_built, n_pieces_taken_over : of a stage that was built from pieces in this run
    """

    ref: ArtifactRef
    cached: bool
    seconds: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    markdown: str = ""
    core_seconds: float = 0.0
    n_pieces_built: int = 0
    n_pieces_taken_over: int = 0

    @property
    def stage(self) -> str:
        return self.ref.stage


def run_stage(
    stage: Stage,
    config: Any,
    store: ArtifactStore,
    inputs: Mapping[str, ArtifactRef],
    *,
    refresh: bool = False,
    mapper: Mapper | None = None,
) -> StageOutcome:
    """Return the stage's artifact, building it if it does not stand whole in the store.

    Parameters
    ----------
    config : the pipeline's whole configuration; the stage sees its own section only
    inputs : references to the input artifacts, by stage name
    refresh : build even if an artifact stands, and its pieces too
    mapper : spreads the pieces of the stage over processes or machines; None works in this process

    Raises
    ------
    VecmillError : what the stage or the store refuses; artifacts finished before stay
    """
    started = time.perf_counter()
    parts, definitions = stage_parts(stage, config, {name: ref.key for name, ref in inputs.items()}, store)
    planned = PlannedStage(stage, key_of(parts), parts, definitions)
    standing = _inputs(store, stage, inputs)
    with store.backend.using(), store.building(stage.name, planned.key):
        # Looked up under the lock: another run may have finished this very artifact while we waited.
        planned.manifest = store.manifest(stage.name, planned.key)
        problem = artifact_problem(store, planned, config, standing)
        if problem is None and not refresh and planned.manifest is not None:
            log.info("%s: cached (%s)", stage.name, planned.key)
            return _outcome(planned.manifest, cached=True, started=started)
        if planned.manifest is None:
            log.info("%s: building %s", stage.name, planned.key)
        else:
            # Damage is news; what the plan has said already is not.
            level = logging.WARNING if problem and problem.startswith("artifact") and not refresh else logging.INFO
            log.log(level, "%s: building again: %s", stage.name, "asked for" if refresh else problem)
        section = getattr(config, stage.section)
        function = _resolve(stage.core_function(config))
        folders = store.folders(inputs)
        lineage = {name: dataclasses.asdict(each) for name, each in ancestors(store, list(standing.values())).items()}

        pieces = StorePieces(store, stage.name, stage.libraries, mapper, refresh)

        def work(folder: Path) -> StageReport:
            io = StageIO(
                inputs=folders,
                output=folder,
                seed=stage.seed(config),
                lineage=lineage,
                checkpoints=store.checkpoints(stage.name, planned.key),
                pieces=pieces,
                file_digest=store.file_digest,
                forgotten=store.forgotten() if stage.forgets else NOTHING_FORGOTTEN,
            )
            with store.resumable(stage.name, planned.key):
                report = function(section, io)
            loaded_code(stage, config)
            _check_unchanged(stage, config, store, parts)
            return report

        manifest = store.build(
            stage.name,
            planned.key,
            parts,
            dict(inputs),
            definitions,
            work,
            replacing=planned.manifest,
            composition=pieces.composition,
        )
    store.remember()
    outcome = _outcome(manifest, cached=False, started=started)
    return dataclasses.replace(outcome, n_pieces_built=pieces.n_built, n_pieces_taken_over=pieces.n_taken_over)


def _check_unchanged(stage: Stage, config: Any, store: ArtifactStore, parts: Mapping[str, Any]) -> None:
    """Refuse what was made while a source changed: it would stand under the key of the old content."""
    if stage.external is None:
        return
    before, now = parts["external"], external_parts(stage, config, store)
    changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
    if changed:
        raise SourceError(
            f"{changed[0]} changed while stage {stage.name} was reading"
            + (f", and {len(changed) - 1} more" if changed[1:] else ""),
            expected="sources that stay as they are during a run",
            todo="run again when nothing writes to them",
        )


def ancestors(store: ArtifactStore, manifests: list[Manifest]) -> dict[str, Manifest]:
    """The given artifacts and all that they descend from, by stage name, nearest first."""
    found: dict[str, Manifest] = {}
    pending = list(manifests)
    while pending:
        manifest = pending.pop(0)
        if manifest.stage in found:
            continue
        found[manifest.stage] = manifest
        for ref in manifest.inputs.values():
            parent = store.manifest(ref.stage, ref.key)
            if parent is not None:
                pending.append(parent)
    return found


def _inputs(store: ArtifactStore, stage: Stage, inputs: Mapping[str, ArtifactRef]) -> dict[str, Manifest]:
    standing = {}
    for name in stage.inputs:
        manifest = store.manifest(inputs[name].stage, inputs[name].key)
        if manifest is not None:
            standing[name] = manifest
    return standing


def _resolve(function: str) -> StageFunction:
    # Late, so that planning a run (and finding it all cached) imports none of what the stages need.
    module, _, name = function.partition(":")
    return cast(StageFunction, getattr(importlib.import_module(module), name))


def _outcome(manifest: Manifest, *, cached: bool, started: float) -> StageOutcome:
    return StageOutcome(
        ref=manifest.ref,
        cached=cached,
        seconds=round(time.perf_counter() - started, 3),
        metrics=manifest.metrics,
        table=manifest.table,
        markdown=manifest.markdown,
        core_seconds=0.0 if cached else manifest.seconds,
    )
