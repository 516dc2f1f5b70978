"""Every command that a container runs, and every setting it is given, is one that the installed versions know."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROGRAMS = Path(sys.executable).parent
# Read at import time only, because the parameters of a test have to be known before fixtures are.
SERVICES: dict[str, Any] = yaml.safe_load(
    (Path(__file__).resolve().parents[2] / "infra" / "compose.yaml").read_text("utf-8")
)["services"]


def command_lines() -> list[list[str]]:
    """What the containers of our own image run, without the plain Python script."""
    commands = [service["command"] for service in SERVICES.values() if "build" in service]
    return [command for command in commands if command[0] != "python"]


def subcommand(line: list[str]) -> list[str]:
    """The words before the first option, which choose what runs."""
    return list(itertools.takewhile(lambda word: not word.startswith("-"), line))


@pytest.fixture(scope="module")
def quiet_home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    # Wide, so that no option is broken over two lines of the help text.
    return {**os.environ, "PREFECT_HOME": str(home), "COLUMNS": "250", "NO_COLOR": "1"}


def test_all_commands_are_found() -> None:
    assert [" ".join(subcommand(line)) for line in command_lines()] == [
        "prefect server start",
        "mlflow server",
        "vecmill deploy",
        "prefect worker start",
    ]


def options(line: list[str]) -> set[str]:
    return {word for word in line if word.startswith("--")}


@pytest.mark.parametrize(
    "line", [line for line in command_lines() if line[0] != "mlflow"], ids=lambda line: " ".join(subcommand(line))
)
def test_every_command_and_option_is_known_to_the_program(line: list[str], quiet_home: dict[str, str]) -> None:
    program, *words = subcommand(line)
    answer = subprocess.run(
        [str(PROGRAMS / program), *words, "--help"], capture_output=True, text=True, env=quiet_home, check=True
    )
    known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", answer.stdout))
    assert options(line) <= known, f"{' '.join(subcommand(line))} does not know {sorted(options(line) - known)}"


def settings_given(prefix: str) -> dict[str, str]:
    return {
        name: value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if name.startswith(prefix) and "build" in service
    }


def test_every_option_and_setting_is_known_to_mlflow(tmp_path: Path) -> None:
    code = (
        "import json, mlflow.environment_variables as variables; from mlflow.cli import cli; "
        "server = cli.commands['server'].params; "
        "settings = {p.envvar for p in server if p.envvar} | {n for n in vars(variables) if n.startswith('MLFLOW_')}; "
        "print(json.dumps([[o for p in server for o in p.opts], sorted(settings)]))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    known_options, known_settings = json.loads(answer.stdout.splitlines()[-1])

    command = next(line for line in command_lines() if line[0] == "mlflow")
    assert "--artifacts-destination" in command
    assert options(command) <= set(known_options), sorted(options(command) - set(known_options))

    given = set(settings_given("MLFLOW_"))
    assert {"MLFLOW_TRACKING_URI", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_BACKEND_STORE_URI"} <= given
    assert given <= set(known_settings), f"MLflow ignores {sorted(given - set(known_settings))}"


def test_every_setting_is_known_to_prefect_and_takes_effect(tmp_path: Path) -> None:
    given = {name: re.sub(r"\$\{[^}]*\}", "4200", value) for name, value in settings_given("PREFECT_").items()}
    given["PREFECT_SERVER_DATABASE_PASSWORD"] = "a@b:c/d"
    code = (
        "import json; from prefect.settings import get_current_settings; settings = get_current_settings(); "
        "print(json.dumps([settings.to_environment_variables(exclude_unset=True, include_secrets=True), "
        "settings.server.database.connection_url.get_secret_value()]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path), **given},
    )
    understood, database = json.loads(answer.stdout)
    assert set(given) <= set(understood), f"Prefect ignores {sorted(set(given) - set(understood))}"
    for name, value in given.items():
        assert str(understood[name]).lower().removesuffix(".0") == value.lower(), name
    # Put together from its parts, so that a password may hold any character.
    assert database == "postgresql+asyncpg://prefect:a%40b%3Ac%2Fd@postgres:5432/prefect"
