"""The script that makes the two databases: run with a psql that only writes down what it was asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STUB = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    call = {{"arguments": sys.argv[1:], "input": sys.stdin.read()}}
    for name in ("DATABASE_NAME", "DATABASE_PASSWORD"):
        call[name] = os.environ.get(name)
    calls.write(json.dumps(call) + "\\n")
sys.exit(int(os.environ.get("PSQL_EXIT", "0")))
"""
PASSWORDS = {"PREFECT_DB_PASSWORD": 'it\'s $HOME "quoted"', "MLFLOW_DB_PASSWORD": "back\\slash; DROP"}


class Setup:
    def __init__(self, script: Path, folder: Path) -> None:
        self.script, self.folder = script, folder
        psql = folder / "psql"
        psql.write_text(STUB.format(python=sys.executable), "utf-8")
        psql.chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", str(self.script)],
            env={"PATH": path, "CALLS": str(self.folder / "calls"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[dict[str, Any]]:
        calls = self.folder / "calls"
        return [json.loads(line) for line in calls.read_text("utf-8").splitlines()] if calls.exists() else []


@pytest.fixture
def setup(repository: Path, tmp_path: Path) -> Setup:
    return Setup(repository / "infra" / "postgres" / "create-databases.sh", tmp_path)


def test_the_script_parses_and_can_be_executed(setup: Setup) -> None:
    subprocess.run(["bash", "-n", str(setup.script)], check=True)
    assert os.access(setup.script, os.X_OK)


def test_one_role_and_one_database_each_and_mlflow_last(setup: Setup) -> None:
    answer = setup.run(**PASSWORDS, POSTGRES_USER="postgres")
    assert answer.returncode == 0, answer.stderr
    calls = setup.calls()
    # The health check in compose.yaml takes the database mlflow as the sign that all is done.
    assert [call["DATABASE_NAME"] for call in calls] == ["prefect", "mlflow"]
    for call in calls:
        for statement in ("CREATE ROLE", "CREATE DATABASE", "REVOKE ALL ON DATABASE"):
            assert statement in call["input"]
        assert "ON_ERROR_STOP=1" in call["arguments"]


def test_passwords_reach_psql_whole_and_by_its_environment_only(setup: Setup) -> None:
    setup.run(**PASSWORDS)
    calls = setup.calls()
    assert [call["DATABASE_PASSWORD"] for call in calls] == list(PASSWORDS.values())
    for call in calls:
        spoken = " ".join(call["arguments"]) + call["input"]
        assert not any(password in spoken for password in PASSWORDS.values())


@pytest.mark.parametrize("missing", PASSWORDS)
def test_a_missing_password_is_named_before_anything_is_created(setup: Setup, missing: str) -> None:
    answer = setup.run(**{**PASSWORDS, missing: ""})
    assert answer.returncode != 0
    role = "prefect" if missing.startswith("PREFECT") else "mlflow"
    assert f"{missing}: is not set: no password for the role {role}" in answer.stderr
    assert setup.calls() == []


def test_the_first_failure_stops_it(setup: Setup) -> None:
    answer = setup.run(**PASSWORDS, PSQL_EXIT="3")
    assert answer.returncode == 3
    assert len(setup.calls()) == 1
