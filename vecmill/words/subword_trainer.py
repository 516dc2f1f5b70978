"""Training with subwords: the rows of words and n-grams around the epochs of ``vecmill.words.trainer``.

Only the buckets that an n-gram of the vocabulary falls into get a row. They lie in the order in which the vocabulary,
frequent words first, asks for them: the rows of frequent words are neighbours in memory, and so are those of one rare
word. Threads, chunks, random streams, checkpoints and early stopping are those of the other word trainers; in
deterministic mode one thread works.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vecmill.errors import ConfigError
from vecmill.kernels.sampling import make_sampler
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.corpus_check import check_corpus
from vecmill.words.heldout import heldout_sentences
from vecmill.words.hogwild import Hogwild
from vecmill.words.model import WordModel, initial_model, without_padding
from vecmill.words.progress_state import EpochResult, Progress
from vecmill.words.run import INITIAL_VECTORS, check_vectors, random_branch
from vecmill.words.subword_config import SubwordCbowConfig, SubwordConfig, SubwordSkipgramConfig
from vecmill.words.subword_pretrained import SubwordStart, set_rows
from vecmill.words.subword_run import SubwordRun, subword_rows
from vecmill.words.trainer import EpochTrainer, checkpoints_of, train_epochs

# Settings of the other word trainers that mean nothing here: deterministic training is not shared by threads.
_NOT_FOLLOWED = ("round_shards", "shard_tokens")


@dataclass(frozen=True)
class OtherWay:
    """A way to run epochs instead of ``hogwild``.

    Attributes
    ----------
    make : called with the run when its model is the one that training goes on from
    settings : uint8[n], what checkpoints of this way have to agree on beside the configuration
    """

    make: Callable[[SubwordRun], EpochTrainer]
    settings: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SubwordTraining:
    """A finished training.

    Attributes
    ----------
    vectors : rows of the words and of the buckets in use
    context_vectors : float32[n_words, dim]
    epochs, threads, n_heldout_sentences, resumed_at, compile_seconds, train_seconds, tokens_per_second : as in
        :class:`~vecmill.words.trainer.Training`
    """

    vectors: SubwordVectors
    context_vectors: npt.NDArray[np.float32]
    epochs: list[EpochResult]
    threads: int
    n_heldout_sentences: int
    resumed_at: float
    compile_seconds: float
    train_seconds: float
    tokens_per_second: float


def train_subword_vectors(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    words: Sequence[str],
    counts: npt.NDArray[np.int64],
    config: SubwordSkipgramConfig | SubwordCbowConfig,
    *,
    seed: int,
    start: SubwordStart | None = None,
    checkpoints: Path | None = None,
    way: OtherWay | None = None,
) -> SubwordTraining:
    """Train skip-gram or CBOW vectors of words and n-grams.

    Parameters
    ----------
    token_ids : int32[n_tokens], C-contiguous, each in [0, n_words); may be a mapped file, is never copied
    sentence_offsets : int64[n_sentences + 1]; sentence s is token_ids[offsets[s]:offsets[s + 1]], of any length
    words, counts : n words and int64[n_words], how often each occurs
    seed : integer >= 0
    start : rows that some words and buckets start from instead of random ones
    checkpoints : folder for checkpoints; where it holds one of this training, training goes on from there, and ends on
        one thread (so in deterministic mode) in the bytes of an unbroken one
    way : how to run epochs; None: on threads of this processor

    Raises
    ------
    ConfigError : a setting of the other word trainers that this one does not follow
    FormatError, VocabularyError : see :func:`~vecmill.words.corpus_check.check_corpus`
    VocabularyError : an epoch had no pair to learn from, or the held-out sentences have none
    TrainingDiverged : the loss or a vector became NaN or infinite
    """
    refuse_other_settings(config)
    # np.asarray: a numpy.memmap becomes a plain array over the same mapped file
    token_ids, sentence_offsets = np.asarray(token_ids), np.asarray(sentence_offsets)
    check_corpus(token_ids, sentence_offsets, counts)
    subwords, bucket_ids = subword_rows(words, config)
    rng = np.random.default_rng(random_branch(seed, INITIAL_VECTORS))
    # Twice as many context vectors as needed, or more: zeros that are never touched take no memory.
    rows = initial_model(counts.size + bucket_ids.size, config.dim, rng)
    run = SubwordRun(
        token_ids=token_ids,
        sentence_offsets=sentence_offsets,
        counts=counts,
        sampler=make_sampler(counts, sample=config.sample, negative_exponent=config.negative_exponent),
        model=WordModel(rows.center_vectors, rows.context_vectors[: counts.size], config.dim),
        config=config,
        seed=seed,
        heldout=heldout_sentences(sentence_offsets.size - 1, config, seed),
        subwords=subwords,
    )
    if start is not None:
        set_rows(run.model, start, bucket_ids)
    more = {} if way is None else {"way": way.settings}
    saved = checkpoints_of(
        run, counts, checkpoints, subword_offsets=subwords.offsets, subword_rows=subwords.rows, **more
    )
    progress = saved.load(run.model) or Progress()
    n_done = progress.epoch * run.n_tokens + progress.n_tokens_done
    started = time.perf_counter()
    if way is None:
        run.compile_kernel()
    compiled = time.perf_counter()
    wanted = 1 if config.mode == "deterministic" else config.threads or len(os.sched_getaffinity(0))
    with Hogwild(run, wanted) if way is None else way.make(run) as trainer:
        train_epochs(run, trainer, progress, saved, SubwordRun.heldout_loss)
    finished = time.perf_counter()
    check_vectors(run.model, config)
    return SubwordTraining(
        vectors=_vectors(words, counts, bucket_ids, run.model, config),
        context_vectors=without_padding(run.model.context_vectors, config.dim),
        epochs=progress.results,
        threads=trainer.threads,
        n_heldout_sentences=int(run.heldout.size),
        resumed_at=n_done / run.n_tokens,
        compile_seconds=compiled - started,
        train_seconds=finished - compiled,
        tokens_per_second=(progress.epoch * run.n_tokens - n_done) / (finished - compiled),
    )


def refuse_other_settings(config: SubwordConfig) -> None:
    """Refuse what the other word trainers can do and this one cannot, rather than do without it silently.

    Raises
    ------
    ConfigError : such a setting differs from its default; the message names it
    """
    for name in _NOT_FOLLOWED:
        value, default = getattr(config, name), type(config).model_fields[name].default
        if value != default:
            raise ConfigError(
                f"train.{name} is {value!r}, which training with subwords cannot do",
                expected=f"{default!r}",
                todo=f"leave out train.{name}, or choose another train.kind",
            )


def _vectors(
    words: Sequence[str],
    counts: npt.NDArray[np.int64],
    bucket_ids: npt.NDArray[np.int32],
    model: WordModel,
    config: SubwordConfig,
) -> SubwordVectors:
    rows = without_padding(model.center_vectors, config.dim)
    order = np.argsort(bucket_ids)
    return SubwordVectors(
        WordVectors(words, rows[: counts.size], counts),
        bucket_ids[order],
        rows[counts.size :][order],
        min_n=config.min_n,
        max_n=config.max_n,
        subword_buckets=config.subword_buckets,
    )
