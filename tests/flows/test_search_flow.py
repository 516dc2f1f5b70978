"""`words-search` from a space to a registered winner: first, repeated, widened, cut off, side by side, impossible."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from prefect.testing.utilities import prefect_test_harness
from rich.console import Console

import tasks.search
from flows.adhoc import run_here
from vecmill.cli.search_table import show_search
from vecmill.config.validate import validate
from vecmill.errors import ConfigError
from vecmill.pipelines.words_search import WordsSearchConfig
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.gc import find_garbage
from vecmill.store.runs import run_records

pytestmark = pytest.mark.timeout(300)

ANIMALS = ["cat", "dog", "horse", "cow", "sheep", "goat", "lion", "tiger", "mouse", "bird"]
TOOLS = ["hammer", "saw", "drill", "wrench", "chisel", "plane", "file", "vice", "clamp", "pliers"]
SEARCH = {
    "space": {"train.learning_rate": {"low": 0.01, "high": 0.2, "log": True}, "train.window": {"low": 1, "high": 4}},
    "sampler": "random",
    "pruner": "none",
    "n_trials": 3,
    "pilot_shares": [0.5, 1.0],
    "n_finalists": 1,
    "n_seeds": 3,
}


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=200):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ratings of 190 pairs of words, of one kind and of two."""
    folder = tmp_path_factory.mktemp("search")
    pairs = itertools.combinations([*ANIMALS, *TOOLS], 2)
    rows = [f"{a}\t{b}\t{8 if (a in ANIMALS) == (b in ANIMALS) else 1 + n % 3}" for n, (a, b) in enumerate(pairs)]
    (folder / "kinds.tsv").write_text("\n".join(["word1\tword2\tscore", *rows]) + "\n")
    return folder


def configured(place: Path, text_folder: Path, **search: object) -> WordsSearchConfig:
    values = {
        "store": {"uri": str(place / "store"), "cache": str(place / "cache")},
        "corpus": {"sources": [str(text_folder / "*.txt")]},
        "vocabulary": {"min_count": 2},
        "train": {"kind": "skipgram", "dim": 8, "epochs": 1, "threads": 1},
        "evaluate": {"n_resamples": 100, "benchmarks": [str(place / "kinds.tsv")], "analogies": []},
        "registry": {"tracking_uri": f"sqlite:///{place / 'mlflow.db'}", "model_name": "kinds"},
        "search": {**SEARCH, "storage": f"sqlite:///{place / 'search.db'}", **search},
    }
    return validate(WordsSearchConfig, values, "test")


def run(config: WordsSearchConfig) -> dict[str, Any]:
    summary: dict[str, Any] = run_here("flows/search.py:search", config, ())
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    return summary


def runs_and_versions(place: Path) -> tuple[list[Any], list[Any]]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("vecmill")
    return client.search_runs([experiment.experiment_id]), client.search_model_versions("name = 'kinds'")


@pytest.fixture(scope="module")
def first(place: Path, text_folder: Path) -> dict[str, Any]:
    return run(configured(place, text_folder))


