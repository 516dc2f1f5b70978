"""Machines of a cluster that offered to run the workers of a training; set around a stage by the engine that runs it.

A context rather than a field of :class:`~vecmill.store.stage.StageIO`: every stage's key counts the definition of that
class, and one trainer alone asks for a crew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol


class Crew(Protocol):
    """Runs the workers of the stage at hand, each on a machine that sees the stage's inputs as this one does."""

    def run(self, folder: Path, checkpoints: Path, attempt: int, hear: Callable[[str], None]) -> str | None:
        """Run all workers once.

        Parameters
        ----------
        folder : of this machine, empty or used by an earlier attempt; worker 0 leaves the training there, see
            ``job.write_result``
        checkpoints : folder of this machine that worker 0 keeps checkpoints in
        attempt : from 0
        hear : told each line that worker 0 says, see ``member.py``

        Returns
        -------
        None when they finished; else which worker was lost, and how

        Raises
        ------
        VecmillError : what a worker refused
        """


_CREW: ContextVar[Crew | None] = ContextVar("crew", default=None)


@contextmanager
def working_with(crew: Crew | None) -> Iterator[None]:
    """Let the stage that runs inside find a crew."""
    token = _CREW.set(crew)
    try:
        yield
    finally:
        _CREW.reset(token)


def crew_here() -> Crew | None:
    """The crew of the stage that runs, None where workers are processes of this machine."""
    return _CREW.get()
