"""Training with subwords: the rows of words and n-grams, threads, epochs and checks around the kernels.

Only the buckets that an n-gram of the vocabulary falls into get a row. They lie in the order in which the vocabulary,
frequent words first, asks for them: the rows of frequent words are neighbours in memory, and so are those of one rare
word. Threads, chunks and random streams are as in ``vecmill.words.trainer``.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import ConfigError, TrainingDiverged, VocabularyError
from vecmill.kernels.sampling import Sampler, make_sampler
from vecmill.kernels.sigmoid import SigmoidTable, sigmoid_table
from vecmill.kernels.subword_cbow import train_subword_cbow
from vecmill.kernels.subword_rows import SubwordRows, SubwordWorkspace, make_subword_workspace
from vecmill.kernels.subword_skipgram import train_subword_skipgram
from vecmill.progress import Bar, track
from vecmill.vectors.subword_ngrams import ngram_table
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.corpus_check import check_corpus
from vecmill.words.model import initial_model, without_padding
from vecmill.words.schedule import learning_rate_at
from vecmill.words.subword_config import SubwordCbowConfig, SubwordConfig, SubwordSkipgramConfig

# Tokens of one kernel call: some 20 ms of work, so that progress and an interrupt are never far.
CHUNK_TOKENS = 1 << 14

# A window's pairs all have the same input, so their shared negatives are fewer different examples than separate ones.
# Twice as many at half the weight: after one epoch on 23 M words the loss is 2.39 instead of 2.44 a pair, at 10 to 15 %
# of the speed.
SKIPGRAM_DRAWS = 2

# First number of a SeedSequence spawn key; each purpose of randomness has a branch of its own.
_INITIAL_VECTORS, _EPOCH = 0, 1

# Settings of NegativeSamplingConfig that this trainer follows, and those that change nothing here: how a deterministic
# training is shared by threads (here it has one), and when it is saved midway (here it is not).
_FOLLOWED = frozenset(
    {
        *("dim", "window", "dynamic_window", "negative_samples", "negative_exponent", "sample", "learning_rate"),
        *("min_learning_rate", "schedule", "epochs", "mode", "threads", "kind"),
        *("min_n", "max_n", "subword_buckets", "subword_gradient"),
    }
)
_WITHOUT_EFFECT = frozenset({"round_shards", "shard_tokens", "checkpoint_minutes", "checkpoint_epochs"})


@dataclass(frozen=True)
class SubwordEpoch:
    """What one pass over the corpus came to: mean loss a pair, number of pairs, learning rate at its end."""

    loss: float
    n_pairs: int
    learning_rate: float


@dataclass(frozen=True)
class SubwordTraining:
    """A finished training.

    Attributes
    ----------
    vectors : rows of the words and of the buckets in use
    context_vectors : float32[n_words, dim]
    epochs : one result for each pass
    threads : number of threads that worked
    compile_seconds, train_seconds : wall time of the kernel's compilation, and of the epochs without it
    """

    vectors: SubwordVectors
    context_vectors: npt.NDArray[np.float32]
    epochs: list[SubwordEpoch]
    threads: int
    compile_seconds: float
    train_seconds: float


def train_subword_vectors(
    token_ids: npt.NDArray[np.int32],
    sentence_offsets: npt.NDArray[np.int64],
    words: Sequence[str],
    counts: npt.NDArray[np.int64],
    config: SubwordSkipgramConfig | SubwordCbowConfig,
    *,
    seed: int,
) -> SubwordTraining:
    """Train skip-gram or CBOW vectors of words and n-grams.

    In ``deterministic`` mode one thread works, whatever ``threads`` says.

    Parameters
    ----------
    token_ids : int32[n_tokens], C-contiguous, each in [0, n_words); may be a mapped file, is never copied
    sentence_offsets : int64[n_sentences + 1]; sentence s is token_ids[offsets[s]:offsets[s + 1]], of any length
    words, counts : n words and int64[n_words], how often each occurs
    seed : integer >= 0

    Raises
    ------
    ConfigError : a setting of the other word trainers that this one does not follow
    FormatError, VocabularyError : see :func:`~vecmill.words.corpus_check.check_corpus`
    VocabularyError : an epoch had no pair to learn from
    TrainingDiverged : the loss or a vector became NaN or infinite
    """
    refuse_other_settings(config)
    # np.asarray: a numpy.memmap becomes a plain array over the same mapped file
    token_ids, sentence_offsets = np.asarray(token_ids), np.asarray(sentence_offsets)
    check_corpus(token_ids, sentence_offsets, counts)
    subwords, bucket_ids = subword_rows(words, config)
    # Twice as many context vectors as needed, or more: zeros that are never touched take no memory.
    model = initial_model(
        counts.size + bucket_ids.size, config.dim, np.random.default_rng(_random(seed, _INITIAL_VECTORS))
    )
    run = _Run(
        token_ids=token_ids,
        sentence_offsets=sentence_offsets,
        subwords=subwords,
        sampler=make_sampler(counts, sample=config.sample, negative_exponent=config.negative_exponent),
        input_vectors=model.center_vectors,
        context_vectors=model.context_vectors[: counts.size],
        config=config,
        seed=seed,
    )
    threads = _thread_count(config, token_ids.size)
    workspaces = [run.workspace() for _ in range(threads)]
    started = time.perf_counter()
    run.train_chunk(workspaces[0], 0, 0, (0.0, 0.0), _epoch_keys(seed, 0))
    compiled = time.perf_counter()
    with track("training word vectors", total=config.epochs * token_ids.size, unit="tokens") as bar:
        epochs = _train_epochs(run, workspaces, bar)
    finished = time.perf_counter()
    for name in ("input_vectors", "context_vectors"):
        _check_finite(name, getattr(run, name), config)
    rows = without_padding(run.input_vectors, config.dim)
    order = np.argsort(bucket_ids)
    vectors = SubwordVectors(
        WordVectors(words, rows[: counts.size], counts),
        bucket_ids[order],
        rows[counts.size :][order],
        min_n=config.min_n,
        max_n=config.max_n,
        subword_buckets=config.subword_buckets,
    )
    context_vectors = without_padding(run.context_vectors, config.dim)
    return SubwordTraining(vectors, context_vectors, epochs, threads, compiled - started, finished - compiled)


def subword_rows(words: Sequence[str], config: SubwordConfig) -> tuple[SubwordRows, npt.NDArray[np.int32]]:
    """The rows of every word, its own (row w) and those of its n-grams, and the bucket of each n-gram row.

    Returns
    -------
    subwords : rows [0, n_words) are the words', the others stand for ``bucket_ids``, in the order of first use
    bucket_ids : int32[n_used], different
    """
    table = ngram_table(words, min_n=config.min_n, max_n=config.max_n, subword_buckets=config.subword_buckets)
    used, first_use, place = np.unique(table.buckets, return_index=True, return_inverse=True)
    order = np.argsort(first_use)
    row_of = np.empty(used.size, np.int64)
    row_of[order] = np.arange(len(words), len(words) + used.size)
    offsets = table.offsets + np.arange(len(words) + 1)
    rows = np.empty(int(offsets[-1]), np.int32)
    is_own = np.zeros(rows.size, bool)
    is_own[offsets[:-1]] = True
    rows[is_own] = np.arange(len(words))
    rows[~is_own] = row_of[place]
    return SubwordRows(offsets, rows), used[order]


def refuse_other_settings(config: SubwordConfig) -> None:
    """Refuse what the other word trainers can do and this one cannot, rather than do without it silently.

    Raises
    ------
    ConfigError : such a setting differs from its default; the message names it
    """
    for name, setting in type(config).model_fields.items():
        value = getattr(config, name)
        default = setting.get_default(call_default_factory=True)
        if name not in _FOLLOWED | _WITHOUT_EFFECT and value != default:
            raise ConfigError(
                f"train.{name} is {value!r}, which training with subwords cannot do",
                expected=f"{default!r}",
                todo=f"leave out train.{name}, or choose another train.kind",
            )


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
    subwords: SubwordRows
    sampler: Sampler
    input_vectors: npt.NDArray[np.float32]
    context_vectors: npt.NDArray[np.float32]
    config: SubwordSkipgramConfig | SubwordCbowConfig
    seed: int
    table: SigmoidTable = field(default_factory=sigmoid_table)
    stop: threading.Event = field(default_factory=threading.Event)

    def workspace(self) -> SubwordWorkspace:
        return make_subword_workspace(
            chunk_tokens=min(CHUNK_TOKENS, self.token_ids.size),
            window=self.config.window,
            n_negatives=SKIPGRAM_DRAWS * self.config.negative_samples,
            row_length=self.input_vectors.shape[1],
        )

    def train_chunk(
        self,
        work: SubwordWorkspace,
        first: int,
        last: int,
        learning_rates: tuple[float, float],
        keys: tuple[np.uint64, np.uint64],
    ) -> tuple[float, int]:
        """Run the kernel on positions [first, last); learning rates are those at both ends."""
        sentence = int(np.searchsorted(self.sentence_offsets, first, side="right")) - 1
        config, model = self.config, (self.input_vectors, self.context_vectors, self.subwords)
        arguments: tuple[Any, ...] = (self.token_ids, self.sentence_offsets, sentence, first, last, *model)
        arguments += (self.sampler, self.table, work, config.window, config.dynamic_window)
        ends: tuple[Any, ...] = (*learning_rates, *keys, config.subword_gradient == "exact")
        if isinstance(config, SubwordCbowConfig):
            arguments += (config.negative_samples, *ends)
            return train_subword_cbow(*arguments)
        arguments += (SKIPGRAM_DRAWS * config.negative_samples, 1 / SKIPGRAM_DRAWS, *ends)
        return train_subword_skipgram(*arguments)

    def train_slice(self, work: SubwordWorkspace, epoch: int, first: int, last: int, totals: _EpochTotals) -> None:
        """Train on positions [first, last), one thread's share of an epoch."""
        keys = _epoch_keys(self.seed, epoch)

        def learning_rate(position: int) -> float:
            return learning_rate_at(self.config, (epoch + (position - first) / (last - first)) / self.config.epochs)

        for start in range(first, last, CHUNK_TOKENS):
            if self.stop.is_set():
                return
            stop = min(start + CHUNK_TOKENS, last)
            rates = learning_rate(start), learning_rate(stop)
            loss, n_pairs = self.train_chunk(work, start, stop, rates, keys)
            if not math.isfinite(loss):
                self.stop.set()
                place = f"epoch {epoch + 1} of {self.config.epochs}, between tokens {start:,} and {stop:,}"
                raise _diverged(self.config, f"the loss became {loss} in {place}, at learning rate {rates[0]:.6g}")
            totals.add(loss, n_pairs, stop - start)


