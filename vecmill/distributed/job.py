"""What the processes of one training are told, and what they leave: a folder that all of them see.

job.json              configuration, seed, where the corpus and checkpoints are, threads
counts.npy            int64[n_words]
token_ids.npy, sentence_offsets.npy    only where the corpus is not in files already
start-*.npy           vectors that some words start from, where there are some
center_vectors.npy, context_vectors.npy, result.json     by worker 0, at the end; result.json last
error-RANK.json       what a worker that failed has to say
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from vecmill.distributed.trainer import SharedTraining
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.pretrained import StartVectors, load_pretrained, match_words
from vecmill.words.progress_state import EpochResult
from vecmill.words.run import TrainingRun
from vecmill.words.trainer import Training, prepared_run

_CONFIG: TypeAdapter[SkipgramConfig | CbowConfig] = TypeAdapter(SkipgramConfig | CbowConfig)


@dataclass(frozen=True)
class Job:
    """A training that several processes share.

    Attributes
    ----------
    folder : see the module
    token_ids, sentence_offsets : .npy files, mapped by every worker
    checkpoints : folder that worker 0 keeps checkpoints in, empty for none
    threads : of each worker
    """

    folder: Path
    config: SkipgramConfig | CbowConfig
    seed: int
    token_ids: Path
    sentence_offsets: Path
    checkpoints: str
    threads: int

    def write(self) -> None:
        """Leave the description in the folder."""
        values = {
            "config": self.config.model_dump(mode="json", exclude={"device", "gpu"}),
            "seed": self.seed,
            "token_ids": str(self.token_ids),
            "sentence_offsets": str(self.sentence_offsets),
            "checkpoints": self.checkpoints,
            "threads": self.threads,
        }
        (self.folder / "job.json").write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The inverse of :meth:`write`."""
        values = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        return cls(
            folder=folder,
            config=_CONFIG.validate_python(values["config"]),
            seed=values["seed"],
            token_ids=Path(values["token_ids"]),
            sentence_offsets=Path(values["sentence_offsets"]),
            checkpoints=values["checkpoints"],
            threads=values["threads"],
        )

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64[n_words], how often each word occurs."""
        return np.load(self.folder / "counts.npy")  # type: ignore[no-any-return]

    def prepared(self) -> TrainingRun:
        """The training before its first step, the same in every process."""
        run = prepared_run(
            np.load(self.token_ids, mmap_mode="r"),
            np.load(self.sentence_offsets, mmap_mode="r"),
            self.counts,
            self.config,
            seed=self.seed,
        )
        for name, matrix in run.model.matrices.items():
            rows = self.folder / f"start-{name}-rows.npy"
            if rows.exists():
                matrix[np.load(rows), : run.model.dim] = np.load(self.folder / f"start-{name}.npy")
        return run


def write_job(
    folder: Path,
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    config: SkipgramConfig | CbowConfig,
    *,
    seed: int,
    start: StartVectors | None,
    checkpoints: Path,
    threads: int,
) -> Job:
    """Leave in a folder what workers need; arrays that are mapped from whole files stay there."""
    np.save(folder / "counts.npy", counts)
    if start is not None:
        _write_start(folder, start)
    job = Job(
        folder=folder,
        config=config,
        seed=seed,
        token_ids=_file_of(token_ids, folder / "token_ids.npy"),
        sentence_offsets=_file_of(sentence_offsets, folder / "sentence_offsets.npy"),
        checkpoints=str(checkpoints),
        threads=threads,
    )
    job.write()
    return job


def write_job_of_inputs(
    folder: Path,
    inputs: Mapping[str, Path],
    config: SkipgramConfig | CbowConfig,
    *,
    seed: int,
    checkpoints: Path,
    threads: int,
) -> Job:
    """As :func:`write_job`, from the input folders of the ``train`` stage, on a machine that is to run a worker.

    Raises
    ------
    ConfigError, FormatError : see :func:`~vecmill.words.pretrained.load_pretrained`
    """
    vocabulary = Vocabulary.load(inputs["vocabulary"])
    tokens = TokenStore.open(inputs["encode"])
    pretrained = load_pretrained(config)
    return write_job(
        folder,
        tokens.token_ids,
        tokens.sentence_offsets,
        vocabulary.counts,
        config,
        seed=seed,
        start=None if pretrained is None else match_words(pretrained, vocabulary),
        checkpoints=checkpoints,
        threads=threads,
    )


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


def write_result(folder: Path, shared: SharedTraining) -> None:
    """Leave a finished training."""
    training = shared.training
    np.save(folder / "center_vectors.npy", training.center_vectors)
    np.save(folder / "context_vectors.npy", training.context_vectors)
    values = {name: value for name, value in vars(training).items() if not name.endswith("_vectors")}
    values["epochs"] = [asdict(each) for each in training.epochs]
    partial = folder / "result.partial"
    partial.write_text(json.dumps({"training": values, "metrics": shared.metrics}), encoding="utf-8")
    partial.rename(folder / "result.json")


def read_result(folder: Path) -> tuple[Training, dict[str, Any]]:
    """What :func:`write_result` left: the training, and metrics of the exchanges as worker 0 saw them."""
    said = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    values = said["training"]
    values["epochs"] = [EpochResult(**each) for each in values["epochs"]]
    vectors = {name: np.load(folder / f"{name}.npy") for name in ("center_vectors", "context_vectors")}
    return Training(**vectors, **values), said["metrics"]
