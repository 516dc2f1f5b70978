"""Training GloVe: counting, threads and epochs around the kernels."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vecmill.errors import TrainingDiverged, VocabularyError
from vecmill.kernels.cooccurrence import PAIR
from vecmill.kernels.glove import train_glove
from vecmill.progress import Bar, track
from vecmill.words.corpus_check import check_corpus
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_counts import PairCounting
from vecmill.words.glove_model import GloveModel, initial_glove, vectors_of
from vecmill.words.glove_pairs import ShuffledPairs, shuffle_pairs

_CHECK_ROWS = 1 << 14

# First number of a SeedSequence spawn key; each purpose of randomness has a branch of its own.
_INITIAL_VECTORS, _EPOCH, _SHUFFLE = 0, 1, 2


@dataclass(frozen=True)
class GloveEpoch:
    """What one pass over the counted pairs came to: mean loss of a pair (a term of J) and number of pairs."""

    loss: float
    n_pairs: int


@dataclass(frozen=True)
class GloveTraining:
    """A finished training.

    Attributes
    ----------
    word_vectors, context_vectors : float32[n_words, dim]; the first are center vectors, plus the second if so asked
    epochs : one result for each pass
    threads : number of threads that trained
    count_seconds, compile_seconds, train_seconds : wall time of counting and shuffling, of the training kernel's
        compilation, and of the epochs without it
    """

    word_vectors: npt.NDArray[np.float32]
    context_vectors: npt.NDArray[np.float32]
    epochs: list[GloveEpoch]
    threads: int
    count_seconds: float
    compile_seconds: float
    train_seconds: float


def train_glove_vectors(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    config: GloveConfig,
    *,
    seed: int,
    folder: Path,
) -> GloveTraining:
    """Count word pairs and train GloVe vectors on them.

    Parameters
    ----------
    token_ids : int32[n_tokens], C-contiguous, each in [0, n_words); may be a mapped file, is never copied
    sentence_offsets : int64[n_sentences + 1]; sentence s is token_ids[offsets[s]:offsets[s + 1]], of any length
    counts : int64[n_words], how often each word occurs; only their number and signs matter
    seed : integer >= 0
    folder : for temporary files, 24 bytes for each different pair and more where counts do not fit in memory; the
        caller removes them

    Raises
    ------
    FormatError, VocabularyError : see :func:`~vecmill.words.corpus_check.check_corpus`
    VocabularyError : no word stands near another
    TrainingDiverged : the loss or a vector became NaN or infinite
    """
    # np.asarray: a numpy.memmap becomes a plain array over the same mapped file
    token_ids, sentence_offsets = np.asarray(token_ids), np.asarray(sentence_offsets)
    check_corpus(token_ids, sentence_offsets, counts)
    started = time.perf_counter()
    pairs = count_and_shuffle(token_ids, sentence_offsets, counts.size, config, seed=seed, folder=folder)
    counted = time.perf_counter()
    rng = np.random.default_rng(_random(seed, _INITIAL_VECTORS))
    model = initial_glove(counts.size, config.dim, config.learning_rate, rng)
    run = _Run(pairs, model, config, seed, threads=_thread_count(config, pairs))
    begun = time.perf_counter()
    run.train_chunk(np.empty(0, PAIR))
    compiled = time.perf_counter()
    epochs = run.train()
    finished = time.perf_counter()
    center, context = (_vectors(model, side, config) for side in ("center", "context"))
    if config.combine == "sum":
        center += context
    return GloveTraining(
        word_vectors=center,
        context_vectors=context,
        epochs=epochs,
        threads=run.threads,
        count_seconds=counted - started,
        compile_seconds=compiled - begun,
        train_seconds=finished - compiled,
    )


def count_and_shuffle(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    n_words: int,
    config: GloveConfig,
    *,
    seed: int,
    folder: Path,
) -> ShuffledPairs:
    """Count the pairs of a checked corpus into a file of ``folder``, in random order.

    The file is the same bytes whatever ``threads`` and ``memory_bytes`` are.

    Raises
    ------
    VocabularyError : no word stands near another
    """
    counting = PairCounting(
        token_ids=token_ids,
        sentence_offsets=sentence_offsets,
        n_words=n_words,
        window=config.window,
        symmetric=config.symmetric,
        threads=_threads(config),
        memory_bytes=config.memory_bytes,
        folder=folder,
    )
    key = _random(seed, _SHUFFLE).generate_state(1, np.uint64)[0]
    pairs = shuffle_pairs(counting.pairs(), folder, key=key, memory_bytes=config.memory_bytes)
    if pairs.n_pairs == 0:
        raise VocabularyError(
            f"there is no pair of neighbouring words to learn from, in {token_ids.size:,} tokens and "
            f"{sentence_offsets.size - 1:,} sentences",
            expected="sentences with at least two words of the vocabulary",
            todo="lower vocabulary.min_count, or give a larger corpus",
        )
    return pairs


@dataclass
class _EpochTotals:
    """Running totals of an epoch, fed by all threads."""

    bar: Bar
    label: str
    loss: float = 0.0
    n_pairs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, loss: float, n_pairs: int, n_records: int) -> None:
        with self.lock:
            self.loss += loss
            self.n_pairs += n_pairs
            self.bar.advance(n_records)
            if self.n_pairs:
                self.bar.note(f"{self.label}, loss {self.loss / self.n_pairs:.4f}")


@dataclass
class _Run:
    """One training in progress: what all threads of all epochs share."""

    pairs: ShuffledPairs
    model: GloveModel
    config: GloveConfig
    seed: int
    threads: int
    stop: threading.Event = field(default_factory=threading.Event)

    def train(self) -> list[GloveEpoch]:
        results = []
        total = self.config.epochs * self.pairs.n_pairs
        with (
            track("training word vectors", total=total, unit="pairs") as bar,
            ThreadPoolExecutor(self.threads, thread_name_prefix="glove") as pool,
        ):
            for epoch in range(self.config.epochs):
                totals = _EpochTotals(bar, f"epoch {epoch + 1}/{self.config.epochs}")
                chunks: queue.SimpleQueue[int] = queue.SimpleQueue()
                for chunk in np.random.default_rng(_random(self.seed, _EPOCH, epoch)).permutation(self.pairs.n_chunks):
                    chunks.put(int(chunk))
                try:
                    workers = [pool.submit(self.train_chunks, epoch, chunks, totals) for _ in range(self.threads)]
                    for each in workers:
                        each.result()
                except BaseException:
                    self.stop.set()  # an interrupt reaches this thread only; the others look here after each chunk
                    raise
                results.append(GloveEpoch(totals.loss / totals.n_pairs, totals.n_pairs))
        return results

    def train_chunks(self, epoch: int, chunks: queue.SimpleQueue[int], totals: _EpochTotals) -> None:
        """Train on chunks until none is left, or another thread has failed."""
        while not self.stop.is_set():
            try:
                chunk = chunks.get_nowait()
            except queue.Empty:
                return
            pairs = self.pairs.read(chunk)
            loss, n_pairs = self.train_chunk(pairs)
            if not math.isfinite(loss):
                self.stop.set()
                raise _diverged(self.config, f"the loss became {loss} in epoch {epoch + 1} of {self.config.epochs}")
            totals.add(loss, n_pairs, pairs.size)

    def train_chunk(self, pairs: npt.NDArray[np.void]) -> tuple[float, int]:
        config = self.config
        return train_glove(pairs, self.model.center, self.model.context, config.x_max, config.alpha, config.symmetric)


def _random(seed: int, *branch: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=branch)


def _threads(config: GloveConfig) -> int:
    return config.threads or len(os.sched_getaffinity(0))


def _thread_count(config: GloveConfig, pairs: ShuffledPairs) -> int:
    # Threads with little to do would mostly write to the same few rows.
    return 1 if config.mode == "deterministic" else max(1, min(_threads(config), pairs.n_pairs // (1 << 14)))


def _vectors(model: GloveModel, side: str, config: GloveConfig) -> npt.NDArray[np.float32]:
    numbers = getattr(model, side)
    for start in range(0, numbers.shape[0], _CHECK_ROWS):
        finite = np.isfinite(numbers[start : start + _CHECK_ROWS, 0]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise _diverged(
                config, f"after the last epoch {side}_vectors has NaN or infinite numbers, first in row {row}"
            )
    return vectors_of(numbers, config.dim)


def _diverged(config: GloveConfig, found: str) -> TrainingDiverged:
    usual = GloveConfig.model_fields["learning_rate"].default
    advice = (
        f"from {config.learning_rate:g} to {usual:g}"
        if config.learning_rate > usual
        else f"below {config.learning_rate:g}"
    )
    return TrainingDiverged(found, expected="finite numbers", todo=f"lower train.learning_rate {advice}")
