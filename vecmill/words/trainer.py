"""Training word vectors: epochs, checkpoints and early stopping around the two ways to run one epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from vecmill.errors import VocabularyError
from vecmill.kernels.sampling import make_sampler
from vecmill.progress import Bar, track
from vecmill.words.checkpoint import Checkpoints, training_digest
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.corpus_check import check_corpus
from vecmill.words.deterministic import Rounds
from vecmill.words.heldout import heldout_sentences, measure_heldout
from vecmill.words.hogwild import Hogwild
from vecmill.words.model import WordModel, initial_model, without_padding
from vecmill.words.pretrained import StartVectors
from vecmill.words.progress_state import EpochResult, Progress, stops_early
from vecmill.words.run import INITIAL_VECTORS, TrainingRun, check_vectors, random_branch
from vecmill.words.schedule import learning_rate_at

Run = TypeVar("Run", bound=TrainingRun)


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes
    ----------
    center_vectors, context_vectors : float32[n_words, dim]; the first are the word vectors
    epochs : one result for each pass
    threads : number of threads that worked
    n_heldout_sentences : sentences left out of training
    resumed_at : epochs that were done, with fractions, in the checkpoint that training went on from; 0 without one
    compile_seconds, train_seconds : wall time of the kernel's compilation, and of this process's epochs without it
    tokens_per_second : tokens that this process went over in ``train_seconds``
    """

    center_vectors: npt.NDArray[np.float32]
    context_vectors: npt.NDArray[np.float32]
    epochs: list[EpochResult]
    threads: int
    n_heldout_sentences: int
    resumed_at: float
    compile_seconds: float
    train_seconds: float
    tokens_per_second: float


def train_vectors(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    config: SkipgramConfig | CbowConfig,
    *,
    seed: int,
    start: StartVectors | None = None,
    checkpoints: Path | None = None,
) -> Training:
    """Train skip-gram or CBOW vectors with negative sampling.

    Parameters
    ----------
    token_ids : int32[n_tokens], C-contiguous, each in [0, n_words); may be a mapped file, is never copied
    sentence_offsets : int64[n_sentences + 1]; sentence s is token_ids[offsets[s]:offsets[s + 1]], of any length
    counts : int64[n_words], how often each word occurs; decides sub-sampling and negatives
    seed : integer >= 0
    start : vectors that some words start from instead of random ones
    checkpoints : folder for checkpoints; where it holds one of this training, training goes on from there. A
        deterministic training then ends in the bytes of an unbroken one, and so does a hogwild training on one thread

    Raises
    ------
    FormatError, VocabularyError : see :func:`~vecmill.words.corpus_check.check_corpus`
    VocabularyError : an epoch had no pair to learn from, or the held-out sentences have none
    TrainingDiverged : the loss or a vector became NaN or infinite
    """
    run = prepared_run(token_ids, sentence_offsets, counts, config, seed=seed, start=start)
    wanted = config.threads or len(os.sched_getaffinity(0))
    way = Rounds if config.mode == "deterministic" else Hogwild
    return train_run(run, lambda: way(run, wanted), checkpoints_of(run, counts, checkpoints), measure_heldout)


class EpochTrainer(Protocol):
    """A way to run epochs; a context manager.

    Attributes
    ----------
    threads : how many threads work
    """

    threads: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def advance(self, progress: Progress, bar: Bar, due: Callable[[], bool]) -> None:
        """Train until the epoch is done, or at a place where a checkpoint can be taken and ``due`` is true."""


def prepared_run(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    config: SkipgramConfig | CbowConfig,
    *,
    seed: int,
    start: StartVectors | None = None,
) -> TrainingRun:
    """A training before its first step; parameters and errors are those of :func:`train_vectors`."""
    # np.asarray: a numpy.memmap becomes a plain array over the same mapped file
    token_ids, sentence_offsets = np.asarray(token_ids), np.asarray(sentence_offsets)
    check_corpus(token_ids, sentence_offsets, counts)
    run = TrainingRun(
        token_ids=token_ids,
        sentence_offsets=sentence_offsets,
        counts=counts,
        sampler=make_sampler(counts, sample=config.sample, negative_exponent=config.negative_exponent),
        model=initial_model(counts.size, config.dim, np.random.default_rng(random_branch(seed, INITIAL_VECTORS))),
        config=config,
        seed=seed,
        heldout=heldout_sentences(sentence_offsets.size - 1, config, seed),
    )
    if start is not None:
        _set_rows(run.model, start)
    return run


