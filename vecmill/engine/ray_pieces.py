"""The pieces of a stage as Ray tasks of their own, sent out by the node that puts the stage together."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vecmill.engine.on_node import build_piece_here, value_of
from vecmill.engine.ray_cluster import import_ray, nodes_of
from vecmill.errors import EngineError, NodesLost
from vecmill.store.manifest import Manifest
from vecmill.store.pieces import PieceJob

# How often a piece that is not done is held against the nodes that there are.
_LOOK_SECONDS = 30.0


def node_name(ray: Any, names: Mapping[str, str]) -> str:
    """What people call the node that this runs on; ``names`` holds those that the run has seen, by Ray's id."""
    node_id: str = ray.get_runtime_context().get_node_id()
    return names.get(node_id) or f"{os.uname().nodename} ({node_id[:6]})"


def spread(
    order: dict[str, Any], function: Callable[[PieceJob], Manifest], jobs: Iterable[PieceJob]
) -> Iterator[Manifest]:
    """On the node of a stage: build its pieces on whatever nodes are free, one core each, in their order.

    While this waits, Ray gives the core of the stage to one of them. The memory that a piece may take is kept free for
    it, so that a node takes no more of them at once than it has room for.
    """
    ray = import_ray()

    task = ray.remote(_piece)
    window = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    under_way: deque[_Placed] = deque()
    try:
        for job in jobs:
            under_way.append(_Placed(ray, task, order, function, job))
            if len(under_way) == window:
                yield _first(under_way)
        while under_way:
            yield _first(under_way)
    finally:
        for each in under_way:
            each.cancel()


class _Placed:
    """A piece that waits for a node, or is being built on one."""

    def __init__(
        self, ray: Any, task: Any, order: dict[str, Any], function: Callable[[PieceJob], Manifest], job: PieceJob
    ) -> None:
        self._ray, self._task, self._order, self._function, self._job = ray, task, order, function, job
        self._place()

    def _place(self) -> None:
        options = {"num_cpus": 1, "max_retries": self._order["retries"], "name": f"piece of {self._order['stage']}"}
        self._memory = min(wanted, self._room()) if (wanted := self._job.memory_bytes) else 0
        if self._memory:
            options["memory"] = self._memory
        placed = self._task.options(**options)
        order = self._order
        where = order["cwd"], order["names"], order["config"]["store"]["uri"]
        self._answer = placed.remote(self._function, self._job, *where)

    def _room(self) -> int:
        return _room(self._ray, self._order["resources"])

    def answer(self) -> Mapping[str, Any]:
        """What the node says; waits for it.

        Raises
        ------
        NodesLost : its node or process was lost more often than ``engine.retries``, or its node ran out of memory
        EngineError : it came to a node that cannot run vecmill
        """
        exceptions, stage = self._ray.exceptions, self._order["stage"]
        while True:
            try:
                answer: Mapping[str, Any] = self._ray.get(self._answer, timeout=_LOOK_SECONDS)
                return answer
            except exceptions.GetTimeoutError:
                # The node that it was to fit may be gone, and Ray would wait for another that large for ever.
                if self._memory and self._memory > self._room():
                    self.cancel()
                    self._place()
            except exceptions.OutOfMemoryError as error:
                raise NodesLost(
                    f"a piece of stage {stage} was stopped, since the node that it was on ran out of memory",
                    expected="room for pieces beside what else runs there",
                    todo=f"take what else runs there away, or see what {stage} may take in docs/scale.md",
                ) from error
            except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
                raise NodesLost(
                    f"a piece of stage {stage} was begun {self._order['retries'] + 1} times, and its node or process "
                    "was lost each time",
                    expected="nodes that stay up",
                    todo="look at the nodes, and run again: what is finished stands",
                ) from error
            except exceptions.RayTaskError as error:  # before our code could catch anything: it is not there
                raise cannot_begin(f"a piece of stage {stage}", error) from error

    def cancel(self) -> None:
        self._ray.cancel(self._answer, force=True)


def cannot_begin(what: str, error: Exception) -> EngineError:
    """What is said of work that came to a node without our code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return EngineError(
        f"a node could not begin {what} ({lines[-1] if lines else 'it gives no reason'})",
        expected="the same vecmill in the Python that `ray start` runs with, on every node",
        todo="install it there (infra/README.md has an image for all nodes), and run again: what is finished stands",
    )


def _first(under_way: deque[_Placed]) -> Manifest:
    answer = under_way[0].answer()
    under_way.popleft()
    return _manifest(answer)


def _room(ray: Any, resources: Mapping[str, Any]) -> int:
    """Bytes that a piece may ask for: what the largest node has, so that there is one which it fits.

    0 where some is kept free for the stage itself. It would hold that while its pieces wait for theirs, and two runs
    could wait for each other.
    """
    return 0 if resources["memory"] else int(max((node.memory for node in nodes_of(ray)), default=0.0))


def _piece(
    function: Callable[[PieceJob], Manifest], job: PieceJob, cwd: str, names: Mapping[str, str], store_uri: str
) -> dict[str, Any]:
    ray = import_ray()

    return build_piece_here(function, job, cwd, node_name(ray, names), store_uri)


def _manifest(answer: Mapping[str, Any]) -> Manifest:
    return Manifest.from_json(json.dumps(value_of(answer)).encode(), "a node's answer")
