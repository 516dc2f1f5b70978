"""The ``train`` stage of a pipeline of words, on several workers."""

from __future__ import annotations

import os
from typing import Any

from vecmill.distributed.crew import crew_here
from vecmill.distributed.launch import train_in_processes, train_with_crew
from vecmill.distributed.trainer import train_shared
from vecmill.distributed.transport import OneProcess
from vecmill.store.stage import StageIO, StageReport
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.train import TrainingCorpus, train_and_write
from vecmill.words.trainer import Training, prepared_run


def train_words_distributed(config: SkipgramConfig | CbowConfig, io: StageIO) -> StageReport:
    """Train word vectors on ``config.distributed.workers`` workers.

    Reads and writes what :func:`~vecmill.words.train.train_words` does. On one thread a worker, the vectors are the
    same bytes every time, and in deterministic mode the bytes that one worker gives.

    Raises
    ------
    ConfigError, FormatError : see :func:`~vecmill.words.pretrained.load_pretrained`
    FormatError, VocabularyError, TrainingDiverged : see :func:`~vecmill.words.trainer.train_vectors`
    ConfigError : torch is missing; VecmillError : workers were lost, see ``launch.train_in_processes``
    """

    def train(corpus: TrainingCorpus) -> tuple[Training, dict[str, Any]]:
        tokens, counts = corpus.tokens, corpus.vocabulary.counts
        workers = {"workers": config.distributed.workers}
        crew = crew_here()
        if config.distributed.transport == "processes" and crew is not None:
            training, metrics = train_with_crew(int(tokens.token_ids.size), config, crew, io.checkpoints)
            return training, workers | metrics
        if config.distributed.transport == "processes":
            training, metrics = train_in_processes(
                tokens.token_ids,
                tokens.sentence_offsets,
                counts,
                config,
                seed=io.seed,
                start=corpus.start,
                checkpoints=io.checkpoints,
            )
            return training, workers | metrics
        run = prepared_run(tokens.token_ids, tokens.sentence_offsets, counts, config, seed=io.seed, start=corpus.start)
        shared = train_shared(
            run,
            config,
            counts,
            OneProcess(config.distributed.workers),
            io.checkpoints,
            threads=config.threads or len(os.sched_getaffinity(0)),
        )
        return shared.training, workers | shared.metrics

    return train_and_write(config, io, train)
