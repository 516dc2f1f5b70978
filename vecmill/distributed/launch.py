"""A training on several workers: started, watched, and started again from the last checkpoint after a loss.

Here workers are processes of this machine, or a crew's (``crew.py``); neither is left behind.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.distributed.crew import Crew
from vecmill.distributed.gloo import require_torch
from vecmill.distributed.job import Job, read_result, write_job
from vecmill.distributed.process import GRACE_SECONDS, WorkerProcess, lost_one, refusal_in
from vecmill.errors import VecmillError
from vecmill.progress import Bar, track
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.pretrained import StartVectors
from vecmill.words.trainer import Training

_POLL_SECONDS = 0.05


def train_in_processes(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    config: SkipgramConfig | CbowConfig,
    *,
    seed: int,
    start: StartVectors | None = None,
    checkpoints: Path | None = None,
) -> tuple[Training, dict[str, Any]]:
    """Train on ``config.distributed.workers`` processes; parameters are those of ``words.trainer.train_vectors``.

    A worker that is lost (killed, or silent for ``timeout_seconds``) ends the others; all are started again from the
    last checkpoint, ``restarts`` times at most. Where ``checkpoints`` is None they are kept until the end of the call.

    Returns
    -------
    training, metrics : metrics of the exchanges, as worker 0 saw them, and ``n_restarts``

    Raises
    ------
    ConfigError : torch is missing
    VecmillError : workers were lost too often; or what a worker raised, see ``words.trainer.train_vectors``
    """
    require_torch()
    with tempfile.TemporaryDirectory(prefix="vecmill-workers-") as name:
        folder = Path(name)
        job = write_job(
            folder,
            token_ids,
            sentence_offsets,
            counts,
            config,
            seed=seed,
            start=start,
            checkpoints=(checkpoints or folder / "checkpoints").resolve(),
            threads=config.threads or max(1, len(os.sched_getaffinity(0)) // config.distributed.workers),
        )

        def run(attempt: int, hear: Callable[[str], None]) -> str | None:
            return _run_here(job, attempt, hear)

        return _until_finished(folder, config, int(token_ids.size), checkpoints, run)


def train_with_crew(
    n_tokens: int, config: SkipgramConfig | CbowConfig, crew: Crew, checkpoints: Path | None = None
) -> tuple[Training, dict[str, Any]]:
    """As :func:`train_in_processes`, with workers on the machines of a crew, which read the stage's inputs there."""
    with tempfile.TemporaryDirectory(prefix="vecmill-workers-") as name:
        folder = Path(name)
        kept = (checkpoints or folder / "checkpoints").resolve()

        def run(attempt: int, hear: Callable[[str], None]) -> str | None:
            return crew.run(folder, kept, attempt, hear)

        return _until_finished(folder, config, n_tokens, checkpoints, run)


def _until_finished(
    folder: Path,
    config: SkipgramConfig | CbowConfig,
    n_tokens: int,
    checkpoints: Path | None,
    run: Callable[[int, Callable[[str], None]], str | None],
) -> tuple[Training, dict[str, Any]]:
    """Run all workers until they finish, ``restarts`` times more than once at most."""
    distributed = config.distributed
    with track("training word vectors", config.epochs * n_tokens, "tokens") as bar:
        shown = _Shown(bar)
        for attempt in range(distributed.restarts + 1):
            shown.begin()
            lost = run(attempt, shown.hear)
            if lost is None:
                training, metrics = read_result(folder)
                return training, {**metrics, "n_restarts": attempt}
            bar.note(f"{lost}; all workers start again from the last checkpoint")
    kept = "its checkpoints are kept" if checkpoints and any(checkpoints.glob("*")) else "no checkpoint was made yet"
    raise VecmillError(
        f"distributed training lost workers {distributed.restarts + 1} times, last: {lost}; {kept}",
        expected=f"{distributed.workers} workers that stay alive and answer within "
        f"{distributed.timeout_seconds:g} seconds",
        todo="look for what ended them (memory above all: each worker holds two models), then run again; training "
        "goes on from the last checkpoint",
    )


class _Shown:
    """A bar that follows what is done, also when workers begin again further back."""

    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self._shown = self._done = 0.0

    def begin(self) -> None:
        self._done = 0.0

    def hear(self, line: str) -> None:
        said = json.loads(line)
        self._done += said["done"]
        if self._done > self._shown:
            self.bar.advance(self._done - self._shown)
            self._shown = self._done
        if said["note"]:
            self.bar.note(said["note"])


def _run_here(job: Job, attempt: int, hear: Callable[[str], None]) -> str | None:
    """Run all workers once as processes of this machine; see :meth:`~vecmill.distributed.crew.Crew.run`."""
    n_workers = job.config.distributed.workers
    address = f"file://{job.folder.resolve()}/meeting-{attempt}"
    with ExitStack() as stack:
        workers = []
        for rank in range(n_workers):
            workers.append(WorkerProcess(job.folder, rank, n_workers, address, attempt))
            stack.callback(workers[-1].end)
        workers[0].listen(hear)
        while not any(worker.status() for worker in workers) and any(worker.status() is None for worker in workers):
            time.sleep(_POLL_SECONDS)
        if all(worker.status() == 0 for worker in workers):
            workers[0].wait()
            return None
        patience = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < patience and any(worker.status() is None for worker in workers):
            time.sleep(_POLL_SECONDS)
        refused = refusal_in(job.folder)
        if refused is not None:
            raise refused
        return lost_one([worker.how() for worker in workers])
