"""``vecmill vectors …`` in this process, with Typer's runner; one call of the program for the way errors are shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from vecmill.cli.vectors import vectors_app
from vecmill.errors import ConfigError, FormatError
from vecmill.vectors.postprocessing import all_but_the_top, average_with_context, center
from vecmill.vectors.postprocessing_steps import STEP_NAMES
from vecmill.vectors.vector_files import FORMATS, load_vectors
from vecmill.vectors.word_vectors import UnknownWord, WordVectors

KINGS = {"man": [1, 0, 0.2], "woman": [-1, 0, 0.2], "king": [1, 1, 0], "queen": [-1, 1, 0], "apple": [0, -1, 1]}


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A train artifact's folder."""
    rows = np.array(list(KINGS.values()), np.float32)
    WordVectors(list(KINGS), rows, np.array([5, 4, 3, 2, 1])).save(tmp_path / "train" / "vectors")
    np.save(tmp_path / "train" / "context_vectors.npy", rows[::-1].copy())
    return tmp_path / "train"


def run(*arguments: object) -> str:
    done = CliRunner().invoke(vectors_app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def run_json(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_info(artifact: Path) -> None:
    facts = run_json("info", artifact)
    assert (facts["n_words"], facts["dim"], facts["counts"]) == (5, 3, True)
    assert facts["space_id"] == load_vectors(artifact).space_id and facts["first_words"] == list(KINGS)
    lines = dict(line.split(maxsplit=1) for line in run("info", artifact).splitlines())
    assert lines["counts"] == "yes" and lines["n_words"] == "5" and lines["hubness_max"] == "unknown"
    assert lines["first_words"] == "man, woman, king, queen, apple"


def test_convert_there_and_back(artifact: Path, tmp_path: Path) -> None:
    run("convert", artifact, tmp_path / "v.vec")
    run("convert", tmp_path / "v.vec", tmp_path / "v.txt", "--to", "glove")
    run("convert", tmp_path / "v.txt", tmp_path / "w.npy", "--from", "glove")
    run("convert", tmp_path / "w.npy", tmp_path / "back")
    assert load_vectors(tmp_path / "back").vectors.tobytes() == load_vectors(artifact).vectors.tobytes()
    assert load_vectors(tmp_path / "back").space_id == load_vectors(artifact).space_id


def test_nothing_is_overwritten_unasked(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("notes of mine")  # where the words of v.npy would go
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    for target, named in ((tmp_path / "v.npy", "v.txt"), (tmp_path / "full", "full")):
        for command in (["convert"], ["postprocess", "--steps", "center"]):
            with pytest.raises(ConfigError, match=rf"{named} stands there already.*--force"):
                run(*command, artifact, target)
    assert (tmp_path / "v.txt").read_text() == "notes of mine" and not (tmp_path / "v.npy").exists()
    run("convert", artifact, tmp_path / "v.npy", "--force")
    run("convert", artifact, tmp_path / "empty")
    assert load_vectors(tmp_path / "v.npy").words == load_vectors(tmp_path / "empty").words == tuple(KINGS)


def test_postprocess(artifact: Path, tmp_path: Path) -> None:
    run("postprocess", artifact, tmp_path / "out", "--steps", "center,all_but_the_top:2")
    expected = all_but_the_top(center(load_vectors(artifact)), 2)
    assert load_vectors(tmp_path / "out").vectors.tobytes() == expected.vectors.tobytes()
    assert load_vectors(tmp_path / "out").space_id == expected.space_id


def test_postprocess_with_context_vectors(artifact: Path, tmp_path: Path) -> None:
    plain = load_vectors(artifact)
    expected = average_with_context(plain, plain.vectors[::-1]).vectors.tobytes()
    run("postprocess", artifact, tmp_path / "a.vec", "--steps", "average_with_context")
    run("convert", artifact, tmp_path / "plain.vec")
    context = artifact / "context_vectors.npy"
    run(
        "postprocess",
        tmp_path / "plain.vec",
        tmp_path / "b.vec",
        "--steps",
        "average_with_context",
        "--context",
        context,
    )
    assert load_vectors(tmp_path / "a.vec").vectors.tobytes() == expected
    assert load_vectors(tmp_path / "b.vec").vectors.tobytes() == expected
    with pytest.raises(ConfigError, match="has no context vectors"):
        run("postprocess", tmp_path / "plain.vec", tmp_path / "c.vec", "--steps", "average_with_context")
    with pytest.raises(FormatError, match=r"gone\.npy cannot be read as vectors \(No such file"):
        gone = ("--context", tmp_path / "gone.npy")
        run("postprocess", tmp_path / "plain.vec", tmp_path / "c.vec", "--steps", "average_with_context", *gone)
    assert not (tmp_path / "c.vec").exists()


def test_neighbours_and_analogies(artifact: Path) -> None:
    found = run_json("neighbours", artifact, "king", "woman", "-n", 2)
    expected = load_vectors(artifact).neighbours_of_words(["king", "woman"], 2)
    assert [[row["word"] for row in found[word]] for word in ("king", "woman")] == [
        [word for word, _ in rows] for rows in expected
    ]
    for method in ("3cosadd", "3cosmul"):
        answers = run_json("analogy", artifact, "man", "king", "woman", "--method", method)
        assert answers["man : king = woman : ?"][0]["word"] == "queen"
    assert run("analogy", artifact, "man", "king", "woman", "-n", 1).splitlines()[1].endswith("  queen")
    with pytest.raises(UnknownWord, match="'kings'"):
        run("neighbours", artifact, "kings")


def test_help_names_every_format_and_step() -> None:
    text = " ".join((vectors_app.info.help or "").split())
    assert all(name in text for name in FORMATS)
    shown = CliRunner().invoke(vectors_app, ["postprocess", "--help"], env={"COLUMNS": "400"}).stdout
    assert all(name in shown for name in STEP_NAMES)


def test_the_program_shows_one_line(tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_bytes(b"1000000000 300\na 1 2 3\n")
    done = subprocess.run(
        [sys.executable, "-m", "vecmill", "vectors", "info", "v.vec"],
        cwd=tmp_path,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "says 1000000000 words" in done.stderr and len(done.stderr.strip().splitlines()) == 1
