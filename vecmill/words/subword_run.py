"""What all threads and epochs of a training with subwords share: a training run whose inputs are words of many rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.kernels.subword_cbow import train_subword_cbow
from vecmill.kernels.subword_rows import SubwordRows, SubwordWorkspace, make_subword_rows, make_subword_workspace
from vecmill.kernels.subword_skipgram import train_subword_skipgram
from vecmill.vectors.subword_ngrams import ngram_table
from vecmill.words.heldout import mean_heldout_loss
from vecmill.words.model import WordModel
from vecmill.words.run import CHUNK_TOKENS, HELDOUT, StreamKeys, TrainingRun
from vecmill.words.subword_config import SubwordCbowConfig, SubwordConfig


@dataclass
class SubwordRun(TrainingRun):
    """One training in progress.

    Attributes (others as in ``TrainingRun``)
    ----------
    model : center_vectors are the rows of the words and, below them, of the n-grams; context_vectors those of words
    subwords : which of the rows make up each word
    """

    subwords: SubwordRows = field(kw_only=True)

    def workspace(self) -> Any:
        """Memory for one thread, a ``SubwordWorkspace``."""
        return make_subword_workspace(
            chunk_tokens=min(CHUNK_TOKENS, self.n_tokens),
            window=self.config.window,
            n_negatives=self.config.negative_samples,
            row_length=self.model.center_vectors.shape[1],
        )

    def heldout_loss(self) -> float | None:
        """Mean loss a pair of the held-out sentences as the model stands, float64; None where none are held out.

        The same pairs at each call: the training kernel goes over them at a learning rate of 0, which changes nothing.

        Raises
        ------
        VocabularyError : the held-out sentences have no pair of neighbouring words
        """
        if self.config.heldout_share == 0:
            return None
        keys, work = StreamKeys.of(self.seed, HELDOUT, 1), self.workspace()
        loss, n_pairs = 0.0, 0
        for sentence in self.heldout.tolist():
            start, end = (int(each) for each in self.sentence_offsets[sentence : sentence + 2])
            for first in range(start, end, CHUNK_TOKENS):
                last = min(first + CHUNK_TOKENS, end)
                part, part_pairs = self.call_kernel(self.model, work, sentence, first, last, (0.0, 0.0), keys)
                loss, n_pairs = loss + part, n_pairs + part_pairs
        return mean_heldout_loss(self, loss, n_pairs)

    def call_kernel(
        self,
        model: WordModel,
        work: Any,
        sentence: int,
        first: int,
        last: int,
        learning_rates: tuple[float, float],
        keys: StreamKeys,
    ) -> tuple[float, int]:
        config = self.config
        assert isinstance(config, SubwordConfig) and isinstance(work, SubwordWorkspace)
        arguments: tuple[Any, ...] = (self.token_ids, self.sentence_offsets, sentence, first, last)
        arguments += (model.center_vectors, model.context_vectors, self.subwords, self.sampler, self.table, work)
        arguments += (config.window, config.dynamic_window)
        arguments += (config.negative_samples, *learning_rates, keys.keep, keys.draw)
        arguments += (config.subword_gradient == "exact", config.l2, config.gradient_clip)
        if isinstance(config, SubwordCbowConfig):
            return train_subword_cbow(*arguments)
        return train_subword_skipgram(*arguments)


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
    return make_subword_rows(offsets, rows), used[order]
