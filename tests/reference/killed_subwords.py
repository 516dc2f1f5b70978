"""Trains with subwords in child processes that are killed at random moments, until one gets to its end.

Run as ``python killed_subwords.py FOLDER SEED``; prints JSON, for each kind: how many were killed, how often training
went on from a checkpoint, and the digests of a broken and of an unbroken training. Children are forked from a process
that has compiled the kernels already.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from reference.killing import wait_for_checkpoint
from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.words.subword_config import SubwordCbowConfig, SubwordConfig, SubwordSkipgramConfig
from vecmill.words.subword_trainer import train_subword_vectors

SETTINGS = {
    **{"dim": 16, "epochs": 4, "sample": 0, "mode": "deterministic", "threads": 1, "subword_buckets": 1_000},
    **{"heldout_share": 0.02, "patience": 3, "schedule": {"kind": "cosine", "warmup_frac": 0.1}},
}
CONFIGS: dict[str, SubwordConfig] = {
    "skipgram": SubwordSkipgramConfig(kind="subword_skipgram", **SETTINGS),
    "cbow": SubwordCbowConfig(kind="subword_cbow", **SETTINGS),
}
N_KILLS = 4


def corpus():
    """What trainings are called with."""
    sentences = planted_synonyms(n_topics=8, n_sentences=12_000)
    vocabulary = vocabulary_of(sentences)
    return *encoded(sentences, vocabulary), vocabulary.words, vocabulary.counts


def train(config: SubwordConfig, checkpoints: Path | None, result: Path) -> None:
    training = train_subword_vectors(*corpus(), config, seed=1, checkpoints=checkpoints)
    digest = hashlib.sha256(training.vectors.word_rows.vectors.tobytes() + training.vectors.bucket_rows.tobytes())
    digest.update(training.context_vectors.tobytes())
    digest.update(json.dumps([dataclasses.asdict(each) for each in training.epochs]).encode())
    partial = result.with_suffix(".tmp")
    partial.write_text(json.dumps({"digest": digest.hexdigest(), "resumed_at": training.resumed_at}))
    partial.rename(result)


def main(folder: Path, seed: int, config: SubwordConfig) -> dict[str, object]:
    config = config.model_copy(update={"checkpoint_minutes": 1e-9})
    train(config, None, folder / "unbroken.json")
    started = time.monotonic()
    train(config, folder / "timed", folder / "timed.json")
    seconds = time.monotonic() - started
    rng = random.Random(seed)
    n_killed = n_resumed = 0
    result, checkpoints = folder / "broken.json", folder / "checkpoints"
    while n_killed < N_KILLS or not result.exists():
        child = os.fork()
        if child == 0:
            try:
                train(config, checkpoints, result)
            finally:
                os._exit(0)
        if n_killed < N_KILLS:
            if n_killed < N_KILLS - 1:
                time.sleep(rng.uniform(0.1, 0.7) * seconds)
            else:
                wait_for_checkpoint(child, checkpoints)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        n_killed += os.WIFSIGNALED(status)
        if result.exists():
            n_resumed += json.loads(result.read_text())["resumed_at"] > 0
            if n_killed < N_KILLS:  # it got to its end first: from the beginning, so that every kill hits a training
                result.unlink()
                shutil.rmtree(checkpoints, ignore_errors=True)
                seconds *= 0.7  # the machine had more to do while it was timed
    digests = [json.loads((folder / name).read_text())["digest"] for name in ("unbroken.json", "broken.json")]
    return {"n_killed": n_killed, "n_resumed": n_resumed, "unbroken": digests[0], "broken": digests[1]}


if __name__ == "__main__":
    answers = {}
    for kind, each in CONFIGS.items():
        (Path(sys.argv[1]) / kind).mkdir()
        answers[kind] = main(Path(sys.argv[1]) / kind, int(sys.argv[2]), each)
    print(json.dumps(answers))
