"""The server of one ad-hoc run: it answers, it ends with the run, also when the run is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from servers import answers, wait_until
from vecmill.cli.prefect_server import StartingServer, free_port, prefect_server
from vecmill.errors import VecmillError

pytestmark = pytest.mark.server


def test_it_answers_and_ends_with_the_block(tmp_path: Path) -> None:
    with prefect_server(tmp_path / "home with space") as server:
        server.wait()
        health = f"{server.api_url}/health"
        assert answers(health)
    assert not answers(health)


def test_ports_are_drawn_below_those_that_the_system_gives_out_and_none_that_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports = {free_port() for _ in range(100)}
    assert len(ports) > 50
    assert max(ports) < 32_768
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        port = taken.getsockname()[1]
        monkeypatch.setattr("vecmill.cli.prefect_server._PORTS", (port - 5, port + 1))
        assert port not in {free_port() for _ in range(50)}


def test_it_ends_when_the_run_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from vecmill.cli.prefect_server import prefect_server\n"
        "with prefect_server(Path(sys.argv[1])) as server:\n"
        "    server.wait(); print(server.api_url, flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        health = f"{run.stdout.readline().strip()}/health"
        assert answers(health)
        os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not answers(health), 200, "the server ends")


def test_a_server_that_cannot_start_says_where_to_look(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        process.wait()
        with pytest.raises(VecmillError, match=r"ended while it was starting \(exit code 3\).*server\.log"):
            StartingServer(process, 1, tmp_path / "server.log").wait()  # type: ignore[arg-type]
