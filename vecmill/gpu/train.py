"""The ``train`` stage on a GPU: the same files as the processor's trainers write, other vectors in them."""

from __future__ import annotations

import dataclasses
import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vecmill.config.base import key_config
from vecmill.errors import ConfigError
from vecmill.gpu.epochs import Blocks
from vecmill.gpu.memory import check_memory
from vecmill.store.stage import StageIO, StageReport
from vecmill.words.device import no_gpu
from vecmill.words.device_config import (
    CbowSection,
    GpuConfig,
    SkipgramSection,
    SubwordCbowSection,
    SubwordSkipgramSection,
)
from vecmill.words.heldout import measure_heldout
from vecmill.words.run import TrainingRun
from vecmill.words.subword_train import train_and_write_subwords
from vecmill.words.subword_trainer import OtherWay
from vecmill.words.train import TrainingCorpus, train_and_write
from vecmill.words.trainer import Training, checkpoints_of, prepared_run, train_run

if TYPE_CHECKING:
    import torch

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_WORKSPACES = ":4096:8", ":16:8"


class DeviceRun(TrainingRun):
    """A run whose epochs the processor's kernel has no part in."""

    def compile_kernel(self) -> None:
        """Nothing: no kernel is called."""


def train_words_on_gpu(config: SkipgramSection | CbowSection, io: StageIO) -> StageReport:
    """Train word vectors on a GPU.

    Reads and writes what :func:`~vecmill.words.train.train_words` does, and says in its metrics which device trained.
    In deterministic mode the vectors are the same bytes every time on the same kind of GPU with the same torch.

    Raises
    ------
    ConfigError : there is no GPU here, or the model does not fit its memory
    ConfigError, FormatError : see :func:`~vecmill.words.pretrained.load_pretrained`
    FormatError, VocabularyError, TrainingDiverged : see :func:`~vecmill.words.trainer.train_vectors`
    """
    device = usable_device(config.mode)

    def train(corpus: TrainingCorpus) -> tuple[Training, dict[str, Any]]:
        tokens, counts = corpus.tokens, corpus.vocabulary.counts
        plain = prepared_run(
            tokens.token_ids, tokens.sentence_offsets, counts, config, seed=io.seed, start=corpus.start
        )
        run = DeviceRun(**{each.name: getattr(plain, each.name) for each in dataclasses.fields(plain)})
        saved = checkpoints_of(run, counts, io.checkpoints, way=_settings(config.gpu))
        training = train_run(run, lambda: _blocks(run, gpu=config.gpu, device=device), saved, measure_heldout)
        return training, device_metrics(device)

    return train_and_write(config, io, train)


def train_subwords_on_gpu(config: SubwordSkipgramSection | SubwordCbowSection, io: StageIO) -> StageReport:
    """Train word and n-gram vectors on a GPU.

    Reads and writes what :func:`~vecmill.words.subword_train.train_subwords` does; see :func:`train_words_on_gpu`.

    Raises
    ------
    ConfigError : there is no GPU here, or the model does not fit its memory
    ConfigError, FormatError : see :func:`~vecmill.words.subword_pretrained.load_subword_start`
    FormatError, VocabularyError, TrainingDiverged : see
        :func:`~vecmill.words.subword_trainer.train_subword_vectors`
    """
    device = usable_device(config.mode)
    way = OtherWay(partial(_blocks, gpu=config.gpu, device=device), _settings(config.gpu))
    return train_and_write_subwords(config, io, way, device_metrics(device))


def usable_device(mode: str = "hogwild") -> torch.device:
    """The GPU that trains.

    Parameters
    ----------
    mode : ``train.mode``; "deterministic" asks more of cuBLAS

    Raises
    ------
    ConfigError : there is none in this process, although the run was planned with one
    ConfigError : mode "deterministic", and cuBLAS may not add up in the same order every time
    """
    import torch

    reason = no_gpu()
    if reason:
        raise ConfigError(
            f"the training was planned for a GPU, and here there is none: {reason}",
            expected="a process that sees the GPU of the one that planned the run",
            todo="run again where the GPU is, or with train.device: cpu",
        )
    _fix_workspaces(mode)
    return torch.device("cuda", torch.cuda.current_device())


def _fix_workspaces(mode: str) -> None:
    """Give cuBLAS workspaces of its own for each stream, without which it may add up in another order each time.

    It reads the variable when it starts. So it is set in any mode: a deterministic training may follow in this process.
    torch refuses other values in deterministic mode.
    """
    import torch

    told = os.environ.get(_WORKSPACE)
    if told is None and not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        os.environ[_WORKSPACE] = _WORKSPACES[0]
    elif told not in _WORKSPACES and mode == "deterministic":
        found = "is not set, and torch has started CUDA in this process" if told is None else f"is {told!r}"
        raise ConfigError(
            f"train.mode = deterministic on a GPU, but {_WORKSPACE} {found}",
            expected=f"{' or '.join(_WORKSPACES)} in the environment before CUDA starts, where cuBLAS reads it",
            todo=f"set {_WORKSPACE}={_WORKSPACES[0]} for the process, or train with train.mode: hogwild",
        )


def device_metrics(device: torch.device) -> dict[str, Any]:
    """Which device trained, in words, and by which torch."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    return {"device": f"{device.type}: {name}", "torch": torch.__version__}


def _blocks(run: TrainingRun, *, gpu: GpuConfig, device: torch.device) -> Blocks:
    check_memory(run, gpu, device)
    return Blocks(run, gpu, device)


def _settings(gpu: GpuConfig) -> npt.NDArray[np.uint8]:
    """What a checkpoint has to agree on: those of another device or of other blocks are not gone on from."""
    return np.frombuffer(json.dumps(key_config(gpu), sort_keys=True).encode(), np.uint8)
