"""One worker as a process of this machine: started, listened to, and ended; and which of several was lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import vecmill
from vecmill import errors
from vecmill.distributed.member import main as member_main
from vecmill.errors import VecmillError

# How long the others are given to say what they know when one has failed, before they are ended.
GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class End:
    """How a worker ended, as far as is known.

    Attributes
    ----------
    place : where it was, for people: "process 12", "process 12 on node a"
    status : its exit code, minus the signal that ended it, None where it has not ended
    words : the last that it wrote
    gone : whether what watched it was lost with it
    """

    rank: int
    place: str
    status: int | None
    words: str = ""
    gone: bool = False


def lost_one(ends: Sequence[End]) -> str | None:
    """Which worker was lost and how, in words; None where all finished.

    One that is lost pulls the others down with errors of their own, so what was killed or is gone comes first. One that
    is silent while another has failed may be the reason or may be waiting, so both are told.
    """
    if all(each.status == 0 for each in ends):
        return None
    struck = [each for each in ends if each.gone or (each.status or 0) < 0]
    failed = [each for each in ends if each.status]
    silent = [each for each in ends if each.status is None and not each.gone]
    told = struck[:1] or failed[:1] + silent[:1]
    return "; ".join(f"worker {each.rank} of {len(ends)} ({each.place}) {_how(each)}" for each in told)


def _how(end: End) -> str:
    if end.gone:
        return "was lost with its node, or with the process that watched it there"
    if end.status is None:
        return "does not answer"
    how = f"was ended by {signal.Signals(-end.status).name}" if end.status < 0 else f"ended with exit code {end.status}"
    return how + (f": {end.words}" if end.words else "")


class WorkerProcess:
    """A worker that runs ``member.py`` for the job in a folder.

    Parameters
    ----------
    folder : the job's
    address : where the workers meet, see ``gloo.joined``
    attempt : its number goes into the name of the log
    listening : number of an open, listening socket of this process for the meeting, which is given away; worker 0's
    """

    def __init__(
        self, folder: Path, rank: int, n_workers: int, address: str, attempt: int, listening: int | None = None
    ) -> None:
        self._folder, self._rank = folder, rank
        self._log = folder / f"worker-{rank}-{attempt}.log"
        # Named by the function, so that the code of the workers counts in the key of what they make.
        code = f"from {member_main.__module__} import {member_main.__name__} as main; main()"
        paths = [str(Path(vecmill.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        numbers = [] if listening is None else [listening]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, str(folder), str(rank), str(n_workers), address, *map(str, numbers)],
                stdin=subprocess.PIPE,  # closes when this process dies, by which workers know
                stdout=subprocess.PIPE if rank == 0 else log,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                pass_fds=numbers,
            )
        self.pid = self._process.pid
        self._listener: threading.Thread | None = None

    def listen(self, hear: Callable[[str], None]) -> None:
        """Tell ``hear`` what worker 0 says, from a thread of its own."""
        self._listener = threading.Thread(target=_listen, args=(self._process.stdout or (), hear), daemon=True)
        self._listener.start()

    def status(self) -> int | None:
        """Its exit code, minus the signal that ended it, None as long as it runs."""
        return self._process.poll()

    def wait(self) -> None:
        """Return when it has ended and all that it said was told."""
        self._process.wait()
        if self._listener is not None:
            self._listener.join(GRACE_SECONDS)

    def end(self) -> None:
        """Kill it if it runs, and let go of its pipes."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def how(self) -> End:
        """How it ended, or that it did not."""
        return End(self._rank, f"process {self.pid}", self.status(), self._last_words())

    def _last_words(self) -> str:
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()
        return said.splitlines()[-1][:300] if said else ""


def refusal_in(folder: Path) -> VecmillError | None:
    """What a worker of the job in a folder refused, if one did."""
    for path in sorted(folder.glob("error-*.json")):
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return _KINDS.get(said.pop("kind"), VecmillError)(said.pop("found"), **said)
    return None


_KINDS = {
    each.__name__: each
    for each in (errors.TrainingDiverged, errors.VocabularyError, errors.FormatError, errors.ConfigError)
}


def _listen(lines: IO[str] | Iterable[str], hear: Callable[[str], None]) -> None:
    try:
        for line in lines:
            if line.startswith("{"):
                hear(line)
    except ValueError:
        return  # the pipe was closed under us: the worker is being ended
