"""What a run would do, and why: keys of all stages, compared with what stands in the store.

A key is the digest of what the artifact is made from: stage, configuration, seed, keys of the inputs, external files,
code closure, library versions. All keys of a pipeline therefore follow from the configuration and the sources alone,
before anything runs.

A stage is a *hit* when an artifact with its key stands, its files are those that the manifest states, and it was made
from the very inputs that stand there now. The last condition matters because training on several threads gives other
bytes each time: once such an artifact had to be rebuilt, what was computed from the lost one is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vecmill.config.base import key_config
from vecmill.errors import StoreError
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.closure import CodeDigest, code_digest
from vecmill.store.digest import digest_json
from vecmill.store.manifest import SCHEMA_VERSION, Manifest
from vecmill.store.stage import replica_seed

KEY_HEX_DIGITS = 32


@dataclass(frozen=True)
class ExternalFile:
    """A file outside the store that a stage reads; ``fingerprint`` changes when its content does."""

    name: str
    n_bytes: int
    fingerprint: str


FileDigest = Callable[[Path], str]


@dataclass(frozen=True)
class Stage:
    """One stage of a pipeline, as data.

    Attributes
    ----------
    name : the stage's name, also its folder in the store
    function : ``module:name`` of the core function, a :data:`~vecmill.store.stage.StageFunction`; or, where the
        configuration decides which one it is, a function of the stage's section that gives the name. Only the one
        that runs counts towards the key.
    section : the attribute of the pipeline's configuration that the function receives
    inputs : names of the stages whose artifacts it reads
    seeded : whether it draws random numbers, that is, whether the seed is part of its key
    libraries : distributions whose version may change its result
    external : lists the files outside the store that it reads, given the whole configuration
    also_code : further ``module:name`` roots of its code closure
    also_counts : given the stage's section, what else counts towards its key where it counts at all: ``config``, added
        to the section, and ``versions``, added to those of ``libraries``; or nothing
    forgets : whether it reads documents from their sources, so that the store's forget list is part of its key
    replicated : whether ``replica`` of the pipeline's configuration, if it has one, gives the stage another seed
    with_driver : whether it runs where the run was started, whatever the engine, because it speaks to a service whose
        address and credentials only that process has
    still_valid : given the configuration section and an artifact's folder, says why it no longer counts (or None)
    """

    name: str
    function: str | Callable[[Any], str]
    section: str
    inputs: tuple[str, ...] = ()
    seeded: bool = False
    replicated: bool = False
    libraries: tuple[str, ...] = ()
    external: Callable[[Any, FileDigest], list[ExternalFile]] | None = None
    also_code: tuple[str, ...] = ()
    with_driver: bool = False
    still_valid: Callable[[Any, Path], str | None] | None = None
    forgets: bool = False
    also_counts: Callable[[Any], Mapping[str, Mapping[str, Any]]] | None = None

    def core_function(self, config: Any) -> str:
        """``module:name`` of the function that runs under the pipeline's configuration ``config``."""
        return self.function if isinstance(self.function, str) else self.function(getattr(config, self.section))

    def seed(self, config: Any) -> int:
        """The seed that the stage runs with under the pipeline's configuration ``config``."""
        return replica_seed(config.seed, getattr(config, "replica", 0) if self.replicated else 0)


@dataclass(frozen=True)
class Pipeline:
    """Stages in an order in which each comes after its inputs.

    Attributes
    ----------
    searches : whether its flow runs the stages many times, under configurations that it finds itself, so that a run is
        not over because the artifacts of the given configuration stand
    """

    name: str
    config: type[BaseModel]
    stages: tuple[Stage, ...]
    searches: bool = False

    def stage(self, name: str) -> Stage:
        """The stage of this name; KeyError if there is none."""
        return {each.name: each for each in self.stages}[name]


