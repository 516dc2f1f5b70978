"""The ``train`` stage: from a token store and its vocabulary to word vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.store.stage import StageIO, StageReport
from vecmill.vectors.word_vectors import WordVectors
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.trainer import EpochResult, train_vectors

LOSSES_SCHEMA = pa.schema(
    [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("n_pairs", pa.int64(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
    ]
)


def train_words(config: SkipgramConfig | CbowConfig, io: StageIO) -> StageReport:
    """Train word vectors on the output of ``vocabulary`` and ``encode``.

    Writes ``vectors/`` (a saved ``WordVectors``: the center vectors), ``context_vectors.npy`` (float32[n_words, dim])
    and ``losses.parquet`` (epoch from 1, mean loss a pair, pairs, learning rate at the end of the epoch).
    Hogwild training on several threads is the one output of vecmill that is not the same bytes every time.

    Raises
    ------
    FormatError, VocabularyError, TrainingDiverged : see :func:`~vecmill.words.trainer.train_vectors`
    """
    vocabulary = Vocabulary.load(io.inputs["vocabulary"])
    tokens = TokenStore.open(io.inputs["encode"])
    training = train_vectors(tokens.token_ids, tokens.sentence_offsets, vocabulary.counts, config, seed=io.seed)
    WordVectors(vocabulary.words, training.center_vectors, vocabulary.counts).save(io.output / "vectors")
    np.save(io.output / "context_vectors.npy", training.context_vectors)
    write_losses(training.epochs, io.output / "losses.parquet")
    n_words, n_tokens = len(vocabulary.words), int(tokens.token_ids.size)
    return StageReport(
        metrics={
            "kind": config.kind,
            "dim": config.dim,
            "n_words": n_words,
            "n_epochs": config.epochs,
            "final_loss": training.epochs[-1].loss,
            "n_pairs": sum(each.n_pairs for each in training.epochs),
            "threads": training.threads,
            "compile_seconds": training.compile_seconds,
            "train_seconds": training.train_seconds,
            "words_per_second": n_tokens * config.epochs / training.train_seconds,
        },
        rows={"vectors/vectors.npy": n_words, "context_vectors.npy": n_words, "losses.parquet": len(training.epochs)},
        table=[
            {"epoch": i, "loss": each.loss, "n_pairs": each.n_pairs, "learning_rate": each.learning_rate}
            for i, each in enumerate(training.epochs, start=1)
        ],
        markdown=f"Loss of **{config.kind}**, {config.dim} dimensions, {n_words:,} words, {n_tokens:,} tokens: mean "
        "over pairs of −log σ of the right word's score and of minus the negatives' scores.",
    )


def write_losses(epochs: list[EpochResult], path: Path) -> None:
    """Write the learning curve by :data:`LOSSES_SCHEMA`, one row an epoch."""
    columns = [
        list(range(1, len(epochs) + 1)),
        [each.loss for each in epochs],
        [each.n_pairs for each in epochs],
        [each.learning_rate for each in epochs],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, LOSSES_SCHEMA, strict=True)]
    pq.write_table(pa.table(arrays, schema=LOSSES_SCHEMA), path)
