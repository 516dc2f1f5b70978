"""A training on nodes whose disks nobody else sees, with a store on S3: one that is lost takes no checkpoint along."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from reference.ray_nodes import TRAIN, Disks, configured, in_one_process, run_until
from servers import wait_until
from vecmill.engine.engine import LocalEngine
from vecmill.engine.ray_engine import RayEngine
from vecmill.store.artifact_store import ArtifactStore

pytest.importorskip("torch", reason="torch carries rows between workers")
pytestmark = [pytest.mark.timeout(600), pytest.mark.server]

LONGER = {**TRAIN, "epochs": 80}  # a checkpoint is seen later where it has to reach the store first


def test_another_node_goes_on_from_the_checkpoint(
    disks: Disks, small: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    here = configured({**small, "train": in_one_process(LONGER), "store": {"uri": "elsewhere"}})
    unbroken = run_until("train", LocalEngine(), here)
    store = {"uri": "s3://disks/store", "cache": "~/cache"}
    config = configured({**small, "train": LONGER, "store": store}, kind="ray", address=disks.cluster.address)
    run_until("encode", LocalEngine(), config)
    backend = ArtifactStore(config.store).backend
    found: dict[str, Any] = {}

    def record() -> bytes | None:
        labels = [name for name in backend.names("checkpoints") if name.startswith("train-")]
        return backend.read(f"checkpoints/{labels[0]}/latest.json") if labels else None

    with caplog.at_level(logging.WARNING, "vecmill"), RayEngine(config) as engine:
        thread = threading.Thread(target=lambda: found.update(run_until("train", engine, config)))
        thread.start()
        try:
            wait_until(lambda: record() or not thread.is_alive(), 300, "a checkpoint in the store")
            assert thread.is_alive(), "the training was over before a checkpoint was seen in the store"
            (place,) = [node for label, node in engine._replay._begun.items() if label.startswith("train-")]
            disks.cluster.kill(disks.cluster.named(place))
            disks.add()
        finally:
            thread.join(300)
        places = [node for label, node in engine._replay._begun.items() if label.startswith("train-")]
    built = found["train"]
    assert built.metrics["resumed_at_epoch"] > 0 and built.metrics["workers"] == 2
    assert built.ref == unbroken["train"].ref
    assert len(set(places)) == 2 and any("running the stage again" in line for line in caplog.messages)
    assert len(disks.caches()) == 3, "each node had fetched what it read to a disk of its own"
    assert backend.names("checkpoints") == []
    assert not any("could not be" in line for line in caplog.messages)
