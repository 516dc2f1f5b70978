"""Checkpoints: a training's vectors and how far it has come, in a folder that outlives the process.

    checkpoint-00000003/          the only one, except while the next takes its place
        center_vectors.npy        float32[n_words, row_length]: one file for each of the model's matrices
        context_vectors.npy
        progress.json             training, CRC-32 of each matrix, and the fields of ``Progress``

A checkpoint is written under another name, brought to the disk, and renamed: a process that is killed while it writes
leaves the one before. What does not fit the training at hand, or is damaged, is removed and never read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vecmill.config.base import Config, key_config
from vecmill.words.progress_state import Progress

_BLOCK_BYTES = 1 << 22


class Checkpointed(Protocol):
    """A model that checkpoints keep."""

    @property
    def matrices(self) -> Mapping[str, npt.NDArray[Any]]:
        """All that training changes, C-contiguous, by the names of their files."""


def training_digest(config: Config, seed: int, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """What a checkpoint has to belong to: configuration (without what is no part of a key), seed, arrays by name."""
    digest = hashlib.sha256(json.dumps([key_config(config), seed], sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} {array_crc(array)}".encode())
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one training.

    Parameters
    ----------
    folder : made where it does not exist; None: nothing is ever written or found
    training : see :func:`training_digest`
    minutes, epochs : how often, 0 for never; see ``checkpoint_minutes`` and ``checkpoint_epochs``
    clock : seconds that never go back
    """

    def __init__(
        self,
        folder: Path | None,
        training: str,
        *,
        minutes: float,
        epochs: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._training = training
        self._seconds = minutes * 60
        self._epochs = epochs
        self._clock = clock
        self._last = clock()
        self._number = 0

    def due(self) -> bool:
        """Whether the time for the next one has come; threads may ask."""
        return self._folder is not None and self._seconds > 0 and self._clock() - self._last >= self._seconds

    def due_after_epoch(self, n_epochs: int) -> bool:
        """Whether the next one is due after ``n_epochs`` whole epochs."""
        return self._folder is not None and self._epochs > 0 and n_epochs % self._epochs == 0

    def save(self, model: Checkpointed, progress: Progress) -> None:
        """Write a checkpoint, then remove the one before."""
        if self._folder is None:
            return
        self._number += 1
        folder = self._folder / f"checkpoint-{self._number:08d}"
        building = self._folder / f"{folder.name}.tmp"
        building.mkdir(parents=True)
        for name, matrix in model.matrices.items():
            with (building / f"{name}.npy").open("wb") as file:
                np.save(file, matrix)
                to_disk(file.fileno(), file.flush)
        record = {
            "training": self._training,
            "crc32": {name: array_crc(matrix) for name, matrix in model.matrices.items()},
            "progress": progress.as_json(),
        }
        with (building / "progress.json").open("w", encoding="utf-8") as text:
            json.dump(record, text)
            to_disk(text.fileno(), text.flush)
        building.rename(folder)
        sync_folder(self._folder)
        self._remove_others(folder)
        self._last = self._clock()

    def load(self, model: Checkpointed) -> Progress | None:
        """Fill ``model`` from the newest usable checkpoint; None, and an unchanged model, where there is none."""
        if self._folder is None or not self._folder.is_dir():
            return None
        for folder in sorted(self._folder.glob("checkpoint-????????"), reverse=True):
            self._number = max(self._number, int(folder.name.removeprefix("checkpoint-")))
            found = self._read(folder, model)
            if found is not None:
                matrices, progress = found
                for name, matrix in model.matrices.items():
                    matrix[:] = matrices[name]
                self._remove_others(folder)
                return progress
        self._remove_others(None)
        return None

    def _read(self, folder: Path, model: Checkpointed) -> tuple[dict[str, Any], Progress] | None:
        try:
            record = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
            if record["training"] != self._training:
                return None
            matrices = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in model.matrices
            }
            for name, matrix in matrices.items():
                wanted = model.matrices[name]
                if (
                    matrix.shape != wanted.shape
                    or matrix.dtype != wanted.dtype
                    or array_crc(matrix) != record["crc32"][name]
                ):
                    return None
            return matrices, Progress.from_json(record["progress"])
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None  # cut off or of another version: as good as none

    def _remove_others(self, kept: Path | None) -> None:
        if self._folder is not None:
            for other in self._folder.glob("checkpoint-*"):
                if other != kept:
                    shutil.rmtree(other, ignore_errors=True)


def array_crc(array: npt.NDArray[Any]) -> int:
    """CRC-32 of an array's bytes, in C order."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    crc = 0
    for start in range(0, flat.size, _BLOCK_BYTES):
        crc = zlib.crc32(flat[start : start + _BLOCK_BYTES].data, crc)
    return crc


def to_disk(file_number: int, flush: Callable[[], None]) -> None:
    """Wait until what was written to an open file is on the disk."""
    flush()
    os.fsync(file_number)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
