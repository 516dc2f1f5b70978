from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from vecmill.config.base import key_config
from vecmill.errors import ConfigError
from vecmill.registry.config import (
    RegistryConfig,
    resolve_artifact_location,
    resolve_tracking_uri,
    sqlite_path,
    without_password,
)

SECRET = "https://ann:s3cret@registry.example.org:5000"


def test_default_registry_is_an_absolute_file_in_the_state_folder(workplace: Path) -> None:
    uri = resolve_tracking_uri(RegistryConfig())
    assert uri == f"sqlite:///{workplace}/.vecmill/mlflow.db"
    assert resolve_artifact_location(RegistryConfig(), uri) == f"{workplace}/.vecmill/mlartifacts"


def test_relative_file_is_made_absolute(workplace: Path) -> None:
    assert resolve_tracking_uri(RegistryConfig(tracking_uri="sqlite:///a/b.db")) == f"sqlite:///{workplace}/a/b.db"


def test_server_decides_about_its_own_files() -> None:
    config = RegistryConfig(tracking_uri="http://127.0.0.1:5000")
    assert resolve_tracking_uri(config) == "http://127.0.0.1:5000"
    assert resolve_artifact_location(config, "http://127.0.0.1:5000") is None


@pytest.mark.parametrize(("location", "expected"), [("s3://bucket/x", "s3://bucket/x"), ("/data/x", "/data/x")])
def test_stated_artifact_location_counts(location: str, expected: str) -> None:
    config = RegistryConfig(artifact_location=location)
    assert resolve_artifact_location(config, "http://127.0.0.1:5000") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SECRET, "https://registry.example.org:5000"),
        ("postgresql+psycopg2://u:p%40w@db/mlflow", "postgresql+psycopg2://db/mlflow"),
        ('["s3://key:secret@bucket/a@b.txt", "x@y"]', '["s3://bucket/a@b.txt", "x@y"]'),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("postgresql://u:hunter/2pw@h/db", "postgresql://h/db"),
        ("postgresql://u:hun@ter2pw@h/db", "postgresql://h/db"),
        ("postgresql://h/db?user=u&password=hunter2pw", "postgresql://h/db?user=&password="),
    ],
)
def test_passwords_are_left_out(text: str, expected: str) -> None:
    assert without_password(text) == expected


def test_password_reaches_the_client_but_no_key_no_dump_and_no_repr() -> None:
    config = RegistryConfig(tracking_uri=SECRET, artifact_location="s3://key:s3cret@bucket/x")
    assert resolve_tracking_uri(config) == SECRET
    for shown in (str(key_config(config)), config.model_dump_json(), repr(config), str(config)):
        assert "s3cret" not in shown


def test_another_registry_has_another_key() -> None:
    assert key_config(RegistryConfig()) != key_config(RegistryConfig(tracking_uri="http://127.0.0.1:5000"))


@pytest.mark.parametrize("uri", ["mlruns", "file:///mlruns", "sqlite://", "ftp://ann:s3cret@host/x"])
def test_unknown_kinds_of_registry_are_refused_without_showing_them(uri: str) -> None:
    with pytest.raises(ValidationError, match="tracking_uri") as caught:
        RegistryConfig(tracking_uri=uri)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "it's"])
def test_names_that_mlflow_cannot_use_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="model_name"):
        RegistryConfig(model_name=name)


def test_registry_in_memory_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_tracking_uri(RegistryConfig(tracking_uri="sqlite:///:memory:"))
    assert str(caught.value) == (
        "registry.tracking_uri is 'sqlite:///:memory:', a database that ends with the process. "
        "Expected: sqlite:///PATH of a file. "
        "What to do: name a file, or leave registry.tracking_uri out to use .vecmill/mlflow.db."
    )


def test_path_of_an_sqlite_uri() -> None:
    assert sqlite_path("sqlite:////a/b.db?mode=rw") == Path("/a/b.db")
    assert sqlite_path("postgresql://db/x") is None


def test_mlflows_own_variable_names_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert resolve_tracking_uri(RegistryConfig()) == "http://mlflow:5000"
    assert resolve_tracking_uri(RegistryConfig(tracking_uri="http://other:1")) == "http://other:1"
