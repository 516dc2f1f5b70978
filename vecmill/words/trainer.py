"""Training word vectors: threads, epochs and checks around the kernels.

The corpus is cut into as many slices as there are threads, each slice into chunks of tokens. A thread takes its slice
chunk by chunk; between two chunks it reports progress and looks at the loss. Random draws belong to positions in the
corpus (see ``vecmill.kernels.sampling``), so every thread has its own and none depends on the cut.
"""

from __future__ import annotations

import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import TrainingDiverged, VocabularyError
from vecmill.kernels.cbow import train_cbow
from vecmill.kernels.negative_sampling import Workspace, make_workspace
from vecmill.kernels.sampling import Sampler, make_sampler
from vecmill.kernels.sigmoid import SigmoidTable, sigmoid_table
from vecmill.kernels.skipgram import train_skipgram
from vecmill.progress import Bar, track
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.corpus_check import check_corpus
from vecmill.words.model import WordModel, initial_model, without_padding
from vecmill.words.schedule import learning_rate_at

# Tokens of one kernel call: about 20 ms of work, so that progress and an interrupt are never far, and the call is free.
CHUNK_TOKENS = 1 << 14

# First number of a SeedSequence spawn key; each purpose of randomness has a branch of its own.
_INITIAL_VECTORS, _EPOCH = 0, 1


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the corpus came to.

    Attributes
    ----------
    loss : mean over pairs of -log sigmoid of the centre word's score and of minus its negatives' scores, float64 sums
    n_pairs : (context word, centre word) pairs for skip-gram, centre words with a context for CBOW
    learning_rate : at the end of the epoch
    """

    loss: float
    n_pairs: int
    learning_rate: float


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes
    ----------
    center_vectors, context_vectors : float32[n_words, dim]; the first are the word vectors
    epochs : one result for each pass
    threads : number of threads that worked
    compile_seconds, train_seconds : wall time of the kernel's compilation, and of the epochs without it
    """

    center_vectors: npt.NDArray[np.float32]
    context_vectors: npt.NDArray[np.float32]
    epochs: list[EpochResult]
    threads: int
    compile_seconds: float
    train_seconds: float


def train_vectors(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    config: SkipgramConfig | CbowConfig,
    *,
    seed: int,
) -> Training:
    """Train skip-gram or CBOW vectors with negative sampling.

    Parameters
    ----------
    token_ids : int32[n_tokens], C-contiguous, each in [0, n_words); may be a mapped file, is never copied
    sentence_offsets : int64[n_sentences + 1]; sentence s is token_ids[offsets[s]:offsets[s + 1]], of any length
    counts : int64[n_words], how often each word occurs; decides sub-sampling and negatives
    seed : integer >= 0

    Raises
    ------
    FormatError, VocabularyError : see :func:`~vecmill.words.corpus_check.check_corpus`
    VocabularyError : an epoch had no pair to learn from
    TrainingDiverged : the loss or a vector became NaN or infinite
    """
    # np.asarray: a numpy.memmap becomes a plain array over the same mapped file
    token_ids, sentence_offsets = np.asarray(token_ids), np.asarray(sentence_offsets)
    check_corpus(token_ids, sentence_offsets, counts)
    run = _Run(
        token_ids=token_ids,
        sentence_offsets=sentence_offsets,
        sampler=make_sampler(counts, sample=config.sample, negative_exponent=config.negative_exponent),
        model=initial_model(counts.size, config.dim, np.random.default_rng(_random(seed, _INITIAL_VECTORS))),
        config=config,
        seed=seed,
    )
    threads = _thread_count(config, token_ids.size)
    workspaces = [run.workspace() for _ in range(threads)]
    started = time.perf_counter()
    run.train_chunk(workspaces[0], _Chunk(sentence=0, first=0, last=0), (0.0, 0.0), _EpochKeys.of(seed, 0))
    compiled = time.perf_counter()
    with track("training word vectors", total=config.epochs * token_ids.size, unit="tokens") as bar:
        epochs = _train_epochs(run, workspaces, bar)
    finished = time.perf_counter()
    _check_vectors(run.model, config)
    return Training(
        center_vectors=without_padding(run.model.center_vectors, config.dim),
        context_vectors=without_padding(run.model.context_vectors, config.dim),
        epochs=epochs,
        threads=threads,
        compile_seconds=compiled - started,
        train_seconds=finished - compiled,
    )


@dataclass(frozen=True)
class _Chunk:
    """Centre words of one kernel call: positions [first, last), the first of them in ``sentence``."""

    sentence: int
    first: int
    last: int


@dataclass(frozen=True)
class _EpochKeys:
    """Keys of an epoch's two random streams, uint64."""

    keep: np.uint64
    draw: np.uint64

    @classmethod
    def of(cls, seed: int, epoch: int) -> _EpochKeys:
        return cls(*_random(seed, _EPOCH, epoch).generate_state(2, np.uint64))


@dataclass
class _EpochTotals:
    """Running totals of an epoch, fed by all threads."""

    bar: Bar
    label: str
    loss: float = 0.0
    n_pairs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, loss: float, n_pairs: int, n_tokens: int) -> None:
        with self.lock:
            self.loss += loss
            self.n_pairs += n_pairs
            self.bar.advance(n_tokens)
            if self.n_pairs:
                self.bar.note(f"{self.label}, loss {self.loss / self.n_pairs:.4f}")


