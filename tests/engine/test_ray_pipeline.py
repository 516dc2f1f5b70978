"""Whole runs on a cluster: a search, a driver that is killed, one outside the cluster; and what logs must not hold."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows.adhoc import run_here
from reference.ray_nodes import (
    PLANTED,
    Nodes,
    configured,
    in_one_process,
    run_until,
    stage_processes,
    training_workers,
)
from servers import wait_until
from vecmill.config.validate import validate
from vecmill.engine.engine import LocalEngine
from vecmill.engine.on_node import NodeFault
from vecmill.engine.ray_engine import RayEngine
from vecmill.errors import VocabularyError
from vecmill.pipelines.words_search import WordsSearchConfig

pytestmark = [pytest.mark.timeout(600), pytest.mark.server]

PASSWORD = "planted-password-of-a-registry"
WORDS = ["cat", "dog", "horse", "cow", "sheep", "hammer", "saw", "drill", "wrench", "chisel"]


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Ratings of the words' 45 pairs: of one kind high, of two low."""
    pairs = itertools.combinations(range(len(WORDS)), 2)
    rows = [f"{WORDS[a]}\t{WORDS[b]}\t{8 if (a < 5) == (b < 5) else 1 + a % 3}" for a, b in pairs]
    path = tmp_path / "kinds.tsv"
    path.write_text("\n".join(["word1\tword2\tscore", *rows]) + "\n")
    return path


@pytest.fixture
def with_registry(small: dict[str, Any], tmp_path: Path, rated: Path) -> dict[str, Any]:
    evaluate = {"n_resamples": 100, "benchmarks": [str(rated)], "analogies": []}
    registry = {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}", "model_name": "kinds"}
    return {**small, "evaluate": evaluate, "registry": registry}


def versions(tmp_path: Path) -> list[Any]:
    import mlflow

    return list(mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").search_model_versions("name = 'kinds'"))


@pytest.fixture(scope="module")
def prefect_url() -> Iterator[str]:
    """A server that all tests here and the processes that they start talk to, since each takes long to start."""
    with prefect_test_harness(server_startup_timeout=200):
        yield PREFECT_API_URL.value()


@pytest.mark.usefixtures("prefect_url")
def test_a_search_with_trials_side_by_side(nodes: Nodes, with_registry: dict[str, Any], tmp_path: Path) -> None:
    together: set[int] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):  # looking through all processes takes time that the trials want
            together.add(len(stage_processes("train")))

    search = {
        "space": {"train.window": {"low": 1, "high": 8}},
        "sampler": "random",
        "pruner": "none",
        "n_trials": 4,
        "pilot_shares": [1.0],
        "n_finalists": 1,
        "n_seeds": 3,
        "parallel_trials": 2,
    }
    found = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for kind in ("ray", "local"):
            engine = {"kind": "ray", "address": nodes.address} if kind == "ray" else {}
            storage = f"sqlite:///{tmp_path / f'{kind}.db'}"
            values = {**with_registry, "search": {**search, "storage": storage}, "engine": engine}
            config = validate(WordsSearchConfig, values, "test")
            found.append(run_here("flows/search.py:search", config, ())["search"])
    finally:
        ended.set()
        watcher.join()
    on_nodes, here = found
    assert [each["state"] for each in on_nodes["trials"]] == ["complete"] * 4
    assert max(together) == 2, "two trials were trained at the same time"
    assert here["cost"]["trials_cached_frac"] == 1, "what was trained there is a hit here"
    scores = [{str(each["values"]): each["score"] for each in each_found["trials"]} for each_found in found]
    assert scores[0] == scores[1]
    assert on_nodes["winner_values"] == here["winner_values"]
    assert versions(tmp_path)


