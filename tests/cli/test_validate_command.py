"""``vecmill validate``, ``cross-validate`` and ``learning-curve`` as a person uses them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from vecmill.cli.main import app
from vecmill.errors import ConfigError, FormatError, SourceError, VecmillError
from vecmill.evaluation.text_validation import open_model
from vecmill.vocabulary.config import VocabularyConfig

TOPICS = (["cat", "dog", "cow", "hen", "fox"], ["saw", "nail", "bolt", "file", "vice"])


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A document a line, about animals or about tools."""
    generator = random.Random(5)
    lines = [" ".join(generator.choices(TOPICS[number % 2], k=9)) + "." for number in range(600)]
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def pipelines(workplace: Path, text: Path) -> Path:
    train = {"kind": "skipgram", "dim": 8, "epochs": 4, "threads": 1, "mode": "deterministic", "sample": 0}
    config = {
        "corpus": {"sources": [str(text)], "txt_unit": "line"},
        "train": train,
        "evaluate": {"n_resamples": 100, "benchmarks": ["wordsim353"], "analogies": []},
    }
    deployment = {"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": config}}
    path = workplace / "pipelines.yaml"
    path.write_text(yaml.safe_dump({"deployments": [deployment]}))
    return path


def vecmill(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


def answer(*arguments: object) -> dict[str, Any]:
    done = vecmill(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refusal(kind: type[VecmillError], *arguments: object) -> str:
    with pytest.raises(kind) as refused:
        vecmill(*arguments)
    return str(refused.value)


def test_folds_are_cached_and_each_document_is_held_out_once(pipelines: Path, text: Path) -> None:
    first = answer("cross-validate", "words", "--folds", 3)
    assert [fold["number"] for fold in first["folds"]] == [0, 1, 2] and not any(f["cached"] for f in first["folds"])
    assert sum(json.loads(path.read_text())["n_documents"] for path in Path().rglob("validation.json")) == 600
    # Two topics, a sampled neighbour being of the same one often enough: no vectors can do much better than 0.8.
    assert 0.6 < first["mean"]["validation_auc"] < 0.85 and 0 < first["sd"]["validation_auc"] < 0.1
    aucs = [fold["metrics"]["validation_auc"] for fold in first["folds"]]
    assert first["mean"]["validation_auc"] == pytest.approx(sum(aucs) / 3)

    again = answer("cross-validate", "words", "--folds", 3)
    assert all(fold["cached"] for fold in again["folds"])
    assert again["mean"] == first["mean"]
    assert len(list(Path(".vecmill").rglob("ingest/*/manifest.json"))) == 1

    shown = vecmill("cross-validate", "words", "--folds", 3).stdout
    assert "3-fold cross-validation of words" in shown and "0 (cached)" in shown and "mean" in shown and "auc" in shown

    # One of the folds' models, by other text: the rules are those it was made with.
    [train, *_] = sorted(path.parent for path in Path(".vecmill").rglob("train/*/vectors"))
    score = answer("validate", train, text, "--txt-unit", "line", "--pairs", 1000)
    assert score["rules"] == "unicode, lower case (as the model was made)"
    assert score["n_documents"] == 600 and score["pair_coverage"] == 1.0 and 0.6 < score["auc"] < 0.85
    assert answer("validate", train, text, "--txt-unit", "line", "--score", "dot")["score"] == "dot"
    said = vecmill("validate", train / "vectors", text, "--txt-unit", "line", "--keep-case").stdout
    assert "unicode, case kept (asked for)" in said and "auc_by_frequency" in said and "0.5 is chance" in said


def test_phrases_are_joined_as_they_were_in_training(pipelines: Path, workplace: Path) -> None:
    """Each document has "red den" once among eleven words, so ten are left where it is joined."""
    generator = random.Random(7)
    lines = [[*generator.choices(TOPICS[number % 2], k=9)] for number in range(400)]
    for line in lines:
        at = generator.randrange(10)
        line[at:at] = ["red", "den"]
    (workplace / "dens.txt").write_text("\n".join(" ".join(line) + "." for line in lines))
    written = yaml.safe_load(pipelines.read_text())
    config = written["deployments"][0]["parameters"]["config"]
    config["corpus"]["sources"] = [str(workplace / "dens.txt")]
    config["vocabulary"] = {"phrases": {"min_count": 50, "threshold": 2}}
    config["encode"] = {"validation_share": 0.3}
    pipelines.write_text(yaml.safe_dump(written))
    vecmill("learning-curve", "words", "--share", 1)
    [held_out] = [json.loads(path.read_text()) for path in Path(".vecmill").rglob("validation.json")]
    assert 0 < held_out["n_documents"] < 200 and held_out["n_tokens"] == 10 * held_out["n_documents"]
    assert held_out["pair_coverage"] == 1.0

    [train] = [path.parent for path in Path(".vecmill").rglob("train/*/vectors")]
    asked = ("dens.txt", "--txt-unit", "line", "--pairs", 1000)
    score = answer("validate", train, *asked)
    assert score["rules"] == "unicode, lower case, phrases joined: 1 (as the model was made)"
    assert score["n_tokens"] == 4000
    section = VocabularyConfig(**config["vocabulary"]).model_dump()  # all that a registered version keeps of it
    opened = open_model(train / "vectors", None, {"vocabulary": section})
    assert opened.rules_said.startswith("unicode, lower case, its phrases not joined, since only its vocab")


def test_a_learning_curve_over_shares(pipelines: Path) -> None:
    found = answer("learning-curve", "words", "--share", 1, "--share", 0.3)
    assert [point["share"] for point in found["points"]] == [0.3, 1.0]
    small, whole = (point["n_tokens"] for point in found["points"])
    assert 0.2 * whole < small < 0.4 * whole
    said = vecmill("learning-curve", "words", "--share", 0.3, "--share", 1, "--out", "curve.html").stdout
    assert "Learning curve of words" in said
    page = Path("curve.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("<svg") == len(found["points"][0]["metrics"])


def test_refusals_say_what_to_do(pipelines: Path, text: Path, tmp_path: Path) -> None:
    assert "1 folds. Expected: 2 to 100" in refusal(ConfigError, "cross-validate", "words", "--folds", 1)
    assert "[0.0]" in refusal(ConfigError, "learning-curve", "words", "--share", 0)
    assert "--tokens latin" in refusal(ConfigError, "validate", "x.vec", text, "--tokens", "latin")
    assert "window" in refusal(ConfigError, "validate", "x.vec", text, "--window", 0)
    assert "cannot be read" in refusal(FormatError, "validate", tmp_path / "missing.vec", text)
    vectors = tmp_path / "some.vec"
    vectors.write_text("4 2\ncat 1 0\nDog 0 1\ncow 1 1\nhen 2 1\n")
    assert "nowhere.txt" in refusal(SourceError, "validate", vectors, tmp_path / "nowhere.txt")
    assert "--from" not in refusal(FormatError, "validate", vectors, text, "--score", "dot")
    assert (
        answer("validate", vectors, text, "--txt-unit", "line")["rules"]
        == "unicode, case kept (guessed from the model's words)"
    )
