"""Commands that start or feed servers: ``browse`` and ``deploy``."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

from vecmill.cli.common import open_target, stderr_console
from vecmill.config.pipelines_file import read_pipelines_file
from vecmill.errors import ConfigError, VecmillError
from vecmill.registry.config import resolve_tracking_uri, without_password


def browse_registry(file: Path, name: str, overrides: list[str], port: int) -> None:
    """Serve MLflow's pages on 127.0.0.1 until the process is interrupted."""
    target = open_target(file, name, overrides)
    uri = resolve_tracking_uri(target.config.registry)
    console = stderr_console()
    if uri.startswith(("http://", "https://")):
        console.print(f"The registry of {name} is a server already: {without_password(uri)}", soft_wrap=True)
        return
    console.print(f"Registry of {name}: http://127.0.0.1:{port}/#/models   (Ctrl-C ends it)", soft_wrap=True)
    # Without the switch MLflow starts ten processes for jobs that vecmill does not have.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    finished = subprocess.run(command, env=environment, check=False)
    if finished.returncode:
        raise VecmillError(
            f"MLflow's server ended with exit code {finished.returncode}",
            todo=f"read its lines above; if port {port} is taken, choose another with --port",
        )


def deploy_all(file: Path) -> None:
    """Create the work pools that the file names, then let Prefect deploy the file as it is."""
    if not os.environ.get("PREFECT_API_URL"):
        raise ConfigError(
            "PREFECT_API_URL is not set",
            expected="the address of a Prefect server, such as http://127.0.0.1:4200/api",
            todo="start one with `prefect server start --host 127.0.0.1` and export PREFECT_API_URL",
        )
    pools = sorted({each.work_pool.name for each in read_pipelines_file(file).deployments if each.work_pool})
    importlib.import_module("tasks.deployment").ensure_work_pools(pools)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", str(file), "--all"]
    finished = subprocess.run(command, check=False)
    if finished.returncode:
        raise VecmillError(
            f"`prefect deploy` ended with exit code {finished.returncode}",
            todo="read its lines above, and correct the file",
        )
