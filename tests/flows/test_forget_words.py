"""A planted text through the whole pipeline, forgotten with its versions: gone from every byte, and it stays away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from servers import ROOT
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.byte_scan import ByteScan

pytestmark = pytest.mark.timeout(1500)
TOKEN = "Zquixotte"


def command(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_HOME"}
    return subprocess.run(
        [sys.executable, "-m", "vecmill", *arguments],
        cwd=place,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def answer(place: Path, *arguments: str) -> dict[str, Any]:
    done = command(place, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_planted_text_is_gone_from_everything(tmp_path: Path, text_folder: Path) -> None:
    shutil.copytree(text_folder, tmp_path / "in")
    # First of the corpus, so that excerpts show it, and often enough to be a word of the model.
    first_file = tmp_path / "in/part-0.txt"
    first_file.write_text(f"{TOKEN} lives here, says {TOKEN.lower()} {TOKEN}.\n" + first_file.read_text())
    config = {
        "corpus": {"sources": ["in/*.txt"], "txt_unit": "line"},
        "vocabulary": {"min_count": 2},
        "train": {"kind": "skipgram", "dim": 16, "epochs": 1},
        "evaluate": {"n_resamples": 100},
        "registry": {"model_name": "small"},
    }
    deployment = {"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": config}}
    (tmp_path / "pipelines.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}))
    before = answer(tmp_path, "run", "words")
    store = ArtifactStore(StoreConfig(uri=before["store"], cache=str(tmp_path / ".vecmill/cache")))
    (ingest,) = store.manifests("ingest")
    rows = pq.read_table(store.folder(ingest.ref) / "part-00000.parquet").to_pylist()
    name = next(row["doc_id"] for row in rows if TOKEN in row["text"])
    planted = ByteScan([TOKEN])
    planted.folder(tmp_path / ".vecmill")
    homes = {Path(hit.place).relative_to(tmp_path / ".vecmill").parts[0] for hit in planted.found.hits}
    assert homes >= {"store", "prefect", "mlartifacts"}

    result = answer(tmp_path, "forget", name, "--prove", TOKEN, "--registry")
    assert result["proof"]["places"] == []
    assert [each["version"] for each in result["withdrawn"]] == ["1"]
    assert {each["stage"] for each in result["removed"]} == {
        *(each["stage"] for each in before["stages"]),
        "ingest.read",
        "contract.check",
        "contamination.look",
        "vocabulary.count",
    }
    assert all(not each["cached"] for each in result["run"]["stages"])
    assert result["run"]["model"]["version"] == "2"
    # Not by the command's own word.
    left = ByteScan([TOKEN])
    left.folder(tmp_path / ".vecmill")
    assert left.found.hits == []

    again = answer(tmp_path, "run", "words")
    assert all(each["cached"] for each in again["stages"])
