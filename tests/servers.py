"""Starting, waiting for and stopping the real servers that tests talk to; all on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vecmill

ROOT = Path(vecmill.__file__).parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    condition: Callable[[], Any], seconds: float, what: str, process: subprocess.Popen[Any] | None = None
) -> Any:
    """Poll until ``condition`` gives something true; fail with ``what`` when it takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        assert process is None or process.poll() is None, f"{what}: the process ended with {process.returncode}"
        time.sleep(0.25)
    pytest.fail(f"{what}: not within {seconds:g} s")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def stop(process: subprocess.Popen[Any]) -> None:
    """End a process and the group it leads."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        break


def start_worker(environment: dict[str, str], log_path: Path) -> subprocess.Popen[Any]:
    """A process worker that asks for work every two seconds."""
    with log_path.open("a") as log:  # the child keeps its own handle
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local-process", "--type", "process"],
            env={**environment, "PREFECT_WORKER_QUERY_SECONDS": "2"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
