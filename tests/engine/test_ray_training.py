"""A training on workers that live on nodes of one core each, and what may break: the bytes stay the same."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reference.ray_nodes import (
    TRAIN,
    Nodes,
    arguments_of,
    configured,
    in_one_process,
    run_until,
    stage_processes,
    training_workers,
)
from servers import wait_until
from vecmill.engine.engine import LocalEngine
from vecmill.engine.ray_cluster import Node
from vecmill.engine.ray_crew import no_room, workers_of
from vecmill.engine.ray_engine import RayEngine
from vecmill.errors import EngineError
from vecmill.pipelines.engine_config import StageResources
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome

pytest.importorskip("torch", reason="torch carries rows between workers")
pytestmark = [pytest.mark.timeout(600), pytest.mark.server]


class Training:
    """The stage `train` of one configuration, as often as a test wants it built anew."""

    def __init__(self, engine: RayEngine, config: WordsConfig, unbroken: StageOutcome) -> None:
        self.engine = engine
        self.config = config
        self.unbroken = unbroken
        self.checkpoints = Path(config.store.uri) / ".checkpoints"
        inputs = run_until("encode", LocalEngine(), config)  # that nodes build it too is another module's
        self._stage = WORDS.stage("train")
        self._inputs = {name: inputs[name].ref for name in self._stage.inputs}

    def build(self) -> StageOutcome:
        """Build it, whether it stands or not."""
        store = ArtifactStore(self.config.store)
        return self.engine.run_stage(self._stage, self.config, store, self._inputs, refresh=True)

    def struck(self, strike: Callable[[], None]) -> StageOutcome:
        """Build it, and strike as soon as there is a checkpoint."""
        found: list[StageOutcome] = []
        thread = threading.Thread(target=lambda: found.append(self.build()))
        thread.start()
        try:
            wait_for(lambda: list(self.checkpoints.glob("train-*/checkpoint-????????")), 200, "a checkpoint")
            strike()
        finally:
            thread.join(300)
        assert found, "the training did not end"
        return found[0]

    def is_whole(self, outcome: StageOutcome) -> None:
        """Assert that it is what an unbroken training gives, and that nothing else is left of it."""
        assert outcome.ref == self.unbroken.ref
        assert not outcome.cached
        store = ArtifactStore(self.config.store)
        manifest = store.manifest("train", outcome.ref.key)
        assert manifest is not None and store.problem(manifest) is None
        assert list((Path(self.config.store.uri) / ".tmp").iterdir()) == []
        assert not list(self.checkpoints.glob("train-*/*"))
        wait_for(lambda: not training_workers(), 200, "no worker is left")

    def wait_for_others(self, before: dict[int, int]) -> None:
        """Wait until other workers than those have made a checkpoint."""
        wait_for(lambda: set(training_workers().values()).isdisjoint(before.values()), 200, "the others are ended")
        wait_for(lambda: len(training_workers()) == 2, 200, "all begin again")
        since = time.time()
        kept = self.checkpoints.glob
        wait_for(lambda: any(made_after(since, each) for each in kept("train-*/checkpoint-*")), 200, "a checkpoint")

    def begun(self) -> list[str]:
        """Nodes on which the stage has begun, in all tests until now."""
        return [node for label, node in self.engine._replay._begun.items() if label.startswith("train-")]


def made_after(seconds: float, path: Path) -> bool:
    try:
        return path.stat().st_mtime > seconds
    except OSError:
        return False  # the next one has taken its place


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """As ``wait_until``, looking more often: what is waited for passes quickly."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def training(nodes: Nodes, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    folder, before = tmp_path_factory.mktemp("training"), Path.cwd()
    os.chdir(folder)
    values = {"corpus": {"sources": [str(texts / "*.txt")]}, "vocabulary": {"min_count": 2}, "train": TRAIN}
    try:
        here = configured({**values, "train": in_one_process(TRAIN), "store": {"uri": "elsewhere"}})
        unbroken = run_until("train", LocalEngine(), here)["train"]
        config = configured({**values, "store": {"uri": str(folder / "store")}}, kind="ray", address=nodes.address)
        with RayEngine(config) as engine:
            yield Training(engine, config, unbroken)
    finally:
        os.chdir(before)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_workers_on_nodes_of_one_core_one_of_them_slow(training: Training) -> None:
    places: set[int] = set()

    def pause() -> None:
        workers = training_workers()
        places.update(parent_of(parent_of(pid)) for pid in workers.values())  # worker, its actor, the node
        os.kill(workers[1], signal.SIGSTOP)
        time.sleep(2)
        os.kill(workers[1], signal.SIGCONT)

    built = training.struck(pause)
    training.is_whole(built)
    assert len(places) == 2, "each worker was on a node of its own"
    assert built.metrics["n_restarts"] == 0 and built.metrics["workers"] == 2


