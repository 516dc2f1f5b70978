"""Stages on a real cluster of several nodes: which nodes are refused, and what happens when one goes away."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vecmill
from reference.ray_nodes import Nodes, configured, run_until
from servers import wait_until
from vecmill.engine.engine import LocalEngine
from vecmill.engine.ray_cluster import Node
from vecmill.engine.ray_engine import RayEngine
from vecmill.errors import EngineError
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.plan import make_plan

pytestmark = [pytest.mark.timeout(400), pytest.mark.server]

SOURCE = Path(vecmill.__file__).parent


@pytest.fixture
def engine_at(nodes: Nodes) -> Iterator[Callable[..., RayEngine]]:
    """Opens engines on the cluster; they are closed at the end of the test."""
    opened = []

    def open_one(config: WordsConfig) -> RayEngine:
        opened.append(RayEngine(config))
        return opened[-1]

    yield open_one
    for each in opened:
        each.__exit__(None, None, None)


def test_a_stage_too_large_for_every_node_is_refused(
    nodes: Nodes, small: dict[str, Any], engine_at: Callable[..., RayEngine]
) -> None:
    config = configured(small, kind="ray", address=nodes.address, resources={"ingest": {"cpus": 8}}, wait_seconds=1)
    with pytest.raises(EngineError) as refused:
        run_until("ingest", engine_at(config), config)
    assert "stage ingest wants 8 cores, and no node has that" in str(refused.value)
    assert "lower engine.resources.ingest" in str(refused.value)


def test_a_node_with_other_code_is_named_before_anything_runs(
    nodes: Nodes, small: dict[str, Any], engine_at: Callable[..., RayEngine], tmp_path: Path
) -> None:
    shutil.copytree(SOURCE, tmp_path / "other/vecmill", ignore=shutil.ignore_patterns("__pycache__"))
    edited = tmp_path / "other/vecmill/vocabulary/schema.py"
    edited.write_text(edited.read_text() + "\n\nVOCABULARY_SCHEMA = VOCABULARY_SCHEMA.remove_metadata()\n")
    stranger = nodes.add(PYTHONPATH=str(tmp_path / "other"))
    try:
        config = configured(small, kind="ray", address=nodes.address)
        with pytest.raises(EngineError) as refused:
            run_until("ingest", engine_at(config), config)
    finally:
        nodes.kill(stranger)
    assert stranger.node_id[:6] in str(refused.value)
    assert "its code is another one (vecmill.vocabulary.schema:VOCABULARY_SCHEMA" in str(refused.value)
    assert not list(Path(".vecmill/store").glob("ingest/*"))


def test_a_node_without_the_store_is_named(small: dict[str, Any]) -> None:
    engine = RayEngine(configured(small, kind="ray"))
    engine._traits = {"versions": {}, "definitions": {}}
    node = Node("abc", "worker-2 (abc)", 1, 0, 0)
    store = ArtifactStore(configured(small).store)
    with pytest.raises(EngineError) as refused:
        engine._judge(node, {"traits": engine._traits, "torch": True, "store": None}, "nonce", store)
    assert f"node worker-2 (abc) cannot use the store {store.uri}" in str(refused.value)
    assert "mounted at the same path on every node, or s3://" in str(refused.value)


def test_a_stage_whose_node_was_killed_is_begun_on_another(
    nodes: Nodes, small: dict[str, Any], engine_at: Callable[..., RayEngine], caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(small, kind="ray", address=nodes.address)
    engine = engine_at(config)
    run_until("encode", LocalEngine(), config)
    store = ArtifactStore(config.store)
    key = {each.stage.name: each.key for each in make_plan(WORDS, config, store)}["train"]
    found: dict[str, Any] = {}

    def place() -> str:
        return next((name for label, name in engine._replay._begun.items() if label.startswith("train-")), "")

    with caplog.at_level(logging.WARNING, "vecmill"):
        thread = threading.Thread(target=lambda: found.update(run_until("train", engine, config)))
        with store.building("train", key):  # the stage waits here, so that it cannot be done before its node is gone
            thread.start()
            name = wait_until(place, 200, "the training begins")
            nodes.kill(next(each for each in nodes.running() if each.node_id[:6] in name))
            lost = f"train: node {name} was lost, or its process; running the stage again"
            wait_until(lambda: lost in caplog.messages, 200, "somebody notices")
        thread.join(200)
    assert not found["train"].cached
    places = [node for label, node in engine._replay._begun.items() if label.startswith("train-")]
    assert len(set(places)) == 2
    assert list(Path(".vecmill/store/.tmp").iterdir()) == []
