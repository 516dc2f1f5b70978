"""Workers as processes of this machine: started, watched, started again after a loss, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

import vecmill
from vecmill import errors
from vecmill.distributed.gloo import require_torch
from vecmill.distributed.job import Job, read_result
from vecmill.distributed.member import main as member_main
from vecmill.errors import VecmillError
from vecmill.progress import Bar, track
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.pretrained import StartVectors
from vecmill.words.trainer import Training

_POLL_SECONDS = 0.05
# How long the others are given to say what they know when one has failed, before they are ended.
_GRACE_SECONDS = 5.0


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
    distributed = config.distributed
    with tempfile.TemporaryDirectory(prefix="vecmill-workers-") as name:
        folder = Path(name)
        np.save(folder / "counts.npy", counts)
        if start is not None:
            _write_start(folder, start)
        cores = len(os.sched_getaffinity(0))
        job = Job(
            folder=folder,
            config=config,
            seed=seed,
            token_ids=_file_of(token_ids, folder / "token_ids.npy"),
            sentence_offsets=_file_of(sentence_offsets, folder / "sentence_offsets.npy"),
            checkpoints=str((checkpoints or folder / "checkpoints").resolve()),
            threads=config.threads or max(1, cores // distributed.workers),
        )
        job.write()
        with track("training word vectors", config.epochs * int(token_ids.size), "tokens") as bar:
            shown = _Shown(bar)
            for attempt in range(distributed.restarts + 1):
                lost = _run_workers(job, attempt, shown)
                if lost is None:
                    training, metrics = read_result(folder)
                    return training, {**metrics, "n_restarts": attempt}
                bar.note(f"{lost}; all workers start again from the last checkpoint")
        kept = (
            "its checkpoints are kept" if checkpoints and any(checkpoints.glob("*")) else "no checkpoint was made yet"
        )
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


def _run_workers(job: Job, attempt: int, shown: _Shown) -> str | None:
    """Run all workers once; None when they finished, else which one was lost and how."""
    n_workers = job.config.distributed.workers
    address = f"file://{job.folder.resolve()}/meeting-{attempt}"
    shown.begin()
    with _processes(job, n_workers, address, attempt) as workers:
        listener = threading.Thread(target=_listen, args=(workers[0].stdout, shown), daemon=True)
        listener.start()
        failed = None
        while failed is None and any(worker.poll() is None for worker in workers):
            failed = next((rank for rank, worker in enumerate(workers) if worker.poll()), None)
            time.sleep(_POLL_SECONDS)
        failed = next((rank for rank, worker in enumerate(workers) if worker.poll()), None)
        if failed is None:
            listener.join(_GRACE_SECONDS)
            return None
        status = workers[failed].returncode
        # One that was killed pulls the others down with errors of their own; what counts is a refusal of ours.
        patience = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < patience and any(worker.poll() is None for worker in workers):
            time.sleep(_POLL_SECONDS)
        for path in sorted(job.folder.glob("error-*.json")):
            said = json.loads(path.read_text(encoding="utf-8"))
            kind = said.pop("kind")
            raise _KINDS.get(kind, VecmillError)(said.pop("found"), **said)
        killed = [rank for rank, worker in enumerate(workers) if (worker.returncode or 0) < 0]
        if killed and status >= 0:
            failed, status = killed[0], workers[killed[0]].returncode
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
        return (
            f"worker {failed} of {n_workers} (process {workers[failed].pid}) {how}{_last_words(job, failed, attempt)}"
        )


_KINDS = {
    each.__name__: each
    for each in (errors.TrainingDiverged, errors.VocabularyError, errors.FormatError, errors.ConfigError)
}


@contextmanager
def _processes(job: Job, n_workers: int, address: str, attempt: int) -> Iterator[list[subprocess.Popen[str]]]:
    # Named by the function, so that the code of the workers counts in the key of what they make.
    code = f"from {member_main.__module__} import {member_main.__name__} as main; main()"
    paths = [str(Path(vecmill.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    workers: list[subprocess.Popen[str]] = []
    try:
        for rank in range(n_workers):
            with (job.folder / f"worker-{rank}-{attempt}.log").open("wb") as log:
                workers.append(
                    subprocess.Popen(
                        [sys.executable, "-c", code, str(job.folder), str(rank), str(n_workers), address],
                        stdin=subprocess.PIPE,  # closes when this process dies, by which workers know
                        stdout=subprocess.PIPE if rank == 0 else log,
                        stderr=log,
                        text=True,
                        env=environment,
                    )
                )
        yield workers
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
        for worker in workers:
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    pipe.close()


def _listen(lines: IO[str] | None, shown: _Shown) -> None:
    try:
        for line in lines or ():
            if line.startswith("{"):
                shown.hear(line)
    except ValueError:
        return  # the pipe was closed under us: the workers are being ended


def _last_words(job: Job, rank: int, attempt: int) -> str:
    log = (job.folder / f"worker-{rank}-{attempt}.log").read_text(encoding="utf-8", errors="replace").strip()
    return f": {log.splitlines()[-1][:300]}" if log else ""


def _file_of(array: npt.NDArray[Any], otherwise: Path) -> Path:
    """The .npy file that an array is mapped from, whole; or ``otherwise``, written now."""
    name = getattr(array, "filename", None)
    if name is not None and str(name).endswith(".npy"):
        whole = np.load(name, mmap_mode="r")
        if whole.shape == array.shape and whole.dtype == array.dtype:
            return Path(name)
    np.save(otherwise, array)
    return otherwise


def _write_start(folder: Path, start: StartVectors) -> None:
    pretrained = start.pretrained
    for name, vectors in (
        ("center_vectors", pretrained.vectors.vectors),
        ("context_vectors", pretrained.context_vectors),
    ):
        if vectors is not None:
            np.save(folder / f"start-{name}-rows.npy", start.word_ids)
            np.save(folder / f"start-{name}.npy", vectors[start.pretrained_ids])
