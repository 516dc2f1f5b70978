"""One exchange: touched rows to their owners, combined there, and back to everybody.

Row r belongs to worker r % n. Each worker sends the changes of its touched rows to their owners; an owner combines
what came for a row, in the order of workers, and sends the outcome to all. So a row is combined once, everybody adds
the same bytes, and a worker sends each row it touched once and each touched row it owns n - 1 times.

Where combining takes the share s of the sum of changes, an owner adds 1 - s times the row's last change. So what is
held back comes later: in the long run each change counts once, as in one process, while each exchange alone stays as
small as a mean. Source: Chen and Huo 2016, blockwise model-update filtering, with a share of its own for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vecmill.distributed.combine import RowChanges, Way, combined
from vecmill.distributed.precision import Precision, restored, shortened
from vecmill.distributed.transport import Message, Transport, wire_bytes
from vecmill.distributed.worker import MATRICES, Worker
from vecmill.kernels.row_exchange import add_rows


@dataclass
class Traffic:
    """What travelled between workers; a worker's messages to itself do not count.

    Attributes
    ----------
    n_exchanges : how many there were
    sent, received : int64[n_workers], bytes; zeros for workers of other processes
    n_rows : rows that workers here sent to owners, combined as owners, and took over, in all exchanges
    halves : of the last exchange and each of its two halves, the most bytes that a worker here sent or received
    """

    sent: npt.NDArray[np.int64]
    received: npt.NDArray[np.int64]
    n_exchanges: int = 0
    n_rows: int = 0
    halves: tuple[int, int] = (0, 0)

    @classmethod
    def among(cls, n_workers: int) -> Traffic:
        return cls(np.zeros(n_workers, np.int64), np.zeros(n_workers, np.int64))


def exchange_rows(
    workers: Sequence[Worker],
    transport: Transport,
    due: dict[str, npt.NDArray[np.bool_]],
    steps: dict[str, float],
    precision: Precision,
    traffic: Traffic,
    *,
    whole: bool = False,
    way: Way = "touches",
    last_changes: dict[str, npt.NDArray[np.float32]] | None = None,
) -> None:
    """Let all replicas agree on the due rows of both matrices.

    Parameters
    ----------
    workers : those of this process, in the order of ``transport.here``; they share one reference
    due : bool[n_words] for each matrix, the same everywhere
    steps : learning rate times curvature of a touch, for each matrix, see ``combine``
    precision : in which changes travel
    whole : after this exchange all replicas are equal in the due rows: changes travel in float32, remainders too
    last_changes : float32[n_words, dim] for each matrix, by how much each row changed when it travelled last, the same
        everywhere; None: what combining holds back is lost
    """
    precision = "float32" if whole else precision
    n_workers = transport.n_workers
    to_owners = []
    for worker in workers:
        taken = [worker.take_changes(name, due[name], precision, whole=whole, n_workers=n_workers) for name in MATRICES]
        to_owners.append([tuple(each[owner] for each in taken) for owner in range(n_workers)])
    arrived = transport.exchange(to_owners, precision, with_touches=True)
    first_half = _count(to_owners, arrived, transport, precision, True, traffic)
    to_all: list[list[Message]] = []
    for worker, messages in zip(workers, arrived, strict=True):
        outcome = []
        for m, name in enumerate(MATRICES):
            together, shares = combined([each[m] for each in messages], n_workers, steps[name], way)
            if last_changes is not None:
                together.values[:] += last_changes[name][together.ids] * (1 - shares)[:, np.newaxis]
            sent = restored(shortened(together.values, precision), precision)
            if precision != "float32":
                worker.add_remainder(name, together.ids, together.values - sent)
            outcome.append(RowChanges(together.ids, np.zeros_like(together.touches), sent))
        to_all.append([tuple(outcome)] * n_workers)
    decided = transport.exchange(to_all, precision, with_touches=False)
    second_half = _count(to_all, decided, transport, precision, False, traffic)
    traffic.n_exchanges += 1
    traffic.halves = first_half, second_half
    traffic.n_rows += sum(
        rows.ids.size for each in (to_owners, decided) for messages in each for message in messages for rows in message
    ) + sum(rows.ids.size for messages in to_all for rows in messages[0])
    reference = workers[0].run.model
    for m, name in enumerate(MATRICES):
        # the same messages came to every worker here, and one reference serves them all
        for each in decided[0]:
            add_rows(each[m].ids, each[m].values, getattr(reference, name))
            if last_changes is not None:
                last_changes[name][each[m].ids] = each[m].values
        for worker, messages in zip(workers, decided, strict=True):
            for each in messages:
                worker.follow(name, each[m].ids, each[m].values)


def _count(
    outgoing: list[list[Message]],
    incoming: list[list[Message]],
    transport: Transport,
    precision: Precision,
    with_touches: bool,
    traffic: Traffic,
) -> int:
    largest = 0
    for i, rank in enumerate(transport.here):
        sums = [
            sum(wire_bytes(each, precision, with_touches) for other, each in enumerate(messages) if other != rank)
            for messages in (outgoing[i], incoming[i])
        ]
        traffic.sent[rank] += sums[0]
        traffic.received[rank] += sums[1]
        largest = max(largest, *sums)
    return largest
