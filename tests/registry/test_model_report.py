"""The report page of a version: logged when it is registered, fetched by the command line, never in the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from typer.testing import CliRunner

from vecmill.cli.main import app
from vecmill.errors import ConfigError, RegistryError
from vecmill.registry.config import RegistryConfig
from vecmill.registry.history import Version, find_version
from vecmill.registry.model_report import read_report
from vecmill.registry.register import register_model
from vecmill.store.stage import StageIO


def test_a_version_keeps_its_report(
    finished: Callable[..., StageIO],
    sqlite_config: RegistryConfig,
    client: Any,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    io = finished(0.4, sources=("s3://key:s3cret@bucket/*.txt",))
    register_model(sqlite_config, io)
    page = read_report(client, "words", find_version(client, "words", "1"))
    assert page == (io.output / "report.html").read_text()
    for said in ("words, version 1", "Version 1 is champion", "queen", "317 of 353", "s3://bucket/*.txt"):
        assert said in page, said
    assert "s3cret" not in page

    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    where = ["--set", f"registry.tracking_uri={sqlite_config.tracking_uri}", "--set", "registry.model_name=words"]
    done = CliRunner().invoke(app, ["report", "champion", *where, "--open"], catch_exceptions=False)
    assert done.stdout == "wrote words-1.html\n"
    assert Path("words-1.html").read_text() == page and opened == [Path("words-1.html").absolute().as_uri()]
    with pytest.raises(ConfigError, match=r"words-1\.html stands there already.*--force"):
        CliRunner().invoke(app, ["report", "1", *where, "--out", "words-1.html"], catch_exceptions=False)
    again = ["report", "1", *where, "--out", "words-1.html", "--force", "--json"]
    assert json.loads(CliRunner().invoke(app, again).stdout) == {"report": str(Path("words-1.html").absolute())}


def test_a_registry_that_takes_no_more_files_ends_no_registration(
    finished: Callable[..., StageIO],
    sqlite_config: RegistryConfig,
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = mlflow.MlflowClient.log_artifact

    def refuse(self: Any, run_id: str, path: str, *rest: Any) -> None:
        if path.endswith("report.html"):
            raise OSError("no room left")
        whole(self, run_id, path, *rest)

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", refuse)
    io = finished(0.4)
    with caplog.at_level(logging.WARNING, logger="vecmill"):
        assert register_model(sqlite_config, io).metrics["model_version"] == "1"
    assert "no room left" in caplog.text and (io.output / "report.html").is_file()
    with pytest.raises(RegistryError, match=r"version 1 of words keeps no report\.html.*evaluate artifact instead"):
        read_report(client, "words", find_version(client, "words", "1"))


def test_a_version_without_a_run(client: Any) -> None:
    with pytest.raises(RegistryError, match="version 3 of words keeps no"):
        read_report(client, "words", Version("3", "", (), {}, "", None, "models:/m-1"))
