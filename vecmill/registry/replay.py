"""Rebuild a registered version from its manifests, and see whether the same vectors come out.

The manifests of a version name configuration, seed, source files with their fingerprints, code and libraries of every
stage. Where all of that is as it was, the stages are run again in a store of their own, in which nothing stands, and
what they give is compared with what the manifests say, byte by byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vecmill.config.validate import validate
from vecmill.errors import SourceUnavailable, StoreError, UserError
from vecmill.progress import track
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import run_stage
from vecmill.store.manifest import ArtifactRef, FileEntry, Manifest, content_digest
from vecmill.store.plan import Pipeline, PlannedStage, Stage, differences, key_of, stage_parts

SAME, DIFFERS, IMPOSSIBLE = "same", "differs", "cannot be replayed"
_LAST = "train"
_VECTORS = "vectors/"
_MOST_REASONS = 12


@dataclass(frozen=True)
class StageReplay:
    """A stage that was run again: its recorded content digest, the new one, and seconds."""

    stage: str
    expected: str
    found: str
    seconds: float


@dataclass(frozen=True)
class Replay:
    """What a replay came to.

    Attributes
    ----------
    result : "same", "differs" or "cannot be replayed"
    reasons : why it cannot, or what changed since although it was replayed all the same, or what differs
    expected, found : digest of the vectors' files as registered and as rebuilt, 64 hex digits; None where not rebuilt
    stages : what was run again
    anyway_helps : whether it could be replayed all the same
    made_on, replayed_on : host facts of both trainings
    """

    result: str
    reasons: list[str] = field(default_factory=list)
    expected: str | None = None
    found: str | None = None
    stages: list[StageReplay] = field(default_factory=list)
    anyway_helps: bool = False
    made_on: str = ""
    replayed_on: str = ""

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def replay(
    lineage: Mapping[str, Mapping[str, Any]], pipeline: Pipeline, store: ArtifactStore, *, anyway: bool = False
) -> Replay:
    """Rebuild a version's vectors.

    Parameters
    ----------
    lineage : manifests by stage, as the version's run keeps them
    pipeline : the pipeline whose stages made it
    store : an empty one, so that nothing in it is a hit
    anyway : replay although code, libraries or sources changed; the result then says what that changed

    Raises
    ------
    StorageFull : no room for the artifacts
    """
    manifests, reasons = _manifests(lineage, pipeline)
    if reasons:
        return Replay(IMPOSSIBLE, reasons)
    train = manifests[_LAST]
    (section,) = train.parts["config"].values()
    if section.get("mode") != "deterministic":
        return Replay(
            IMPOSSIBLE,
            [
                f"it was trained in {section.get('mode') or 'an unknown'} mode, whose threads race; only "
                "train.mode=deterministic gives the same bytes again"
            ],
        )
    try:
        values = {name: each for manifest in manifests.values() for name, each in manifest.parts["config"].items()}
        config = validate(pipeline.config, values, "the version's manifests")
    except UserError as error:
        return Replay(IMPOSSIBLE, [f"this vecmill cannot read its configuration: {error.found}"])
    stages = [stage for stage in pipeline.stages if stage.name in manifests]
    changed: list[str] = []
    for stage in stages:
        try:
            changed += _changes(stage, _for_stage(config, manifests[stage.name]), manifests[stage.name], store)
        except (UserError, SourceUnavailable) as error:
            return Replay(IMPOSSIBLE, [f"{stage.name}: {error.found}"])
    if changed and not anyway:
        return Replay(IMPOSSIBLE, changed[:_MOST_REASONS], anyway_helps=True)
    return _run(stages, config, manifests, store, changed[:_MOST_REASONS])


def _run(
    stages: list[Stage], config: Any, manifests: Mapping[str, Manifest], store: ArtifactStore, changed: list[str]
) -> Replay:
    refs: dict[str, ArtifactRef] = {}
    done: list[StageReplay] = []
    with track("replaying", len(stages), "stages") as bar:
        for stage in stages:
            bar.note(stage.name)
            inputs = {name: refs[name] for name in stage.inputs}
            try:
                outcome = run_stage(stage, _for_stage(config, manifests[stage.name]), store, inputs)
            except (UserError, SourceUnavailable) as error:
                return Replay(IMPOSSIBLE, [*changed, f"{stage.name}: {error.found}"], stages=done)
            refs[stage.name] = outcome.ref
            expected = manifests[stage.name].digest
            done.append(StageReplay(stage.name, expected, outcome.ref.digest, outcome.seconds))
            bar.advance()
    before, ref = manifests[_LAST], refs[_LAST]
    after = store.manifest(ref.stage, ref.key)
    if after is None:
        raise StoreError(f"the rebuilt artifact {ref.stage}/{ref.key} is gone from {store.uri}", todo="replay again")
    old, new = _vectors(before), _vectors(after)
    reasons = list(changed)
    same = old == new
    if not same:
        reasons += [
            f"{path} {'differs' if path in old and path in new else 'is on one side only'}"
            for path in sorted(old.keys() | new.keys())
            if old.get(path) != new.get(path)
        ]
        first = next((each.stage for each in done if each.expected != each.found), None)
        if first and first != _LAST:
            reasons.append(f"the first stage with other content is {first}")
        if _host(before) != _host(after):
            reasons.append("the same bytes are promised on the same kind of processor only; the hosts differ")
    return Replay(
        SAME if same else DIFFERS,
        reasons,
        content_digest(tuple(old.values())),
        content_digest(tuple(new.values())),
        done,
        made_on=_host(before),
        replayed_on=_host(after),
    )


def _manifests(lineage: Mapping[str, Mapping[str, Any]], pipeline: Pipeline) -> tuple[dict[str, Manifest], list[str]]:
    """Manifests of the training and of all before it in the pipeline's order, and why they do not suffice."""
    wanted = [_LAST]
    for name in wanted:
        wanted += [each for each in pipeline.stage(name).inputs if each not in wanted]
    found, reasons = {}, []
    for stage in pipeline.stages:
        if stage.name not in wanted:
            continue
        if stage.name not in lineage:
            reasons.append(f"the version keeps no manifest of its stage {stage.name}")
            continue
        try:
            found[stage.name] = Manifest.from_json(json.dumps(lineage[stage.name]), f"the manifest of {stage.name}")
        except StoreError as error:
            reasons.append(error.found)
    return found, reasons


def _for_stage(config: Any, manifest: Manifest) -> Any:
    """The configuration with the seed that the stage drew from, as it was after a replica's had been derived."""
    seed = manifest.parts.get("seed")
    return config.model_copy(update={"seed": 0 if seed is None else seed, "replica": 0})


def _changes(stage: Stage, config: Any, before: Manifest, store: ArtifactStore) -> list[str]:
    """What is no longer as it was when the stage ran."""
    parts, definitions = stage_parts(stage, config, before.parts["inputs"], store)
    key = key_of(parts)
    if key == before.key:
        return []
    return [f"{stage.name}: {cause}" for cause in differences(before, PlannedStage(stage, key, parts, definitions))]


def _vectors(manifest: Manifest) -> dict[str, FileEntry]:
    """The vectors' files, by what tells contents apart."""
    return {
        each.path: FileEntry(each.path, each.bytes, each.sha256)
        for each in manifest.files
        if each.path.startswith(_VECTORS)
    }


def _host(manifest: Manifest) -> str:
    return ", ".join(str(manifest.host[name]) for name in ("platform", "python") if name in manifest.host)
