"""Models and benchmarks that nothing can be said about, from the evaluate stage through the gate; and a killed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from vecmill.cli.registry import registry_app
from vecmill.errors import FormatError
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.evaluate import evaluate_words
from vecmill.registry.config import PromotionConfig, RegistryConfig
from vecmill.registry.history import verify
from vecmill.registry.register import register_model
from vecmill.store.stage import StageIO
from vecmill.vectors.word_vectors import WordVectors

FinishedModel = Callable[..., StageIO]
WORDS = tuple(f"word{at}" for at in range(40))
RATED = [(WORDS[at], WORDS[(at + step) % 40], (at * 7 + step) % 11) for at in range(40) for step in (1, 3)]


@pytest.fixture
def config(sqlite_config: RegistryConfig) -> RegistryConfig:
    return sqlite_config.model_copy(update={"promotion": PromotionConfig(n_resamples=400)})


def rated(path: Path, rows: list[tuple[str, str, float]]) -> Path:
    path.write_text("word1\tword2\tscore\n" + "".join(f"{a}\t{b}\t{score}\n" for a, b, score in rows))
    return path


def evaluated(io: StageIO, table: Path, words: tuple[str, ...] = WORDS, seed: int = 1) -> StageIO:
    """A finished model with random vectors of its own, and what the evaluate stage makes of it."""
    rows = np.random.default_rng(seed).normal(size=(len(words), 8)).astype(np.float32)
    WordVectors(words, rows, np.arange(len(words), 0, -1)).save(io.inputs["train"] / "vectors")
    return scored(io, table)


def scored(io: StageIO, table: Path) -> StageIO:
    stage = StageIO({"train": io.inputs["train"]}, io.inputs["evaluate"], seed=7)
    report = evaluate_words(EvaluationConfig(benchmarks=(str(table),), analogies=(), n_resamples=100), stage)
    io.lineage["evaluate"]["metrics"].clear()  # type: ignore[attr-defined]
    io.lineage["evaluate"]["metrics"].update(report.metrics)  # type: ignore[attr-defined]
    return io


def registered(config: RegistryConfig, io: StageIO) -> dict[str, Any]:
    register_model(config, io)
    said: dict[str, Any] = json.loads((io.output / "registration.json").read_text(encoding="utf-8"))
    return said


def aliases(client: Any) -> dict[str, str]:
    return {name: str(version) for name, version in client.get_registered_model("words").aliases.items()}


@pytest.mark.parametrize(
    ("rows", "why", "score_missing"),
    [
        (
            [(a, b, 5) for a, b, _ in RATED],
            "the ratings of all 80 pairs are equal",
            "the ratings of all 80 covered pairs",
        ),
        (RATED[:1], "1 pairs of different words; a comparison needs 30 (min_items)", "1 pairs have vectors for both"),
    ],
    ids=["constant ratings", "one pair"],
)
def test_benchmarks_that_rank_nothing(
    finished: FinishedModel,
    config: RegistryConfig,
    client: Any,
    tmp_path: Path,
    rows: list[tuple[str, str, float]],
    why: str,
    score_missing: str,
) -> None:
    table = rated(tmp_path / "ratings.tsv", rows)
    first = registered(config, evaluated(finished(0.4), table))
    assert first["outcome"] == "first" and first["score"] == 0.0
    io = evaluated(finished(0.9), table, seed=2)
    (score,) = json.loads((io.inputs["evaluate"] / "scores.json").read_text())
    assert score["spearman"] is None and score["reason"].startswith(score_missing)
    said = registered(config, io)
    assert said["outcome"] == "not separable" and aliases(client) == {"champion": "1", "challenger": "2"}
    assert f"there is nothing to compare on (ratings: {why}); evaluate on a benchmark with 30 rated" in said["verdict"]
    assert "ratings that differ, or move the alias by hand (Aliases on the page of version 2" in said["verdict"]


@pytest.mark.parametrize("foreign", ["champion", "challenger"])
def test_models_without_a_word_in_common(
    finished: FinishedModel, config: RegistryConfig, client: Any, tmp_path: Path, foreign: str
) -> None:
    table = rated(tmp_path / "ratings.tsv", RATED)
    other = tuple(f"wort{at}" for at in range(40))
    registered(config, evaluated(finished(0.4), table, other if foreign == "champion" else WORDS))
    said = registered(config, evaluated(finished(0.9), table, other if foreign == "challenger" else WORDS, seed=2))
    assert said["outcome"] == "not separable" and aliases(client)["champion"] == "1"
    assert "no benchmark has more than 0 pairs that both have vectors for" in said["verdict"]
    assert "evaluate on benchmarks in the language of both, or move the alias by hand" in said["verdict"]
    assert said["space"]["text"].startswith("major: index again; 0 words are in both versions")
    assert said["gate"]["tests"][0][f"n_{foreign}_covered"] == 0
    assert said["gate"]["tests"][0][f"{foreign}_common"] is None


def test_nan_in_the_challenger_s_vectors(
    finished: FinishedModel, config: RegistryConfig, client: Any, tmp_path: Path
) -> None:
    table = rated(tmp_path / "ratings.tsv", RATED)
    registered(config, evaluated(finished(0.4), table))
    io = evaluated(finished(0.9), table, seed=2)
    path = io.inputs["train"] / "vectors" / "vectors.npy"
    rows = np.load(path)
    rows[3, 5] = np.nan
    np.save(path, rows)
    refused = r"vector 3 \(word 'word3'\) holds nan at position 5\. Expected: finite numbers.*train again with a lower"
    with pytest.raises(FormatError, match=refused):
        scored(io, table)
    # Damaged only after it was evaluated.
    with pytest.raises(FormatError, match=refused):
        register_model(config, io)
    assert aliases(client) == {"champion": "1", "challenger": "1"}
    assert [each.version for each in client.search_model_versions("name = 'words'")] == [1]


# --- killed between two aliases ---------------------------------------------------------------------------------------

KILLED = """
import json, os, signal, sys
from pathlib import Path
import mlflow
from vecmill.registry.config import PromotionConfig, RegistryConfig
from vecmill.registry.register import register_model
from vecmill.store.stage import StageIO

