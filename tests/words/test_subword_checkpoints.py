"""Trainings with subwords that are broken off go on where they were."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reference import killed_subwords
from reference.killed_subwords import CONFIGS, corpus
from vecmill.words.checkpoint import Checkpoints
from vecmill.words.subword_trainer import train_subword_vectors


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("mode", ["hogwild", "deterministic"])
def test_an_interrupted_training_goes_on_where_it_was(tmp_path, monkeypatch, kind, mode):
    config = CONFIGS[kind].model_copy(update={"mode": mode, "checkpoint_minutes": 1e-9})
    unbroken = train_subword_vectors(*corpus(), config, seed=1)
    n_saved, save = 0, Checkpoints.save

    def save_and_fail(self, model, progress):
        nonlocal n_saved
        save(self, model, progress)
        n_saved += 1
        if n_saved == 3:
            raise Interrupted

    monkeypatch.setattr(Checkpoints, "save", save_and_fail)
    with pytest.raises(Interrupted):
        train_subword_vectors(*corpus(), config, seed=1, checkpoints=tmp_path)
    resumed = train_subword_vectors(*corpus(), config, seed=1, checkpoints=tmp_path)
    assert 0 < resumed.resumed_at < config.epochs
    assert resumed.epochs == unbroken.epochs
    np.testing.assert_array_equal(resumed.vectors.word_rows.vectors, unbroken.vectors.word_rows.vectors)
    np.testing.assert_array_equal(resumed.vectors.bucket_rows, unbroken.vectors.bucket_rows)
    np.testing.assert_array_equal(resumed.context_vectors, unbroken.context_vectors)


def test_a_checkpoint_of_other_words_or_settings_is_not_used(tmp_path):
    config = CONFIGS["skipgram"].model_copy(update={"epochs": 1, "checkpoint_epochs": 1})
    token_ids, offsets, words, counts = corpus()

    def resumed_at(words, **settings):
        train_subword_vectors(token_ids, offsets, corpus()[2], counts, config, seed=1, checkpoints=tmp_path)
        settings = config.model_copy(update=settings)
        return train_subword_vectors(
            token_ids, offsets, words, counts, settings, seed=1, checkpoints=tmp_path
        ).resumed_at

    assert resumed_at(words) == 1
    assert resumed_at([f"{word}x" for word in words]) == 0
    assert resumed_at(words, max_n=5) == 0


def test_killed_at_random_moments_ends_in_the_same_bytes(tmp_path):
    script = Path(killed_subwords.__file__)
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    command = [sys.executable, str(script), str(tmp_path), "5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    for kind in CONFIGS:
        found = json.loads(done.stdout)[kind]
        assert found["n_killed"] == 4
        assert found["n_resumed"] >= 1
        assert found["broken"] == found["unbroken"]
