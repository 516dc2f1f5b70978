"""From a version back to documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.errors import RegistryError, StoreError
from vecmill.registry.config import RegistryConfig
from vecmill.registry.history import find_version
from vecmill.registry.lineage import Ancestor, ancestors_of, iter_document_ids, standing_in
from vecmill.registry.register import register_model
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.manifest import ArtifactRef
from vecmill.store.stage import StageIO, StageReport


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache")))


def built(store: ArtifactStore, stage: str, work: Callable[[Path], None]) -> Ancestor:
    """An artifact of a stage, as an ancestor of some version."""

    def report(folder: Path) -> StageReport:
        work(folder)
        return StageReport()

    with store.building(stage, "0" * 32):
        manifest = store.build(stage, "0" * 32, {}, {}, {}, report)
    return Ancestor(manifest.ref, {}, {}, None, manifest.finished_at)


def corpus(folder: Path) -> None:
    for shard, ids in enumerate((["a", "b"], ["c", "d"])):
        uris = [f"file-{shard}.txt"] * 2
        columns = {"doc_id": ids, "source_uri": uris, "title": ["", ""], "text": ["x", "y"], "n_chars": [1, 1]}
        columns["language"] = [None, None]
        pq.write_table(pa.table(columns, schema=CORPUS_SCHEMA), folder / f"part-{shard:05d}.parquet")


def quarantine(folder: Path) -> None:
    pq.write_table(pa.table({"doc_id": ["c"]}), folder / "quarantine.parquet")


def test_documents_are_those_that_the_contract_let_through(store: ArtifactStore) -> None:
    ancestors = [built(store, "ingest", corpus), built(store, "contract", quarantine)]
    expected = [("a", "file-0.txt"), ("b", "file-0.txt"), ("d", "file-1.txt")]
    assert list(iter_document_ids(store, ancestors)) == expected


def test_corpus_that_is_gone_or_another(store: ArtifactStore) -> None:
    ingest, contract = built(store, "ingest", corpus), built(store, "contract", quarantine)
    other = Ancestor(ArtifactRef("ingest", ingest.ref.key, "f" * 64), {}, {}, None, "")
    assert standing_in(store, ingest.ref) and not standing_in(store, other.ref)
    with pytest.raises(StoreError, match="or no longer the same") as caught:
        list(iter_document_ids(store, [other, contract]))
    assert "--set store.uri=" in caught.value.todo
    store.remove("contract", contract.ref.key)
    with pytest.raises(StoreError, match="nobody knows which documents were left out"):
        list(iter_document_ids(store, [ingest, contract]))
    with pytest.raises(StoreError, match="name no corpus"):
        list(iter_document_ids(store, []))


def test_ancestors_come_from_the_manifests_of_the_run(
    finished: Callable[..., StageIO], sqlite_config: RegistryConfig, client: Any
) -> None:
    io = finished(0.4)
    register_model(sqlite_config, io)
    ancestors = ancestors_of(client, "words", find_version(client, "words", "champion"))
    assert [each.ref.stage for each in ancestors] == ["ingest", "contract", "vocabulary", "train", "evaluate"]
    assert {each.ref.stage: each.ref.digest for each in ancestors} == {
        stage: manifest["digest"] for stage, manifest in io.lineage.items()
    }
    assert ancestors[2].seed == 7

    client.create_model_version("words", source="runs:/elsewhere/model")
    with pytest.raises(RegistryError, match="version 2 of words keeps no manifests"):
        ancestors_of(client, "words", find_version(client, "words", "2"))
