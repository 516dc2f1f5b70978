"""Workers in processes of their own, between which torch.distributed with gloo carries the rows.

Messages go as plain bytes: gloo knows no float16 sums and needs none, since owners do the arithmetic. torch is imported
here alone, and only where processes are used.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from vecmill.distributed.combine import RowChanges
from vecmill.distributed.precision import WIRE_TYPES, Precision, restored, shortened
from vecmill.distributed.transport import Message
from vecmill.distributed.worker import MATRICES
from vecmill.errors import ConfigError, VecmillError

if TYPE_CHECKING:
    import torch


def require_torch() -> None:
    """Refuse kindly where torch, or its gloo, is missing.

    Raises
    ------
    ConfigError : with the command that installs it
    """
    if find_spec("torch") is None:
        raise ConfigError(
            "train.distributed.workers is above 1, and torch, which carries rows between processes, is not installed",
            expected="torch with gloo",
            todo="pip install 'vecmill[encoders]', or set train.distributed.transport: one_process to try settings out "
            "in this process, or train.distributed.workers: 1",
        )


JOIN_SECONDS = 600.0
_POLL_SECONDS = 0.05
# Linux's question for an interface's address, and the longest name of one.
_SIOCGIFADDR = 0x8915
_NAME_BYTES = 15


class Gloo:
    """One worker of a process group; the process belongs to it for as long as :func:`joined` lasts."""

    def __init__(self, rank: int, n_workers: int, dim: int) -> None:
        self.n_workers = n_workers
        self.here: Sequence[int] = (rank,)
        self._dim = dim

    def exchange(self, outgoing: list[list[Message]], precision: Precision, with_touches: bool) -> list[list[Message]]:
        import torch
        import torch.distributed as dist

        packed = [_packed(message, precision, with_touches) for message in outgoing[0]]
        sent_sizes = torch.tensor([each.size for each in packed], dtype=torch.int64)
        received_sizes = torch.empty_like(sent_sizes)
        dist.all_to_all_single(received_sizes, sent_sizes)
        sizes: list[int] = received_sizes.tolist()
        received = np.empty(sum(sizes), np.uint8)
        dist.all_to_all_single(
            torch.from_numpy(received),
            torch.from_numpy(np.concatenate(packed)),
            output_split_sizes=sizes,
            input_split_sizes=sent_sizes.tolist(),
        )
        cuts = np.cumsum([0, *sizes])
        pieces = (received[start:stop] for start, stop in pairwise(cuts))
        return [[_unpacked(piece, self._dim, precision, with_touches) for piece in pieces]]

    def gather(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        import torch
        import torch.distributed as dist

        everybody = [torch.empty(values.shape[1], dtype=torch.float64) for _ in range(self.n_workers)]
        dist.all_gather(everybody, _tensor(values[0]))
        return np.stack([each.numpy() for each in everybody])

    def spread(self, content: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        import torch.distributed as dist

        tensor = _tensor(content)
        dist.broadcast(tensor, src=0)
        told: npt.NDArray[np.uint8] = tensor.numpy()
        return told


@contextmanager
def joined(
    address: str, rank: int, n_workers: int, dim: int, timeout_seconds: float, listening: int | None = None
) -> Iterator[Gloo]:
    """A worker's place in the process group of all, left at the end.

    Parameters
    ----------
    address : where the workers meet, as torch's init_method: ``file:///path`` on one machine, ``tcp://host:port``
    timeout_seconds : a worker that does not answer for so long is taken for lost; torch then raises RuntimeError. Until
        all are there, ``JOIN_SECONDS``: to start and compile may take longer on one machine than on another
    listening : number of an open socket that listens at a ``tcp`` address, for worker 0; None opens one
    """
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if address.startswith("file:"):
        # on one machine nothing has to leave it; gloo would pick the network interface that the host's name stands for
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    else:
        _choose_interface(address)
    patience = timedelta(seconds=JOIN_SECONDS)
    if listening is None:
        store, _, _ = next(rendezvous(address, rank=rank, world_size=n_workers, timeout=patience))
    else:
        meeting = urlsplit(address)
        place = meeting.hostname or "", meeting.port or 0
        store = dist.TCPStore(*place, n_workers, True, patience, True, True, listening)  # type: ignore[attr-defined]
    _wait_for_all(store, n_workers)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=n_workers, timeout=timedelta(seconds=timeout_seconds)
    )
    try:
        yield Gloo(rank, n_workers, dim)
    finally:
        dist.destroy_process_group()


def _choose_interface(address: str) -> None:
    """Let gloo use the network interface that leads to where the workers meet, unless somebody has chosen one.

    Else it takes the one that this machine's name stands for: often loopback, where no other machine gets through.
    """
    meeting = urlsplit(address)
    if os.environ.get("GLOO_SOCKET_IFNAME"):
        return
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((meeting.hostname or "", meeting.port or 0))  # sends nothing
            mine = probe.getsockname()[0]
            for _, name in socket.if_nameindex():
                request = struct.pack("256s", name.encode()[:_NAME_BYTES])
                try:
                    answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                except OSError:
                    continue  # an interface without an address
                if socket.inet_ntoa(answer[20:24]) == mine:
                    os.environ["GLOO_SOCKET_IFNAME"] = name
                    return
    except OSError:
        return  # torch will say what is wrong with the address


def _wait_for_all(store: Any, n_workers: int) -> None:
    store.add("vecmill/here", 1)
    deadline = time.monotonic() + JOIN_SECONDS
    while (n_here := store.add("vecmill/here", 0)) < n_workers:
        if time.monotonic() > deadline:
            raise VecmillError(
                f"after {JOIN_SECONDS:g} seconds {n_here} of {n_workers} workers have come together",
                expected="all of them",
                todo="look whether each was started, and with the same address and number of workers",
            )
        time.sleep(_POLL_SECONDS)


def _tensor(array: npt.NDArray[np.generic]) -> torch.Tensor:
    import torch

    # a copy: what is mapped or read-only cannot become a tensor
    return torch.from_numpy(np.array(array))


def _packed(message: Message, precision: Precision, with_touches: bool) -> npt.NDArray[np.uint8]:
    """How many rows each matrix has (int64), then for each: ids, touches where they travel, values."""
    header = np.array([rows.ids.size for rows in message], np.int64)
    columns: list[npt.NDArray[np.generic]] = [header]
    for rows in message:
        columns += [rows.ids, rows.touches] if with_touches else [rows.ids]
        columns.append(shortened(rows.values, precision))
    return np.concatenate(list(_as_bytes(columns)))


def _as_bytes(columns: Iterable[npt.NDArray[np.generic]]) -> Iterator[npt.NDArray[np.uint8]]:
    for column in columns:
        yield np.ascontiguousarray(column).reshape(-1).view(np.uint8)


def _unpacked(content: npt.NDArray[np.uint8], dim: int, precision: Precision, with_touches: bool) -> Message:
    position = 8 * len(MATRICES)
    sizes: list[int] = content[:position].view(np.int64).tolist()

    def take(n: int, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        nonlocal position
        start, position = position, position + n * np.dtype(dtype).itemsize
        return np.frombuffer(content[start:position].tobytes(), dtype)

    message = []
    for n in sizes:
        ids = take(n, np.int32)
        touches = take(n, np.int32) if with_touches else np.zeros(n, np.int32)
        values = restored(take(n * dim, WIRE_TYPES[precision]), precision).reshape(n, dim)
        message.append(RowChanges(ids, touches, values))  # type: ignore[arg-type]
    return tuple(message)
