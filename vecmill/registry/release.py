"""What a new version means for those who hold vectors of the champion: drop in, use a map, or index again.

*patch*: old and new vectors may be mixed as they are. *minor*: they may once one side is moved with the map that the
version ships. *major*: neither; an index has to be built anew. docs/space.md says how it is measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.registry.gate import Challenger
from vecmill.registry.promotion import TECHNICAL
from vecmill.registry.release_config import ReleaseConfig
from vecmill.registry.stored import stored_file, stored_json, stored_vectors
from vecmill.vectors.alignment import Alignment, IndexRecall, align, index_recall, least_shared, shared_words
from vecmill.vectors.space_map import MAP_NAME, RELEASE_NAME, write_map
from vecmill.vectors.word_vectors import WordVectors

PATCH, MINOR, MAJOR = "patch", "minor", "major"
RELEASE_TAG = f"{TECHNICAL}release"
_SPACE_TAG = f"{TECHNICAL}space_id"


@dataclass(frozen=True)
class Release:
    """A release class, why, and the map.

    Attributes
    ----------
    kind : "patch", "minor" or "major"
    text : why, in a sentence that begins with the class
    facts : what was measured, as plain JSON values
    rotation : float64[dim, dim], None where there can be none
    """

    kind: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    rotation: npt.NDArray[np.float64] | None = None


def compare_spaces(config: ReleaseConfig, old: WordVectors, new: WordVectors, version: str) -> Release:
    """Measure what vectors of ``old``, which belong to ``version``, are worth beside ``new``."""
    if old.space_id == new.space_id and old.dim == new.dim:
        return Release(PATCH, f"patch: the same space as version {version}", rotation=np.eye(new.dim))
    if old.dim != new.dim:
        return Release(MAJOR, f"major: index again; version {version} has {old.dim} dimensions, this one {new.dim}")
    shared = shared_words(old, new)
    shared_frac = len(shared) / max(len(old), len(new))
    facts: dict[str, Any] = {"n_shared": len(shared), "shared_frac": shared_frac}
    if len(shared) < least_shared(new.dim):
        return Release(
            MAJOR,
            f"major: index again; {len(shared):,} words are in both versions, and a map of {new.dim} dimensions from "
            f"version {version} needs {least_shared(new.dim):,}",
            facts,
        )
    fit = align(old, new, shared, n_anchors=config.n_anchors, trim_frac=config.trim_frac)
    recall = index_recall(
        old,
        new,
        shared,
        fit.map,
        n=config.n_neighbours,
        n_queries=config.n_queries,
        n_indexed=config.n_indexed,
    )
    facts |= {"map": _numbers(fit), "recall": asdict(recall)}
    kind, text = _decided(config, version, recall, shared_frac)
    return Release(kind, text, facts, fit.map)


def release_against(client: Any, config: ReleaseConfig, model_name: str, champion: str, new: Challenger) -> Release:
    """Compare a new version with the champion in the registry; what MLflow raises passes through.

    Where the champion's vectors cannot be read, nothing can be promised: the release is major.
    """
    tags = client.get_model_version(model_name, champion).tags
    if tags.get(_SPACE_TAG) == new.space_id:
        return _complete(Release(PATCH, f"patch: the same vectors as version {champion}"), champion, new, new.space_id)
    with tempfile.TemporaryDirectory(prefix="vecmill-release-") as folder:
        try:
            old = WordVectors.load(stored_vectors(client, model_name, champion, Path(folder)))
        except FormatError as error:
            text = f"major: index again; version {champion} cannot be compared with: {error.found}"
            return _complete(Release(MAJOR, text), champion, new, tags.get(_SPACE_TAG, "unknown"))
        found = compare_spaces(config, old, WordVectors.load(new.vectors), champion)
        return _complete(found, champion, new, old.space_id)


def ship(client: Any, model_name: str, version: str, run_id: str, release: Release) -> None:
    """Store ``release.json``, and ``map.npy`` where there is one, with a version's run, and tag the version."""
    with tempfile.TemporaryDirectory(prefix="vecmill-release-") as folder:
        write_map(Path(folder), release.rotation, release.facts)
        client.log_artifacts(run_id, folder)
    before = release.facts["from"]["version"]
    recall = release.facts.get("recall")
    tags = {RELEASE_TAG: release.kind, "space.release": f"{release.kind}, against version {before}"}
    if recall:
        with_map, without = worst_recall(recall)
        tags["space.recall"] = f"{with_map:.2f} with the map, {without:.2f} without"
    for tag, text in tags.items():
        client.set_model_version_tag(model_name, version, tag, text)


def stored_release(client: Any, run_id: str) -> dict[str, Any]:
    """``release.json`` of a version's run; empty where there is none, as for a first version."""
    return stored_json(client, run_id, RELEASE_NAME)


def save_release(client: Any, run_id: str, folder: Path) -> list[Path]:
    """Copy ``release.json`` and, where there is one, ``map.npy`` of a version's run into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [RELEASE_NAME] + ([MAP_NAME] if stored_release(client, run_id).get("shipped_map") else [])
    found = [stored_file(client, run_id, name, folder) for name in names]
    return [path for path in found if path is not None]


def worst_recall(recall: Mapping[str, Any]) -> tuple[float, float]:
    """The lower recall of the two directions, with the map and without."""
    return (
        min(recall["old_index"], recall["old_queries"]),
        min(recall["old_index_unmapped"], recall["old_queries_unmapped"]),
    )


def _decided(config: ReleaseConfig, version: str, recall: IndexRecall, shared_frac: float) -> tuple[str, str]:
    with_map, without = worst_recall(asdict(recall))
    at = f"recall@{recall.n}"
    if shared_frac < config.min_shared_frac:
        return MAJOR, (
            f"major: index again; only {100 * shared_frac:.0f} % of the words are in version {version} and this one, "
            f"{100 * config.min_shared_frac:g} % are asked for (min_shared_frac)"
        )
    if without >= config.patch_recall:
        return PATCH, f"patch: drop in; beside vectors of version {version}, {at} is {without:.2f} without a map"
    if with_map >= config.minor_recall:
        return MINOR, (
            f"minor: use the shipped map; beside vectors of version {version}, {at} is {with_map:.2f} with it and "
            f"{without:.2f} without"
        )
    return MAJOR, (
        f"major: index again; beside vectors of version {version}, {at} is {with_map:.2f} even with a map, "
        f"{config.minor_recall:g} is asked for (minor_recall)"
    )


def _complete(release: Release, champion: str, new: Challenger, old_space: str) -> Release:
    """With all that release.json says."""
    facts = {
        "release": release.kind,
        "text": release.text,
        "from": {"version": champion, "space_id": old_space},
        "to": {"version": new.contender.version, "space_id": new.space_id},
        "shipped_map": MAP_NAME if release.rotation is not None else None,
        **release.facts,
    }
    return Release(release.kind, release.text, facts, release.rotation)


def _numbers(fit: Alignment) -> dict[str, Any]:
    return {
        "n_anchors": fit.n_anchors,
        "n_trimmed": fit.n_trimmed,
        "n_heldout": fit.n_heldout,
        "residual": fit.residual,
        "heldout_residual": fit.heldout_residual,
        "heldout_cosine": fit.heldout_cosine,
    }