def test_a_killed_run_goes_on_from_its_checkpoint(
    nodes: Nodes, with_registry: dict[str, Any], tmp_path: Path, prefect_url: str
) -> None:
    pytest.importorskip("torch", reason="torch carries rows between workers")
    distributed = {"workers": 2, "tiers": 2}
    train = {"kind": "skipgram", "dim": 8, "epochs": 40, "threads": 1, "sample": 0, "checkpoint_minutes": 1e-9}
    config = {
        **with_registry,
        "train": {**train, "distributed": distributed},
        "engine": {"kind": "ray", "address": nodes.address},
    }
    deployment = {"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": config}}
    (tmp_path / "pipelines.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}))
    command = [sys.executable, "-m", "vecmill", "run", "words", "--json"]
    environment = {**os.environ, "PREFECT_API_URL": prefect_url}
    with (tmp_path / "first.log").open("w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
    store = tmp_path / ".vecmill/store"
    try:
        wait_until(lambda: list(store.glob(".checkpoints/train-*/checkpoint-*")), 200, "a checkpoint", driver)
        assert len(training_workers()) == 2
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    wait_until(lambda: not training_workers(), 200, "its workers have ended")
    wait_until(lambda: not stage_processes("train"), 200, "its stage has ended")
    assert not list(store.glob("train/*/manifest.json"))
    assert not (tmp_path / "mlflow.db").exists() or not versions(tmp_path)

    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert second.returncode == 0, second.stderr
    summary = json.loads(second.stdout)
    stages = {each["stage"]: each for each in summary["stages"]}
    assert {name for name, each in stages.items() if each["cached"]} >= {"ingest", "vocabulary", "encode"}
    manifest = json.loads((store / "train" / stages["train"]["key"] / "manifest.json").read_text())
    assert manifest["metrics"]["resumed_at_epoch"] > 0 and manifest["metrics"]["workers"] == 2
    assert len(versions(tmp_path)) == 1
    assert list((store / ".tmp").iterdir()) == []
    assert PLANTED not in second.stderr + second.stdout + (tmp_path / "first.log").read_text()


def test_a_driver_outside_the_cluster(nodes: Nodes, small: dict[str, Any]) -> None:
    pytest.importorskip("torch", reason="torch carries rows between workers")
    train = {**small["train"], "mode": "hogwild", "distributed": {"workers": 2}}
    values = {**small, "train": train}
    with nodes.client_server() as address:
        there = configured(values, kind="ray", address=address)
        with RayEngine(there) as engine:
            on_nodes = run_until("train", engine, there)
    here = run_until(
        "train", LocalEngine(), configured({**values, "train": in_one_process(train), "store": {"uri": "elsewhere"}})
    )
    assert {each.ref for each in on_nodes.values()} == {each.ref for each in here.values()}
    assert not any(each.cached for each in on_nodes.values())


def test_no_log_of_the_cluster_holds_a_secret(
    nodes: Nodes, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a run that works, one that is refused, and one that breaks."""

    def breaks(order: Any, mailbox: Any, group: Any = None) -> Any:
        from vecmill.engine.on_node import answered

        def work() -> Any:
            raise RuntimeError(f"nobody expected this: {os.environ['AWS_SECRET_ACCESS_KEY']} {order['config']}")

        return {"node": "a node", **answered(work, "a node")}

    registry = {"tracking_uri": f"postgresql://ann:{PASSWORD}@127.0.0.1:1/mlflow"}
    config = configured({**small, "registry": registry}, kind="ray", address=nodes.address)
    refused = configured(
        {**small, "registry": registry, "vocabulary": {"min_count": 100_000}}, kind="ray", address=nodes.address
    )
    run_until("encode", LocalEngine(), config)
    with RayEngine(config) as engine:
        run_until("train", engine, config)
        with pytest.raises(VocabularyError):
            run_until("vocabulary", engine, refused)
        monkeypatch.setattr("vecmill.engine.ray_engine._build", breaks)
        with pytest.raises(NodeFault, match="nobody expected this"):
            run_until("evaluate", engine, config)
    searched = 0
    for path in nodes.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            searched += 1
            for secret in (PLANTED, PASSWORD):
                assert secret.encode() not in content, path
    assert searched > 10
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == PLANTED, "it was there to be found"
