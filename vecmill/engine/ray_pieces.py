"""The pieces of a stage as Ray tasks of their own, sent out by the node that puts the stage together."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vecmill.engine.on_node import build_piece_here, value_of
from vecmill.engine.ray_cluster import import_ray, nodes_of
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
        self._answer = placed.remote(self._function, self._job, self._order["cwd"], self._order["names"])

    def _room(self) -> int:
        return _room(self._ray, self._order["resources"])

    def answer(self) -> Mapping[str, Any]:
        """What the node says; waits for it."""
        while True:
            try:
                answer: Mapping[str, Any] = self._ray.get(self._answer, timeout=_LOOK_SECONDS)
                return answer
            except self._ray.exceptions.GetTimeoutError:
                # The node that it was to fit may be gone, and Ray would wait for another that large for ever.
                if self._memory and self._memory > self._room():
                    self.cancel()
                    self._place()

    def cancel(self) -> None:
        self._ray.cancel(self._answer, force=True)


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
    function: Callable[[PieceJob], Manifest], job: PieceJob, cwd: str, names: Mapping[str, str]
) -> dict[str, Any]:
    ray = import_ray()

    return build_piece_here(function, job, cwd, node_name(ray, names))


def _manifest(answer: Mapping[str, Any]) -> Manifest:
    return Manifest.from_json(json.dumps(value_of(answer)).encode(), "a node's answer")
