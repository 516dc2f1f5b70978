"""`engine: ray` without an address: a cluster that is started on this machine for the run, and ends with it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reference.ray_nodes import configured, run_until
from servers import wait_until
from vecmill.engine.engine import LocalEngine
from vecmill.engine.ray_engine import RayEngine
from vecmill.errors import EngineError, VocabularyError
from vecmill.pipelines.words import WORDS
from vecmill.progress import Bar, show_progress_on
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.plan import make_plan

pytestmark = [pytest.mark.timeout(400), pytest.mark.server]


class Descriptions:
    """A sink that keeps the descriptions of bars."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        self.found.append(description)

        class Line:
            def advance(self, amount: float = 1) -> None: ...

            def note(self, text: str) -> None: ...

        return Line()

    def close(self, bar: Bar) -> None: ...


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayEngine]:
    """An engine with a cluster of its own, asked for its node from a folder with a store."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    folder, before, others = tmp_path_factory.mktemp("first"), Path.cwd(), children_named(b"")
    os.chdir(folder)
    try:
        with RayEngine(configured({"train": {"kind": "skipgram"}}, kind="ray", retries=1)) as opened:
            opened.start()
            yield opened
    finally:
        os.chdir(before)
    assert set(children_named(b"")) <= set(others), "processes of the cluster outlived it"


def children_named(beginning: bytes) -> list[int]:
    """Descendants of this process that Ray named after their task, or all of Ray's."""
    parents: dict[int, int] = {}
    named: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            wanted = b"ray::" + beginning
            if fields[0] != "Z" and (command.startswith(wanted) or (not beginning and b"raylet" in command)):
                named.append(int(entry.name))

    def is_ours(pid: int) -> bool:
        while pid > 1:
            pid = parents.get(pid, 0)
            if pid == os.getpid():
                return True
        return False

    return [pid for pid in named if is_ours(pid)]


def test_the_same_artifacts_as_here_and_hits_here(engine: RayEngine, small: dict[str, Any]) -> None:
    there, here = configured(small, kind="ray"), configured({**small, "store": {"uri": "elsewhere"}})
    far, near = Descriptions(), Descriptions()
    with show_progress_on(far):
        on_node = run_until("train", engine, there)
    with show_progress_on(near):
        built_here = run_until("train", LocalEngine(), here)
    assert {each.ref for each in on_node.values()} == {each.ref for each in built_here.values()}
    assert not any(each.cached for each in on_node.values())
    assert sorted(far.found) == sorted(near.found), "what people watch is what they would have watched here"
    # Each file is a piece, read in a process of its own while the stage waited.
    whole = ArtifactStore(there.store).manifest("ingest", on_node["ingest"].ref.key)
    assert whole is not None and len(whole.pieces) == 6
    # In the very store of the node a run here finds everything done, and the other way round without a cluster.
    assert all(each.cached for each in run_until("train", LocalEngine(), configured(small)).values())
    untouched = RayEngine(there)
    assert all(each.cached for each in run_until("train", untouched, here).values())
    assert untouched._ray is None


def test_a_refusal_reads_as_it_does_here(engine: RayEngine, small: dict[str, Any]) -> None:
    config = configured({**small, "vocabulary": {"min_count": 100_000}})
    messages = []
    for each in (LocalEngine(), engine):
        with pytest.raises(VocabularyError) as refused:
            run_until("vocabulary", each, config)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


def test_a_process_killed_in_the_middle_is_begun_again(
    engine: RayEngine, small: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(small)
    run_until("encode", LocalEngine(), config)
    store = ArtifactStore(config.store)
    key = {each.stage.name: each.key for each in make_plan(WORDS, config, store)}["train"]
    found: dict[str, Any] = {}

    def begun() -> bool:
        return any(label.startswith("train-") for label in set(engine._replay._begun) - before)

    before = set(engine._replay._begun)
    with caplog.at_level(logging.WARNING, "vecmill"):
        thread = threading.Thread(target=lambda: found.update(run_until("train", engine, config)))
        with store.building("train", key):  # the process waits here, so that it cannot be done before it is killed
            thread.start()
            wait_until(begun, 200, "the training begins")
            for pid in children_named(b"train"):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: caplog.messages, 200, "somebody notices")
        thread.join(200)
    assert any("was lost, or its process; running the stage again" in line for line in caplog.messages)
    assert not found["train"].cached
    assert list(Path(".vecmill/store/.tmp").iterdir()) == []


def test_a_stage_that_this_machine_cannot_hold_is_refused_at_once(engine: RayEngine, small: dict[str, Any]) -> None:
    config = configured(small, kind="ray", resources={"train": {"cpus": 4096}})
    with RayEngine(config) as larger, pytest.raises(EngineError) as refused:
        larger.start()
    assert "engine.resources.train wants 4096 cores, and this machine has" in str(refused.value)
    assert "lower engine.resources.train" in str(refused.value)
