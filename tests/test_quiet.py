"""No library below us calls home: by its own word, and by what it is seen to do."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from vecmill.quiet import AD_HOC_SWITCHES, PRIVACY_SWITCHES, QUIET_ENVIRONMENT, be_quiet

ROOT = Path(__file__).resolve().parents[1]

# Loaded by every Python process that inherits the environment, flows' servers included. Audit events come from the
# interpreter itself, whichever library asks; raising in one refuses the call, so nothing leaves the machine.
WATCH = """
import os, socket, sys

def note(*words):
    with open(os.environ["NETWORK_RECORD"], "a") as record:
        record.write(" ".join(words) + "\\n")

def is_local(host):
    host = host.decode() if isinstance(host, bytes) else host
    return host in (None, "", "::1", "0.0.0.0", "localhost") or host.startswith("127.")

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        host = arguments[1][0]
    else:
        return
    if not is_local(host):
        note("outside", event, str(host))
        raise OSError("refused: " + str(host) + " is not this machine")

note("watched", *sys.orig_argv[1:3])
sys.addaudithook(watch)
"""

WORK = """
from vecmill.quiet import be_quiet
be_quiet()

import great_expectations, mlflow, prefect

@prefect.flow
def trivial():
    return 1

trivial()
mlflow.set_tracking_uri("mlruns")
with mlflow.start_run():
    mlflow.log_metric("one", 1)
great_expectations.get_context(mode="ephemeral")
"""


@pytest.fixture
def bare_environment(tmp_path: Path) -> dict[str, str]:
    """No more than a person's fresh shell has; above all nothing of CI or pytest, where the libraries keep quiet."""
    (tmp_path / "sitecustomize.py").write_text(WATCH, "utf-8")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "NETWORK_RECORD": str(tmp_path / "record"),
        # No database to set up, which would take longer than all the rest.
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }


def recorded(environment: dict[str, str]) -> list[str]:
    return Path(environment["NETWORK_RECORD"]).read_text("utf-8").splitlines()


def run_on_a_terminal(code: str, environment: dict[str, str], folder: Path) -> tuple[int, str]:
    """Run Python code with a terminal for its input and output: on a pipe, Prefect's SDK reports nothing anyway."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
        except OSError:
            pass  # how Linux says that the last process has closed the terminal
        finally:
            os.close(ours)
    return process.returncode, said.decode()


def test_it_sets_every_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    switches = (*PRIVACY_SWITCHES, *AD_HOC_SWITCHES)
    for switch in switches:
        monkeypatch.delenv(switch.name, raising=False)
    be_quiet()
    assert {switch.name: os.environ[switch.name] for switch in switches} == {s.name: s.value for s in switches}


def test_it_leaves_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    be_quiet()
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["PREFECT_LOGGING_LEVEL"]) == ("0", "DEBUG")


def test_scheduled_runs_get_the_privacy_switches_and_keep_their_log_lines() -> None:
    assert {switch.name: switch.value for switch in PRIVACY_SWITCHES} == QUIET_ENVIRONMENT
    assert not QUIET_ENVIRONMENT.keys() & {switch.name for switch in AD_HOC_SWITCHES}


def test_every_switch_appears_once_with_its_reason() -> None:
    switches = (*PRIVACY_SWITCHES, *AD_HOC_SWITCHES)
    assert len({switch.name for switch in switches}) == len(switches)
    assert all(len(switch.reason) > 20 for switch in switches)


def test_libraries_report_that_their_telemetry_is_off(bare_environment: dict[str, str], tmp_path: Path) -> None:
    code = ["import json", "from vecmill.quiet import be_quiet", "be_quiet()", "answers = {}"]
    code += [
        "from prefect.settings import get_current_settings",
        "settings = get_current_settings()",
        "answers['prefect server reports'] = settings.server.analytics_enabled",
        "answers['prefect level is not WARNING'] = settings.logging.level != 'WARNING'",
        "from prefect._internal.analytics.enabled import is_telemetry_enabled",
        "answers['prefect sdk reports'] = is_telemetry_enabled()",
        "from mlflow.telemetry.utils import is_telemetry_disabled",
        "answers['mlflow reports'] = not is_telemetry_disabled()",
    ]
    if find_spec("huggingface_hub"):
        code += [
            "from huggingface_hub import constants",
            "answers['hub reports'] = not constants.HF_HUB_DISABLE_TELEMETRY",
            "answers['hub is online'] = not constants.HF_HUB_OFFLINE",
        ]
    if find_spec("ray"):
        code += [
            "from ray._common.usage.usage_lib import usage_stats_enabled",
            "answers['ray reports'] = usage_stats_enabled()",
        ]
    code += ["print(json.dumps(answers))"]
    answer = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        env=bare_environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(answer.stdout.splitlines()[-1])
    assert len(answers) >= 4
    assert not any(answers.values()), answers


def test_the_watch_sees_and_refuses_calls_to_the_outside(bare_environment: dict[str, str], tmp_path: Path) -> None:
    code = """
import socket, subprocess, sys
attempts = (
    lambda: socket.getaddrinfo("example.invalid", 443),
    lambda: socket.create_connection(("192.0.2.1", 443)),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("198.51.100.1", 53)),
    lambda: subprocess.run([sys.executable, "-c", "import socket; socket.gethostbyname('child.invalid')"], check=True),
)
for attempt in attempts:
    try:
        attempt()
    except (OSError, subprocess.CalledProcessError):
        continue
    sys.exit("an attempt went through")
"""
    subprocess.run([sys.executable, "-c", code], env=bare_environment, cwd=tmp_path, check=True, capture_output=True)
    assert {line.split()[-1] for line in recorded(bare_environment) if line.startswith("outside")} == {
        *("example.invalid", "192.0.2.1", "198.51.100.1", "child.invalid")
    }


@pytest.mark.server
def test_nothing_reaches_for_the_outside_during_a_flow(bare_environment: dict[str, str], tmp_path: Path) -> None:
    status, said = run_on_a_terminal(WORK, bare_environment, tmp_path)
    assert status == 0, said
    lines = recorded(bare_environment)
    assert any("uvicorn" in line for line in lines if line.startswith("watched")), "Prefect's server went unwatched"
    assert [line for line in lines if line.startswith("outside")] == []
