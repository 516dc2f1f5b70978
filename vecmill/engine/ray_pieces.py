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

    options = {"num_cpus": 1, "max_retries": order["retries"], "name": f"piece of {order['stage']}"}
    task = ray.remote(_piece).options(**options)
    room = _room(ray, order["resources"])
    window = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    under_way: deque[Any] = deque()
    try:
        for job in jobs:
            placed = task.options(**options, memory=memory) if (memory := min(job.memory_bytes, room)) else task
            under_way.append(placed.remote(function, job, order["cwd"], order["names"]))
            if len(under_way) == window:
                yield _manifest(ray.get(under_way.popleft()))
        while under_way:
            yield _manifest(ray.get(under_way.popleft()))
    finally:
        for each in under_way:
            ray.cancel(each, force=True)


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
