"""What a user sees when something is wrong: one message, the right exit code, no traceback, no secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vecmill

PIPELINES = Path(vecmill.__file__).parent.parent / "pipelines.yaml"


def vecmill_cli(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vecmill", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def refused(tmp_path: Path, *arguments: str, **environment: str) -> str:
    done = vecmill_cli(*arguments, "--file", str(PIPELINES), cwd=tmp_path, **environment)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "wrods"], ["no pipeline 'wrods'", "did you mean 'words'"]),
        (["run", "words", "--set", "trian.epochs=3"], ["unknown key 'trian'", "did you mean 'train'"]),
        (["run", "words", "--set", "train.epoch=3"], ["unknown key 'train.epoch'", "did you mean 'train.epochs'"]),
        (["run", "words", "--set", "train.dim=0"], ["train.dim = 0", "greater than"]),
        (["run", "words", "--refresh", "trian"], ["asked to refresh 'trian'", "contract, contamination, vocabulary"]),
        (["explain", "words", "--set", "corpus.sources=[missing.txt]"], ["missing.txt"]),
    ],
)
def test_refusals_before_anything_starts(tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    message = refused(tmp_path, *arguments)
    for part in parts:
        assert part in message
    assert not (tmp_path / ".vecmill/store").exists()


def test_no_pipelines_file(tmp_path: Path) -> None:
    done = vecmill_cli("run", "words", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no pipelines.yaml here" in done.stderr
    assert "--file" in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = vecmill_cli("run", "wrods", "--debug", "--file", str(PIPELINES), cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_wrong_usage_is_the_users(tmp_path: Path) -> None:
    assert vecmill_cli("run", "--no-such-option", cwd=tmp_path).returncode == 2
    assert vecmill_cli("walk", cwd=tmp_path).returncode == 2


def test_help_is_for_people(tmp_path: Path) -> None:
    done = vecmill_cli("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("run", "explain", "config", "gc", "browse", "deploy"):
        assert command in done.stdout
