"""From a registered version back to what it was made from: artifacts, source files, documents.

The manifests that a version's run keeps say everything but the documents; those stand in the ingest artifact, if the
store still has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecmill.errors import RegistryError, StoreError
from vecmill.registry.history import Version
from vecmill.registry.stored import run_lineage
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.manifest import ArtifactRef

# The order in which stages depend on one another; others come after, by name.
_ORDER = ("ingest", "contract", "contamination", "vocabulary", "encode", "train", "evaluate")


@dataclass(frozen=True)
class Ancestor:
    """An artifact that a version descends from.

    Attributes
    ----------
    ref : stage, key and content digest
    made_from : keys of its inputs, by stage
    files : files outside the store that it read, by name: ``bytes`` and ``fingerprint`` each
    seed : seed of its random numbers, None where it draws none
    finished_at : UTC in ISO 8601
    """

    ref: ArtifactRef
    made_from: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    seed: int | None
    finished_at: str


def ancestors_of(client: Any, model_name: str, version: Version) -> list[Ancestor]:
    """The artifacts behind a version, sources first; what MLflow raises passes through.

    Raises
    ------
    RegistryError : the version keeps no manifests; vecmill did not register it, or its files are gone
    """
    standing = [] if version.run_id is None else [each.path for each in client.list_artifacts(version.run_id)]
    if version.run_id is None or "manifests" not in standing:
        raise RegistryError(
            f"version {version.number} of {model_name} keeps no manifests",
            expected="the folder manifests among the files of its run",
            todo="restore the run's files; a version that vecmill did not register has no lineage",
        )
    found = []
    for stage, manifest in run_lineage(client, version.run_id).items():
        parts = manifest.get("parts", {})
        found.append(
            Ancestor(
                ref=ArtifactRef(stage, manifest["key"], manifest["digest"]),
                made_from=dict(parts.get("inputs", {})),
                files=dict(parts.get("external", {})),
                seed=parts.get("seed"),
                finished_at=str(manifest.get("finished_at", "")),
            )
        )
    place = {stage: at for at, stage in enumerate(_ORDER)}
    return sorted(found, key=lambda each: (place.get(each.ref.stage, len(place)), each.ref.stage))


def standing_in(store: ArtifactStore, ref: ArtifactRef) -> bool:
    """Whether the store still has this artifact, with this content."""
    manifest = store.manifest(ref.stage, ref.key)
    return manifest is not None and manifest.digest == ref.digest


def iter_document_ids(store: ArtifactStore, ancestors: list[Ancestor]) -> Iterator[tuple[str, str]]:
    """Every document that the model was trained on, as (doc_id, source URI), in the order of the corpus.

    Documents that the data contract left out are left out here. Memory stays bounded whatever the corpus.

    Raises
    ------
    StoreError : the store no longer has the corpus of this version
    """
    from vecmill.corpus.documents import iter_documents

    refs = {each.ref.stage: each.ref for each in ancestors}
    if "ingest" not in refs:
        raise StoreError("the version's manifests name no corpus", todo="it was not made from documents")
    if not standing_in(store, refs["ingest"]):
        raise StoreError(
            f"the corpus ingest/{refs['ingest'].key} is not in {store.uri}, or no longer the same",
            expected=f"content digest {refs['ingest'].digest[:16]}…",
            todo="name the store that it was made in (--set store.uri=…), or run the pipeline on the same sources",
        )
    quarantine: Path | None = None
    if "contract" in refs:
        if not standing_in(store, refs["contract"]):
            raise StoreError(
                f"the contract's report contract/{refs['contract'].key} is not in {store.uri}, or no longer the same",
                todo="run the pipeline again; without it nobody knows which documents were left out",
            )
        quarantine = store.folder(refs["contract"]) / "quarantine.parquet"
    for batch in iter_documents(store.folder(refs["ingest"]), quarantine, columns=("doc_id", "source_uri")):
        yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
