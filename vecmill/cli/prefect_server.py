"""Prefect's server for the length of one ad-hoc run.

Prefect would start one by itself when a flow begins. Started here, before Prefect is even imported in this process, it
migrates its database while we import; and when the run is over it is ended at once instead of being waited for.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vecmill.errors import VecmillError

_STARTUP_SECONDS = 180
_PR_SET_PDEATHSIG = 1
_PORTS = (20_000, 32_768)


class StartingServer:
    """A server process that may not answer yet."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process = process
        self._port = port
        self._log = log

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api"

    def wait(self) -> None:
        """Return when the server answers.

        Raises
        ------
        VecmillError : it ended, or did not answer in time; the message names its log
        """
        deadline = time.monotonic() + _STARTUP_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise VecmillError(
                    f"Prefect's server ended while it was starting (exit code {self._process.returncode})",
                    todo=f"read {self._log}; deleting {self._log.parent} lets Prefect begin anew",
                )
            if self._answers():
                return
            time.sleep(0.05)
        raise VecmillError(
            f"Prefect's server did not answer within {_STARTUP_SECONDS} s",
            todo=f"read {self._log}, or start a server of your own and set PREFECT_API_URL",
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End the server and whatever it started."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
                self._process.wait(timeout=5)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
            break


@contextmanager
def prefect_server(home: Path) -> Iterator[StartingServer]:
    """Start a server on a free port of 127.0.0.1 with its state below ``home``; it ends with the block.

    It also ends when this process is killed: the kernel tells it (Linux).
    """
    home.mkdir(parents=True, exist_ok=True)
    log_path = home / "server.log"
    port = free_port()
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "WARNING"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=end_with_parent if sys.platform == "linux" else None,
        )
    server = StartingServer(process, port, log_path)
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody else is likely to take before the server that gets it listens, seconds later.

    Those that the system gives out (to outgoing connections, and to whoever asks for any) begin above these on Linux
    and macOS. Drawn apart from the generators that a program may have seeded, so that two runs draw differently.
    """
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(*_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def one_at_a_time(home: Path) -> Iterator[None]:
    """Let runs that start at the same moment start their servers one after the other: a first start migrates."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".starting").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def end_with_parent() -> None:
    """Ask the kernel to end this process when the one that started it is gone, however it went (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
