"""Registering in an SQLite file: what MLflow has afterwards, and what of it another process can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vecmill.errors import ConfigError, RegistryError
from vecmill.registry import register, settling
from vecmill.registry.config import PromotionConfig, RegistryConfig
from vecmill.registry.probe import Registered, registered
from vecmill.registry.register import browse_command, register_model
from vecmill.registry.session import registry_session
from vecmill.store.stage import StageIO, StageReport
from vecmill.vectors.word_vectors import WordVectors

FinishedModel = Callable[..., StageIO]


def registration_of(io: StageIO) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((io.output / "registration.json").read_text(encoding="utf-8"))
    return read


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=200, check=False
    )


# --- one registration, seen from all sides ----------------------------------------------------------------------------


def test_registration_says_where_the_model_is(
    finished: FinishedModel, sqlite_config: RegistryConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    io = finished(0.4)
    environment = dict(os.environ)
    report = register_model(sqlite_config, io)
    assert capfd.readouterr().out == "", "standard output belongs to --json"
    assert dict(os.environ) == environment
    said = registration_of(io)
    assert {name: said[name] for name in ("model_name", "model_version", "aliases", "score", "tracking_uri")} == {
        "model_name": "words",
        "model_version": "1",
        "aliases": ["challenger", "champion"],
        "score": 0.4,
        "tracking_uri": sqlite_config.tracking_uri,
    }
    assert (said["champion_before"], said["champion_after"]) == (None, "1")
    assert said["verdict"] == "version 1 is champion: there was none (mean_spearman 0.4000)"
    assert report.metrics["model_version"] == "1"
    assert report.table[0]["aliases"] == "challenger, champion"
    assert "`vecmill browse` shows the registry." in report.markdown and "mlflow server" not in report.markdown
    assert registered(said) == Registered("words", "1", ("challenger", "champion"), "1")


def test_run_holds_parameters_metrics_dataset_and_files(
    finished: FinishedModel, sqlite_config: RegistryConfig, client: Any, tmp_path: Path
) -> None:
    io = finished(0.4, sources=("s3://key:s3cret@bucket/*.txt", "x" * 7000))
    register_model(sqlite_config, io)
    said = registration_of(io)
    run = client.get_run(said["run_id"])
    assert run.info.status == "FINISHED"
    params = run.data.params
    assert {name: params[name] for name in ("train.dim", "train.seed", "vocabulary.min_count")} == {
        "train.dim": "4",
        "train.seed": "1",
        "vocabulary.min_count": "5",
    }
    assert len(params["corpus.sources"]) == 6000 and params["corpus.sources"].endswith("…")
    metrics = run.data.metrics
    assert metrics["wordsim353/spearman"] == metrics["mean_spearman"] == 0.4
    assert metrics["wordsim353/coverage"] == 0.9 and metrics["wordsim353/lower"] == pytest.approx(0.3)
    assert metrics["wordsim353/n_covered"] == 317 and metrics["ingest/n_documents"] == 12
    assert [(each.step, each.value) for each in client.get_metric_history(said["run_id"], "train/loss")] == [
        (1, 3.0),
        (2, 2.0),
        (3, 1.5),
    ]
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.digest == io.lineage["ingest"]["digest"][:36]
    assert "s3://bucket/*.txt" in used.dataset.source
    assert not [name for name in metrics if name.startswith("wordsim353_")], "each score once"
    assert "train/dim" not in metrics, "a setting is a parameter"
    (n_pairs,) = client.get_metric_history(said["run_id"], "train/n_pairs")
    assert n_pairs.value == 27, "of the whole training, and no curve of the same name"
    files = {each.path for each in client.list_artifacts(said["run_id"])}
    assert files >= {"contract", "items.parquet", "learning_curve.png", "manifests", "neighbours.json", "scores.json"}
    assert "gate.json" not in files, "there was nobody to compare with"
    manifests = Path(client.download_artifacts(said["run_id"], "manifests", str(tmp_path)))
    assert {path.stem for path in manifests.iterdir()} == set(io.lineage)
    stored = (sqlite_config.tracking_uri or "").removeprefix("sqlite:///")
    for path in [Path(stored), *Path(stored).parent.rglob("*.json"), *Path(stored).parent.rglob("MLmodel")]:
        assert b"s3cret" not in path.read_bytes(), path


def test_version_can_be_read_at_a_glance(finished: FinishedModel, sqlite_config: RegistryConfig, client: Any) -> None:
    io = finished(0.4)
    register_model(sqlite_config, io)
    version = client.get_model_version("words", "1")
    assert version.run_id == registration_of(io)["run_id"]
    assert version.tags == {
        "score.mean_coverage": "0.9000",
        "score.mean_spearman": "0.4000",
        "score.wordsim353/spearman": "0.4000",
        "score.wordsim353/spearman_all_pairs": "0.4000",
        "gate.verdict": "first",
        "verdict": "first",
        "score": "0.4000",
        "vecmill.benchmark.wordsim353": "d353",
        "vecmill.n_bytes": version.tags["vecmill.n_bytes"],
        "vecmill.recipe": version.tags["vecmill.recipe"],
        "vecmill.data_digest": io.lineage["ingest"]["digest"][:12],
        "vecmill.lineage": version.tags["vecmill.lineage"],
        "vecmill.space_id": WordVectors.load(io.inputs["train"] / "vectors").space_id,
        "vecmill.verdict": "champion",
    }
    assert len(version.tags["vecmill.lineage"]) == 12
    verdict = registration_of(io)["verdict"]
    assert version.description.startswith(verdict)
    run = client.get_run(version.run_id)
    assert run.info.run_name == run.data.tags["mlflow.runName"] == "words v1"
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(f"Version 1 of words; when it was registered, {verdict}. Card, scores, contract report,")
    assert f"`models:/words/1`, made from `{io.inputs['train']}`" in note
    assert run.data.tags["vecmill.lineage"] == version.tags["vecmill.lineage"]


LOAD_CHAMPION = """
import json, sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/words@champion")
import pandas as pd
assert not any(name.partition(".")[0] == "vecmill" for name in sys.modules), "the model must load without vecmill"
vectors = model.predict(["queen", "zyzzyva"])
frame = model.predict(pd.DataFrame({"word": ["queen", "zyzzyva"]}))
assert frame["vector"].tolist() == vectors["vector"].tolist()
neighbours = model.predict(["queen", "zyzzyva"], params={"task": "neighbours", "n": 3})
print(json.dumps({"vectors": vectors.to_dict("list"), "neighbours": neighbours.to_dict("list"),
                  "space_id": model.metadata.metadata["space_id"]}))
