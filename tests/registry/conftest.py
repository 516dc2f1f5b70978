"""A finished pipeline in miniature: the artifacts and manifests that ``register`` reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servers import answers, free_port, stop, wait_until
from vecmill.evaluation.items import BenchmarkItems, write_items
from vecmill.evaluation.similarity import SimilarityScore
from vecmill.registry.config import RegistryConfig
from vecmill.registry.session import registry_session
from vecmill.store.digest import digest_json
from vecmill.store.stage import StageIO
from vecmill.vectors.word_vectors import WordVectors

WORDS = ("king", "queen", "man", "woman", "crown", "apple", "pear", "plum", "tree", "root")


def manifest(stage: str, config: dict[str, Any], metrics: dict[str, Any], seed: int | None = None) -> dict[str, Any]:
    """A manifest as the store hands it to a stage."""
    parts = {"stage": stage, "config": {stage: config}, "seed": seed}
    digest = digest_json([parts, metrics])
    return {"stage": stage, "key": digest[:32], "digest": digest, "parts": parts, "metrics": metrics, "files": []}


def _scored(name: str, digest: str, score: float | None) -> dict[str, Any]:
    return SimilarityScore(
        benchmark=name,
        title=name.title(),
        spearman=score,
        lower=None if score is None else score - 0.1,
        upper=None if score is None else score + 0.1,
        pearson=score,
        spearman_all_pairs=score,
        lower_all_pairs=None,
        upper_all_pairs=None,
        n_pairs=353,
        n_covered=317,
        coverage=0.9,
        n_lowercased=0,
        n_missing_words=1,
        n_self_pairs=0,
        missing_words=("zyzzyva",),
        confidence=0.95,
        n_resamples=100,
        reason="no covered pair" if score is None else "",
        scale=(0.0, 10.0),
        digest=digest,
    ).as_json()


N_ITEMS = 300


def answered(
    name: str, digest: str, score: float | None, stream: int, n_items: int = N_ITEMS, n_unknown: int = 0
) -> BenchmarkItems:
    """Items of which a model's answers correlate with the ratings by about ``score``; None: it knows no word.

    Ratings belong to the benchmark; of the noise, most is the same for all models, as if they had read one corpus.
    """
    latent, shared = np.random.default_rng([len(name), 1]).normal(size=(2, n_items))
    own = np.random.default_rng([len(name), 2, stream]).normal(size=n_items)
    if score is None:
        cosines = np.full(n_items, np.nan)
    else:
        cosines = score * latent + np.sqrt(1 - score**2) * (0.95 * shared + 0.312 * own)
    cosines[:n_unknown] = np.nan
    words = tuple(f"a{at}" for at in range(n_items)), tuple(f"b{at}" for at in range(n_items))
    return BenchmarkItems(name, name.title(), digest, *words, np.round(latent, 1), cosines)


class Finished:
    """Builds the inputs of ``register`` below ``root``; each call gives other vectors, as if trained anew."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._n_made = 0

    def __call__(
        self,
        score: float | None,
        *,
        sources: tuple[str, ...] = ("corpus/*.txt",),
        recipe: str | None = None,
        n_items: int = N_ITEMS,
        n_unknown: int = 0,
        benchmarks: tuple[tuple[str, str], ...] = (("wordsim353", "d353"),),
        n_leaked: int | None = None,
    ) -> StageIO:
        """``benchmarks`` are names and digests; each gets the same score.

        Equal ``recipe``: trainings that differ in the seed alone. ``n_leaked`` pairs of each stand in the corpus; None:
        nobody looked.
        """
        self._n_made += 1
        root = self._root / str(self._n_made)
        vectors = np.random.default_rng(self._n_made).normal(size=(len(WORDS), 4)).astype(np.float32)
        WordVectors(WORDS, vectors, np.arange(len(WORDS), 0, -1)).save(root / "train" / "vectors")
        losses = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.5], "n_pairs": [9, 9, 9], "learning_rate": [0.02, 0.01, 0.0]}
        pq.write_table(pa.table(losses), root / "train" / "losses.parquet")
        self._json(root / "evaluate" / "scores.json", [_scored(name, digest, score) for name, digest in benchmarks])
        items = [answered(name, digest, score, self._n_made, n_items, n_unknown) for name, digest in benchmarks]
        write_items(root / "evaluate" / "items.parquet", items)
        table = {"word": ["king"], "rank": [1], "neighbour": ["queen"], "cosine": [0.8]}
        pq.write_table(pa.table(table), root / "evaluate" / "neighbours.parquet")
        self._json(root / "contract" / "report.json", {"passed": True})
        for stage in ("ingest", "vocabulary", "register"):
            (root / stage).mkdir(parents=True)
        metrics = {"mean_spearman": score, "wordsim353_spearman": score, "mean_coverage": 0.9, "n_words": len(WORDS)}
        lineage = {
            "ingest": manifest("corpus", {"sources": list(sources), "cleaning": ["nfc"]}, {"n_documents": 12}),
            "contract": manifest("contract", {"max_failing_frac": 0.1}, {}),
            "vocabulary": manifest("vocabulary", {"min_count": 5}, {"n_words": len(WORDS)}, seed=7),
            "train": manifest(
                "train",
                {"dim": 4, "made": recipe or self._n_made},
                {"final_loss": 1.5, "dim": 4, "n_pairs": 27},
                seed=self._n_made,
            ),
            "evaluate": manifest("evaluate", {"benchmarks": ["wordsim353"]}, metrics, seed=7),
        }
        if n_leaked is not None:
            self._leaked(root / "contamination", n_leaked, [name for name, _ in benchmarks])
            lineage["contamination"] = manifest("evaluate", {"benchmarks": ["wordsim353"]}, {"n_rows": n_leaked})
        inputs = {name: root / name for name in lineage}
        return StageIO(inputs=inputs, output=root / "register", seed=7, lineage=lineage)

    def _leaked(self, folder: Path, n_leaked: int, names: list[str]) -> None:
        found = [
            {"benchmark": name, "title": name.title(), "n_pairs": N_ITEMS, "n_found": n_leaked, "n_rows": n_leaked}
            | {"exact": n_leaked, "shuffled": 0, "near": 0, "documents": ["d0c"] if n_leaked else []}
            for name in names
        ]
        self._json(folder / "contamination.json", found)
        pq.write_table(pa.table({"benchmark": names}), folder / "contamination.parquet")

    @staticmethod
    def _json(path: Path, value: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., StageIO]:
    """``finished(score)`` gives the inputs of ``register`` for a model with that score."""
    return Finished(tmp_path / "artifacts")


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite registry with tables and nothing in them; making one takes seconds, copying it does not."""
    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    with registry_session(f"sqlite:///{path}"):
        pass
    return path


@pytest.fixture
def sqlite_config(tmp_path: Path, empty_registry: Path) -> RegistryConfig:
    """A registry in an SQLite file of the test's own."""
    path = tmp_path / "state" / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(empty_registry, path)
    return RegistryConfig(tracking_uri=f"sqlite:///{path}", model_name="words")


@pytest.fixture
def client(sqlite_config: RegistryConfig) -> Any:
    """MLflow's own client of that registry, to see what it says."""
    import mlflow

    uri = sqlite_config.tracking_uri
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Iterator[str]:
    """Address of an MLflow server that keeps its database and files below a folder of its own."""
    root = tmp_path_factory.mktemp("server")
    (root / "mlflow.db").write_bytes(empty_registry.read_bytes())
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{root}/mlflow.db"]
    command += ["--artifacts-destination", f"{root}/files", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (root / "log").open("w") as log:
        # A session of its own, so that the workers can be stopped together with the server.
        server = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 200, "MLflow's server", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(server)