@dataclass
class _Run:
    """One training in progress: what all threads of all epochs share."""

    token_ids: npt.NDArray[np.int32]
    sentence_offsets: npt.NDArray[np.int64]
    sampler: Sampler
    model: WordModel
    config: SkipgramConfig | CbowConfig
    seed: int
    table: SigmoidTable = field(default_factory=sigmoid_table)
    stop: threading.Event = field(default_factory=threading.Event)

    def workspace(self) -> Workspace:
        return make_workspace(
            chunk_tokens=min(CHUNK_TOKENS, self.token_ids.size),
            window=self.config.window,
            n_negatives=self.config.negative_samples,
            row_length=self.model.center_vectors.shape[1],
        )

    def train_chunk(
        self, work: Workspace, chunk: _Chunk, learning_rates: tuple[float, float], keys: _EpochKeys
    ) -> tuple[float, int]:
        """Run the kernel; learning rates are those at the first and at the last token of the chunk."""
        arguments: tuple[Any, ...] = (
            self.token_ids,
            self.sentence_offsets,
            chunk.sentence,
            chunk.first,
            chunk.last,
            self.model.center_vectors,
            self.model.context_vectors,
            self.sampler,
            self.table,
            work,
            self.config.window,
            self.config.dynamic_window,
            self.config.negative_samples,
            *learning_rates,
            keys.keep,
            keys.draw,
        )
        if isinstance(self.config, CbowConfig):
            arguments = (*arguments, self.config.cbow_gradient == "exact")
            return train_cbow(*arguments)
        return train_skipgram(*arguments)

    def train_slice(self, work: Workspace, epoch: int, first: int, last: int, totals: _EpochTotals) -> None:
        """Train on positions [first, last), one thread's share of an epoch.

        The learning rate follows this thread's own progress, which is everyone's as long as threads keep step.
        """
        keys = _EpochKeys.of(self.seed, epoch)

        def learning_rate(position: int) -> float:
            return learning_rate_at(self.config, (epoch + (position - first) / (last - first)) / self.config.epochs)

        for start in range(first, last, CHUNK_TOKENS):
            if self.stop.is_set():
                return
            stop = min(start + CHUNK_TOKENS, last)
            sentence = int(np.searchsorted(self.sentence_offsets, start, side="right")) - 1
            rates = learning_rate(start), learning_rate(stop)
            loss, n_pairs = self.train_chunk(work, _Chunk(sentence, start, stop), rates, keys)
            if not math.isfinite(loss):
                self.stop.set()
                place = f"epoch {epoch + 1} of {self.config.epochs}, between tokens {start:,} and {stop:,}"
                raise _diverged(self.config, f"the loss became {loss} in {place}, at learning rate {rates[0]:.6g}")
            totals.add(loss, n_pairs, stop - start)


def _train_epochs(run: _Run, workspaces: list[Workspace], bar: Bar) -> list[EpochResult]:
    config, n_tokens, threads = run.config, run.token_ids.size, len(workspaces)
    cuts = [n_tokens * i // threads for i in range(threads + 1)]
    results = []
    with ThreadPoolExecutor(threads, thread_name_prefix="words") as pool:
        for epoch in range(config.epochs):
            totals = _EpochTotals(bar, f"epoch {epoch + 1}/{config.epochs}")
            try:
                slices = [
                    pool.submit(run.train_slice, work, epoch, cuts[i], cuts[i + 1], totals)
                    for i, work in enumerate(workspaces)
                ]
                for each in slices:
                    each.result()
            except BaseException:
                run.stop.set()  # an interrupt reaches this thread only; the others look here after each chunk
                raise
            if totals.n_pairs == 0:
                raise VocabularyError(
                    f"epoch {epoch + 1} had no pair of neighbouring words to learn from, in {n_tokens:,} tokens and "
                    f"{run.sentence_offsets.size - 1:,} sentences with train.sample = {config.sample:g}",
                    expected="sentences with at least two words left after sub-sampling",
                    todo="raise train.sample (0 turns it off), lower vocabulary.min_count, or give a larger corpus",
                )
            rate = learning_rate_at(config, (epoch + 1) / config.epochs)
            results.append(EpochResult(totals.loss / totals.n_pairs, totals.n_pairs, rate))
    return results


def _random(seed: int, *branch: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=branch)


def _thread_count(config: SkipgramConfig | CbowConfig, n_tokens: int) -> int:
    if config.mode == "deterministic":
        return 1
    wanted = config.threads or len(os.sched_getaffinity(0))
    # With less than a chunk each, threads would mostly write to the same few rows.
    return max(1, min(wanted, n_tokens // CHUNK_TOKENS))


def _check_vectors(model: WordModel, config: SkipgramConfig | CbowConfig) -> None:
    for name in ("center_vectors", "context_vectors"):
        vectors = getattr(model, name)
        for start in range(0, vectors.shape[0], CHUNK_TOKENS):
            finite = np.isfinite(vectors[start : start + CHUNK_TOKENS]).all(axis=1)
            if not finite.all():
                row = start + int(np.argmin(finite))
                raise _diverged(config, f"after the last epoch {name} has NaN or infinite numbers, first in row {row}")


def _diverged(config: SkipgramConfig | CbowConfig, found: str) -> TrainingDiverged:
    usual = type(config).model_fields["learning_rate"].default
    advice = (
        f"from {config.learning_rate:g} to {usual:g}"
        if config.learning_rate > usual
        else f"below {config.learning_rate:g}"
    )
    return TrainingDiverged(found, expected="finite numbers", todo=f"lower train.learning_rate {advice}")