@dataclass
class PlannedStage:
    """A stage with its key and what is known about its artifact.

    Attributes
    ----------
    parts : what the key is the digest of
    definitions : digests of its code, definition by definition
    manifest : the artifact that stands under the key, None if there is none
    causes : why it would run; empty for a hit
    """

    stage: Stage
    key: str
    parts: dict[str, Any]
    definitions: dict[str, str]
    manifest: Manifest | None = None
    causes: list[str] = field(default_factory=list)

    @property
    def hit(self) -> bool:
        return not self.causes and self.manifest is not None


# Code digests as they were when this process first looked: its modules are loaded from then on, whatever an editor
# does to the files.
_loaded_code: dict[tuple[str, ...], str] = {}


def loaded_code(stage: Stage, config: Any) -> CodeDigest:
    """Digest of a stage's code.

    Raises
    ------
    StoreError : the files are no longer those that this process has loaded
    """
    return loaded_roots((stage.core_function(config), *stage.also_code), stage.name)


def loaded_roots(roots: tuple[str, ...], name: str) -> CodeDigest:
    """Digest of all code that some definitions reach; ``name`` is what a refusal calls the stage.

    Raises
    ------
    StoreError : the files are no longer those that this process has loaded
    """
    code = code_digest(roots)
    if _loaded_code.setdefault(roots, code.digest) != code.digest:
        raise StoreError(
            f"the code of stage {name} was edited while this process was running",
            expected="code that stays as it is during a run; a result would stand under the wrong key",
            todo="run again",
        )
    return code


def stage_parts(
    stage: Stage, config: Any, input_keys: Mapping[str, str], store: ArtifactStore
) -> tuple[dict[str, Any], dict[str, str]]:
    """Everything that decides a stage's result, as JSON values, and the digests of its code."""
    code = loaded_code(stage, config)
    section = getattr(config, stage.section)
    more = stage.also_counts(section) if stage.also_counts else {}
    parts: dict[str, Any] = {
        "stage": stage.name,
        "schema_version": SCHEMA_VERSION,
        "config": {stage.section: key_config(section) | dict(more.get("config", {}))},
        "seed": stage.seed(config) if stage.seeded else None,
        "inputs": dict(input_keys),
        "external": external_parts(stage, config, store),
        "code": code.digest,
        "versions": {
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            **{name: metadata.version(name) for name in stage.libraries},
            **more.get("versions", {}),
        },
    }
    return parts, code.definitions


def external_parts(stage: Stage, config: Any, store: ArtifactStore) -> dict[str, dict[str, Any]]:
    """Size and fingerprint of each file outside the store that a stage reads, by name; and of the forget list."""
    found = stage.external(config, store.file_digest) if stage.external else []
    if stage.forgets and (forgotten := store.forgotten()):
        found = [*found, ExternalFile("forgotten documents", len(forgotten.documents), forgotten.fingerprint)]
    return {each.name: {"bytes": each.n_bytes, "fingerprint": each.fingerprint} for each in found}


def key_of(parts: Mapping[str, Any]) -> str:
    """The key of an artifact made from ``parts``, 32 hex digits (128 bits)."""
    return digest_json(parts)[:KEY_HEX_DIGITS]


def make_plan(
    pipeline: Pipeline,
    config: Any,
    store: ArtifactStore,
    *,
    refresh: tuple[str, ...] = (),
    earlier: Mapping[str, str] | None = None,
) -> list[PlannedStage]:
    """Plan a run without running anything.

    Parameters
    ----------
    refresh : stages that are to run whatever stands in the store
    earlier : keys of the last run of this pipeline by stage; of several artifacts that differ as little from the
        planned one, its artifact is the one compared with

    Returns
    -------
    One entry a stage, in the pipeline's order. A stage below one that would run is planned to run as well; when the
    rebuilt input turns out to hold the same bytes, the run will find a hit after all.
    """
    plan: dict[str, PlannedStage] = {}
    for stage in pipeline.stages:
        input_keys = {name: plan[name].key for name in stage.inputs}
        parts, definitions = stage_parts(stage, config, input_keys, store)
        planned = PlannedStage(stage, key_of(parts), parts, definitions)
        planned.manifest = store.manifest(stage.name, planned.key)
        if planned.manifest is None:
            before = _nearest_manifest(store, planned, (earlier or {}).get(stage.name))
            unreadable = store.unreadable(stage.name, planned.key)
            planned.causes = [f"artifact: {unreadable}"] if unreadable else differences(before, planned)
        else:
            rebuilt = [name for name in stage.inputs if not plan[name].hit]
            problem = artifact_problem(store, planned, config, {n: plan[n].manifest for n in stage.inputs})
            if problem:
                planned.causes.append(problem)
            elif rebuilt:
                planned.causes.append(f"input: runs if rebuilding {', '.join(rebuilt)} gives other content")
        if stage.name in refresh:
            planned.causes.insert(0, "asked for with --refresh")
        plan[stage.name] = planned
    return list(plan.values())