said = json.loads(sys.argv[1])
whole = mlflow.MlflowClient.set_registered_model_alias

def first_and_last(self, name, alias, version):
    whole(self, name, alias, version)
    os.kill(os.getpid(), signal.SIGKILL)

mlflow.MlflowClient.set_registered_model_alias = first_and_last
inputs = {name: Path(path) for name, path in said["inputs"].items()}
config = RegistryConfig(**said["registry"], promotion=PromotionConfig(n_resamples=400))
register_model(config, StageIO(inputs=inputs, output=Path(said["output"]), seed=7, lineage=said["lineage"]))
"""


@pytest.mark.parametrize("next_command", ["the same run", "another run", "repair"])
def test_a_promotion_that_was_killed_between_two_aliases(
    finished: FinishedModel, config: RegistryConfig, client: Any, next_command: str
) -> None:
    registered(config, finished(0.4))
    io = finished(0.8)
    inputs = {name: str(path) for name, path in io.inputs.items()}
    registry = {"tracking_uri": config.tracking_uri, "model_name": "words"}
    said = {"inputs": inputs, "output": str(io.output), "lineage": io.lineage, "registry": registry}
    command = [sys.executable, "-c", KILLED, json.dumps(said)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert aliases(client) == {"champion": "1", "challenger": "2"}, "half-way: one alias has moved, one has not"
    assert client.get_run(client.get_model_version("words", "2").run_id).info.status == "RUNNING"
    _, problems = verify(client, "words")
    assert problems == [
        "row 3 (version 2, promote) was begun and not finished; the next run, or `vecmill registry verify --repair`, "
        "finishes it"
    ]

    n_versions = 2
    if next_command == "another run":
        other = registered(config, finished(0.1))
        assert other["champion_before"] == "2" and other["outcome"] == "keep", (
            "judged against the one that was promoted"
        )
        n_versions = 3
    elif next_command == "repair":
        where = [f"--set=registry.tracking_uri={config.tracking_uri}", "--set=registry.model_name=words"]
        done = CliRunner().invoke(registry_app, ["verify", "--repair", *where], catch_exceptions=False)
        assert done.exit_code == 0 and "is sound" in " ".join(done.stdout.split()), done.output
    if next_command != "the same run":
        assert aliases(client)["champion"] == "2" and verify(client, "words")[1] == []

    again = registered(config, io)
    assert again["model_version"] == "2" and again["outcome"] == "promote" and again["champion_before"] == "1"
    assert again["gate"]["tests"] and again["space"]["from"]["version"] == "1"
    assert aliases(client) == {"champion": "2", "challenger": str(n_versions)}
    assert verify(client, "words")[1] == []
    assert len(client.search_model_versions("name = 'words'")) == n_versions, "finished, not made anew"
    assert client.get_run(again["run_id"]).info.status == "FINISHED"
