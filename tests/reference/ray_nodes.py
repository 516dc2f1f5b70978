"""A real Ray cluster of several nodes on loopback, and the stages of `words` run on any engine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from vecmill.config.validate import validate
from vecmill.engine.engine import Engine, open_engine
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome

# Before Ray is imported: it leaves a loopback address as it is.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"


class Nodes:
    """A head without cores, and nodes of one core each that come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self._common = {"object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}
        self._added: list[Any] = []
        self.address = ""

    def start(self, folder: Path) -> None:
        """Start the head, with all that it writes below ``folder``."""
        Path("/tmp/ray").mkdir(exist_ok=True)  # Ray writes a cluster's address there and does not make the folder
        self._cluster.add_node(num_cpus=0, include_dashboard=False, temp_dir=str(folder), **self._common)
        self.address = self._cluster.address

    def add(self, **environment: str) -> Any:
        """Start a node; ``environment`` is for its processes alone."""
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            node = self._cluster.add_node(num_cpus=1, **self._common)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        self._added.append(node)
        return node

    def kill(self, node: Any) -> None:
        """End a node as a power cut would: its processes get no chance to say goodbye."""
        self._added.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def running(self) -> list[Any]:
        return list(self._added)

    def stop(self) -> None:
        self._cluster.shutdown()


def processes_of_cluster(folder: Path) -> list[int]:
    """Process ids whose command line names a cluster's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def configured(values: dict[str, Any], **engine: Any) -> WordsConfig:
    return validate(WordsConfig, {**values, "engine": engine} if engine else values, "test")


def run_until(last: str, engine: Engine, config: WordsConfig) -> dict[str, StageOutcome]:
    """Run the stages of `words` up to one of them; the pass that looks for benchmarks in the text is left out."""
    store = ArtifactStore(config.store)
    outcomes: dict[str, StageOutcome] = {}
    for stage in WORDS.stages:
        if stage.name != "contamination":
            inputs = {name: outcomes[name].ref for name in stage.inputs}
            outcomes[stage.name] = engine.run_stage(stage, config, store, inputs)
        if stage.name == last:
            break
    return outcomes


if __name__ == "__main__":  # a driver to be killed: configuration and last stage
    _config = configured(json.loads(sys.argv[1]))
    with open_engine(_config) as _engine:
        run_until(sys.argv[2], _engine, _config)