def artifact_problem(
    store: ArtifactStore, planned: PlannedStage, config: Any, inputs: Mapping[str, Manifest | None]
) -> str | None:
    """Why the artifact under a planned key cannot be used, None if it can."""
    manifest = planned.manifest
    if manifest is None:
        return "artifact: there is none"
    problem = store.problem(manifest)
    if problem:
        return f"artifact: {problem}"
    for name, current in inputs.items():
        if current is not None and manifest.inputs[name].digest != current.digest:
            return f"input: {name} was rebuilt and holds other content now"
    if planned.stage.still_valid:
        reason = planned.stage.still_valid(getattr(config, planned.stage.section), store.backend.local_folder(manifest))
        if reason:
            return f"artifact: {reason}"
    return None


_MOST_COMPARED = 50  # artifacts of a stage, newest first; reading manifests of a remote store takes requests


def _nearest_manifest(store: ArtifactStore, planned: PlannedStage, last_key: str | None) -> Manifest | None:
    """The artifact that the planned one differs least from; of equals, the last run's, then the newest."""
    found = sorted(store.manifests(planned.stage.name), key=lambda each: each.finished_at, reverse=True)
    candidates = [each for each in found if each.key == last_key] + found[:_MOST_COMPARED]
    return min(candidates, key=lambda each: len(differences(each, planned)), default=None)


def differences(before: Manifest | None, planned: PlannedStage) -> list[str]:
    """What changed between an earlier artifact of a stage and the planned one: config, code, input, version…"""
    if before is None:
        return ["never built in this store"]
    old, new = before.parts, planned.parts
    causes = [f"config: {line}" for line in _changed_leaves(old.get("config"), new["config"])]
    if old.get("seed") != new["seed"]:
        causes.append(f"seed: {old.get('seed')} → {new['seed']}")
    causes += [f"external: {line}" for line in _changed_files(old.get("external") or {}, new["external"])]
    if old.get("code") != new["code"]:
        changed = sorted(
            name
            for name in before.definitions.keys() | planned.definitions.keys()
            if before.definitions.get(name) != planned.definitions.get(name)
        )
        shown = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
        causes.append(f"code: {shown}")
    causes += [f"version: {line}" for line in _changed_leaves(old.get("versions"), new["versions"])]
    causes += [
        f"input: {name} will be another one" for name in new["inputs"] if old["inputs"].get(name) != new["inputs"][name]
    ]
    if old.get("schema_version") != new["schema_version"]:
        causes.append(f"version: manifest schema {old.get('schema_version')} → {new['schema_version']}")
    return causes or ["artifact: it was removed from the store"]


def _changed_leaves(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines: list[str] = []
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{path}.{name}" if path else str(name)
            lines += _changed_leaves(old.get(name), new.get(name), inner)
        return lines
    return [] if old == new else [f"{path}: {_short(old)} → {_short(new)}"]


def _changed_files(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = [f"{name} is new" for name in sorted(new.keys() - old.keys())]
    lines += [f"{name} is gone" for name in sorted(old.keys() - new.keys())]
    lines += [f"{name} changed" for name in sorted(new.keys() & old.keys()) if new[name] != old[name]]
    return lines if len(lines) <= 4 else [*lines[:3], f"{len(lines) - 3} more files differ"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
