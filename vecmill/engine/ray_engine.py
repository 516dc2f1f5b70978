"""Stages as Ray tasks: placed by what they take, watched, and begun again elsewhere when their node is lost.

The store is asked here first, so that what stands costs no task. A task runs the very :func:`run_stage` that a local
run calls, against the same store: an artifact has the same key wherever it was made, and is published whole or not at
all. A node that dies with a stage leaves a scratch folder that the next try sweeps away, and checkpoints from which it
goes on where the store lies on a disk that both see.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vecmill.engine.agreement import disagreement, traits
from vecmill.engine.on_node import build, look, pipeline_of_config, plain_config, value_of
from vecmill.engine.ray_cluster import Node, connected, cores, import_ray, in_words, nodes_of
from vecmill.engine.ray_crew import in_bundle, no_room, no_torch, reserved, workers_of
from vecmill.engine.ray_pieces import cannot_begin, node_name, spread
from vecmill.engine.relay import Message, Replay
from vecmill.errors import EngineError, NodesLost, VecmillError
from vecmill.pipelines.engine_config import StageResources
from vecmill.progress import track
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.manifest import ArtifactRef
from vecmill.store.plan import PlannedStage, Stage, artifact_problem, key_of, stage_parts

log = logging.getLogger("vecmill")

_POLL_SECONDS = 0.3
_LOOK_SECONDS = 120.0  # a node's first Python process imports a lot, perhaps from a slow disk
_REMIND_SECONDS = 20.0


class _Mailbox:
    """Messages on their way to where the run was started; an actor, for nodes cannot call a process outside Ray."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def put(self, messages: list[Message]) -> None:
        self._messages.extend(messages)

    def take(self) -> list[Message]:
        taken, self._messages = self._messages, []
        return taken


def _build(order: dict[str, Any], mailbox: Any, group: Any = None) -> dict[str, Any]:
    """On a node: run a stage, its progress going to the mailbox, its workers, if it has some, to their group's room."""
    ray = import_ray()

    def send(messages: list[Message]) -> None:
        ray.get(mailbox.put.remote(messages), timeout=10)

    crew = None
    if group is not None:
        # Late: who finds everything done, or has another trainer, does not wait for it.
        from vecmill.engine.ray_workers import RayCrew

        crew = RayCrew(order, group)
    return build({**order, "node": node_name(ray, order["names"])}, send, partial(spread, order), crew)