def _train_epochs(run: _Run, workspaces: list[SubwordWorkspace], bar: Bar) -> list[SubwordEpoch]:
    config, n_tokens, threads = run.config, run.token_ids.size, len(workspaces)
    cuts = [n_tokens * i // threads for i in range(threads + 1)]
    results = []
    with ThreadPoolExecutor(threads, thread_name_prefix="subwords") as pool:
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
            results.append(SubwordEpoch(totals.loss / totals.n_pairs, totals.n_pairs, rate))
    return results


def _random(seed: int, *branch: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=branch)


def _epoch_keys(seed: int, epoch: int) -> tuple[np.uint64, np.uint64]:
    """Keys of an epoch's streams for sub-sampling and for windows and negatives."""
    keep, draw = _random(seed, _EPOCH, epoch).generate_state(2, np.uint64)
    return keep, draw


def _thread_count(config: SubwordConfig, n_tokens: int) -> int:
    if config.mode == "deterministic":
        return 1
    wanted = config.threads or len(os.sched_getaffinity(0))
    # With less than a chunk each, threads would mostly write to the same few rows.
    return max(1, min(wanted, n_tokens // CHUNK_TOKENS))


def _check_finite(name: str, vectors: npt.NDArray[np.float32], config: SubwordConfig) -> None:
    for start in range(0, vectors.shape[0], CHUNK_TOKENS):
        finite = np.isfinite(vectors[start : start + CHUNK_TOKENS]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise _diverged(config, f"after the last epoch {name} has NaN or infinite numbers, first in row {row}")


def _diverged(config: SubwordConfig, found: str) -> TrainingDiverged:
    usual = type(config).model_fields["learning_rate"].default
    advice = (
        f"from {config.learning_rate:g} to {usual:g}"
        if config.learning_rate > usual
        else f"below {config.learning_rate:g}"
    )
    return TrainingDiverged(found, expected="finite numbers", todo=f"lower train.learning_rate {advice}")
