"""A worker's process: joins the others, trains, and leaves what came of it in the job's folder.

Whoever starts it (``launch.py`` on one machine; any program that starts processes on several) says where the job is,
which worker this is, how many there are and where they meet. Worker 0 writes one JSON object a line to its standard
output: progress, for a person to see.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import time
from pathlib import Path

from vecmill.distributed.gloo import joined
from vecmill.distributed.job import Job, write_result
from vecmill.distributed.trainer import train_shared
from vecmill.distributed.worker import compile_exchange
from vecmill.errors import VecmillError
from vecmill.progress import Bar, show_progress_on

_SECONDS_BETWEEN_LINES = 0.2


def main() -> None:
    """``FOLDER RANK N_WORKERS ADDRESS [SOCKET]``; ends when standard input closes, where that is a pipe.

    So a worker never outlives the process that started it and holds the pipe. ``SOCKET`` is the number of an open
    socket that listens at the address, for worker 0: nobody else can take its port before the workers meet.
    """
    folder, rank, n_workers, address, *listening = sys.argv[1:]
    if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run_member(Path(folder), int(rank), int(n_workers), address, *map(int, listening))
    except VecmillError as error:
        told = {"kind": type(error).__name__, "found": error.found, "expected": error.expected, "todo": error.todo}
        partial = Path(folder) / f"error-{rank}.partial"
        partial.write_text(json.dumps(told), encoding="utf-8")
        partial.rename(Path(folder) / f"error-{rank}.json")
        sys.exit(1)


def run_member(folder: Path, rank: int, n_workers: int, address: str, listening: int | None = None) -> None:
    """Train as worker ``rank``; returns when all have finished. The arguments are those of :func:`main`.

    Raises
    ------
    VecmillError : as :func:`~vecmill.words.trainer.train_vectors`
    RuntimeError : another worker was lost
    """
    job = Job.read(folder)
    config = job.config
    run = job.prepared()
    run.compile_kernel()  # before the others wait
    compile_exchange(run)
    checkpoints = Path(job.checkpoints) if job.checkpoints else None
    patience = config.distributed.timeout_seconds
    with joined(address, rank, n_workers, config.dim, patience, listening) as transport:
        with show_progress_on(_Lines() if rank == 0 else _Quiet()):
            shared = train_shared(run, config, job.counts, transport, checkpoints, threads=job.threads)
        if rank == 0:
            write_result(folder, shared)


def _end_with_parent() -> None:
    # not sys.stdin: a thread inside its buffer when the interpreter ends is a fatal error
    while os.read(sys.stdin.fileno(), 1):
        continue
    os._exit(1)


class _Quiet:
    """Progress that nobody sees: one worker speaks for all."""

    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        return self

    def close(self, bar: Bar) -> None: ...

    def advance(self, amount: float = 1) -> None: ...

    def note(self, text: str) -> None: ...


class _Lines(_Quiet):
    """Progress as JSON lines, some a second."""

    def __init__(self) -> None:
        self._amount, self._text, self._last = 0.0, "", 0.0

    def advance(self, amount: float = 1) -> None:
        self._amount += amount
        self._say()

    def note(self, text: str) -> None:
        self._text = text

    def close(self, bar: Bar) -> None:
        self._last = 0.0
        self._say()

    def _say(self) -> None:
        if time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = time.monotonic()
        sys.stdout.write(json.dumps({"done": self._amount, "note": self._text}) + "\n")
        sys.stdout.flush()
        self._amount = 0.0


if __name__ == "__main__":
    main()
