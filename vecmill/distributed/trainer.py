"""Training word vectors on several workers of one process; ``launch.py`` puts each into a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.distributed.combine import Way
from vecmill.distributed.exchange import Traffic
from vecmill.distributed.replicas import Replicas, RoundRecord
from vecmill.distributed.shards import SharedRounds
from vecmill.distributed.transport import Transport
from vecmill.distributed.worker import MATRICES
from vecmill.words.checkpoint import Checkpointed, Checkpoints
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.heldout import measure_heldout
from vecmill.words.progress_state import Progress
from vecmill.words.run import TrainingRun
from vecmill.words.touch_rates import PAIR_CURVATURE
from vecmill.words.trainer import EpochTrainer, Training, checkpoints_of, train_run


@dataclass(frozen=True)
class SharedTraining:
    """What came of a training that several workers shared.

    Attributes
    ----------
    training : the same in every process
    traffic : what travelled between workers; None in deterministic mode
    rounds : what each round took; empty in deterministic mode
    """

    training: Training
    traffic: Traffic | None
    rounds: list[RoundRecord]

    @property
    def metrics(self) -> dict[str, Any]:
        """Of the exchanges, as this process saw them; nothing in deterministic mode."""
        traffic = self.traffic
        return {} if traffic is None else {"n_exchanges": traffic.n_exchanges, "sent_bytes": int(traffic.sent.sum())}


def train_shared(
    run: TrainingRun,
    config: SkipgramConfig | CbowConfig,
    counts: npt.NDArray[np.int64],
    transport: Transport,
    checkpoints: Path | None = None,
    *,
    threads: int = 1,
    way: Way = "touches",
    curvature: float = PAIR_CURVATURE,
) -> SharedTraining:
    """Train a prepared run together with the workers of other processes, if there are any.

    Parameters
    ----------
    run : from :func:`~vecmill.words.trainer.prepared_run`, the same in every process
    counts : int64[n_words]
    checkpoints : folder for checkpoints; looked at in the process that worker 0 lives in
    threads : threads of each worker
    way, curvature : how changes combine, for comparison, see :class:`~vecmill.distributed.replicas.Replicas`
    """
    first = 0 in transport.here
    last_changes = None
    if config.mode == "hogwild" and transport.n_workers > 1 and way == "touches":
        shape = counts.size, config.dim
        last_changes = {name: np.zeros(shape, np.float32) for name in MATRICES}
    saved = _SharedCheckpoints(checkpoints_of(run, counts, checkpoints if first else None), transport, last_changes)
    made: list[Replicas] = []

    def measure(run: TrainingRun) -> float | None:
        # One process decides for all: on another kind of processor the loss could be off by a rounding.
        mine = measure_heldout(run) if first else None
        told = transport.spread(np.array([np.nan if mine is None else mine]).view(np.uint8)).view(np.float64)[0]
        return None if np.isnan(told) else float(told)

    def trainer() -> EpochTrainer:
        if config.mode == "deterministic":
            return SharedRounds(run, threads * len(transport.here), transport)
        made.append(
            Replicas(
                run,
                counts,
                config.distributed,
                transport,
                threads,
                last_changes=last_changes,
                way=way,
                curvature=curvature,
            )
        )
        return made[0]

    training = train_run(run, trainer, saved, measure)
    if made:
        return SharedTraining(training, made[0].traffic, made[0].rounds)
    return SharedTraining(training, None, [])


@dataclass(frozen=True)
class _Whole:
    """A model, and what else a training that goes on needs."""

    model: Checkpointed
    last_changes: dict[str, npt.NDArray[np.float32]]

    @property
    def matrices(self) -> Mapping[str, npt.NDArray[Any]]:
        last = {f"last_changes_{name}": matrix for name, matrix in self.last_changes.items()}
        return {**self.model.matrices, **last}


class _SharedCheckpoints(Checkpoints):
    """Checkpoints that one process keeps, and that all go on from."""

    def __init__(
        self, kept: Checkpoints, transport: Transport, last_changes: dict[str, npt.NDArray[np.float32]] | None
    ) -> None:
        self.__dict__.update(kept.__dict__)
        self._transport = transport
        self._last_changes = last_changes or {}

    def save(self, model: Checkpointed, progress: Progress) -> None:
        super().save(_Whole(model, self._last_changes), progress)

    def load(self, model: Checkpointed) -> Progress | None:
        transport, whole = self._transport, _Whole(model, self._last_changes)
        progress = super().load(whole) if 0 in transport.here else None
        if len(transport.here) == transport.n_workers:
            return progress
        text = np.frombuffer(json.dumps(progress.as_json()).encode() if progress else b"", np.uint8)
        length = transport.spread(np.array([text.size], np.int64).view(np.uint8)).view(np.int64)[0]
        if length == 0:
            return None
        told = transport.spread(text if 0 in transport.here else np.empty(length, np.uint8))
        for matrix in whole.matrices.values():
            flat = matrix.reshape(-1).view(np.uint8)
            flat[:] = transport.spread(flat)
        return Progress.from_json(json.loads(told.tobytes()))
