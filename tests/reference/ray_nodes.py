"""A real Ray cluster of several nodes on loopback, and the stages of `words` run on any engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import free_port, listens, stop, wait_until
from vecmill.config.validate import validate
from vecmill.engine.engine import Engine, open_engine
from vecmill.engine.ray_cluster import give_time_to_start, import_ray
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome

# A secret in the environment of nodes, as one that they need for a store on S3; it may stand in no log.
PLANTED = "planted-secret-that-nobody-may-log"

# Before Ray is imported: it leaves a loopback address as it is.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"


# A training on two workers: checkpoints in every round, and enough rounds to be struck in the middle of one.
TRAIN: dict[str, Any] = {
    "kind": "skipgram",
    "dim": 8,
    "window": 3,
    "sample": 0,
    "epochs": 30,
    "threads": 1,
    "checkpoint_minutes": 1e-9,
    "distributed": {"workers": 2, "tiers": 2, "timeout_seconds": 10, "restarts": 3},
}

# A node that says nothing for so long is lost; Ray's own 15 seconds make tests wait.
_HEALTH = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}


class Nodes:
    """A head without cores, and nodes of one core each that come and go; on them Python starts as ``on_nodes`` says."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        give_time_to_start(import_ray())
        self._cluster = Cluster()
        self._common = {"object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}
        self._added: list[Any] = []
        self.address = ""

    def start(self, folder: Path) -> None:
        """Start the head, with all that it writes below ``folder``."""
        Path("/tmp/ray").mkdir(exist_ok=True)  # Ray writes a cluster's address there and does not make the folder
        self.folder = folder
        head = {
            "include_dashboard": False,
            "temp_dir": str(folder),
            "_system_config": _HEALTH,
        }
        self._cluster.add_node(num_cpus=0, **head, **self._common)
        self.address = self._cluster.address

    def add(self, **environment: str) -> Any:
        """Start a node; ``environment`` is for its processes alone."""
        paths = [str(Path(__file__).parent / "on_nodes"), os.environ.get("PYTHONPATH", "")]
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment}
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

    @contextmanager
    def client_server(self) -> Iterator[str]:
        """A door for drivers outside the cluster: its address. A head has one too, and leaves its log files open."""
        port = free_port()
        command = [sys.executable, "-m", "ray.util.client.server", f"--address={self.address}", "--host=127.0.0.1"]
        server = subprocess.Popen(
            [*command, f"--port={port}", "--mode=legacy"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until(lambda: listens(port), 200, "Ray's client server listens", server)
            yield f"ray://127.0.0.1:{port}"
        finally:
            stop(server)

    def kill(self, node: Any) -> None:
        """End a node as a power cut would: its processes get no chance to say goodbye."""
        self._added.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def running(self) -> list[Any]:
        return list(self._added)

    def named(self, name: str) -> Any:
        """The node that people call so: host, and the first digits of Ray's id in brackets."""
        return next(each for each in self._added if f"({each.node_id[:6]})" in name)

    def settle(self, n_nodes: int) -> None:
        """Have as many nodes as that, all of them alive."""
        for node in self.running()[n_nodes:]:
            self.kill(node)
        while len(self._added) < n_nodes:
            self.add()

    def stop(self) -> None:
        self._cluster.shutdown()


class Disks:
    """Nodes with a home of their own each, and what S3 asks for in their environment."""

    def __init__(self, cluster: Nodes, folder: Path, s3: dict[str, str]) -> None:
        self.cluster, self.folder, self._s3 = cluster, folder, s3
        self._n_nodes = 0

    def add(self, **environment: str) -> Any:
        self._n_nodes += 1
        home = self.folder / f"node-{self._n_nodes}"
        home.mkdir()
        return self.cluster.add(**{"HOME": str(home), **self._s3, **environment})

    def caches(self) -> list[Path]:
        """Where nodes have copies of what the training reads."""
        return sorted({path.parents[3] for path in self.folder.glob("node-*/cache/artifacts/encode/*/token_ids.npy")})


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


def descendants() -> list[int]:
    """Process ids of all that this process started, and what they started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, left = [], [os.getpid()]
    while left:
        mine = children.get(left.pop(), [])
        found += mine
        left += mine
    return found


def arguments_of(pid: int) -> list[str]:
    """A process's command line; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def training_workers() -> dict[int, int]:
    """Process ids of the workers of trainings, by rank, wherever below this process they run."""
    found = {}
    for pid in descendants():
        arguments = arguments_of(pid)
        if len(arguments) > 5 and "vecmill.distributed.member" in arguments[2]:
            found[int(arguments[4])] = pid
    return found


def stage_processes(name: str) -> list[int]:
    """Process ids of Ray's processes that run a stage at the moment."""
    return [pid for pid in descendants() if arguments_of(pid)[:1] and arguments_of(pid)[0].startswith(f"ray::{name}")]


def in_one_process(train: dict[str, Any]) -> dict[str, Any]:
    """The same training with its workers in one process: what the ones on nodes have to come to."""
    return {**train, "distributed": {**train["distributed"], "transport": "one_process"}}


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
