"""Trains again and again in child processes that are killed at random moments, until one gets to its end.

Run as ``python killed_training.py FOLDER SEED``; prints JSON, for each mode: how many were killed, how often training
went on from a checkpoint, and the digests of the vectors of the broken and of an unbroken training. Children are
forked from a process that has compiled the kernels already, so that 20 of them take seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from reference.killing import wait_for_checkpoint
from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.words.config import SkipgramConfig
from vecmill.words.trainer import train_vectors


def main(folder: Path, seed: int, n_kills: int, mode: str) -> dict[str, object]:
    sentences = planted_synonyms(n_topics=10, n_sentences=16_000)
    vocabulary = vocabulary_of(sentences)
    corpus = *encoded(sentences, vocabulary), vocabulary.counts
    config = SkipgramConfig(
        dim=16, epochs=6, sample=0, mode=mode, threads=1, heldout_share=0.02, patience=3, min_delta=1e-4,
        schedule={"kind": "cosine", "warmup_frac": 0.1},
        checkpoint_minutes=0.02 / 60 if mode == "deterministic" else 1e-9,
    )  # fmt: skip

    def train(checkpoints: Path | None, threads: int, result: Path) -> None:
        # hogwild's only promise is about one thread
        settings = config.model_copy(update={"threads": threads if mode == "deterministic" else 1})
        training = train_vectors(*corpus, settings, seed=1, checkpoints=checkpoints)
        digest = hashlib.sha256(training.center_vectors.tobytes() + training.context_vectors.tobytes())
        digest.update(json.dumps([dataclasses.asdict(each) for each in training.epochs]).encode())
        text = json.dumps({"digest": digest.hexdigest(), "resumed_at": training.resumed_at})
        partial = result.with_suffix(".tmp")
        partial.write_text(text)
        partial.rename(result)

    train(None, 1, folder / "unbroken.json")
    started = time.monotonic()
    train(folder / "timed", 1, folder / "timed.json")
    seconds = time.monotonic() - started
    rng = random.Random(seed)
    n_killed = n_resumed = 0
    result = folder / "broken.json"
    for attempt in range(10 * n_kills):
        if n_killed == n_kills and result.exists():
            break
        child = os.fork()
        if child == 0:
            try:
                train(folder / "checkpoints", 1 + attempt % 3, result)
            finally:
                os._exit(0)
        if n_killed < n_kills:
            if n_killed < n_kills - 1:
                time.sleep(rng.uniform(0.02, 0.7) * seconds)
            else:
                wait_for_checkpoint(child, folder / "checkpoints")
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                n_killed += 1
            else:  # it got to its end first: from the beginning, so that every kill hits a training
                n_resumed += json.loads(result.read_text())["resumed_at"] > 0
                for each in sorted((folder / "checkpoints").rglob("*"), reverse=True):
                    each.rmdir() if each.is_dir() else each.unlink()
                seconds *= 0.7  # the machine had more to do while it was timed
            result.unlink(missing_ok=True)  # what counts is the training after the last kill
        else:
            os.waitpid(child, 0)
            n_resumed += json.loads(result.read_text())["resumed_at"] > 0
    digests = [json.loads((folder / name).read_text())["digest"] for name in ("unbroken.json", "broken.json")]
    return {"n_killed": n_killed, "n_resumed": n_resumed, "unbroken": digests[0], "broken": digests[1]}


if __name__ == "__main__":
    answers = {}
    for each, kills in (("deterministic", 20), ("hogwild", 5)):
        (Path(sys.argv[1]) / each).mkdir()
        answers[each] = main(Path(sys.argv[1]) / each, int(sys.argv[2]), kills, each)
    print(json.dumps(answers))