def test_the_first_search_trains_everything_and_registers_the_winner(place: Path, first: dict[str, Any]) -> None:
    found = first["search"]
    assert [each["state"] for each in found["trials"]] == ["complete"] * 3
    assert {each["label"] for each in found["finalists"]} == {found["winner"], "baseline"}
    assert all(len(each["scores"]) == 3 for each in found["finalists"])
    cost = found["cost"]
    assert cost["trials_cached_frac"] == 0
    assert (cost["n_finalist_trainings"], cost["n_finalist_trainings_cached"]) == (6, 1)  # the best trial stood
    assert found["winner"] != "baseline"  # one epoch at the usual learning rate learns nothing here
    assert found["winner_values"].keys() == SEARCH["space"].keys()  # type: ignore[attr-defined]
    assert found["findings"][0]["better"] == found["winner"]

    runs, versions = runs_and_versions(place)
    assert len(versions) == 4  # the baseline, for there was no champion, and three trainings of the winner
    assert first["model"]["version"] == "4"
    by_version = {each.version: each.tags for each in versions}
    recipes = [by_version[number]["vecmill.recipe"] for number in sorted(by_version, key=int)]
    assert recipes[1] == recipes[2] == recipes[3] != recipes[0]
    assert len(first["model"]["tests"]) > 0  # the gate had a champion to compare with
    (parent,) = [each for each in runs if each.info.run_name.startswith("search ")]
    children = [each for each in runs if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    names = sorted(each.info.run_name for each in children)
    assert names == sorted(["trial 0", "trial 1", "trial 2", "finalist: baseline", f"finalist: {found['winner']}"])
    trial = next(each for each in children if each.info.run_name == "trial 0")
    assert trial.data.params.keys() == SEARCH["space"].keys()  # type: ignore[attr-defined]


def test_only_finalists_are_evaluated_in_full(place: Path, first: dict[str, Any]) -> None:
    """Nobody looks at the neighbours of a trial, and the objective does not read them."""
    store = ArtifactStore(StoreConfig(uri=str(place / "store"), cache=str(place / "cache")))
    folders = [store.folder(each.ref) for each in store.manifests("evaluate")]
    n_lists = sorted(pq.read_metadata(each / "neighbours.parquet").num_rows for each in folders)
    assert n_lists[:6] == [0] * 6  # three trials on two shares
    assert len(n_lists) == 12 and n_lists[6] > 0  # two finalists from three seeds


def test_a_repeated_search_is_all_hits(place: Path, text_folder: Path, first: dict[str, Any]) -> None:
    before = runs_and_versions(place)
    again = run(configured(place, text_folder))
    cost = again["search"]["cost"]
    assert cost["trials_cached_frac"] == 1
    assert cost["n_finalist_trainings_cached"] == cost["n_finalist_trainings"] == 6
    assert {**again["search"], "cost": 0} == {**first["search"], "cost": 0}
    assert again["model"] == first["model"]
    assert [len(each) for each in runs_and_versions(place)] == [len(each) for each in before]


def test_a_widened_search_pays_for_what_is_new(place: Path, text_folder: Path, first: dict[str, Any]) -> None:
    """Wider bounds, a field more and two trials more: the three old trials fit and are taken over."""
    space = {
        "train.learning_rate": {"low": 0.005, "high": 0.3, "log": True},
        "train.window": {"low": 1, "high": 6},
        "train.negative_samples": {"choices": [5, 10]},
    }
    found = run(configured(place, text_folder, space=space, n_trials=5))["search"]
    assert found["cost"]["n_trials"] == 5
    assert found["cost"]["trials_cached_frac"] == pytest.approx(3 / 5)
    old = {each["trial"]: each for each in first["search"]["trials"]}
    for each in found["trials"]:
        if each["trial"] < 3:
            values = old[each["trial"]]["values"] | {"train.negative_samples": 5}
            assert (each["values"], each["score"]) == (values, old[each["trial"]]["score"])


def test_a_search_that_was_cut_off_goes_on(
    place: Path, text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(place, text_folder, storage=f"sqlite:///{tmp_path}/search.db", n_trials=4)
    real, labels = tasks.search.train_and_score, []

    def interrupted(run: Any, label: str, config: Any) -> Any:
        labels.append(label)
        if len(labels) == 6:
            raise KeyboardInterrupt
        return real(run, label, config)

    monkeypatch.setattr(tasks.search, "train_and_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.setattr(tasks.search, "train_and_score", real)
    assert [each.status for each in run_records(ArtifactStore(config.store), "words-search")][-1] == "failed"
    found = run(config)["search"]
    assert found["cost"]["n_trials"] == 4
    assert sorted(each["trial"] for each in found["trials"]) == [0, 1, 3, 4]  # 2 was cut off and drawn again as 3


def test_trials_side_by_side_come_to_the_same(
    place: Path, text_folder: Path, tmp_path: Path, first: dict[str, Any]
) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    found = run(configured(place, text_folder, storage=storage, parallel_trials=2))["search"]
    assert found["winner_values"] == first["search"]["winner_values"]
    assert found["cost"]["trials_cached_frac"] == 1  # other trials database, same store
    assert found["finalists"] == first["search"]["finalists"] or found["winner"] != first["search"]["winner"]


def test_impossible_candidates_fail_and_the_search_ends_well(place: Path, text_folder: Path, tmp_path: Path) -> None:
    space = {
        "train.learning_rate": {"choices": [0.05, 0.001]},
        "train.min_learning_rate": {"choices": [0.01]},
        "vocabulary.min_count": {"choices": [2, 1_000_000]},
    }
    storage = f"sqlite:///{tmp_path}/search.db"
    config = configured(place, text_folder, storage=storage, space=space, sampler="grid", n_trials=9)
    found = run(config)
    trials = {tuple(each["values"].values()): each for each in found["search"]["trials"]}
    assert [each["state"] for each in found["search"]["trials"]] == ["complete", "failed", "failed", "failed"]
    reasons = {values: each["reason"] for values, each in trials.items()}
    assert "min_learning_rate" in reasons[0.001, 0.01, 2]
    assert "min_count" in reasons[0.05, 0.01, 1_000_000]
    console = Console(width=200, record=True, file=io.StringIO())
    show_search(found, console)
    assert re.search(r"Trial \d failed: .*What to do", console.export_text())


def test_the_objective_may_be_cross_validated(place: Path, text_folder: Path, tmp_path: Path) -> None:
    config = configured(
        place,
        text_folder,
        storage=f"sqlite:///{tmp_path}/search.db",
        objective="validation_auc",
        folds=2,
        n_trials=1,
        n_seeds=1,
        pilot_shares=[1.0],
    )
    found = run(config)["search"]
    store = ArtifactStore(config.store)
    folds = [each for each in store.manifests("evaluate") if "validation_auc" in each.metrics]
    assert len(folds) == 4  # two folds of the trial, two of the configuration as it is
    means = sorted({round(each["mean"], 5) for each in found["finalists"]})
    by_fold = [each.metrics["validation_auc"] for each in folds]
    pairs = [round((a + b) / 2, 5) for a, b in itertools.combinations(by_fold, 2)]
    assert all(any(abs(mean - pair) < 2e-5 for pair in pairs) for mean in means)
    assert found["trials"][0]["score"] in [each["mean"] for each in found["finalists"]]


def test_people_see_what_was_found(first: dict[str, Any]) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    show_search(first, console)
    text = console.export_text()
    winner = first["search"]["winner"]
    for expected in ("Trials of words-search", "Finalists", "as is", "What mattered", "Model kinds version 4", "p = "):
        assert expected in text or (expected == "What mattered" and not first["search"]["importances"])
    assert f"{winner[0].upper()}{winner[1:]} " in text
    assert "The winner as options: --set train.learning_rate=" in text


def test_gc_would_keep_what_a_winner_descends_from(place: Path, first: dict[str, Any]) -> None:
    store = ArtifactStore(StoreConfig(uri=str(place / "store"), cache=str(place / "cache")))
    garbage = find_garbage(store, lambda manifest, folder: True, root_stage="register")
    assert {each.stage for each in garbage.artifacts} <= {"encode", "train", "evaluate", "vocabulary"}
    assert garbage.n_kept >= 4 * 3


def test_a_search_refreshes_nothing(place: Path, text_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"asked to refresh train.*run the plain pipeline with --refresh"):
        run_here("flows/search.py:search", configured(place, text_folder), ("train",))
