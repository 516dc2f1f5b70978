"""The ``train`` stage with subwords: from a token store and its vocabulary to word vectors and their n-grams' rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vecmill.store.stage import StageIO, StageReport
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary
from vecmill.words.subword_config import SubwordCbowConfig, SubwordSkipgramConfig
from vecmill.words.subword_pretrained import extend_subwords, load_subword_start, subword_movement
from vecmill.words.subword_trainer import OtherWay, SubwordTraining, train_subword_vectors
from vecmill.words.train import (
    heldout_metrics,
    loss_row,
    movement_markdown,
    movement_metrics,
    write_losses,
    write_movement,
)


def train_subwords(config: SubwordSkipgramConfig | SubwordCbowConfig, io: StageIO) -> StageReport:
    """Train word and n-gram vectors on the output of ``vocabulary`` and ``encode``.

    Writes ``vectors/`` (a saved ``WordVectors``: the vectors of the vocabulary, n-grams included), ``subwords/`` (a
    saved ``SubwordVectors``, which has vectors for unseen words), ``context_vectors.npy`` (float32[n_words, dim]) and
    ``losses.parquet`` (see :func:`~vecmill.words.train.write_losses`). With ``pretrained``, the words are those that
    were trained before, in their rows, then new ones by falling count, the buckets are those of both, and
    ``movement.parquet`` lists how far the vectors of old words of this text moved, n-grams included.

    Raises
    ------
    ConfigError, FormatError : see :func:`~vecmill.words.subword_pretrained.load_subword_start`
    ConfigError, FormatError, VocabularyError, TrainingDiverged : see
        :func:`~vecmill.words.subword_trainer.train_subword_vectors`
    """
    return train_and_write_subwords(config, io)


def train_and_write_subwords(
    config: SubwordSkipgramConfig | SubwordCbowConfig,
    io: StageIO,
    way: OtherWay | None = None,
    more: Mapping[str, Any] | None = None,
) -> StageReport:
    """The stage with another way to run epochs, and metrics of its own; see :func:`train_subwords`."""
    vocabulary = Vocabulary.load(io.inputs["vocabulary"])
    tokens = TokenStore.open(io.inputs["encode"])
    start = load_subword_start(config, vocabulary)
    training = train_subword_vectors(
        tokens.token_ids,
        tokens.sentence_offsets,
        vocabulary.words,
        vocabulary.counts,
        config,
        seed=io.seed,
        start=start,
        checkpoints=io.checkpoints,
        way=way,
    )
    subwords, context_vectors = training.vectors, training.context_vectors
    n_rows = subwords.bucket_ids.size
    markdown = (
        f"Loss of **{config.kind}**, {config.dim} dimensions, {len(vocabulary):,} words, {n_rows:,} n-gram buckets in "
        f"use, {tokens.token_ids.size:,} tokens: mean over pairs of −log σ of the right word's score and of minus the "
        "negatives'."
    )
    more_metrics: dict[str, Any] = {}
    rows = {"losses.parquet": len(training.epochs)}
    if start is not None:
        movement = subword_movement(start, training.vectors)
        write_movement(movement, io.output / "movement.parquet")
        rows["movement.parquet"] = len(movement.words)
        subwords, context_vectors = extend_subwords(start, vocabulary, training.vectors, training.context_vectors)
        more_metrics = {
            "n_pretrained_words": len(start.subwords),
            "n_pretrained_bucket_rows": int(start.subwords.bucket_ids.size),
            "n_new_words": len(vocabulary) - len(movement.words),
            "pretrained_context_vectors": start.own_rows.pretrained.context_vectors is not None,
            **movement_metrics(movement),
        }
        markdown += movement_markdown(movement)
    subwords.word_vectors().save(io.output / "vectors")
    subwords.save(io.output / "subwords")
    np.save(io.output / "context_vectors.npy", context_vectors)
    write_losses(training.epochs, io.output / "losses.parquet")
    n_words, n_rows = len(subwords), int(subwords.bucket_ids.size)
    metrics = {"n_words": n_words, "n_bucket_rows": n_rows, **more_metrics}
    return StageReport(
        metrics=_metrics(config, training) | metrics | dict(more or {}),
        rows={
            "vectors/vectors.npy": n_words,
            "subwords/bucket_rows.npy": n_rows,
            "context_vectors.npy": n_words,
            **rows,
        },
        table=[loss_row(epoch, result) for epoch, result in enumerate(training.epochs, start=1)],
        markdown=markdown,
    )


def _metrics(config: SubwordSkipgramConfig | SubwordCbowConfig, training: SubwordTraining) -> dict[str, Any]:
    metrics = {
        "kind": config.kind,
        "mode": config.mode,
        "schedule": config.schedule.kind,
        "dim": config.dim,
        "n_epochs": len(training.epochs),
        "final_loss": training.epochs[-1].loss,
        "n_pairs": sum(each.n_pairs for each in training.epochs),
        "threads": training.threads,
        "resumed_at_epoch": training.resumed_at,
        "compile_seconds": training.compile_seconds,
        "train_seconds": training.train_seconds,
        "words_per_second": training.tokens_per_second,
    }
    return metrics | heldout_metrics(config, training.epochs, training.n_heldout_sentences)