def test_workers_killed_in_the_middle_of_an_epoch(training: Training) -> None:
    def strike() -> None:
        before = training_workers()
        kill(before[1])
        training.wait_for_others(before)
        kill(training_workers()[0])

    built = training.struck(strike)
    training.is_whole(built)
    assert built.metrics["n_restarts"] >= 2 and built.metrics["resumed_at_epoch"] > 0


def test_a_worker_that_is_silent_for_longer_is_taken_for_lost(training: Training) -> None:
    built = training.struck(lambda: os.kill(training_workers()[1], signal.SIGSTOP))
    training.is_whole(built)
    assert built.metrics["n_restarts"] >= 1 and built.metrics["resumed_at_epoch"] > 0


def test_a_worker_that_loses_its_connections(training: Training) -> None:
    built = training.struck(lambda: Path(arguments_of(training_workers()[1])[3], "cut").touch())
    training.is_whole(built)
    assert built.metrics["n_restarts"] >= 1 and built.metrics["resumed_at_epoch"] > 0


def test_the_coordinator_killed(training: Training, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vecmill"):
        built = training.struck(lambda: kill(stage_processes("train")[0]))
    training.is_whole(built)
    assert any("was lost, or its process; running the stage again" in line for line in caplog.messages)
    assert built.metrics["resumed_at_epoch"] > 0


def test_a_whole_node_killed_and_another_one_joining(
    nodes: Nodes, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    def strike() -> None:
        coordinator = nodes.named(training.begun()[-1])
        nodes.kill(next(each for each in nodes.running() if each is not coordinator))
        nodes.add()

    built = training.struck(strike)
    training.is_whole(built)
    assert built.metrics["n_restarts"] >= 1 and built.metrics["resumed_at_epoch"] > 0
    assert capsys.readouterr().out == "", "Ray prints what it hears of a node where --json prints"


def test_the_node_of_the_coordinator_killed(nodes: Nodes, training: Training, caplog: pytest.LogCaptureFixture) -> None:
    def strike() -> None:
        nodes.kill(nodes.named(training.begun()[-1]))
        nodes.add()

    with caplog.at_level(logging.WARNING, "vecmill"):
        built = training.struck(strike)
    training.is_whole(built)
    assert any("was lost, or its process; running the stage again" in line for line in caplog.messages)
    assert built.metrics["resumed_at_epoch"] > 0


def test_too_few_nodes_are_told_after_a_while(nodes: Nodes, training: Training) -> None:
    more = {**TRAIN, "distributed": {"workers": 3}}
    engine = training.config.engine.model_copy(update={"wait_seconds": 0.5})
    train = type(training.config.train).model_validate(more)
    config = training.config.model_copy(update={"train": train, "engine": engine})
    with RayEngine(config) as strict, pytest.raises(EngineError) as refused:
        run_until("train", strict, config)
    assert "stage train has 3 workers, each of which wants 1 core, and the nodes have room for 2: " in str(
        refused.value
    )
    assert "lower train.distributed.workers or engine.resources.train, or add nodes" in str(refused.value)
    wait_until(lambda: not training_workers(), 200, "no worker is left")


def test_a_node_without_torch_is_named_before_anything_runs(nodes: Nodes, training: Training) -> None:
    bare = nodes.add(VECMILL_TEST_WITHOUT="torch")
    try:
        with RayEngine(training.config) as engine, pytest.raises(EngineError) as refused:
            engine.start()
    finally:
        nodes.kill(bare)
    assert f"({bare.node_id[:6]}) has no torch, which carries rows between the workers" in str(refused.value)
    assert "run pip install 'vecmill[encoders]' there, or set train.distributed.workers: 1" in str(refused.value)


def test_room_is_counted_worker_by_worker() -> None:
    nodes = [Node("a", "a", 5, 8e9, 0), Node("b", "b", 1, 64e9, 2)]
    assert no_room(nodes, "train", 3, StageResources(cpus=2)) is not None
    assert no_room(nodes, "train", 2, StageResources(cpus=2)) is None
    assert "room for 3" in str(no_room(nodes, "train", 4, StageResources(memory=4_000_000_000)))
    assert no_room(nodes, "train", 1, StageResources(gpus=1)) is None


def test_only_workers_that_are_processes_are_placed() -> None:
    for distributed, expected in (
        ({"workers": 3}, 3),
        ({"workers": 1}, 0),
        ({"workers": 3, "transport": "one_process"}, 0),
    ):
        config = configured({"train": {"kind": "skipgram", "distributed": distributed}})
        assert workers_of(config.train) == expected
    assert workers_of(configured({"train": {"kind": "glove"}}).train) == 0
    assert workers_of(config.vocabulary) == 0
