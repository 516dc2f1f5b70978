"""Room for the workers of a distributed training on the nodes of a Ray cluster, as the driver sees it.

Room is reserved for all of them at once (a placement group: all or none), one bundle of ``engine.resources.train`` a
worker, on as many nodes as there are. The stage itself lives beside worker 0 and takes no core: it waits while workers
train, and writes when they have ended; see ``ray_workers.py``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vecmill.engine.ray_cluster import Node, in_words, nodes_of
from vecmill.errors import EngineError
from vecmill.pipelines.engine_config import EngineConfig, StageResources
from vecmill.words.config import WholeWordConfig
from vecmill.words.kinds import trainer_of

log = logging.getLogger("vecmill")

_REMIND_SECONDS = 20.0


def workers_of(section: Any) -> int:
    """How many workers a stage with this section has placed on nodes, 0 where it is one process."""
    if not isinstance(section, WholeWordConfig) or section.distributed.transport != "processes":
        return 0
    # by its name: importing a trainer takes longer than finding everything done
    return section.distributed.workers if trainer_of(section).startswith("vecmill.distributed.") else 0


def no_torch(node: str) -> EngineError:
    """What is said of a node that cannot hold a worker."""
    return EngineError(
        f"node {node} has no torch, which carries rows between the workers of a training",
        expected="torch in the Python that `ray start` runs with, on every node",
        todo="run pip install 'vecmill[encoders]' there, or set train.distributed.workers: 1",
    )


def no_room(nodes: Sequence[Node], name: str, n_workers: int, wanted: StageResources) -> EngineError | None:
    """What is said when the nodes, with nothing else on them, do not hold all workers; None when they do."""
    n_places = sum(node.places(wanted) for node in nodes)
    if n_places >= n_workers:
        return None
    return EngineError(
        f"stage {name} has {n_workers} workers, each of which wants {in_words(wanted)}, and the nodes have room for "
        f"{n_places}: " + ("; ".join(node.in_words() for node in nodes) or "none is left"),
        expected=f"room for all {n_workers} at the same time",
        todo=f"lower train.distributed.workers or engine.resources.{name}, or add nodes: ray start --address=HOST:PORT",
    )


@contextmanager
def reserved(ray: Any, name: str, n_workers: int, wanted: StageResources, settings: EngineConfig) -> Iterator[Any]:
    """A placement group with room for all workers of a stage, given back at the end; what runs in it then is ended.

    Waits as long as others take room, and ``engine.wait_seconds`` for nodes that are not there.

    Raises
    ------
    EngineError : there are too few nodes
    """
    bundle = {"CPU": float(wanted.cpus)} | ({"GPU": float(wanted.gpus)} if wanted.gpus else {})
    bundle |= {"memory": float(wanted.memory)} if wanted.memory else {}
    group = ray.util.placement_group([bundle] * n_workers, strategy="SPREAD")
    try:
        waiting = Waiting(ray, name, n_workers, wanted, settings)
        while not group.wait(timeout_seconds=1):
            waiting.look()
        yield group
    finally:
        with contextlib.suppress(Exception):
            ray.util.remove_placement_group(group)


class Waiting:
    """Patience with nodes that are not there (yet, or any more); none is needed with those that are busy."""

    def __init__(self, ray: Any, name: str, n_workers: int, wanted: StageResources, settings: EngineConfig) -> None:
        self._ray = ray
        self._about = name, n_workers, wanted
        self._patience = settings.wait_seconds
        self._since: float | None = None
        self._reminded = False

    def look(self) -> None:
        """Raise when there has been too little room for too long; say so once before."""
        refusal = no_room(nodes_of(self._ray), *self._about)
        if refusal is None:
            self._since = None
            return
        self._since = self._since or time.monotonic()
        waited = time.monotonic() - self._since
        if waited >= self._patience:
            raise EngineError(
                refusal.found,
                expected=f"{refusal.expected}, within {self._patience:g} s (engine.wait_seconds)",
                todo=refusal.todo,
            )
        if waited >= _REMIND_SECONDS and not self._reminded:
            log.warning("%s; waiting for more", refusal.found)
            self._reminded = True


def in_bundle(ray: Any, group: Any, rank: int) -> Any:
    """Where a worker's bundle lies, as a scheduling strategy."""
    return ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(
        placement_group=group, placement_group_bundle_index=rank, placement_group_capture_child_tasks=False
    )
