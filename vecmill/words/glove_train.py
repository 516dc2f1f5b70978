"""GloVe as the ``train`` stage: from a token store and its vocabulary to word vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from vecmill.store.stage import StageIO, StageReport
from vecmill.vectors.word_vectors import WordVectors
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_trainer import train_glove_vectors
from vecmill.words.train import write_losses


def train_glove(config: GloveConfig, io: StageIO) -> StageReport:
    """Train GloVe vectors on the output of ``vocabulary`` and ``encode``.

    Writes the files of every word trainer: ``vectors/`` (a saved ``WordVectors``: center plus context vectors, or
    center vectors alone), ``context_vectors.npy`` (float32[n_words, dim]) and ``losses.parquet`` (epoch from 1, mean
    loss a pair, pairs, AdaGrad's learning rate). Counted pairs lie with the checkpoints meanwhile, or in a temporary
    folder of the output where there are none. Hogwild training on several threads is not the same bytes every time.

    Raises
    ------
    FormatError, VocabularyError, TrainingDiverged : see :func:`~vecmill.words.glove_trainer.train_glove_vectors`
    """
    vocabulary = Vocabulary.load(io.inputs["vocabulary"])
    tokens = TokenStore.open(io.inputs["encode"])
    with tempfile.TemporaryDirectory(prefix=".pairs-", dir=io.output) as folder:
        training = train_glove_vectors(
            tokens.token_ids,
            tokens.sentence_offsets,
            vocabulary.counts,
            config,
            seed=io.seed,
            folder=Path(folder),
            checkpoints=io.checkpoints,
        )
    WordVectors(vocabulary.words, training.word_vectors, vocabulary.counts).save(io.output / "vectors")
    np.save(io.output / "context_vectors.npy", training.context_vectors)
    write_losses(training.epochs, io.output / "losses.parquet")
    table = [
        {"epoch": i, "loss": each.loss, "n_pairs": each.n_pairs, "learning_rate": each.learning_rate}
        for i, each in enumerate(training.epochs, start=1)
    ]
    n_words, n_tokens = len(vocabulary.words), int(tokens.token_ids.size)
    n_updates = sum(each.n_pairs for each in training.epochs)
    # what this process did, where it went on from a checkpoint
    n_epochs_here = len(training.epochs) - training.resumed_at
    return StageReport(
        metrics={
            "kind": config.kind,
            "dim": config.dim,
            "n_words": n_words,
            "n_epochs": len(training.epochs),
            "final_loss": training.epochs[-1].loss,
            "n_pairs": n_updates,
            "stopped_early": len(training.epochs) < config.epochs,
            "threads": training.threads,
            "resumed_at_epoch": training.resumed_at,
            "count_seconds": training.count_seconds,
            "compile_seconds": training.compile_seconds,
            "train_seconds": training.train_seconds,
            "counted_words_per_second": n_tokens / training.count_seconds,
            "updates_per_second": training.updates_per_second,
            "words_per_second": n_tokens * n_epochs_here / training.train_seconds,
        },
        rows={"vectors/vectors.npy": n_words, "context_vectors.npy": n_words, "losses.parquet": len(training.epochs)},
        table=table,
        markdown=f"Loss of **GloVe**, {config.dim} dimensions, {n_words:,} words, {n_tokens:,} tokens: mean over "
        "counted pairs of half the weighted squared error of log counts.",
    )
