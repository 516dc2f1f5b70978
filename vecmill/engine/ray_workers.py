"""The workers of a distributed training on the nodes of a Ray cluster, as the stage's process and the nodes see them.

On each node an actor holds a worker's room and its process, which ends when the actor does. Tokens and vocabulary come
from the store; between the workers gloo carries the rows.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vecmill.distributed.job import write_job_of_inputs
from vecmill.distributed.process import GRACE_SECONDS, End, WorkerProcess, lost_one, refusal_in
from vecmill.engine.on_node import Json, answered, has_torch, stage_here, value_of
from vecmill.engine.ray_cluster import import_ray
from vecmill.engine.ray_crew import Waiting, in_bundle, no_torch
from vecmill.engine.ray_pieces import node_name
from vecmill.pipelines.engine_config import EngineConfig, StageResources

_POLL_SECONDS = 0.3
# Of a worker's actor, which answers at once unless its node is gone.
_ANSWER_SECONDS = 10.0


class RayCrew:
    """The workers of the stage that an order is about, each in its bundle of a placement group.

    Lives in the stage's process, on the node of worker 0. See :class:`~vecmill.distributed.crew.Crew`.
    """

    def __init__(self, order: Json, group: Any) -> None:
        self._order = order
        self._group = group
        self._n_workers: int = order["n_workers"]
        self._ray = import_ray()
        self._asked: Any = None  # for lines of worker 0, without an answer so far

    def run(self, folder: Path, checkpoints: Path, attempt: int, hear: Callable[[str], None]) -> str | None:
        """See :meth:`vecmill.distributed.crew.Crew.run`."""
        hosts, self._asked = self._hosts(), None
        try:
            self._placed(hosts)
            arguments = (str(folder), str(checkpoints), attempt)
            said = self._all([host.prepare.remote(*arguments) for host in hosts])
            if isinstance(said, str):
                return said
            address = said[0]["address"]
            places = [f"process on node {each['node']}" for each in said]
            return self._finished(hosts, [host.run.remote(address) for host in hosts], places, hear)
        finally:
            self._end(hosts)

    def _hosts(self) -> list[Any]:
        wanted = StageResources.model_validate(self._order["resources"])
        actor = self._ray.remote(WorkerHost)
        return [
            actor.options(
                num_cpus=wanted.cpus,
                num_gpus=wanted.gpus,
                memory=wanted.memory or None,
                max_restarts=0,  # all begin again together
                max_concurrency=3,  # it listens and ends while it runs
                scheduling_strategy=in_bundle(self._ray, self._group, rank),
                name=None,
            ).remote(self._order, rank)
            for rank in range(self._n_workers)
        ]

    def _placed(self, hosts: Sequence[Any]) -> None:
        """Wait until each has its place; a node that was lost takes its bundle along, for which Ray finds another."""
        wanted = StageResources.model_validate(self._order["resources"])
        settings = EngineConfig(kind="ray", wait_seconds=self._order["wait_seconds"])
        waiting = Waiting(self._ray, self._order["stage"], self._n_workers, wanted, settings)
        references = [host.here.remote() for host in hosts]
        while self._ray.wait(references, num_returns=len(references), timeout=_POLL_SECONDS)[1]:
            waiting.look()

    def _all(self, references: Sequence[Any]) -> list[Json] | str:
        """What all hosts answer, or which one was lost."""
        found: list[Json] = []
        for rank, reference in enumerate(references):
            try:
                found.append(value_of(self._ray.get(reference)))
            except self._ray.exceptions.RayError:
                return f"worker {rank} of {self._n_workers} was lost before it began"
        return found

    def _finished(
        self, hosts: Sequence[Any], running: list[Any], places: Sequence[str], hear: Callable[[str], None]
    ) -> str | None:
        """Wait for the workers' ends; when one has failed, a little longer for what the others have to say."""
        ray, ends, deadline = self._ray, dict[int, End](), float("inf")
        while len(ends) < len(running) and time.monotonic() < deadline:
            left = [reference for rank, reference in enumerate(running) if rank not in ends]
            done, _ = ray.wait(left, num_returns=len(left), timeout=_POLL_SECONDS)
            self._hear(hosts[0], hear)
            for reference in done:
                rank = running.index(reference)
                ends[rank] = self._end_of(reference, rank, places[rank])
            if any(each.status != 0 for each in ends.values()):
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
        self._hear(hosts[0], hear)
        return lost_one([ends.get(rank) or End(rank, place, None) for rank, place in enumerate(places)])

    def _end_of(self, reference: Any, rank: int, place: str) -> End:
        try:
            return End(**value_of(self._ray.get(reference)))
        except self._ray.exceptions.RayError:
            return End(rank, place, None, gone=True)

    def _hear(self, host: Any, hear: Callable[[str], None]) -> None:
        self._asked = self._asked or host.said.remote()
        if not self._ray.wait([self._asked], timeout=_ANSWER_SECONDS)[0]:
            return  # asked for again the next time: what it gave away is nowhere else
        asked, self._asked = self._asked, None
        with contextlib.suppress(self._ray.exceptions.RayError):  # its end will be told
            for line in self._ray.get(asked):
                hear(line)

    def _end(self, hosts: Sequence[Any]) -> None:
        """End all processes before the next attempt, or anybody else, may count on their room."""
        references = [host.end.remote() for host in hosts]
        with contextlib.suppress(Exception):
            self._ray.wait(references, num_returns=len(references), timeout=_ANSWER_SECONDS)
        for host in hosts:
            with contextlib.suppress(Exception):
                self._ray.kill(host, no_restart=True)


