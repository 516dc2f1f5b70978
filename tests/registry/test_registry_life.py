"""The life of a model through a real MLflow server, asked about on the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vecmill.cli.main import app
from vecmill.errors import ConfigError
from vecmill.registry.chain import utc_now
from vecmill.registry.config import RegistryConfig
from vecmill.registry.register import register_model
from vecmill.registry.session import registry_session
from vecmill.store.stage import StageIO

pytestmark = pytest.mark.server


def opened(browser: str, address: str, folder: Path, awaited: str) -> str:
    """What a page shows, as HTML after its scripts have run; again until ``awaited`` stands there."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", address]
    until = time.monotonic() + 120
    while True:
        page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout
        if awaited in page or time.monotonic() > until:
            return page


def test_life_of_a_model(
    address: str, finished: Callable[..., StageIO], workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    runner = CliRunner()

    def ask(*arguments: str, fails: type[BaseException] | None = None) -> Any:
        result = runner.invoke(app, ["registry", *arguments, "--set", "registry.model_name=life"])
        if fails is not None:
            assert isinstance(result.exception, fails), result
            return str(result.exception)
        assert result.exit_code == 0, result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    config = RegistryConfig(model_name="life")
    times = [utc_now()]
    outcomes = []
    # the second is worse; the fourth has a higher score than the third, by luck
    for score in (0.3, 0.1, 0.7, 0.703):
        io = finished(score)
        register_model(config, io)
        said = json.loads((io.output / "registration.json").read_text(encoding="utf-8"))
        outcomes.append(said["outcome"])
        times.append(utc_now())
    assert outcomes == ["first", "keep", "promote", "not separable"]
    back = ask("rollback", "--why", "customers complained", "--json")
    assert (back["from"], back["to"]) == ("3", "1")
    times.append(utc_now())

    # --- who was champion when
    expected = [None, "1", "1", "3", "3", "1"]
    assert [ask("champion", "--at", each, "--json")["version"] for each in times] == expected
    before = ask("champion", "--at", "2013-01-16", "--json")
    assert before["version"] is None and before["reason"].startswith("nobody knows, its ledger begins at 20")
    assert ask("champion", "--at", "2013-01-16").startswith(
        "Who was champion of life at 2013-01-16T23:59:59.999Z: nobody"
    )
    now = ask("champion", "--json")
    assert (now["version"], now["reason"], now["until"], now["uncertain"]) == ("1", "customers complained", None, "")
    third = ask("champion", "--at", times[4], "--json")
    assert third["since"] < times[3] < third["until"] < times[5] and third["reason"].startswith("version 3")
    assert "Version 3 was champion of life at" in ask("champion", "--at", times[3])

    # --- all versions, and one
    listed = {each["version"]: each for each in ask("list", "--json")["versions"]}
    assert list(listed) == ["4", "3", "2", "1"]
    assert (listed["4"]["aliases"], listed["1"]["aliases"]) == (["challenger"], ["champion"])
    assert listed["4"]["verdict"] == "not separable" and listed["3"]["score"] == 0.7
    assert "score: mean_spearman" in ask("list")
    shown = ask("show", "champion", "--json")
    assert shown["version"] == "1" and [each["action"] for each in shown["ledger"] if each["action"]] == [
        "register",
        "rollback",
    ]
    assert "customers complained" in ask("show", "1")
    assert "life has no version '9'. Expected: a number (4, 3, 2, 1) or an alias (challenger, champion)" in ask(
        "show", "9", fails=ConfigError
    )

    # --- the ledger
    ledger = ask("history", "--json")
    intents = [each for each in ledger["rows"] if each["kind"] == "intent"]
    assert [(each["action"], each["version"], each["verdict"]) for each in intents] == [
        ("register", "1", "first"),
        ("register", "2", "keep"),
        ("register", "3", "promote"),
        ("register", "4", "not separable"),
        ("rollback", "1", "by hand"),
    ]
    assert ledger["problems"] == []
    assert "rollback version 1, by hand: champion 3 → 1" in ask("history")
    sound = ask("verify", "--head", said["ledger"]["digest"], "--json")
    assert sound["ok"] and sound["n_rows"] == 10 and sound["head"] == ledger["rows"][-1]["digest"]
    assert "The ledger of life is sound: 10 rows" in ask("verify")

    # --- the card
    card = ask("card", "3")
    assert card.startswith("# life, version 3\n") and "## Verdict\n\n**promote** against version 1" in card
    assert card == ask("card", "3", "--json")["card"]

    # --- the page that people look at
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is not None:  # all else has been asked; no browser is no failure of ours
        page = opened(browser, f"{address}/#/models/life", tmp_path, "Version 4")
        for number in "1234":
            assert f"Version {number}" in page
        assert "champion" in page and "challenger" in page and "not separable" in page

    # --- moved past vecmill
    with registry_session(address) as client:
        client.set_registered_model_alias("life", "champion", "2")
        found = runner.invoke(app, ["registry", "verify", "--json", "--set", "registry.model_name=life"])
        assert found.exit_code == 1
        assert "champion is version 2, while the ledger says version 1: moved past vecmill" in found.stdout
        assert ask("champion", "--json")["version"] == "2", "what loads is what counts"
        ask("verify", "--repair")
        assert ask("champion", "--at", times[5], "--json")["uncertain"].startswith("the alias was moved past vecmill")
        run = client.get_model_version("life", "1").run_id
        assert {"card.md", "manifests"} <= {each.path for each in client.list_artifacts(run)}
        description = client.get_model_version("life", "3").description
    assert description.startswith("version 3 is champion") and "Card: `card.md`" in description
    assert ask("rollback", "--json")["to"] == "1"
    assert "version 1 of life is champion already" in ask("rollback", "1", fails=ConfigError)
