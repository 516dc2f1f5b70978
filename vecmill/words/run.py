"""What all threads and epochs of one training share, and one chunk of its work."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import TrainingDiverged
from vecmill.kernels.cbow import train_cbow
from vecmill.kernels.negative_sampling import Workspace, make_workspace
from vecmill.kernels.row_exchange import settle_rows
from vecmill.kernels.sampling import Sampler
from vecmill.kernels.sigmoid import SigmoidTable, sigmoid_table
from vecmill.kernels.skipgram import train_skipgram
from vecmill.progress import Bar
from vecmill.words.config import CbowConfig, WordTrainerConfig
from vecmill.words.model import WordModel

# Tokens of one kernel call: about 20 ms of work, so that progress and an interrupt are never far, and the call is free.
CHUNK_TOKENS = 1 << 14

# First number of a SeedSequence spawn key; each purpose of randomness has a branch of its own.
INITIAL_VECTORS, EPOCH, HELDOUT, POOLS = 0, 1, 2, 3


def random_branch(seed: int, *branch: int) -> np.random.SeedSequence:
    """The random stream of one purpose."""
    return np.random.SeedSequence(seed, spawn_key=branch)


@dataclass(frozen=True)
class StreamKeys:
    """Keys of the two random streams of an epoch or of the held-out loss, uint64."""

    keep: np.uint64
    draw: np.uint64

    @classmethod
    def of(cls, seed: int, *branch: int) -> StreamKeys:
        return cls(*random_branch(seed, *branch).generate_state(2, np.uint64))


@dataclass
class Totals:
    """Running sums of an epoch, fed by all threads."""

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
class TrainingRun:
    """One training in progress.

    Attributes
    ----------
    token_ids, sentence_offsets : the corpus, see :func:`~vecmill.words.trainer.train_vectors`
    counts : int64[n_words], how often each word occurs
    sampler : sub-sampling and negatives of its vocabulary
    model : the vectors that come out in the end
    heldout : int64[n], rising: the sentences that are not trained on
    stop : set when the training has failed or was interrupted; threads look at it after each chunk
    """

    token_ids: npt.NDArray[np.int32]
    sentence_offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    sampler: Sampler
    model: WordModel
    config: WordTrainerConfig
    seed: int
    heldout: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    table: SigmoidTable = field(default_factory=sigmoid_table)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def n_tokens(self) -> int:
        return int(self.token_ids.size)

    def workspace(self) -> Workspace:
        """Memory for one thread."""
        return make_workspace(
            chunk_tokens=min(CHUNK_TOKENS, self.n_tokens),
            window=self.config.window,
            n_negatives=self.config.negative_samples,
            row_length=self.model.center_vectors.shape[1],
        )

    def spans(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """(sentence, first, last) of what is trained on in the positions [first, last): all but held-out sentences."""
        offsets, heldout = self.sentence_offsets, self.heldout
        sentence = int(np.searchsorted(offsets, first, side="right")) - 1
        for skipped in heldout[np.searchsorted(heldout, sentence) :]:
            if offsets[skipped] >= last:
                break
            if first < offsets[skipped]:
                yield sentence, first, int(offsets[skipped])
            sentence, first = int(skipped) + 1, int(offsets[skipped + 1])
        if first < last:
            yield sentence, first, last

    def train_chunk(
        self,
        model: WordModel,
        work: Workspace,
        first: int,
        last: int,
        learning_rates: tuple[float, float],
        keys: StreamKeys,
        epoch: int,
    ) -> tuple[float, int]:
        """Train ``model`` on the positions [first, last), at most ``CHUNK_TOKENS`` of them.

        Parameters
        ----------
        learning_rates : at ``first`` and at ``last``

        Returns
        -------
        loss, n_pairs : sums over pairs

        Raises
        ------
        TrainingDiverged : the loss is not finite
        """
        loss, n_pairs = 0.0, 0
        start_rate, end_rate = learning_rates
        slope = (end_rate - start_rate) / max(last - first, 1)
        for sentence, start, end in self.spans(first, last):
            # the rates themselves where nothing is held out: a rate worked out again could be off by a rounding
            at_start = start_rate if start == first else start_rate + slope * (start - first)
            at_end = end_rate if end == last else start_rate + slope * (end - first)
            span_loss, span_pairs = self.call_kernel(model, work, sentence, start, end, (at_start, at_end), keys)
            loss, n_pairs = loss + span_loss, n_pairs + span_pairs
        if not math.isfinite(loss):
            self.stop.set()
            place = f"epoch {epoch + 1} of {self.config.epochs}, between tokens {first:,} and {last:,}"
            raise diverged(self.config, f"the loss became {loss} in {place}, at learning rate {start_rate:.6g}")
        return loss, n_pairs

    def compile_kernel(self) -> None:
        """Call the kernels on nothing, so that they are compiled."""
        self.call_kernel(self.model, self.workspace(), 0, 0, 0, (0.0, 0.0), StreamKeys.of(self.seed, EPOCH, 0))
        if self.config.threads != 1:
            nothing = np.empty((0, self.model.context_vectors.shape[1]), np.float32)
            settle_rows(nothing, nothing, nothing, np.empty(0), 0.0, 0)

    def call_kernel(
        self,
        model: WordModel,
        work: Workspace,
        sentence: int,
        first: int,
        last: int,
        learning_rates: tuple[float, float],
        keys: StreamKeys,
    ) -> tuple[float, int]:
        """The training kernel on positions of ``token_ids`` as they stand, held-out sentences included."""
        arguments: tuple[Any, ...] = (
            self.token_ids,
            self.sentence_offsets,
            sentence,
            first,
            last,
            model.center_vectors,
            model.context_vectors,
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
        limits = (self.config.l2, self.config.gradient_clip)
        if isinstance(self.config, CbowConfig):
            arguments = (*arguments, self.config.cbow_gradient == "exact", *limits)
            return train_cbow(*arguments)
        arguments = (*arguments, *limits)
        return train_skipgram(*arguments)


def check_vectors(model: WordModel, config: WordTrainerConfig) -> None:
    """Refuse a finished model with NaN or infinite numbers."""
    for name in ("center_vectors", "context_vectors"):
        vectors = getattr(model, name)
        for start in range(0, vectors.shape[0], CHUNK_TOKENS):
            finite = np.isfinite(vectors[start : start + CHUNK_TOKENS]).all(axis=1)
            if not finite.all():
                row = start + int(np.argmin(finite))
                raise diverged(config, f"after the last epoch {name} has NaN or infinite numbers, first in row {row}")


def diverged(config: WordTrainerConfig, found: str) -> TrainingDiverged:
    """The error that tells by how much to lower the learning rate."""
    usual = type(config).model_fields["learning_rate"].default
    advice = (
        f"from {config.learning_rate:g} to {usual:g}"
        if config.learning_rate > usual
        else f"below {config.learning_rate:g}"
    )
    return TrainingDiverged(found, expected="finite numbers", todo=f"lower train.learning_rate {advice}")
