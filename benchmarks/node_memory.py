"""What the nodes of a Ray cluster hold in memory: the kernel's limit on a node, and samples of its processes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

_SECONDS_BETWEEN = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")
# What a node's processes are called that serve no stage.
_NO_STAGE = frozenset({"IDLE", "DashboardAgent", "RuntimeEnvAgent"})
# Control groups of the first and of the second kind: where they lie, and what the file with the limit is called.
_KINDS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.peak"),
)


class MemoryLimit:
    """The processes of a node, held by the kernel to so many bytes where we may ask for that.

    Files that they read and write count as well, as long as the kernel keeps them in memory; it drops them first.

    Attributes
    ----------
    holds : whether the kernel holds them to it
    root : process whose descendants they are
    """

    def __init__(self, name: str, n_bytes: int) -> None:
        self.root = 0
        self.holds = False
        self._folder: Path | None = None
        for parent, limit, peak in _KINDS:
            folder = parent / name
            with contextlib.suppress(OSError):
                if not (parent / "cgroup.procs").exists():
                    continue
                folder.mkdir()
                self._folder, self._peak = folder, folder / peak
                (folder / limit).write_text(str(n_bytes))
                self.holds = True
                return
            with contextlib.suppress(OSError):
                folder.rmdir()

    @contextlib.contextmanager
    def around_children(self) -> Iterator[None]:
        """What is started inside the block belongs to the node."""
        if not self.holds or self._folder is None:
            yield
            return
        mine = str(os.getpid())
        (self._folder / "cgroup.procs").write_text(mine)
        try:
            yield
        finally:
            (self._folder.parent / "cgroup.procs").write_text(mine)

    @property
    def peak(self) -> int:
        """Largest number of bytes, files included, since the node started; 0 where the kernel does not count."""
        return int(self._peak.read_text()) if self.holds else 0

    def remove(self) -> None:
        """Take the limit away, when the node's processes are gone."""
        deadline = time.monotonic() + 10
        while self._folder is not None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                self._folder = None
                return
            time.sleep(0.2)


class Watch:
    """Samples the processes of some nodes, and of the S3 server; a context manager."""

    def __init__(self, nodes: list[MemoryLimit], server: int) -> None:
        self._nodes, self._server = nodes, server
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._seconds: dict[int, float] = {}
        self._running: set[str] = set()
        self.server_peak = 0
        self.reset()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def reset(self) -> None:
        """Forget the peaks so far."""
        with self._guard:
            self._peaks: dict[str, int] = {}
            self._node_peaks = [0 for _ in self._nodes]

    def peaks(self) -> dict[str, int]:
        """Largest bytes that a Ray worker held, by what it was doing."""
        with self._guard:
            return dict(sorted(self._peaks.items()))

    def node_peaks(self) -> list[int]:
        """Largest bytes that all processes of a node held together, for each node."""
        with self._guard:
            return list(self._node_peaks)

    def running(self) -> set[str]:
        """What Ray's workers are doing now."""
        with self._guard:
            return set(self._running)

    def processor_seconds(self) -> float:
        """Processor time of the nodes' processes so far."""
        with self._guard:
            return sum(self._seconds.values())

    def wait_for_quiet(self) -> None:
        """Wait until no worker does anything."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(2 * _SECONDS_BETWEEN)
            if not self.running():
                return

    def _sample(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN):
            parents = _parents()
            running: set[str] = set()
            for number, node in enumerate(self._nodes):
                together = 0
                for pid in _below(node.root, parents):
                    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
                        held, title = _held(pid), _title(pid)
                        together += held
                        with self._guard:
                            self._seconds[pid] = _processor_seconds(pid)
                            if title.startswith("ray::"):
                                doing = title.removeprefix("ray::")
                                self._peaks[doing] = max(self._peaks.get(doing, 0), held)
                                running.add(doing)
                with self._guard:
                    self._node_peaks[number] = max(self._node_peaks[number], together)
            with self._guard:
                self._running = running - _NO_STAGE
                with contextlib.suppress(OSError, KeyError):
                    self.server_peak = max(self.server_peak, _held(self._server))


def _parents() -> dict[int, int]:
    """The parent of each process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                found[int(entry.name)] = int(_stat(int(entry.name))[1])
    return found


def _below(root: int, parents: dict[int, int]) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children.get(pid, [])
    return found


def _held(pid: int) -> int:
    """Bytes of a process that cannot be dropped and read again from a file."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return 1024 * sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))


def _title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode().strip()


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; the second is a name that may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _processor_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS
