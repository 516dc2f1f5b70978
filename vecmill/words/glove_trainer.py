"""Training GloVe: counting, threads, epochs and checkpoints around the kernels.

What is a token position to skip-gram's checkpoints is a chunk of pairs here: threads take the chunks of an epoch in
its random order and finish what they took, so a number says which of them are done.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import TrainingDiverged, VocabularyError
from vecmill.kernels.cooccurrence import PAIR, put_in_random_order
from vecmill.kernels.glove import train_glove
from vecmill.progress import Bar, track
from vecmill.words.checkpoint import Checkpoints, training_digest
from vecmill.words.corpus_check import check_corpus
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_counts import PairCounting
from vecmill.words.glove_model import GloveModel, initial_glove, vectors_of
from vecmill.words.glove_pairs import ShuffledPairs, kept_pairs, shuffle_pairs
from vecmill.words.progress_state import EpochResult, Progress, epochs_without_improvement

_CHECK_ROWS = 1 << 14

# First number of a SeedSequence spawn key; each purpose of randomness has a branch of its own.
_INITIAL_VECTORS, _EPOCH, _SHUFFLE, _CHUNK = 0, 1, 2, 3


@dataclass(frozen=True)
class GloveTraining:
    """A finished training.

    Attributes
    ----------
    word_vectors, context_vectors : float32[n_words, dim]; the first are center vectors, plus the second if so asked
    epochs : one result for each pass: mean loss of a pair (a term of J), number of pairs, AdaGrad's rate
    threads : number of threads that trained
    resumed_at : epochs that were done, with fractions, in the checkpoint that training went on from; 0 without one
    count_seconds, compile_seconds, train_seconds : wall time of counting and shuffling (or of finding what was
        counted), of the training kernel's compilation, and of this process's epochs without it
    updates_per_second : steps that this process took in ``train_seconds``
    """

    word_vectors: npt.NDArray[np.float32]
    context_vectors: npt.NDArray[np.float32]
    epochs: list[EpochResult]
    threads: int
    resumed_at: float
    count_seconds: float
    compile_seconds: float
    train_seconds: float
    updates_per_second: float


def train_glove_vectors(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    config: GloveConfig,
    *,
    seed: int,
    folder: Path,
    checkpoints: Path | None = None,
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
    checkpoints : folder for checkpoints and, instead of ``folder``, for the counted pairs; where it holds those of this
        training, training goes on from there. A training on one thread, as each in deterministic mode, then ends in
        the bytes of an unbroken one

    Raises
    ------
    FormatError, VocabularyError : see :func:`~vecmill.words.corpus_check.check_corpus`
    VocabularyError : no word stands near another
    TrainingDiverged : the loss or a vector became NaN or infinite
    """
    # np.asarray: a numpy.memmap becomes a plain array over the same mapped file
    token_ids, sentence_offsets = np.asarray(token_ids), np.asarray(sentence_offsets)
    check_corpus(token_ids, sentence_offsets, counts)
    training = ""
    if checkpoints is not None:
        arrays: dict[str, npt.NDArray[Any]] = {
            "token_ids": token_ids,
            "sentence_offsets": sentence_offsets,
            "counts": counts,
        }
        training = training_digest(config, seed, arrays)

    def count(folder: Path) -> ShuffledPairs:
        return count_and_shuffle(token_ids, sentence_offsets, counts.size, config, seed=seed, folder=folder)

    started = time.perf_counter()
    pairs = count(folder) if checkpoints is None else kept_pairs(count, checkpoints, training)
    counted = time.perf_counter()
    rng = np.random.default_rng(_random(seed, _INITIAL_VECTORS))
    model = initial_glove(
        counts.size, config.dim, config.learning_rate, rng, bias_learning_rate=config.bias_learning_rate
    )
    saved = Checkpoints(checkpoints, training, minutes=config.checkpoint_minutes, epochs=config.checkpoint_epochs)
    progress = saved.load(model) or Progress()
    run = _Run(pairs, model, config, seed, threads=_thread_count(config, pairs))
    resumed_at = progress.epoch + progress.n_tokens_done / pairs.n_chunks
    begun = time.perf_counter()
    run.train_chunk(np.empty(0, PAIR), np.uint64(0))
    compiled = time.perf_counter()
    run.train(progress, saved)
    finished = time.perf_counter()
    center, context = (_vectors(model, side, config) for side in ("center", "context"))
    if config.combine == "sum":
        center += context
    return GloveTraining(
        word_vectors=center,
        context_vectors=context,
        epochs=progress.results,
        threads=run.threads,
        resumed_at=resumed_at,
        count_seconds=counted - started,
        compile_seconds=compiled - begun,
        train_seconds=finished - compiled,
        updates_per_second=run.n_updates / (finished - compiled),
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
    key = _key(seed, _SHUFFLE)
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
    """One training in progress: what all threads of all epochs share.

    Attributes
    ----------
    n_updates : steps that this process has taken
    stop : set when the training has failed or was interrupted; threads look at it after each chunk
    """

    pairs: ShuffledPairs
    model: GloveModel
    config: GloveConfig
    seed: int
    threads: int
    n_updates: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def train(self, progress: Progress, saved: Checkpoints) -> None:
        """Train from where ``progress`` stands until the last epoch, or until the loss has stopped falling."""
        n_pairs, n_epochs = self.pairs.n_pairs, self.config.epochs
        with (
            track("training word vectors", total=n_epochs * n_pairs, unit="pairs") as bar,
            ThreadPoolExecutor(self.threads, thread_name_prefix="glove") as pool,
        ):
            bar.advance(progress.epoch * n_pairs + self._pairs_done(progress))
            while progress.epoch < n_epochs and not self._stops_early(progress):
                self._advance(progress, pool, bar, saved.due)
                if not progress.in_epoch:
                    result = EpochResult(progress.loss / progress.n_pairs, progress.n_pairs, self.config.learning_rate)
                    progress.finish_epoch(result)
                    if saved.due_after_epoch(progress.epoch) or saved.due():
                        saved.save(self.model, progress)
                elif saved.due():
                    saved.save(self.model, progress)

    def chunk_order(self, epoch: int) -> list[int]:
        """The chunks in the order in which an epoch takes them."""
        order = np.random.default_rng(_random(self.seed, _EPOCH, epoch)).permutation(self.pairs.n_chunks)
        return [int(chunk) for chunk in order]

    def _pairs_done(self, progress: Progress) -> int:
        done = self.chunk_order(progress.epoch)[: progress.n_tokens_done]
        return int(np.diff(self.pairs.offsets)[done].sum())

    def _stops_early(self, progress: Progress) -> bool:
        losses = [each.loss for each in progress.results]
        patience = self.config.patience
        return patience > 0 and epochs_without_improvement(losses, self.config.min_delta) >= patience

    def _advance(self, progress: Progress, pool: ThreadPoolExecutor, bar: Bar, due: Callable[[], bool]) -> None:
        """Train until the epoch is done or ``due`` is true."""
        if not progress.cuts:
            progress.cuts, progress.positions = [0, self.pairs.n_chunks], [0]
        label = f"epoch {progress.epoch + 1}/{self.config.epochs}"
        totals = _EpochTotals(bar, label, progress.loss, progress.n_pairs)
        chunks: queue.SimpleQueue[int] = queue.SimpleQueue()
        for chunk in self.chunk_order(progress.epoch)[progress.positions[0] :]:
            chunks.put(chunk)
        try:
            workers = [pool.submit(self.train_chunks, progress.epoch, chunks, totals, due) for _ in range(self.threads)]
            for each in workers:
                each.result()
        except BaseException:
            self.stop.set()  # an interrupt reaches this thread only; the others look here after each chunk
            raise
        self.n_updates += totals.n_pairs - progress.n_pairs
        progress.positions = [self.pairs.n_chunks - chunks.qsize()]
        progress.loss, progress.n_pairs = totals.loss, totals.n_pairs

    def train_chunks(
        self, epoch: int, chunks: queue.SimpleQueue[int], totals: _EpochTotals, due: Callable[[], bool]
    ) -> None:
        """Train on chunks until none is left, ``due`` is true, or another thread has failed."""
        while not self.stop.is_set():
            try:
                chunk = chunks.get_nowait()
            except queue.Empty:
                return
            pairs = self.pairs.read(chunk)
            loss, n_pairs = self.train_chunk(pairs, _key(self.seed, _CHUNK, epoch, chunk))
            if not math.isfinite(loss):
                self.stop.set()
                raise _diverged(self.config, f"the loss became {loss} in epoch {epoch + 1} of {self.config.epochs}")
            totals.add(loss, n_pairs, pairs.size)
            if due():
                return

    def train_chunk(self, pairs: npt.NDArray[np.void], key: np.uint64) -> tuple[float, int]:
        """Train on pairs in an order that follows the key; see ``kernels.glove.train_glove``."""
        config = self.config
        put_in_random_order(pairs, key)
        return train_glove(pairs, self.model.center, self.model.context, config.x_max, config.alpha, config.symmetric)


def _random(seed: int, *branch: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=branch)


def _key(seed: int, *branch: int) -> np.uint64:
    return np.uint64(_random(seed, *branch).generate_state(1, np.uint64)[0])


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
