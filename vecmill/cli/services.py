"""Commands that start or feed servers: ``browse``, ``server``, ``worker``, ``deploy``."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from vecmill.cli.common import open_target, stderr_console
from vecmill.cli.prefect_server import end_with_parent
from vecmill.config.pipelines_file import read_pipelines_file
from vecmill.errors import ConfigError, VecmillError
from vecmill.registry.config import resolve_tracking_uri, without_password

_DEPLOY_WAIT_SECONDS = 30


def browse_registry(file: Path, name: str, overrides: list[str], port: int) -> None:
    """Serve MLflow's pages on 127.0.0.1 until the process is interrupted."""
    target = open_target(file, name, overrides)
    uri = resolve_tracking_uri(target.config.registry)
    console = stderr_console()
    if uri.startswith(("http://", "https://")):
        console.print(f"The registry of {name} is a server already: {without_password(uri)}", soft_wrap=True)
        return
    _check_free(port)
    # Without the first switch MLflow starts ten processes for jobs that vecmill does not have; the second keeps its
    # libraries' deprecations from people who cannot act on them.
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level error"]
    console.print("Starting MLflow's pages …")

    def ready() -> None:
        console.print(f"Registry of {name}: http://127.0.0.1:{port}/#/models   (Ctrl-C ends it)", soft_wrap=True)

    _serve(command, environment, f"http://127.0.0.1:{port}/health", ready)


def prefect_server_here(port: int) -> None:
    """Run Prefect's server on 127.0.0.1, with its state below ``.vecmill``, until the process is interrupted."""
    _check_free(port)
    console = stderr_console()
    environment = {**os.environ, "PREFECT_HOME": str(_prefect_home())}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    console.print("Starting Prefect's server …")

    def ready() -> None:
        console.print(f"Prefect: http://127.0.0.1:{port}   (Ctrl-C ends it). In other terminals, first:")
        console.print(f"  export PREFECT_API_URL=http://127.0.0.1:{port}/api", soft_wrap=True)

    _serve(command, environment, f"http://127.0.0.1:{port}/api/health", ready, quiet=True)


def prefect_worker_here(pool: str) -> None:
    """Run a Prefect process worker for a work pool until the process is interrupted."""
    _check_api_url()
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    _interruptible(_start(command, {**os.environ, "PREFECT_HOME": str(_prefect_home())}))


def deploy_all(file: Path) -> None:
    """Create the work pools that the file names, then let Prefect deploy the file as it is."""
    url = _check_api_url()
    deployments = read_pipelines_file(file).deployments
    deadline = time.monotonic() + _DEPLOY_WAIT_SECONDS
    while not _answers(f"{url}/health"):  # a server that was started a moment ago needs one
        if time.monotonic() > deadline:
            raise VecmillError(
                f"no Prefect server answers at {url}",
                expected="the server that PREFECT_API_URL names",
                todo="start it (`vecmill server`), or correct PREFECT_API_URL",
            )
        time.sleep(0.5)
    pools = sorted({each.work_pool.name for each in deployments if each.work_pool})
    importlib.import_module("tasks.deployment").ensure_work_pools(pools)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", str(file), "--all"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    if finished.returncode:
        raise VecmillError(
            f"`prefect deploy` ended with exit code {finished.returncode}; it said:\n"
            f"{finished.stdout}{finished.stderr}".rstrip(),
            todo="correct the file",
        )
    console = stderr_console()
    for each in deployments:
        when = ", ".join(f"{s.cron or s.rrule or s.interval} {s.timezone or ''}".strip() for s in each.schedules)
        console.print(f"deployed {each.name}: {when or 'runs when triggered'}", soft_wrap=True)


def _serve(
    command: list[str],
    environment: dict[str, str],
    health: str,
    ready: Callable[[], None],
    *,
    quiet: bool = False,
) -> None:
    """Run a server in the foreground; ``ready`` is called when it answers."""
    process = _start(command, environment, stdout=subprocess.DEVNULL if quiet else None)

    def watch() -> None:
        while process.poll() is None:
            if _answers(health):
                ready()
                return
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
    _interruptible(process)


def _start(command: list[str], environment: dict[str, str], stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Start a server out of reach of the terminal's Ctrl-C, which servers answer with a traceback."""
    return subprocess.Popen(
        command,
        env=environment,
        stdout=stdout,
        start_new_session=True,
        preexec_fn=end_with_parent if sys.platform == "linux" else None,
    )


def _interruptible(process: subprocess.Popen[bytes]) -> None:
    """Wait for a child; Ctrl-C ends it in an orderly way."""
    try:
        code = process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
        stderr_console().print("stopped")
        return
    if code:
        raise VecmillError(f"the server ended with exit code {code}", todo="read its lines above")


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of 127.0.0.1 cannot be used ({error.strerror})",
                expected="a free port",
                todo="choose another with --port, or end what listens there",
            ) from error


def _check_api_url() -> str:
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        raise ConfigError(
            "PREFECT_API_URL is not set",
            expected="the address of a Prefect server, such as http://127.0.0.1:4200/api",
            todo="start one with `vecmill server` in another terminal and export PREFECT_API_URL as it says",
        )
    return url.rstrip("/")


def _prefect_home() -> Path:
    home = Path(os.environ.get("PREFECT_HOME") or Path(".vecmill/prefect")).absolute()
    home.mkdir(parents=True, exist_ok=True)
    return home


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
