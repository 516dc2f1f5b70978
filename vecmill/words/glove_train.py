"""GloVe as the ``train`` stage: from a token store and its vocabulary to word vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.store.stage import StageIO, StageReport
from vecmill.vectors.word_vectors import WordVectors
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_trainer import train_glove_vectors

_LOSSES_SCHEMA = pa.schema(
    [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("n_pairs", pa.int64(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
    ]
)


def train_glove(config: GloveConfig, io: StageIO) -> StageReport:
    """Train GloVe vectors on the output of ``vocabulary`` and ``encode``.

    Writes the files of every word trainer: ``vectors/`` (a saved ``WordVectors``: center plus context vectors, or
    center vectors alone), ``context_vectors.npy`` (float32[n_words, dim]) and ``losses.parquet`` (epoch from 1, mean
    loss a pair, pairs, AdaGrad's learning rate). Counted pairs lie in a temporary folder of the output meanwhile.
    Hogwild training on several threads is not the same bytes every time.

    Raises
    ------
    FormatError, VocabularyError, TrainingDiverged : see :func:`~vecmill.words.glove_trainer.train_glove_vectors`
    """
    vocabulary = Vocabulary.load(io.inputs["vocabulary"])
    tokens = TokenStore.open(io.inputs["encode"])
    with tempfile.TemporaryDirectory(prefix=".pairs-", dir=io.output) as folder:
        training = train_glove_vectors(
            tokens.token_ids, tokens.sentence_offsets, vocabulary.counts, config, seed=io.seed, folder=Path(folder)
        )
    WordVectors(vocabulary.words, training.word_vectors, vocabulary.counts).save(io.output / "vectors")
    np.save(io.output / "context_vectors.npy", training.context_vectors)
    table = [
        {"epoch": i, "loss": each.loss, "n_pairs": each.n_pairs, "learning_rate": config.learning_rate}
        for i, each in enumerate(training.epochs, start=1)
    ]
    pq.write_table(pa.Table.from_pylist(table, schema=_LOSSES_SCHEMA), io.output / "losses.parquet")
    n_words, n_tokens = len(vocabulary.words), int(tokens.token_ids.size)
    n_updates = sum(each.n_pairs for each in training.epochs)
    return StageReport(
        metrics={
            "kind": config.kind,
            "dim": config.dim,
            "n_words": n_words,
            "n_epochs": len(training.epochs),
            "final_loss": training.epochs[-1].loss,
            "n_pairs": n_updates,
            "threads": training.threads,
            "count_seconds": training.count_seconds,
            "compile_seconds": training.compile_seconds,
            "train_seconds": training.train_seconds,
            "counted_words_per_second": n_tokens / training.count_seconds,
            "updates_per_second": n_updates / training.train_seconds,
            "words_per_second": n_tokens * len(training.epochs) / training.train_seconds,
        },
        rows={"vectors/vectors.npy": n_words, "context_vectors.npy": n_words, "losses.parquet": len(training.epochs)},
        table=table,
        markdown=f"Loss of **GloVe**, {config.dim} dimensions, {n_words:,} words, {n_tokens:,} tokens: mean over "
        "counted pairs of half the weighted squared error of log counts.",
    )