class WorkerHost:
    """An actor that holds a worker's room on a node, and its process.

    What a worker refuses is handed back as a value; see ``on_node.py``.
    """

    def __init__(self, order: Json, rank: int) -> None:
        self._order = order
        self._rank = rank
        self._stack = contextlib.ExitStack()
        self._lines: list[str] = []
        self._ended = False
        self._node = node_name(import_ray(), order["names"])

    def here(self) -> bool:
        """Answers as soon as there is a place for it."""
        return True

    def prepare(self, folder: str, checkpoints: str, attempt: int) -> Json:
        """Fetch the inputs; ``node``, and ``address`` where workers meet, of worker 0.

        ``folder`` is that of the stage, on the node of worker 0; elsewhere it is another one.
        """
        self._attempt = attempt
        return answered(lambda: self._prepared(folder, checkpoints), self._node)

    def _prepared(self, folder: str, checkpoints: str) -> Json:
        ray = import_ray()
        node = self._node
        if not has_torch():
            raise no_torch(node)
        here = stage_here({**self._order, "node": node})
        if self._rank:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vecmill-worker-"))
        self._folder = Path(folder)
        self._store = here.store  # as long as it lives, its copies of inputs stay
        inputs = {name: here.store.folder(ref) for name, ref in here.inputs.items()}
        seed = here.stage.seed(here.config)
        write_job_of_inputs(
            self._folder,
            inputs,
            here.section,
            seed=seed,
            checkpoints=Path(checkpoints),
            threads=here.section.threads,
        )
        self._meeting: socket.socket | None = None
        if self._rank:
            return {"node": node}
        # On the address of the node alone, on a port that stays taken from here on.
        host = ray.util.get_node_ip_address()
        self._meeting = self._stack.enter_context(socket.create_server((host, 0), backlog=self._order["n_workers"]))
        return {"node": node, "address": f"tcp://{host}:{self._meeting.getsockname()[1]}"}

    def run(self, address: str) -> Json:
        """Run the worker to its end; ``value`` has the fields of an :class:`~vecmill.distributed.process.End`."""
        return answered(lambda: self._run(address), self._node)

    def _run(self, address: str) -> Json:
        listening = None if self._meeting is None else self._meeting.fileno()
        n_workers = self._order["n_workers"]
        process = WorkerProcess(self._folder, self._rank, n_workers, address, self._attempt, listening)
        self._stack.callback(process.end)
        if self._ended:  # while it was started
            self._stack.close()
        if self._meeting is not None:
            self._meeting.close()  # the worker has it
        if self._rank == 0:
            process.listen(self._lines.append)
        process.wait()
        refused = refusal_in(self._folder)
        if refused is not None:
            raise refused
        return {**vars(process.how()), "place": f"process {process.pid} on node {self._node}"}

    def said(self) -> list[str]:
        """What worker 0 said since the last call."""
        return [self._lines.pop(0) for _ in range(len(self._lines))]  # more may come meanwhile

    def end(self) -> None:
        """End the worker and remove its folder."""
        self._ended = True
        self._stack.close()