def train_run(
    run: Run,
    make_trainer: Callable[[], EpochTrainer],
    saved: Checkpoints,
    measure: Callable[[Run], float | None],
) -> Training:
    """Train a prepared run to its end, from its checkpoint where there is one.

    Parameters
    ----------
    make_trainer : called when the model is the one that training goes on from
    measure : takes the held-out loss after each epoch
    """
    config = run.config
    progress = saved.load(run.model) or Progress()
    n_done = progress.epoch * run.n_tokens + progress.n_tokens_done
    started = time.perf_counter()
    run.compile_kernel()
    compiled = time.perf_counter()
    with make_trainer() as trainer:
        train_epochs(run, trainer, progress, saved, measure)
    finished = time.perf_counter()
    check_vectors(run.model, config)
    return Training(
        center_vectors=without_padding(run.model.center_vectors, config.dim),
        context_vectors=without_padding(run.model.context_vectors, config.dim),
        epochs=progress.results,
        threads=trainer.threads,
        n_heldout_sentences=int(run.heldout.size),
        resumed_at=n_done / run.n_tokens,
        compile_seconds=compiled - started,
        train_seconds=finished - compiled,
        tokens_per_second=(progress.epoch * run.n_tokens - n_done) / (finished - compiled),
    )


def train_epochs(
    run: Run,
    trainer: EpochTrainer,
    progress: Progress,
    saved: Checkpoints,
    measure: Callable[[Run], float | None],
) -> None:
    """Train until the last epoch, or until the held-out loss, which ``measure`` takes, says stop."""
    config = run.config
    with track("training word vectors", config.epochs * run.n_tokens, "tokens") as bar:
        bar.advance(progress.epoch * run.n_tokens + progress.n_tokens_done)
        while progress.epoch < config.epochs and not stops_early(config, progress.results):
            trainer.advance(progress, bar, saved.due)
            if not progress.in_epoch:
                progress.finish_epoch(_epoch_result(run, progress, measure))
                if saved.due_after_epoch(progress.epoch) or saved.due():
                    saved.save(run.model, progress)
            elif saved.due():
                saved.save(run.model, progress)


def _epoch_result(run: Run, progress: Progress, measure: Callable[[Run], float | None]) -> EpochResult:
    config = run.config
    if progress.n_pairs == 0:
        raise VocabularyError(
            f"epoch {progress.epoch + 1} had no pair of neighbouring words to learn from, in {run.n_tokens:,} tokens "
            f"and {run.sentence_offsets.size - 1:,} sentences with train.sample = {config.sample:g}",
            expected="sentences with at least two words left after sub-sampling",
            todo="raise train.sample (0 turns it off), lower vocabulary.min_count, or give a larger corpus",
        )
    return EpochResult(
        loss=progress.loss / progress.n_pairs,
        n_pairs=progress.n_pairs,
        learning_rate=learning_rate_at(config, (progress.epoch + 1) / config.epochs),
        heldout_loss=measure(run),
    )


def _set_rows(model: WordModel, start: StartVectors) -> None:
    pretrained = start.pretrained
    model.center_vectors[start.word_ids, : model.dim] = pretrained.vectors.vectors[start.pretrained_ids]
    if pretrained.context_vectors is not None:
        model.context_vectors[start.word_ids, : model.dim] = pretrained.context_vectors[start.pretrained_ids]


def checkpoints_of(
    run: TrainingRun, counts: npt.NDArray[np.int64], folder: Path | None, **more: npt.NDArray[Any]
) -> Checkpoints:
    """The checkpoints of a training that is about to begin; its digest holds what the vectors start from.

    ``more`` are arrays that belong to the training, beyond corpus, counts and model.
    """
    config, training = run.config, ""
    if folder is not None:
        # the model as it stands now says whether and from which vectors training starts
        arrays: dict[str, npt.NDArray[Any]] = {
            "token_ids": run.token_ids,
            "sentence_offsets": run.sentence_offsets,
            "counts": counts,
            "center_vectors": run.model.center_vectors,
            "context_vectors": run.model.context_vectors,
            **more,
        }
        training = training_digest(config, run.seed, arrays)
    return Checkpoints(folder, training, minutes=config.checkpoint_minutes, epochs=config.checkpoint_epochs)
