"""Trains GloVe in child processes that are killed at random moments, until one gets to its end.

Run as ``python killed_glove.py FOLDER SEED``; prints JSON: how many were killed, how often training went on from a
checkpoint, and the digests of a broken and of an unbroken training. Children are forked from a process that has
compiled the kernels already, and use one, two or three threads to count.
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
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_trainer import train_glove_vectors

N_KILLS = 20


def main(folder: Path, seed: int) -> dict[str, object]:
    sentences = planted_synonyms(n_topics=200, n_sentences=100_000)
    vocabulary = vocabulary_of(sentences)
    corpus = *encoded(sentences, vocabulary), vocabulary.counts
    config = GloveConfig(
        kind="glove", dim=16, window=2, x_max=10, epochs=40, mode="deterministic", patience=30, min_delta=1e-6,
        checkpoint_minutes=0.02 / 60,
    )  # fmt: skip

    def train(checkpoints: Path | None, threads: int, result: Path) -> None:
        settings = config.model_copy(update={"threads": threads})
        training = train_glove_vectors(*corpus, settings, seed=1, folder=folder, checkpoints=checkpoints)
        digest = hashlib.sha256(training.word_vectors.tobytes() + training.context_vectors.tobytes())
        digest.update(json.dumps([dataclasses.asdict(each) for each in training.epochs]).encode())
        partial = result.with_suffix(".tmp")
        partial.write_text(json.dumps({"digest": digest.hexdigest(), "resumed_at": training.resumed_at}))
        partial.rename(result)

    def read(name: str) -> dict[str, object]:
        return dict(json.loads((folder / name).read_text()))

    train(None, 1, folder / "unbroken.json")
    started = time.monotonic()
    train(folder / "timed", 1, folder / "timed.json")
    seconds = time.monotonic() - started
    rng = random.Random(seed)
    n_killed = n_resumed = 0
    while n_killed < N_KILLS:
        child = os.fork()
        if child == 0:
            try:
                train(folder / "checkpoints", 1 + n_killed % 3, folder / "broken.json")
            finally:
                os._exit(0)
        # the first half of all kills come soon, so that counting is hit too
        if n_killed < N_KILLS - 1:
            time.sleep(rng.uniform(0, 0.2 if n_killed < N_KILLS // 2 else 0.7) * seconds)
        else:
            wait_for_checkpoint(child, folder / "checkpoints")
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            n_killed += 1
        else:  # it got to its end first: from the beginning, so that every kill hits a training
            n_resumed += read("broken.json")["resumed_at"] != 0
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            seconds *= 0.7  # the machine had more to do while it was timed
    train(folder / "checkpoints", 1, folder / "broken.json")
    n_resumed += read("broken.json")["resumed_at"] != 0
    return {
        "n_killed": n_killed,
        "n_resumed": n_resumed,
        "unbroken": read("unbroken.json")["digest"],
        "broken": read("broken.json")["digest"],
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