"""


def test_champion_answers_in_a_fresh_process(finished: FinishedModel, sqlite_config: RegistryConfig) -> None:
    io = finished(0.4)
    register_model(sqlite_config, io)
    ran = run_python(LOAD_CHAMPION, sqlite_config.tracking_uri or "")
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr
    said = json.loads(ran.stdout)
    model = WordVectors.load(io.inputs["train"] / "vectors")
    assert said["vectors"]["known"] == [True, False]
    assert np.array_equal(np.float32(said["vectors"]["vector"][0]), model["queen"])
    assert said["vectors"]["vector"][1] is None
    expected = model.neighbours("queen", 3)
    assert said["neighbours"]["neighbours"] == [[word for word, _ in expected], None]
    assert said["neighbours"]["cosines"][0] == pytest.approx([cosine for _, cosine in expected], abs=1e-6)
    assert said["space_id"] == model.space_id


def test_model_is_stored_as_code_and_plain_files(finished: FinishedModel, sqlite_config: RegistryConfig) -> None:
    register_model(sqlite_config, finished(0.4))
    state = Path((sqlite_config.tracking_uri or "").removeprefix("sqlite:///")).parent
    names = {path.name for path in state.rglob("*") if path.is_file()}
    assert {"pyfunc_model.py", "vectors.npy", "words.parquet", "requirements.txt", "input_example.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib", ".cloudpickle"))]
    (flavour,) = state.rglob("MLmodel")
    assert "python_model:" not in flavour.read_text(), "where MLflow notes a pickled model"
    (requirements,) = state.rglob("requirements.txt")
    pins = requirements.read_text().split()
    assert [pin.partition("==")[0] for pin in pins] == ["mlflow", "numpy", "pandas", "pyarrow"]
    assert all("==" in pin for pin in pins)


# --- champion and challenger ------------------------------------------------------------------------------------------


def higher_score(config: RegistryConfig, **changed: Any) -> RegistryConfig:
    return config.model_copy(update={"promotion": PromotionConfig(policy="higher_score"), **changed})


def test_aliases_follow_the_scores_if_the_policy_says_so(
    finished: FinishedModel, sqlite_config: RegistryConfig, client: Any
) -> None:
    seen = []
    for score in (0.4, 0.3, None, 0.5, 0.5):
        io = finished(score)
        register_model(higher_score(sqlite_config), io)
        aliases = client.get_registered_model("words").aliases
        seen.append((str(aliases["challenger"]), str(aliases["champion"])))
        assert registration_of(io)["champion_after"] == str(aliases["champion"])
    assert seen == [("1", "1"), ("2", "1"), ("3", "1"), ("4", "4"), ("5", "4")]
    assert registered({**registration_of(io), "model_version": "1"}) == Registered("words", "1", (), "4")
    assert client.get_model_version("words", "4").tags["gate.verdict"] == "promote"
    assert client.get_model_version("words", "5").tags["gate.verdict"] == "keep"


def test_higher_score_is_not_asked_of_other_benchmarks(
    finished: FinishedModel, sqlite_config: RegistryConfig, client: Any
) -> None:
    register_model(sqlite_config, finished(0.4))
    both = (("wordsim353", "d353"), ("men", "d3000"))
    io = finished(0.9, benchmarks=both)
    register_model(higher_score(sqlite_config), io)
    said = registration_of(io)
    assert said["verdict"] == (
        "version 2 stays challenger: it was scored on other benchmarks than champion version 1 (only version 2: men); "
        "score both on the same, or move the alias by hand (Aliases on the page of version 2 in MLflow)"
    )
    assert (said["champion_after"], said["aliases"]) == ("1", ["challenger"])
    assert client.get_model_version("words", "2").tags["vecmill.verdict"] == "challenger"
    one = higher_score(sqlite_config, primary_metric="wordsim353/spearman")
    register_model(one, finished(0.5, benchmarks=both))
    assert str(client.get_registered_model("words").aliases["champion"]) == "3", "both know this one"


def test_higher_score_leaves_a_champion_of_unknown_benchmarks_alone(
    finished: FinishedModel, sqlite_config: RegistryConfig, client: Any
) -> None:
    register_model(sqlite_config, finished(0.4))
    client.delete_model_version_tag("words", "1", "vecmill.benchmark.wordsim353")
    io = finished(0.9)
    register_model(higher_score(sqlite_config), io)
    assert "champion version 1 does not say on which benchmarks it was scored; " in registration_of(io)["verdict"]
    assert str(client.get_registered_model("words").aliases["champion"]) == "1"


def test_one_benchmark_may_decide(finished: FinishedModel, sqlite_config: RegistryConfig) -> None:
    io = finished(0.4)
    register_model(sqlite_config.model_copy(update={"primary_metric": "wordsim353/spearman"}), io)
    assert registration_of(io)["score"] == 0.4


def test_unknown_metric_is_refused_before_anything_is_registered(
    finished: FinishedModel, sqlite_config: RegistryConfig, client: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        register_model(sqlite_config.model_copy(update={"primary_metric": "mean_sperman"}), finished(0.4))
    assert str(caught.value) == (
        "registry.primary_metric is 'mean_sperman', which the evaluation does not have. "
        "Expected: one of mean_coverage, mean_spearman, mean_spearman_covered, wordsim353/spearman, "
        "wordsim353/spearman_all_pairs. "
        "What to do: correct registry.primary_metric, or add the benchmark to the evaluation."
    )
    assert client.search_registered_models() == []


# --- registries that die, come back, or change ------------------------------------------------------------------------


def _broken(*_: Any) -> None:
    raise ConnectionError("connection reset by peer")


def test_registration_that_broke_off_at_the_aliases_is_finished_by_the_next(
    finished: FinishedModel, sqlite_config: RegistryConfig, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_model(sqlite_config, finished(0.4))
    io = finished(0.8)
    monkeypatch.setattr(settling, "move_aliases", _broken)
    with pytest.raises(RegistryError) as caught:
        register_model(sqlite_config, io)
    assert str(caught.value) == (
        "could not set the aliases of words, whose version 2 is stored, in the model registry "
        f"{sqlite_config.tracking_uri}: connection reset by peer. "
        "What to do: run again: the next run finishes version 2 instead of adding another one, and the champion stays "
        "what it is until then; everything finished so far is kept, so run again afterwards and only `register` runs."
    )
    run_id = client.get_model_version("words", "2").run_id
    assert client.get_run(run_id).info.status == "FAILED"
    assert str(client.get_registered_model("words").aliases["champion"]) == "1"

    monkeypatch.undo()
    register_model(sqlite_config, io)
    assert registration_of(io)["model_version"] == "2"
    assert len(client.search_model_versions("name = 'words'")) == 2
    assert str(client.get_registered_model("words").aliases["champion"]) == "2"
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "words v2")


def test_a_model_that_cannot_be_stored_leaves_a_failed_run_and_no_version(
    finished: FinishedModel, sqlite_config: RegistryConfig, client: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    config = sqlite_config.model_copy(update={"artifact_location": str(tmp_path / "file" / "folder")})
    with pytest.raises(RegistryError, match="could not store the files of the run in the model registry") as caught:
        register_model(config, finished(0.4))
    assert "check registry.tracking_uri and registry.artifact_location" in str(caught.value)
    experiment = client.get_experiment_by_name(config.experiment)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert client.search_registered_models() == []


def test_the_same_model_again_is_a_new_version(finished: FinishedModel, sqlite_config: RegistryConfig) -> None:
    io = finished(0.4)
    register_model(sqlite_config, io)
    register_model(sqlite_config, io)
    assert registration_of(io)["model_version"] == "2"


def test_deleted_registry_is_noticed_and_made_again(
    finished: FinishedModel, sqlite_config: RegistryConfig, tmp_path: Path
) -> None:
    io = finished(0.4)
    register_model(sqlite_config, io)
    (tmp_path / "state" / "mlflow.db").unlink()
    assert registered(registration_of(io)) is None
    register_model(sqlite_config, io)
    assert registered(registration_of(io)) == Registered("words", "1", ("challenger", "champion"), "1")


def test_deleted_version_and_deleted_files_are_noticed(
    finished: FinishedModel, sqlite_config: RegistryConfig, client: Any, tmp_path: Path
) -> None:
    io = finished(0.4)
    register_model(sqlite_config, io)
    said = registration_of(io)
    assert registered(said, f"sqlite:///{tmp_path}/other.db") is not None, "looked up where it was registered"
    (tmp_path / "state" / "mlartifacts").rename(tmp_path / "moved")
    assert registered(said) is None
    (tmp_path / "moved").rename(tmp_path / "state" / "mlartifacts")
    assert registered(said) is not None
    client.delete_model_version("words", "1")
    assert registered(said) is None


def test_deleted_experiment_is_refused(finished: FinishedModel, sqlite_config: RegistryConfig, client: Any) -> None:
    experiment_id = client.create_experiment(sqlite_config.experiment)
    client.delete_experiment(experiment_id)
    with pytest.raises(ConfigError, match=r"the experiment 'vecmill' in sqlite:.* has been deleted\. Expected: an act"):
        register_model(sqlite_config, finished(0.4))


def test_experiment_that_keeps_its_files_elsewhere_is_refused(
    finished: FinishedModel, sqlite_config: RegistryConfig, tmp_path: Path
) -> None:
    register_model(sqlite_config, finished(0.4))
    config = sqlite_config.model_copy(update={"artifact_location": "s3://key:s3cret@bucket/x"})
    with pytest.raises(ConfigError) as caught:
        register_model(config, finished(0.4))
    assert str(caught.value) == (
        "registry.artifact_location is s3://bucket/x, while the experiment 'vecmill' keeps its files in "
        f"{tmp_path}/state/mlartifacts. Expected: the place that the experiment was made with; MLflow cannot move it. "
        "What to do: set registry.experiment to a new name, or leave registry.artifact_location out."
    )


OPEN_AND_WRITE = """
import sys
from vecmill.registry.session import registry_session
with registry_session(sys.argv[1]) as client:
    client.create_registered_model(sys.argv[2])
