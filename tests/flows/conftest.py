"""Real servers on loopback, started on free ports and stopped by process id, and a small configuration to run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import ROOT, answers, free_port, stop, wait_until


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus with structure: sentences about animals, and sentences about tools."""
    import random

    generator = random.Random(5)
    groups = {
        "animals": ["cat", "dog", "horse", "cow", "sheep", "goat", "lion", "tiger", "mouse", "bird"],
        "tools": ["hammer", "saw", "drill", "wrench", "chisel", "plane", "file", "vice", "clamp", "pliers"],
    }
    verbs = {
        "animals": ["eats", "sleeps", "runs", "hides", "hunts"],
        "tools": ["cuts", "shapes", "holds", "turns", "bends"],
    }
    folder = tmp_path_factory.mktemp("text")
    for number in range(8):
        lines = []
        for _ in range(150):
            topic = generator.choice(list(groups))
            first, second = generator.sample(groups[topic], 2)
            lines.append(f"The {first} {generator.choice(verbs[topic])} near the {second} every day.")
        (folder / f"part-{number}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def small_config(text_folder: Path, tmp_path: Path) -> dict[str, Any]:
    """The words pipeline on the small corpus, with all state below the test's folder."""
    return {
        "store": {"uri": str(tmp_path / "store"), "cache": str(tmp_path / "cache")},
        "corpus": {"sources": [str(text_folder / "*.txt")]},
        "vocabulary": {"min_count": 2},
        "train": {"kind": "skipgram", "dim": 16, "epochs": 2, "threads": 2},
        "evaluate": {"n_resamples": 100},
        "registry": {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}", "model_name": "small"},
    }


@pytest.fixture(scope="package")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server on SQLite; gives the environment with which others reach it.

    It looks for late runs and the like all the time, so it ends with this room.
    """
    home = tmp_path_factory.mktemp("prefect-server")
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    log = (home / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env={**environment, "PREFECT_API_URL": ""},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/api/health"), 200, "Prefect's server answers", process)
        yield environment
    finally:
        stop(process)
        log.close()


@pytest.fixture(scope="package")
def deployed(prefect_server: dict[str, str]) -> dict[str, str]:
    """The server with every pipeline of pipelines.yaml deployed by ``vecmill deploy``."""
    done = subprocess.run(
        [sys.executable, "-m", "vecmill", "deploy"],
        cwd=ROOT,
        env=prefect_server,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return prefect_server
