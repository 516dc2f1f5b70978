"""Registries that do not answer, do not let us in, or are something else: each message, and how soon it comes."""

from __future__ import annotations

import base64
import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from vecmill.errors import RegistryError
from vecmill.registry import reach
from vecmill.registry.config import RegistryConfig
from vecmill.registry.probe import Registered, registered
from vecmill.registry.reach import rest_get
from vecmill.registry.register import register_model
from vecmill.registry.session import calling
from vecmill.store.stage import StageIO

KEPT = "everything finished so far is kept, so run again afterwards and only `register` runs."


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """A socket that takes connections and never answers, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def dead_address() -> str:
    """An address at which nobody listens any more."""
    with listening() as (_, address):
        return address


@contextmanager
def answering(status: int, body: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that gives one answer to everything; its address, and the headers of what it was asked."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(dict(self.headers))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def refusal(config: RegistryConfig, io: StageIO) -> str:
    with pytest.raises(RegistryError) as caught:
        register_model(config, io)
    assert caught.value.exit_code == 1
    assert not list(io.output.iterdir())
    return str(caught.value)


def sqlite(path: Path) -> RegistryConfig:
    return RegistryConfig(tracking_uri=f"sqlite:///{path}", model_name="words")


# --- servers ----------------------------------------------------------------------------------------------------------


def test_dead_server(finished: Callable[..., StageIO], dead_address: str) -> None:
    address = dead_address.replace("//", "//ann:s3cret@")
    assert refusal(RegistryConfig(tracking_uri=address), finished(0.4)) == (
        f"the model registry at {dead_address} cannot be reached: [Errno 111] Connection refused. "
        "Expected: an MLflow server that answers there. "
        f"What to do: start the server, or correct registry.tracking_uri; {KEPT}"
    )


def test_silent_server(finished: Callable[..., StageIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_TIMEOUT_SECONDS", 0.1)
    with listening() as (_, address):
        message = refusal(RegistryConfig(tracking_uri=address), finished(0.4))
    assert message.startswith(f"the model registry at {address} cannot be reached: timed out.")


def test_something_else_answers(finished: Callable[..., StageIO]) -> None:
    with answering(404, "<html>no such page</html>") as (address, _):
        message = refusal(RegistryConfig(tracking_uri=address), finished(0.4))
    assert message.startswith(f"the model registry at {address} cannot be reached: it answered HTTP 404 Not Found.")


@pytest.mark.parametrize(("body", "what"), [("<html>welcome</html>", "JSON"), ("[]", "a JSON object")])
def test_answer_of_another_kind(finished: Callable[..., StageIO], body: str, what: str) -> None:
    with answering(200, body) as (address, _):
        message = refusal(RegistryConfig(tracking_uri=address), finished(0.4))
    assert message.startswith(f"the model registry at {address} cannot be reached: its answer is not {what}.")


@pytest.mark.parametrize("status", [401, 403])
def test_server_that_does_not_let_us_in(finished: Callable[..., StageIO], status: int) -> None:
    with answering(status, "go away") as (address, _):
        message = refusal(RegistryConfig(tracking_uri=address.replace("//", "//ann:s3cret@")), finished(0.4))
    assert message.startswith(f"could not start work in the model registry {address}: ")
    assert f"{status}" in message
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account that may write there" in message
    assert "s3cret" not in message


def test_probe_reports_a_dead_server(dead_address: str) -> None:
    said = {"model_name": "words", "model_version": "1", "tracking_uri": dead_address}
    with pytest.raises(RegistryError, match="cannot be reached"):
        registered(said)


def test_probe_takes_the_registry_at_its_word_that_there_is_no_such_version() -> None:
    with answering(404, json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"})) as (address, _):
        assert registered({"model_name": "words", "model_version": "1", "tracking_uri": address}) is None


@pytest.mark.parametrize("by", ["address", "variables", "token"])
def test_credentials_are_sent(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    basic = "Basic " + base64.b64encode(b"ann:s3cret@").decode()
    with answering(200, "{}") as (address, asked):
        if by == "address":
            address = address.replace("//", "//ann:s3cret%40@")
        elif by == "variables":
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret@")
        else:
            monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
        assert rest_get(address, "registered-models/get", {"name": "words"}) == {}
    assert asked[0]["Authorization"] == ("Bearer t0ken" if by == "token" else basic)


# --- SQLite files -----------------------------------------------------------------------------------------------------


def test_file_that_is_no_database(finished: Callable[..., StageIO], tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and they stay what they are\n" * 40)
    before = path.read_bytes()
    assert refusal(sqlite(path), finished(0.4)) == (
        f"the model registry {path} cannot be used: file is not a database. "
        "Expected: an SQLite database of MLflow's that can be written, or a place where one can be made. "
        f"What to do: name another file in registry.tracking_uri, or move this one away; {KEPT}"
    )
    assert path.read_bytes() == before
    with pytest.raises(RegistryError, match="file is not a database"):
        registered({"model_name": "words", "model_version": "1", "tracking_uri": f"sqlite:///{path}"})


def test_place_where_no_file_can_be(finished: Callable[..., StageIO], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "mlflow.db"):
        message = refusal(sqlite(path), finished(0.4))
        assert message.startswith(f"the model registry {path} cannot be used: ")
        assert "make the file and its folder writable, or name another file in registry.tracking_uri" in message


def test_locked_file(
    finished: Callable[..., StageIO], sqlite_config: RegistryConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_TIMEOUT_SECONDS", 0.01)
    path = (sqlite_config.tracking_uri or "").removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        message = refusal(sqlite_config, finished(0.4))
    assert message.startswith(f"the model registry {path} cannot be used: database is locked.")
    assert "wait until the program that holds it has finished" in message


def test_schema_of_another_mlflow(finished: Callable[..., StageIO], sqlite_config: RegistryConfig) -> None:
    with closing(sqlite3.connect((sqlite_config.tracking_uri or "").removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'cafe'")
        connection.commit()
    message = refusal(sqlite_config, finished(0.4))
    assert "Detected out-of-date database schema (found version cafe" in message
    assert f"back the database up, then run `mlflow db upgrade {sqlite_config.tracking_uri}`" in message


def test_probe_of_a_file_without_models_makes_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    assert registered({"model_name": "words", "model_version": "1", "tracking_uri": f"sqlite:///{path}"}) is None
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


def test_probe_asks_mlflow_where_the_columns_are_others(
    finished: Callable[..., StageIO], sqlite_config: RegistryConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    io = finished(0.4)
    register_model(sqlite_config, io)
    said = json.loads((io.output / "registration.json").read_text(encoding="utf-8"))

    def other_columns(*_: Any) -> None:
        raise reach.NeedsClient("no such column: storage_location")

    monkeypatch.setattr("vecmill.registry.probe._from_sqlite", other_columns)
    assert registered(said) == Registered("words", "1", ("challenger", "champion"), "1")
    assert registered({**said, "model_version": "9"}) is None


# --- places for files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_port_is_not_taken_for_a_status(status: int) -> None:
    with pytest.raises(RegistryError) as caught, calling("sqlite:///mlflow.db", "store the model"):
        raise OSError(f"no answer from the s3 endpoint http://127.0.0.1:3{status}1/bucket/a{status}f")
    assert "check registry.artifact_location, the AWS variables and MLFLOW_S3_ENDPOINT_URL" in str(caught.value)
    with pytest.raises(RegistryError) as caught, calling("sqlite:///mlflow.db", "store the model"):
        raise OSError(f"HTTP {status}: the bucket says no")
    assert "MLFLOW_TRACKING_USERNAME" in str(caught.value)


def test_object_store_that_does_not_answer(
    finished: Callable[..., StageIO],
    sqlite_config: RegistryConfig,
    dead_address: str,
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
) -> None:
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": dead_address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    config = sqlite_config.model_copy(update={"artifact_location": "s3://bucket/models"})
    message = refusal(config, finished(0.4))
    assert "could not store the files of the run in the model registry" in message
    assert "check registry.artifact_location, the AWS variables and MLFLOW_S3_ENDPOINT_URL" in message
    assert "s3cret" not in message
    experiment = client.get_experiment_by_name(config.experiment)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
