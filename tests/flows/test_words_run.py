"""`vecmill run words` as a user meets it: one command, then the same command, then changes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from servers import ROOT
from vecmill.store.artifact_store import ArtifactStore, StoreConfig

pytestmark = pytest.mark.timeout(300)
STAGES = ["ingest", "contract", "contamination", "vocabulary", "encode", "train", "evaluate", "register"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, text_folder: Path) -> Path:
    """A folder with a pipelines.yaml of its own, in which the commands run one after the other."""
    folder = tmp_path_factory.mktemp("place")
    config = {
        "corpus": {"sources": [str(text_folder / "*.txt")]},
        "vocabulary": {"min_count": 2},
        "train": {"kind": "skipgram", "dim": 16, "epochs": 2},
        "evaluate": {"n_resamples": 100},
        "registry": {"model_name": "small"},
    }
    deployment = {"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": config}}
    (folder / "pipelines.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}))
    return folder


def command(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "vecmill", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    return done


def run(place: Path, *arguments: str) -> dict[str, Any]:
    done = command(place, "run", "words", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)  # one JSON object, and nothing else on stdout
    return summary


def built(summary: dict[str, Any]) -> list[str]:
    return [stage["stage"] for stage in summary["stages"] if not stage["cached"]]


@pytest.fixture(scope="module")
def first(place: Path, prefect_server: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The run that starts a Prefect of its own; those after it find one that is running."""
    summary = run(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_server["PREFECT_API_URL"])
        yield summary


def test_the_first_run_builds_everything(place: Path, first: dict[str, Any]) -> None:
    assert built(first) == STAGES
    assert first["model"]["name"] == "small"
    assert first["model"]["version"] == "1"
    assert sorted(first["model"]["aliases"]) == ["challenger", "champion"]
    assert {score["benchmark"] for score in first["scores"]} == {"wordsim353", "simlex999", "men", "rw", "scws"}
    assert all(stage["digest"] and stage["seconds"] >= 0 for stage in first["stages"])
    assert first["store"] == str(place / ".vecmill/store")


def test_nothing_lands_outside_the_state_folder(place: Path, first: dict[str, Any]) -> None:
    assert sorted(path.name for path in place.iterdir()) == [".vecmill", "pipelines.yaml"]


def test_the_manifests_chain_back_to_the_documents(place: Path, first: dict[str, Any]) -> None:
    store = ArtifactStore(StoreConfig(uri=first["store"], cache=str(place / ".vecmill/cache")))
    by_stage = {stage["stage"]: stage for stage in first["stages"]}
    ref = store.manifest("register", by_stage["register"]["key"])
    while ref is not None and ref.inputs:
        assert all(parent.digest == by_stage[name]["digest"] for name, parent in ref.inputs.items())
        nearest = next(iter(ref.inputs.values()))
        ref = store.manifest(nearest.stage, nearest.key)
    assert ref is not None
    assert ref.stage == "ingest"
    assert len(ref.parts["external"]) == 8


def test_the_second_run_is_all_cached_and_imports_nothing_heavy(place: Path, first: dict[str, Any]) -> None:
    second = run(place)
    assert built(second) == []
    assert [s["digest"] for s in second["stages"]] == [s["digest"] for s in first["stages"]]
    assert second["model"] == first["model"]
    code = (
        "import sys; sys.argv = ['vecmill', 'run', 'words', '--json']\n"
        "from vecmill.cli.main import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "heavy = {'prefect', 'mlflow', 'polars', 'pyarrow', 'numba', 'gensim', 'duckdb', 'pandas', 's3fs'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_the_readmes_snippet_answers(place: Path, first: dict[str, Any]) -> None:
    """The Python block that a reader copies, word for word but for the model's name."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(each for each in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "load_model" in each)
    block = block.replace("models:/words@champion", "models:/small@champion").replace('"war", "music"', '"cat", "saw"')
    lines = block.splitlines()
    shown = [*lines, "print(sorted(vectors.columns), len(vectors.loc[0, 'vector']), len(found.loc[0, 'neighbours']))"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(shown)], cwd=place, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['known', 'vector', 'word'] 16 5"


def test_changing_epochs_reruns_training_and_what_follows(place: Path, first: dict[str, Any]) -> None:
    explained = command(place, "explain", "words", "--set", "train.epochs=3")
    assert explained.returncode == 0, explained.stderr
    lines = explained.stdout.splitlines()
    assert [line.split()[:2] for line in lines if not line.startswith(" ")] == [
        *([name, "cached"] for name in STAGES[:5]),
        *([name, "runs"] for name in STAGES[5:]),
    ]
    assert "config: train.epochs: 2 → 3" in explained.stdout
    assert built(run(place, "--set", "train.epochs=3")) == STAGES[5:]


@pytest.mark.parametrize("kind", ["cbow", "subword_skipgram", "glove"])
def test_every_kind_of_trainer_goes_through(place: Path, first: dict[str, Any], kind: str) -> None:
    import mlflow

    config = ("--set", f"train.kind={kind}", "--set", f"registry.model_name=small-{kind}")
    summary = run(place, *config)
    assert built(summary) == STAGES[5:]
    client = mlflow.MlflowClient(f"sqlite:///{place}/.vecmill/mlflow.db")
    version = client.get_model_version(f"small-{kind}", summary["model"]["version"])
    assert client.get_run(version.run_id).data.params["train.kind"] == kind
    assert built(run(place, *config)) == []


def test_refresh_forces_a_stage(place: Path, first: dict[str, Any]) -> None:
    assert built(run(place, "--refresh", "vocabulary")) == ["vocabulary"]  # the same bytes: nothing follows


def test_a_damaged_artifact_is_rebuilt(place: Path, first: dict[str, Any]) -> None:
    key = next(stage["key"] for stage in first["stages"] if stage["stage"] == "encode")
    (place / ".vecmill/store/encode" / key / "token_ids.npy").write_bytes(b"short")
    explained = command(place, "explain", "words")
    assert "token_ids.npy has 5 bytes" in explained.stdout
    assert built(run(place)) == ["encode"]


def test_a_deleted_model_version_is_registered_again(place: Path, first: dict[str, Any]) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{place}/.vecmill/mlflow.db")
    client.delete_registered_model("small")
    explained = command(place, "explain", "words")
    assert "is no longer in the registry" in explained.stdout
    again = run(place)
    assert built(again) == ["register"]
    assert sorted(again["model"]["aliases"]) == ["challenger", "champion"]


def test_gc_lists_what_no_registered_model_leads_back_to(place: Path, first: dict[str, Any]) -> None:
    run(place)
    listed = json.loads(command(place, "gc", "--dry-run", "--json").stdout)
    assert listed["removed"] is False
    # The model trained for three epochs was deleted from the registry above.
    assert sorted(each["stage"] for each in listed["artifacts"]) == ["evaluate", "register", "train"]
    removed = json.loads(command(place, "gc", "--json").stdout)
    assert removed["artifacts"] == listed["artifacts"]
    assert built(run(place)) == []
    assert built(run(place, "--set", "train.epochs=3")) == STAGES[5:]


def test_people_get_tables(place: Path, first: dict[str, Any]) -> None:
    done = command(place, "run", "words")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for expected in ("Pipeline words", "cached", "wordsim353", "Model small version", "vecmill browse"):
        assert expected in done.stdout
