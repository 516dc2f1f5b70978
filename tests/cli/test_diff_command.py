"""``vecmill diff`` as it is called: files, versions, replicas, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from vecmill.cli.main import app
from vecmill.errors import ConfigError
from vecmill.registry.history import Version, same_recipe
from vecmill.vectors.vector_files import save_vectors
from vecmill.vectors.word_vectors import WordVectors

DIM, N_WORDS = 8, 600


def training(seed: int, moved: tuple[int, ...] = ()) -> WordVectors:
    """The same space each time, turned, with noise; some words elsewhere."""
    rows = np.random.default_rng(0).normal(size=(N_WORDS, DIM))
    rows[list(moved)] = -rows[list(moved)]
    generator = np.random.default_rng(seed + 1)
    turn, _ = np.linalg.qr(generator.normal(size=(DIM, DIM)))
    rows = rows @ turn + 0.1 * generator.normal(size=rows.shape)
    return WordVectors([f"w{i}" for i in range(N_WORDS)], rows.astype(np.float32), np.arange(N_WORDS, 0, -1) + 5)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["diff", *(str(each) for each in arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def files(tmp_path: Path) -> Path:
    save_vectors(training(0), tmp_path / "old.vec")
    save_vectors(training(1, (3, 44)), tmp_path / "new.npy")
    save_vectors(training(2), tmp_path / "again")
    return tmp_path


def test_files(files: Path) -> None:
    text = " ".join(run(files / "old.vec", files / "new.npy").split())
    assert "Vocabulary: 0 words gained, 0 lost, 600 in both" in text
    assert "Moved: 2 words further than noise, as the bulk of the words shows it (false discovery rate 5 %)" in text
    assert "w3" in text and "w44" in text


def test_replicas(files: Path) -> None:
    text = " ".join(run(files / "old.vec", files / "new.npy", "--replica", files / "again").split())
    assert "Moved: 2 words further than noise, as 1 replica shows it" in text
    assert "nearest words stayed; between trainings of one recipe" in text


def test_json(files: Path) -> None:
    found: Any = json.loads(run(files / "old.vec", files / "new.npy", "--replica", files / "again", "--json"))
    assert {each["word"] for each in found["moved"]} == {"w3", "w44"}
    assert found["old"]["name"].endswith("old.vec") and found["replicas"] == [str(files / "again")]
    assert found["noise"] == "replicas" and found["moved"][0]["old_count"] is None


def test_training_again(files: Path) -> None:
    text = " ".join(run(files / "old.vec", files / "again").split())
    assert "Moved: 0 words" in text and "before" not in text


def test_paths_that_are_none(files: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file or folder '.*missing\.vec'.*or a version of the registry"):
        run(files / "old.vec", files / "missing.vec")


def test_replicas_in_the_registry() -> None:
    def version(number: str, recipe: str | None, space: str) -> Version:
        tags = {"vecmill.space_id": space} | ({"vecmill.recipe": recipe} if recipe else {})
        return Version(number, "", (), tags, "", None, "")

    versions = [
        version("7", "r", "g"),
        version("6", "r", "f"),
        version("5", "other", "e"),
        version("4", "r", "f"),
        version("3", None, "c"),
        version("2", "r", "a"),
        version("1", "r", "a"),
    ]
    assert same_recipe(versions, ["2"]) == ["7", "6"]
    assert same_recipe(versions, ["2", "6"]) == ["7"]
    assert same_recipe(versions, ["5"]) == [] == same_recipe(versions, ["3"])
