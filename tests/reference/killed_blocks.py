"""Trains in blocks on the processor: ``python killed_blocks.py CHECKPOINTS``, to be killed while it does."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.gpu.epochs import Blocks
from vecmill.words.device_config import SkipgramSection
from vecmill.words.heldout import measure_heldout
from vecmill.words.trainer import Training, checkpoints_of, prepared_run, train_run


def train(checkpoints: Path | None) -> Training:
    torch.set_num_threads(1)
    sentences = planted_synonyms(n_topics=5, n_sentences=4_000)
    vocabulary = vocabulary_of(sentences)
    config = SkipgramSection(
        dim=16, epochs=3, window=2, sample=0, heldout_share=0.02, mode="deterministic", checkpoint_minutes=1e-9
    )
    run = prepared_run(*encoded(sentences, vocabulary), vocabulary.counts, config, seed=1)
    saved = checkpoints_of(run, vocabulary.counts, checkpoints)
    return train_run(run, lambda: Blocks(run, config.gpu, torch.device("cpu")), saved, measure_heldout)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