"""


def test_two_processes_may_begin_with_the_same_new_file(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    racers = [
        subprocess.Popen([sys.executable, "-c", OPEN_AND_WRITE, uri, name], stderr=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    for racer in racers:
        _, errors = racer.communicate(timeout=200)
        assert racer.returncode == 0, errors
    with registry_session(uri) as client:
        assert [each.name for each in client.search_registered_models()] == ["a", "b"]


def test_browse_command_can_be_pasted_into_a_shell() -> None:
    config = RegistryConfig(tracking_uri="sqlite:////data/my models/mlflow.db")
    assert browse_command(config) == (
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server "
        "--backend-store-uri 'sqlite:////data/my models/mlflow.db' "
        "--artifacts-destination '/data/my models/mlartifacts' --host 127.0.0.1 --workers 1"
    )
    assert browse_command(RegistryConfig(tracking_uri="http://ann:s3cret@host:5000")) == "http://host:5000"


def test_report_links_to_a_server(finished: FinishedModel) -> None:
    said = {"model_name": "words", "model_version": "3", "aliases": [], "score": None, "champion_before": "1"}
    said |= {"champion_after": "1", "outcome": "keep", "verdict": "why", "run_id": "r", "model_id": "m"}
    report: StageReport = register._report({**said, "tracking_uri": "http://h", "browse": "http://h"})
    assert "(http://h/#/models/words/versions/3)" in report.markdown
