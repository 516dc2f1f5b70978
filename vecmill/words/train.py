"""The ``train`` stage: from a token store and its vocabulary to word vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.store.stage import StageIO, StageReport
from vecmill.vectors.word_vectors import WordVectors
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary
from vecmill.words.config import CbowConfig, SkipgramConfig, WordTrainerConfig
from vecmill.words.pretrained import (
    Movement,
    StartVectors,
    extend_pretrained,
    load_pretrained,
    match_words,
    measure_movement,
)
from vecmill.words.progress_state import EpochResult
from vecmill.words.trainer import Training, train_vectors

LOSSES_SCHEMA = pa.schema(
    [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("n_pairs", pa.int64(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
    ]
)
HELDOUT_FIELD = pa.field("heldout_loss", pa.float64(), nullable=False)
MOVEMENT_SCHEMA = pa.schema(
    [pa.field("word", pa.string(), nullable=False), pa.field("cosine_distance", pa.float64(), nullable=False)]
)

# Words of the report's table; all of them are in the file.
_N_MOVED_SHOWN = 20


def train_words(config: SkipgramConfig | CbowConfig, io: StageIO) -> StageReport:
    """Train word vectors on the output of ``vocabulary`` and ``encode``.

    Writes ``vectors/`` (a saved ``WordVectors``: the center vectors), ``context_vectors.npy`` (float32[n, dim], the
    same rows) and ``losses.parquet`` (epoch from 1, mean loss a pair, pairs, learning rate at the end of the epoch,
    and held-out loss where sentences are held out). With ``pretrained``, the vectors are those of the pretrained
    words, in their rows, then those of new words by falling count, and ``movement.parquet`` (word, cosine distance to
    where it started) lists the words of both by falling distance.

    Hogwild training on several threads is the one output of vecmill that is not the same bytes every time.

    Raises
    ------
    ConfigError, FormatError : see :func:`~vecmill.words.pretrained.load_pretrained`
    FormatError, VocabularyError, TrainingDiverged : see :func:`~vecmill.words.trainer.train_vectors`
    """

    def train(corpus: TrainingCorpus) -> tuple[Training, dict[str, Any]]:
        training = train_vectors(
            corpus.tokens.token_ids,
            corpus.tokens.sentence_offsets,
            corpus.vocabulary.counts,
            config,
            seed=io.seed,
            start=corpus.start,
            checkpoints=io.checkpoints,
        )
        return training, {}

    return train_and_write(config, io, train)


@dataclass(frozen=True)
class TrainingCorpus:
    """What a training of whole words reads.

    Attributes
    ----------
    start : vectors that some words start from, None where all start from random ones
    """

    vocabulary: Vocabulary
    tokens: TokenStore
    start: StartVectors | None


def train_and_write(
    config: SkipgramConfig | CbowConfig,
    io: StageIO,
    train: Callable[[TrainingCorpus], tuple[Training, dict[str, Any]]],
) -> StageReport:
    """The stage around ``train``, which gives a training and metrics of its own; see :func:`train_words`."""
    vocabulary = Vocabulary.load(io.inputs["vocabulary"])
    tokens = TokenStore.open(io.inputs["encode"])
    pretrained = load_pretrained(config)
    start = None if pretrained is None else match_words(pretrained, vocabulary)
    training, more = train(TrainingCorpus(vocabulary, tokens, start))
    n_words, n_tokens = len(vocabulary), int(tokens.token_ids.size)
    metrics = _metrics(config, training, n_words) | more
    markdown = (
        f"Loss of **{config.kind}**, {config.dim} dimensions, {n_words:,} words, {n_tokens:,} tokens: mean "
        "over pairs of −log σ of the right word's score and of minus the negatives' scores."
    )
    rows = {"losses.parquet": len(training.epochs)}
    if start is None:
        vectors = WordVectors(vocabulary.words, training.center_vectors, vocabulary.counts)
        context_vectors = training.context_vectors
    else:
        movement = measure_movement(start, training.center_vectors)
        vectors, context_vectors = extend_pretrained(
            start, vocabulary, training.center_vectors, training.context_vectors
        )
        write_movement(movement, io.output / "movement.parquet")
        rows["movement.parquet"] = len(movement.words)
        metrics |= {
            "n_words": len(vectors),
            "n_pretrained_words": len(start.pretrained.vectors),
            "n_new_words": n_words - len(movement.words),
            "pretrained_context_vectors": start.pretrained.context_vectors is not None,
            **movement_metrics(movement),
        }
        markdown += movement_markdown(movement)
    vectors.save(io.output / "vectors")
    np.save(io.output / "context_vectors.npy", context_vectors)
    write_losses(training.epochs, io.output / "losses.parquet")
    return StageReport(
        metrics=metrics,
        rows={"vectors/vectors.npy": len(vectors), "context_vectors.npy": len(vectors), **rows},
        table=[loss_row(epoch, result) for epoch, result in enumerate(training.epochs, start=1)],
        markdown=markdown,
    )


def write_losses(epochs: list[EpochResult], path: Path) -> None:
    """Write the learning curve, one row an epoch: :data:`LOSSES_SCHEMA`, and held-out losses where there are any."""
    has_heldout = any(each.heldout_loss is not None for each in epochs)
    schema = LOSSES_SCHEMA.append(HELDOUT_FIELD) if has_heldout else LOSSES_SCHEMA
    rows = [loss_row(epoch, result) for epoch, result in enumerate(epochs, start=1)]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def loss_row(epoch: int, result: EpochResult) -> dict[str, Any]:
    """A row of the learning curve."""
    row = {"epoch": epoch, "loss": result.loss, "n_pairs": result.n_pairs, "learning_rate": result.learning_rate}
    return row if result.heldout_loss is None else {**row, "heldout_loss": result.heldout_loss}


def _metrics(config: SkipgramConfig | CbowConfig, training: Training, n_words: int) -> dict[str, Any]:
    metrics = {
        "kind": config.kind,
        "mode": config.mode,
        "schedule": config.schedule.kind,
        "dim": config.dim,
        "n_words": n_words,
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


def heldout_metrics(config: WordTrainerConfig, epochs: list[EpochResult], n_sentences: int) -> dict[str, Any]:
    """What held-out sentences showed; nothing where there are none."""
    losses = [each.heldout_loss for each in epochs if each.heldout_loss is not None]
    if not losses:
        return {}
    return {
        "n_heldout_sentences": n_sentences,
        "final_heldout_loss": losses[-1],
        "best_heldout_loss": min(losses),
        "stopped_early": len(epochs) < config.epochs,
    }


def movement_metrics(movement: Movement) -> dict[str, Any]:
    """How many pretrained words the text has, and how far they moved."""
    metrics: dict[str, Any] = {"n_moved_words": len(movement.words)}
    if movement.words:
        metrics |= {
            "moved_mean_cosine_distance": float(movement.distances.mean()),
            "moved_max_cosine_distance": float(movement.distances[0]),
        }
    return metrics


def write_movement(movement: Movement, path: Path) -> None:
    """Write how far each word moved, :data:`MOVEMENT_SCHEMA`, by falling distance."""
    columns = [pa.array(movement.words, pa.string()), pa.array(movement.distances)]
    pq.write_table(pa.Table.from_arrays(columns, schema=MOVEMENT_SCHEMA), path)


def movement_markdown(movement: Movement) -> str:
    """The words that moved most, for people."""
    if not movement.words:
        return "\n\nNo pretrained word occurs in this text: every word started from random vectors."
    lines = [
        f"\n\n{len(movement.words):,} pretrained words occur in this text; their vectors turned by a cosine distance "
        f"of {movement.distances.mean():.4f} in the mean and {movement.distances[0]:.4f} at most:\n",
        "| word | cosine distance |",
        "| --- | --- |",
    ]
    for word, distance in zip(movement.words[:_N_MOVED_SHOWN], movement.distances, strict=False):
        cell = word.replace("|", "\\|")
        lines.append(f"| {cell} | {distance:.4f} |")
    return "\n".join(lines)
