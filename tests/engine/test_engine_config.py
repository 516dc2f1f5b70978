"""The section `engine`: how it is written, what it refuses, and that it changes no key."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from vecmill.config.overrides import apply_overrides
from vecmill.config.validate import validate
from vecmill.engine import ray_cluster
from vecmill.engine.engine import LocalEngine, open_engine
from vecmill.engine.on_node import pipeline_of_config, plain_config
from vecmill.engine.ray_cluster import Node
from vecmill.engine.ray_engine import RayEngine
from vecmill.errors import ConfigError, EngineError
from vecmill.pipelines.engine_config import EngineConfig
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.plan import make_plan

TRAIN = {"train": {"kind": "skipgram"}}
EVERYTHING = {
    "kind": "ray",
    "address": "10.0.0.1:6379",
    "resources": {"train": {"cpus": 4, "memory": "4GB", "gpus": 1}},
    "retries": 5,
    "wait_seconds": 1,
}


def test_the_short_form_is_one_word_and_is_filled_in_piece_by_piece() -> None:
    assert validate(WordsConfig, {**TRAIN, "engine": "ray"}, "test").engine == EngineConfig(kind="ray")
    values = apply_overrides({**TRAIN, "engine": "ray"}, ["engine.address=auto", "engine.resources.train.memory=2GB"])
    engine = validate(WordsConfig, values, "test").engine
    assert (engine.kind, engine.address) == ("ray", "auto")
    assert engine.of_stage("train").memory == 2_000_000_000
    assert engine.of_stage("train").cpus == engine.of_stage("ingest").cpus == 1


def test_forms_and_the_server_take_both_spellings() -> None:
    schema = WordsConfig.model_json_schema()
    for engine in ("ray", "local", EVERYTHING):
        jsonschema.validate({**TRAIN, "engine": engine}, schema)
    for engine in ("spark", {"kind": "spark"}, {"adress": "auto"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**TRAIN, "engine": engine}, schema)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("spark", "engine.kind = 'spark'"),
        ({"kind": "ray", "adress": "auto"}, "did you mean 'engine.address'"),
        ({"kind": "ray", "address": "somewhere"}, "expected nothing, auto, HOST:PORT or ray://HOST:PORT"),
        ({"kind": "ray", "address": "http://head:6379"}, "expected nothing, auto, HOST:PORT or ray://HOST:PORT"),
        ({"address": "auto"}, "address is 'auto', which only kind: ray uses; set kind to ray"),
        (
            {"kind": "ray", "resources": {"tran": {"cpus": 2}}},
            "resources name the stage 'tran'; expected some of",
        ),
        ({"kind": "ray", "resources": {"train": {"cpus": 0}}}, "engine.resources.train.cpus = 0"),
        ({"kind": "ray", "resources": {"train": {"memory": "much"}}}, "such as 256MB, 1.5GB or 64MiB"),
    ],
)
def test_refusals_name_the_place(engine: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        validate(WordsConfig, {**TRAIN, "engine": engine}, "test")
    assert message in str(refused.value)


def test_no_key_depends_on_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plans = []
    for engine in ("local", EVERYTHING):
        config = validate(WordsConfig, {**TRAIN, "engine": engine}, "test")
        plans.append([each.key for each in make_plan(WORDS, config, ArtifactStore(config.store))])
    assert plans[0] == plans[1]


def test_a_configuration_that_travelled_gives_the_same_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secret = "postgresql://user:hunter2@db/mlflow"
    values = {**TRAIN, "engine": EVERYTHING, "evaluate": {"benchmarks": ["wordsim353"]}}
    config = validate(WordsConfig, {**values, "registry": {"tracking_uri": secret}}, "test")
    assert pipeline_of_config(config) is WORDS
    plain = json.loads(json.dumps(plain_config(WORDS, config)))
    assert "hunter2" not in json.dumps(plain)
    assert plain["store"]["uri"] == str(tmp_path / ".vecmill/store")
    arrived = WordsConfig.model_validate(plain)
    before, after = (make_plan(WORDS, each, ArtifactStore(each.store))[:-1] for each in (config, arrived))
    assert [each.key for each in before] == [each.key for each in after]


def test_without_ray_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    config = validate(WordsConfig, {**TRAIN, "engine": "ray"}, "test")
    with pytest.raises(ConfigError) as refused, open_engine(config) as engine:
        engine.start()
    assert "Ray is not installed" in str(refused.value)
    assert "pip install 'vecmill[ray]'" in str(refused.value)


def test_nobody_at_the_address_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        config = validate(WordsConfig, {**TRAIN, "engine": {"kind": "ray", "address": address}}, "test")
        with pytest.raises(EngineError) as refused, open_engine(config) as engine:
            engine.start()
        assert f"no Ray answers at {address}" in str(refused.value)
        assert "ray start --head" in str(refused.value)


@contextmanager
def listening(answer: bytes) -> Iterator[int]:
    """A port that takes connections and answers each with so many bytes, or, without any, with silence."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    if answer:
                        connection.recv(1000)
                        connection.sendall(answer)
                        connection.close()
                    else:
                        held.append(connection)

        held: list[socket.socket] = []
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in held:
                each.close()


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "what listens there is not Ray"), (b"", "timed out")],
    ids=["another server", "silent"],
)
def test_what_listens_and_is_no_ray_is_said_soon(
    scheme: str, answer: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself would try for minutes, and print what its own threads think of it."""
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_cluster, "_SPEAKS_WITHIN_SECONDS", 0.5)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was asked"))
    with listening(answer) as port:
        address = f"{scheme}127.0.0.1:{port}"
        config = validate(WordsConfig, {**TRAIN, "engine": {"kind": "ray", "address": address}}, "test")
        with pytest.raises(EngineError) as refused, open_engine(config) as engine:
            engine.start()
    assert f"no Ray answers at {address}, the address of the Ray cluster ({reason})" in str(refused.value)


def test_a_node_that_does_not_begin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    engine = RayEngine(validate(WordsConfig, {**TRAIN, "engine": "ray"}, "test"))

    def waits(reference: object, timeout: float) -> None:
        raise ray.exceptions.GetTimeoutError("Get timed out: some object(s) not ready.")

    monkeypatch.setattr(ray, "get", waits)
    with pytest.raises(EngineError) as refused:
        engine._seen(ray, Node("0" * 56, "worker-3 (000000)", 1, 0, 0), None)
    assert "node worker-3 (000000) has not begun to work within 120 seconds" in str(refused.value)
    assert "is it overloaded" in str(refused.value) and "cannot run vecmill" not in str(refused.value)


def test_ray_may_take_its_time_to_start_a_node() -> None:
    """Its own 30 seconds, for which there is no setting, were too few for a machine with much to do."""
    asked: list[tuple[str, str]] = []

    def get_node(address: str, node_id: str) -> dict[str, str]:
        asked.append((address, node_id))
        if len(asked) < 4:
            raise RuntimeError("the node has not registered")
        return {"node_id": node_id}

    ray = SimpleNamespace(_private=SimpleNamespace(services=SimpleNamespace(get_node=get_node)))
    for _ in range(2):
        ray_cluster.give_time_to_start(ray)
    assert ray._private.services.get_node("here:1", "abc") == {"node_id": "abc"}
    assert asked == [("here:1", "abc")] * 4


def test_a_cluster_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)

    def times_out(**options: Any) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")  # as Ray does

    monkeypatch.setattr("ray.init", times_out)
    with (
        pytest.raises(EngineError) as refused,
        open_engine(validate(WordsConfig, {**TRAIN, "engine": "ray"}, "test")) as e,
    ):
        e.start()
    assert "Ray could not be started on this machine (The current node timed out during startup" in str(refused.value)
    assert "when the machine has less to do, or set engine.kind: local" in str(refused.value)


def test_auto_without_a_cluster_says_what_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    config = validate(WordsConfig, {**TRAIN, "engine": {"kind": "ray", "address": "auto"}}, "test")
    with pytest.raises(EngineError) as refused, open_engine(config) as engine:
        engine.start()
    assert "engine.address is auto, and this machine is in no Ray cluster" in str(refused.value)
    assert "leave engine.address out to have one started for the run" in str(refused.value)


def test_auto_finds_a_head_that_listens_on_loopback_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vecmill.engine.ray_cluster import _cluster_of_this_machine

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "ray").mkdir()
    with listening(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))) as port:  # as gRPC begins
        (tmp_path / "ray/ray_current_cluster").write_text(f"127.0.0.2:{port}")
        assert _cluster_of_this_machine() == f"127.0.0.1:{port}"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")
    assert _cluster_of_this_machine() == "10.0.0.9:6379"


def test_a_store_in_memory_is_refused_before_anything_starts() -> None:
    values = {**TRAIN, "engine": "ray", "store": {"uri": "memory://engine/store"}}
    config = validate(WordsConfig, values, "test")
    with pytest.raises(EngineError, match="which only this process sees"), open_engine(config) as engine:
        engine.start()


def test_by_default_stages_run_here() -> None:
    with open_engine(validate(WordsConfig, TRAIN, "test")) as engine:
        assert isinstance(engine, LocalEngine)
        assert engine.in_this_process
