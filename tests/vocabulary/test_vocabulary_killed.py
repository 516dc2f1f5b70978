"""Killed at random points and run again, vocabulary and encode give the digests of an unbroken run."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def start(store: Path) -> subprocess.Popen[str]:
    """A child that has imported everything and begins."""
    path = ":".join([str(ROOT), *sys.path])
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from tests.reference.killed_vocabulary import main; main(sys.argv[1])",
            str(store),
        ],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def finish(child: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = child.communicate(timeout=200)
    assert child.returncode == 0
    return json.loads(out.splitlines()[-1])


def test_killed_at_random_points_the_same_artifacts_come_about(tmp_path: Path) -> None:
    unbroken = finish(start(tmp_path / "unbroken"))
    assert unbroken["built"] == ["ingest", "contract", "vocabulary", "encode"]
    rng = random.Random(11)
    n_killed = 0
    for longest_seconds in (0.02, 0.3, 1.0):
        child = start(tmp_path / "broken")
        assert child.stdout is not None
        while child.stdout.readline() not in ("contract\n", ""):
            pass
        time.sleep(rng.random() * longest_seconds)
        child.kill()
        child.communicate()
        n_killed += child.returncode != 0
    assert n_killed > 0
    result = finish(start(tmp_path / "broken"))
    assert result["digests"] == unbroken["digests"]
