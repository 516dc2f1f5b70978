"""A cluster for each module, and a small pipeline to run on it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reference.ray_nodes import PLANTED, Disks, Nodes, processes_of_cluster

# Small files are read in groups; each of these names ends one.
ENDS_A_GROUP = (1231, 2720, 4806, 5547, 5978, 7392)


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster that all modules here share, since it takes long to start; stopped without a process left."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    import ray

    folder = Path(tempfile.mkdtemp(prefix="vr-"))  # a short path: sockets below it have long names
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("VECMILL_KERNEL_CACHE"):  # each worker of a training would compile its kernels anew
            patch.setenv("VECMILL_KERNEL_CACHE", str(tmp_path_factory.mktemp("kernels")))
        patch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
        started = Nodes()
        try:
            started.start(folder)
            yield started
        finally:
            ray.shutdown()
            started.stop()
            deadline = time.monotonic() + 200
            while (left := processes_of_cluster(folder)) and time.monotonic() < deadline:
                time.sleep(0.2)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)
    assert left == [], "processes of the cluster outlived it"


@pytest.fixture(scope="module")
def nodes(cluster: Nodes) -> Nodes:
    """A head, and two nodes of one core each, whatever the module before left."""
    cluster.settle(2)
    return cluster


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small files of two-topic sentences, each a piece of its own by its name (vecmill/corpus/division.py)."""
    generator = random.Random(5)
    topics = [["cat", "dog", "horse", "cow", "sheep"], ["hammer", "saw", "drill", "wrench", "chisel"]]
    folder = tmp_path_factory.mktemp("texts")
    for number in ENDS_A_GROUP:
        lines = []
        for _ in range(80):
            first, second = generator.sample(generator.choice(topics), 2)
            lines.append(f"the {first} stands near the {second} every day")
        (folder / f"part-{number}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def small(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small configuration with all state below the test's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return {
        "corpus": {"sources": [str(texts / "*.txt")]},
        "vocabulary": {"min_count": 2},
        "train": {"kind": "skipgram", "dim": 8, "epochs": 1, "threads": 1, "mode": "deterministic"},
        "evaluate": {"n_resamples": 100},
    }


@pytest.fixture
def disks(
    cluster: Nodes, tmp_path: Path, s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Disks]:
    """Two nodes whose disks nobody else sees, and a bucket that they and this process reach."""
    import boto3

    for name, value in {**s3_server, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="disks")
    cluster.settle(0)
    found = Disks(cluster, tmp_path, s3_server)
    try:
        for _ in range(2):
            found.add()
        yield found
    finally:
        cluster.settle(0)
