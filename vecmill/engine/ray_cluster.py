"""Reaching a Ray cluster: one started for a run on this machine, or one that stands; and words for its failures."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecmill.errors import ConfigError, EngineError
from vecmill.pipelines.engine_config import EngineConfig, StageResources
from vecmill.quiet import be_quiet

log = logging.getLogger("vecmill")

# Orders and answers are a few kilobytes; text and arrays go through the artifact store.
_OBJECT_STORE_BYTES = 80 * 2**20
_ANSWERS_WITHIN_SECONDS = 5.0
_SPEAKS_WITHIN_SECONDS = 15.0
_STARTS_WITHIN_SECONDS = 180.0
# How a client opens HTTP/2, on which gRPC rests, and the kind of the frame that the server begins with (RFC 9113, 3.4).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEADER_BYTES, _KIND_AT, _SETTINGS = 9, 3, 4


@dataclass(frozen=True)
class Node:
    """A node that is up: Ray's id, what people call it, and what it has (not what is free)."""

    node_id: str
    name: str
    cpus: float
    memory: float
    gpus: float

    def fits(self, wanted: StageResources) -> bool:
        """Whether a stage has room there when nothing else runs."""
        return self.places(wanted) > 0

    def places(self, wanted: StageResources) -> int:
        """For how many of them there is room when nothing else runs."""
        pairs = ((self.cpus, wanted.cpus), (self.memory, wanted.memory), (self.gpus, wanted.gpus))
        return min(int(has // each) for has, each in pairs if each)

    def in_words(self) -> str:
        """What it has, for people."""
        gpus = f", {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.name} {cores(self.cpus)}, {self.memory / 1e9:.1f} GB{gpus}"


def cores(number: float) -> str:
    """So many cores, for people."""
    return "1 core" if number == 1 else f"{number:g} cores"


def in_words(wanted: StageResources) -> str:
    """What a stage takes, for people."""
    parts = [cores(wanted.cpus)]
    parts += [f"{wanted.memory / 1e9:.1f} GB"] if wanted.memory else []
    parts += [f"{wanted.gpus} GPUs"] if wanted.gpus else []
    return ", ".join(parts)


def import_ray(address: str = "") -> Any:
    """Ray, ready to reach ``address``, or a friendly word on how to get it.

    Raises
    ------
    ConfigError : Ray is not installed
    """
    be_quiet()
    # Without it Ray warns that a later version will leave CUDA_VISIBLE_DEVICES alone where a task takes no GPU.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if _host_and_port(address)[0] in ("127.0.0.1", "localhost"):
        # Else Ray puts this machine's outward address in its place, where a cluster on loopback does not listen.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "engine.kind is ray, and Ray is not installed",
            expected="the extra ray",
            todo="pip install 'vecmill[ray]', or leave engine out to run on this machine alone",
        ) from error
    return ray


@contextmanager
def connected(config: EngineConfig) -> Iterator[Any]:
    """The ``ray`` module, connected as the configuration says; a cluster that was started for it ends with the block.

    Raises
    ------
    ConfigError : Ray is not installed
    EngineError : the cluster cannot be reached, or is one of other versions
    """
    address = _cluster_of_this_machine() if config.address == "auto" else config.address
    ray = import_ray(address)
    if ray.is_initialized():  # by whoever runs us; it is theirs to end
        yield ray
        return
    _keep_off_standard_output(ray)
    scratch = tempfile.mkdtemp(prefix="vecmill-ray-") if not address else None
    try:
        if scratch is not None:
            _start(ray, scratch)
        else:
            _connect(ray, address)
        try:
            yield ray
        finally:
            ray.shutdown()
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _start(ray: Any, scratch: str) -> None:
    give_time_to_start(ray)
    try:
        ray.init(
            address="local",
            num_cpus=len(os.sched_getaffinity(0)),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=scratch,
            configure_logging=False,
            log_to_driver=False,
        )
    except Exception as error:  # Ray has no class of its own for it
        ray.shutdown()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise EngineError(
            f"Ray could not be started on this machine ({lines[0] if lines else type(error).__name__})",
            expected=f"its processes to start within {_STARTS_WITHIN_SECONDS:g} seconds; they take 0.6 GB",
            todo="run again when the machine has less to do, or set engine.kind: local",
        ) from error


def give_time_to_start(ray: Any) -> None:
    """Let Ray wait longer for a node that this process starts: on a busy machine its own 30 seconds are too few.

    Ray has no setting for this.
    """
    services = ray._private.services
    ask = getattr(services, "get_node", None)
    if ask is None or hasattr(ask, "__wrapped__"):
        return

    @functools.wraps(ask)
    def patient(*arguments: Any, **options: Any) -> Any:
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while True:
            try:
                return ask(*arguments, **options)
            except RuntimeError:  # it has not said that it is there
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    services.get_node = patient


def _keep_off_standard_output(ray: Any) -> None:
    """Log what nodes report (a lost one: 20 lines of its log) instead of letting Ray print it, where --json prints.

    What it means for the run is said in words of ours. Ray has no setting for this.
    """
    worker = ray._private.worker
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, **_: log.debug("Ray: %s", data.get("lines"))


def _connect(ray: Any, address: str) -> None:
    reason = _silence_at(address)
    if reason:
        raise EngineError(
            f"no Ray answers at {address}, the address of the Ray cluster ({reason})",
            expected="the head node's port (6379 by default), or ray://HOST:10001 for Ray's client server",
            todo="start the cluster (`ray start --head --port=6379`), or correct engine.address",
        )
    try:
        ray.init(address=address, configure_logging=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise EngineError(
            f"the Ray cluster at {address} cannot be used ({lines[0] if lines else type(error).__name__})",
            expected="a cluster with this version of Ray and Python; for auto and HOST:PORT, one of which this machine "
            "is a node",
            todo="run `ray start --head --port=6379` here, or join one with `ray start --address=HOST:PORT`; from "
            "outside a cluster use ray://HOST:10001",
        ) from error


def _cluster_of_this_machine() -> str:
    """What ``auto`` stands for: RAY_ADDRESS, or the cluster that this machine joined last.

    Raises
    ------
    EngineError : this machine is in no cluster
    """
    record = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    named = os.environ.get("RAY_ADDRESS", "").strip()
    if not named and record.is_file():
        named = record.read_text().strip()
        # A head that listens on loopback alone is written down under this machine's outward address all the same.
        loopback = f"127.0.0.1:{_host_and_port(named)[1]}"
        if _silence_at(named) and not _silence_at(loopback):
            named = loopback
    if not named:
        raise EngineError(
            "engine.address is auto, and this machine is in no Ray cluster",
            expected="a cluster started or joined here by `ray start`, or RAY_ADDRESS in the environment",
            todo="run `ray start --head --port=6379`, or leave engine.address out to have one started for the run",
        )
    return named


def _silence_at(address: str) -> str:
    """Why no Ray answers at an address, empty if something does. Ray itself asks for ten minutes.

    A port that takes connections need not be Ray's. Whatever is Ray's speaks gRPC, except where RAY_USE_TLS hides it.
    """
    try:
        with socket.create_connection(_host_and_port(address), timeout=_ANSWERS_WITHIN_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return ""
            connection.settimeout(_SPEAKS_WITHIN_SECONDS)
            connection.sendall(_PREFACE)
            heard = b""
            while len(heard) < _FRAME_HEADER_BYTES and (more := connection.recv(_FRAME_HEADER_BYTES - len(heard))):
                heard += more
    except TimeoutError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", "") or error)
    is_grpc = len(heard) == _FRAME_HEADER_BYTES and heard[_KIND_AT] == _SETTINGS
    return "" if is_grpc else "what listens there is not Ray"


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0


def nodes_of(ray: Any) -> list[Node]:
    """The nodes that are up and take work, by name."""
    found = [
        Node(
            each["NodeID"],
            f"{each.get('NodeManagerHostname') or each['NodeManagerAddress']} ({each['NodeID'][:6]})",
            float(each["Resources"].get("CPU", 0.0)),
            float(each["Resources"].get("memory", 0.0)),
            float(each["Resources"].get("GPU", 0.0)),
        )
        for each in ray.nodes()
        if each["Alive"]
    ]
    return sorted((each for each in found if each.cpus), key=lambda each: (each.name, each.node_id))
