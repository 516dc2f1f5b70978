"""The ``train`` stage with subwords: from a token store and its vocabulary to word vectors and their n-grams' rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.store.stage import StageIO, StageReport
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary
from vecmill.words.subword_config import SubwordCbowConfig, SubwordSkipgramConfig
from vecmill.words.subword_trainer import SubwordEpoch, train_subword_vectors


def train_subwords(config: SubwordSkipgramConfig | SubwordCbowConfig, io: StageIO) -> StageReport:
    """Train word and n-gram vectors on the output of ``vocabulary`` and ``encode``.

    Writes ``vectors/`` (a saved ``WordVectors``: the vectors of the vocabulary, n-grams included), ``subwords/`` (a
    saved ``SubwordVectors``, which has vectors for unseen words), ``context_vectors.npy`` (float32[n_words, dim]) and
    ``losses.parquet`` (epoch from 1, mean loss a pair, pairs, learning rate at the end of the epoch).

    Raises
    ------
    ConfigError, FormatError, VocabularyError, TrainingDiverged : see
        :func:`~vecmill.words.subword_trainer.train_subword_vectors`
    """
    vocabulary = Vocabulary.load(io.inputs["vocabulary"])
    tokens = TokenStore.open(io.inputs["encode"])
    training = train_subword_vectors(
        tokens.token_ids, tokens.sentence_offsets, vocabulary.words, vocabulary.counts, config, seed=io.seed
    )
    training.vectors.word_vectors().save(io.output / "vectors")
    training.vectors.save(io.output / "subwords")
    np.save(io.output / "context_vectors.npy", training.context_vectors)
    _write_losses(training.epochs, io.output / "losses.parquet")
    n_words, n_tokens = len(vocabulary.words), int(tokens.token_ids.size)
    n_rows = int(training.vectors.bucket_ids.size)
    return StageReport(
        metrics={
            "kind": config.kind,
            "dim": config.dim,
            "n_words": n_words,
            "n_bucket_rows": n_rows,
            "n_epochs": config.epochs,
            "final_loss": training.epochs[-1].loss,
            "n_pairs": sum(each.n_pairs for each in training.epochs),
            "threads": training.threads,
            "compile_seconds": training.compile_seconds,
            "train_seconds": training.train_seconds,
            "words_per_second": n_tokens * config.epochs / training.train_seconds,
        },
        rows={
            "vectors/vectors.npy": n_words,
            "subwords/bucket_rows.npy": n_rows,
            "context_vectors.npy": n_words,
            "losses.parquet": len(training.epochs),
        },
        table=[
            {"epoch": i, "loss": each.loss, "n_pairs": each.n_pairs, "learning_rate": each.learning_rate}
            for i, each in enumerate(training.epochs, start=1)
        ],
        markdown=f"Loss of **{config.kind}**, {config.dim} dimensions, {n_words:,} words, {n_rows:,} n-gram buckets in "
        f"use, {n_tokens:,} tokens: mean over pairs of −log σ of the right word's score and of minus the negatives'.",
    )


def _write_losses(epochs: list[SubwordEpoch], path: Path) -> None:
    columns = {
        "epoch": pa.array(range(1, len(epochs) + 1), pa.int32()),
        "loss": pa.array([each.loss for each in epochs], pa.float64()),
        "n_pairs": pa.array([each.n_pairs for each in epochs], pa.int64()),
        "learning_rate": pa.array([each.learning_rate for each in epochs], pa.float64()),
    }
    schema = pa.schema([pa.field(name, array.type, nullable=False) for name, array in columns.items()])
    pq.write_table(pa.table(list(columns.values()), schema=schema), path)