class RayEngine:
    """Runs the stages of a pipeline on a Ray cluster; a context manager.

    Parameters
    ----------
    config : the pipeline's configuration, of which the section ``engine`` says which cluster

    Raises
    ------
    ConfigError : Ray is not installed, or a stage wants more than this machine has
    EngineError : the cluster cannot be reached, a node has other code or versions, or does not see the store
    """

    in_this_process = False

    def __init__(self, config: Any) -> None:
        self._config = config
        self._settings = config.engine
        self._started = threading.Lock()
        self._stack = ExitStack()
        self._ray: Any = None
        self._mailbox: Any = None
        self._asked: Any = None  # for messages, without an answer so far
        self._names: dict[str, str] = {}
        self._traits: dict[str, dict[str, str]] = {}
        self._replay = Replay()
        self._drain = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self) -> None:
        """Reach or start the cluster, and look at every node before anything runs on it."""
        with self._started:
            if self._ray is None:
                self._start()

    def _start(self) -> None:
        if self._config.store.uri.startswith("memory://"):
            raise EngineError(
                f"the store is {self._config.store.uri}, which only this process sees",
                expected="a folder that every node sees, or s3://bucket/prefix",
                todo="set store.uri, or use engine.kind=local",
            )
        with track("nodes of the Ray cluster", None, "node(s)") as bar:
            ray = self._stack.enter_context(connected(self._settings))
            nodes = nodes_of(ray)
            where = self._settings.address or "started on this machine for this run"
            if not nodes:
                raise EngineError(
                    f"the Ray cluster ({where}) has no node with a core",
                    expected="nodes that take work",
                    todo="add one: ray start --address=HOST:PORT",
                )
            self._check_room(nodes)
            self._look_at(ray, nodes, bar)
            bar.note(f"{where}: {cores(sum(each.cpus for each in nodes))}")
            on_this_node = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=True
            )
            options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": on_this_node}
            self._mailbox = ray.remote(_Mailbox).options(**options).remote()
            self._ray = ray

    def _check_room(self, nodes: list[Node]) -> None:
        """A cluster of this machine alone grows no further, so a stage without room on it never starts."""
        if self._settings.address:
            return
        for stage in pipeline_of_config(self._config).stages:
            wanted = self._settings.of_stage(stage.name)
            if not stage.with_driver and not any(node.fits(wanted) for node in nodes):
                raise EngineError(
                    f"engine.resources.{stage.name} wants {in_words(wanted)}, and this machine has "
                    + "; ".join(node.in_words() for node in nodes),
                    expected="what one node has",
                    todo=f"lower engine.resources.{stage.name}, or set engine.address to a cluster with larger nodes",
                )
            refusal = no_room(nodes, stage.name, workers_of(getattr(self._config, stage.section)), wanted)
            if refusal is not None:
                raise refusal

    def _look_at(self, ray: Any, nodes: list[Node], bar: Any) -> None:
        pipeline = pipeline_of_config(self._config)
        store = ArtifactStore(self._config.store)
        nonce = secrets.token_hex(8)
        probe = f".locks/probe-{nonce}"  # where no artifact lies
        self._traits = traits(pipeline, self._config)
        remote_look = ray.remote(look)
        store.backend.write(probe, nonce.encode())
        try:
            looks = {}
            for node in nodes:
                there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.node_id, soft=False)
                options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
                arguments = (pipeline.name, plain_config(pipeline, self._config), str(Path.cwd()), probe)
                looks[node.node_id] = remote_look.options(**options).remote(*arguments)
            for node in nodes:
                found = self._seen(ray, node, looks[node.node_id])
                if found is None:  # Ray lists a node that was lost for half a minute longer
                    log.warning("node %s is gone; going on without it", node.name)
                    continue
                self._judge(node, found, nonce, store)
                self._names[node.node_id] = node.name
                bar.advance()
            if not self._names:
                raise EngineError(
                    "every node of the Ray cluster was lost before anything ran",
                    expected="nodes that stay up",
                    todo="look at the nodes, and run again",
                )
        finally:
            with contextlib.suppress(VecmillError, OSError):
                store.backend.remove(probe)

    def _seen(self, ray: Any, node: Node, reference: Any) -> dict[str, Any] | None:
        gone = (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError, ray.exceptions.WorkerCrashedError)
        try:
            found: dict[str, Any] = ray.get(reference, timeout=_LOOK_SECONDS)
            return found
        except gone:
            return None
        except ray.exceptions.GetTimeoutError as error:
            raise EngineError(
                f"node {node.name} has not begun to work within {_LOOK_SECONDS:g} seconds",
                expected="nodes that start a Python process and import vecmill in less",
                todo="look at the node (is it overloaded, does its disk answer?), or take it out, and run again",
            ) from error
        except ray.exceptions.RayError as error:
            reason = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise EngineError(
                f"node {node.name} cannot run vecmill ({reason[-1].strip()})",
                expected="the same vecmill in the Python that `ray start` runs with, on every node",
                todo="install it there (infra/README.md has an image for all nodes), or take the node out",
            ) from error

    def _judge(self, node: Node, found: Mapping[str, Any], nonce: str, store: ArtifactStore) -> None:
        differs = disagreement(self._traits, found["traits"])
        if differs:
            raise EngineError(
                f"node {node.name} would make other artifacts under the same keys: {differs}",
                expected="the same vecmill and the same libraries on every node",
                todo="install this version there and start the node again, or take it out",
            )
        stages = pipeline_of_config(self._config).stages
        if not found["torch"] and any(workers_of(getattr(self._config, stage.section)) for stage in stages):
            raise no_torch(node.name)
        if found.get("store") == nonce and "store_error" not in found:
            return
        raise EngineError(
            f"node {node.name} cannot use the store {store.uri} of this run ({_why(found)})",
            expected="one store for all: a folder of a file system that is mounted at the same path on every node, or "
            "s3://bucket/prefix with the AWS_* variables set where the node was started; and a disk with room there",
            todo=f"on that node, and start it again: {found['store_todo']}"
            if found.get("store_todo")
            else "set store.uri, or mount the folder there",
        )

    def run_stage(
        self,
        stage: Stage,
        config: Any,
        store: ArtifactStore,
        inputs: Mapping[str, ArtifactRef],
        *,
        refresh: bool = False,
    ) -> StageOutcome:
        """As :func:`vecmill.store.execute.run_stage`, on a node that has room.

        Raises
        ------
        VecmillError : what the stage refuses, as it would here
        EngineError : there is no node for it, or the one it came to differs from this process
        NodesLost : its node was lost more often than ``engine.retries``
        """
        if stage.with_driver:
            return run_stage(stage, config, store, inputs, refresh=refresh)
        started = time.perf_counter()
        input_keys = {name: ref.key for name, ref in inputs.items()}
        parts, definitions = stage_parts(stage, config, input_keys, store)
        planned = PlannedStage(stage, key_of(parts), parts, definitions)
        planned.manifest = store.manifest(stage.name, planned.key)
        standing = {name: store.manifest(ref.stage, ref.key) for name, ref in inputs.items()}
        if not refresh and artifact_problem(store, planned, config, standing) is None:
            return run_stage(stage, config, store, inputs)
        self.start()
        pipeline = pipeline_of_config(config)
        order = {
            "pipeline": pipeline.name,
            "config": plain_config(pipeline, config),
            "stage": stage.name,
            "inputs": {name: [ref.stage, ref.key, ref.digest] for name, ref in inputs.items()},
            "refresh": refresh,
            "cwd": str(Path.cwd()),
            "key": planned.key,
            "parts": parts,
            "traits": self._traits,
            "names": self._names,
            "retries": self._settings.retries,
            "n_workers": workers_of(getattr(config, stage.section)),
            "resources": self._settings.of_stage(stage.name).model_dump(),
            "wait_seconds": self._settings.wait_seconds,
        }
        outcome = self._carried_out(stage.name, order)
        seconds = round(time.perf_counter() - started, 3)
        return StageOutcome(**{**vars(outcome), "seconds": seconds})

    def _carried_out(self, name: str, order: dict[str, Any]) -> StageOutcome:
        """Send an order out, and again when its node is lost."""
        exceptions = self._ray.exceptions
        wanted = self._settings.of_stage(name)
        task = self._ray.remote(_build)
        for attempt in range(self._settings.retries + 1):
            label = f"{name}-{secrets.token_hex(4)}"
            try:
                with self._room(name, order["n_workers"], wanted) as (options, group):
                    told = {**order, "label": label, "cpus": wanted.cpus}
                    reference = task.options(name=name, **options).remote(told, self._mailbox, group)
                    values = value_of(self._answer(name, label, reference, wanted))
                return StageOutcome(**{**values, "ref": ArtifactRef(**values["ref"])})
            except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
                lost = error
            except exceptions.RayTaskError as error:  # before our code could catch anything: it is not there
                raise cannot_begin(f"stage {name}", error) from error
            except exceptions.OutOfMemoryError as error:
                raise NodesLost(
                    f"stage {name} was stopped on node {self._replay.node_of(label)}, which ran out of memory",
                    expected="room for the stage beside what else runs there",
                    todo=f"set engine.resources.{name}.memory to what it needs, so that it goes where that is free",
                ) from error
            finally:
                self._receive()
                self._replay.end(label)
            node = self._replay.node_of(label) or "that it was sent to"
            if attempt < self._settings.retries:
                log.warning("%s: node %s was lost, or its process; running the stage again", name, node)
        raise NodesLost(
            f"stage {name} was begun {self._settings.retries + 1} times, and its node or process was lost each time, "
            f"the last time on node {node}",
            expected="nodes that stay up; a process that is killed each time may want more memory than its node has",
            todo=f"look at the node, set engine.resources.{name}.memory, and run again: what is finished stands",
        ) from lost

    @contextlib.contextmanager
    def _room(self, name: str, n_workers: int, wanted: StageResources) -> Iterator[tuple[dict[str, Any], Any]]:
        """What a stage's task takes, and the group of its workers if it has some: then they take it, and it nothing."""
        once = {"max_retries": 0}  # a silent second try would leave the bars of the first open
        if not n_workers:
            yield {**once, "num_cpus": wanted.cpus, "num_gpus": wanted.gpus, "memory": wanted.memory or None}, None
            return
        with reserved(self._ray, name, n_workers, wanted, self._settings) as group:
            yield {**once, "num_cpus": 0, "scheduling_strategy": in_bundle(self._ray, group, 0)}, group

    def _answer(self, name: str, label: str, reference: Any, wanted: StageResources) -> dict[str, Any]:
        """Wait for a task, showing what it reports; refuse when no node will ever take it."""
        ray = self._ray
        since, reminded = time.monotonic(), False
        try:
            while True:
                done, _ = ray.wait([reference], timeout=_POLL_SECONDS)
                self._receive()
                if done:
                    answer: dict[str, Any] = ray.get(reference)
                    self._replay.begun(label, answer["node"])
                    return answer
                waited = time.monotonic() - since
                if self._replay.node_of(label) or waited < min(_REMIND_SECONDS, self._settings.wait_seconds):
                    continue
                if any(node.fits(wanted) for node in nodes_of(ray)):  # busy for now
                    continue
                if waited >= self._settings.wait_seconds:
                    raise EngineError(
                        f"stage {name} wants {in_words(wanted)}, and no node has that: "
                        + ("; ".join(node.in_words() for node in nodes_of(ray)) or "none is left"),
                        expected=f"a node that large within {self._settings.wait_seconds:g} s (engine.wait_seconds)",
                        todo=f"lower engine.resources.{name}, or add a node: ray start --address=HOST:PORT",
                    )
                if not reminded:
                    log.warning("%s waits for a node with %s: there is none yet", name, in_words(wanted))
                    reminded = True
        except BaseException:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)
            raise

    def _receive(self) -> None:
        """Show what has come in; messages are a convenience, so a mailbox that is gone is no error."""
        with self._drain:
            self._asked = self._asked or self._mailbox.take.remote()
            try:
                messages = self._ray.get(self._asked, timeout=10)
            except self._ray.exceptions.GetTimeoutError:
                return  # asked for again the next time: what the mailbox gave away is nowhere else
            except self._ray.exceptions.RayError:
                messages = []
            self._asked = None
            self._replay.show(messages)


def _why(found: Mapping[str, Any]) -> str:
    if "store_error" in found:
        return str(found["store_error"])
    return "a file that the run has just written there is not to be seen"
