import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reference import killed_training
from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.words import trainer as trainer_module
from vecmill.words.checkpoint import Checkpoints
from vecmill.words.config import SkipgramConfig
from vecmill.words.model import initial_model, same_vectors
from vecmill.words.progress_state import EpochResult, Progress
from vecmill.words.trainer import train_vectors


def a_model(seed=0, n_words=30):
    model = initial_model(n_words, 5, np.random.default_rng(seed))
    model.context_vectors[:, :5] = np.random.default_rng(seed).normal(size=(n_words, 5))
    return model


PROGRESS = Progress(
    [EpochResult(0.1 + 0.2, 7, 1e-3, 2 / 3)], cuts=[0, 50, 100], positions=[16, 70], loss=1 / 3, n_pairs=9
)


def checkpoints(folder, training="this one", **settings):
    return Checkpoints(folder, training, **{"minutes": 5, "epochs": 0} | settings)


def test_what_was_saved_comes_back_bit_for_bit_and_older_ones_go(tmp_path):
    saved = checkpoints(tmp_path / "new")
    saved.save(a_model(1), Progress())
    saved.save(a_model(2), PROGRESS)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["checkpoint-00000002"]
    model = a_model(3)
    later = checkpoints(tmp_path / "new")
    assert later.load(model) == PROGRESS
    assert same_vectors(model, a_model(2))
    later.save(model, PROGRESS)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["checkpoint-00000003"]


@pytest.mark.parametrize("damage", ["training", "cut off", "one bit", "no json", "half written"])
def test_what_does_not_fit_is_removed_and_not_read(tmp_path, damage):
    checkpoints(tmp_path).save(a_model(1), PROGRESS)
    folder = tmp_path / "checkpoint-00000001"
    vectors = folder / "context_vectors.npy"
    if damage == "cut off":
        vectors.write_bytes(vectors.read_bytes()[:-100])
    elif damage == "one bit":
        content = bytearray(vectors.read_bytes())
        content[-5] ^= 1
        vectors.write_bytes(content)
    elif damage == "no json":
        (folder / "progress.json").write_text('{"training": "this')
    elif damage == "half written":
        folder.rename(tmp_path / "checkpoint-00000001.tmp")
    model = a_model(3)
    assert checkpoints(tmp_path, "another" if damage == "training" else "this one").load(model) is None
    assert same_vectors(model, a_model(3))
    assert list(tmp_path.iterdir()) == []


def test_when_they_are_due(tmp_path):
    now = [100.0]
    saved = checkpoints(tmp_path, minutes=2, epochs=3, clock=lambda: now[0])
    now[0] += 119
    assert not saved.due()
    now[0] += 1
    assert saved.due()
    saved.save(a_model(), PROGRESS)
    assert not saved.due()
    assert [saved.due_after_epoch(n) for n in (1, 2, 3, 4, 6)] == [False, False, True, False, True]
    never = checkpoints(tmp_path, minutes=0, epochs=0, clock=lambda: now[0])
    now[0] += 1e9
    assert not never.due() and not never.due_after_epoch(1)
    nowhere = checkpoints(None, epochs=1)
    nowhere.save(a_model(), PROGRESS)
    assert nowhere.load(a_model()) is None and not nowhere.due_after_epoch(1)


def corpus(n_sentences=8_000):
    sentences = planted_synonyms(n_topics=5, n_sentences=n_sentences)
    vocabulary = vocabulary_of(sentences)
    return *encoded(sentences, vocabulary), vocabulary.counts


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("mode", ["hogwild", "deterministic"])
def test_an_interrupted_training_goes_on_where_it_was(tmp_path, monkeypatch, mode):
    config = SkipgramConfig(dim=8, epochs=3, mode=mode, threads=1, checkpoint_minutes=1e-9)
    unbroken = train_vectors(*corpus(), config, seed=1)
    n_saved = 0
    save = Checkpoints.save

    def save_and_fail(self, model, progress):
        nonlocal n_saved
        save(self, model, progress)
        n_saved += 1
        if n_saved == 4:
            raise Interrupted

    monkeypatch.setattr(Checkpoints, "save", save_and_fail)
    with pytest.raises(Interrupted):
        train_vectors(*corpus(), config, seed=1, checkpoints=tmp_path)
    resumed = train_vectors(*corpus(), config, seed=1, checkpoints=tmp_path)
    assert 0 < resumed.resumed_at < 3
    assert resumed.epochs == unbroken.epochs
    np.testing.assert_array_equal(resumed.center_vectors, unbroken.center_vectors)
    np.testing.assert_array_equal(resumed.context_vectors, unbroken.context_vectors)


def test_a_checkpoint_of_another_seed_config_or_corpus_is_not_used(tmp_path):
    config = SkipgramConfig(dim=8, epochs=1, threads=1, checkpoint_epochs=1)

    def resumed_at(*arrays, seed=1, **settings):
        train_vectors(*corpus(), config, seed=1, checkpoints=tmp_path)
        settings = config.model_copy(update=settings)
        return train_vectors(*(arrays or corpus()), settings, seed=seed, checkpoints=tmp_path).resumed_at

    assert resumed_at() == 1
    assert resumed_at(threads=2, checkpoint_minutes=1) == 1
    assert resumed_at(seed=2) == 0
    assert resumed_at(epochs=2) == 0
    token_ids, offsets, counts = corpus()
    assert resumed_at(token_ids[::-1].copy(), offsets, counts) == 0


def test_hogwild_with_more_slices_than_threads_finishes_them(tmp_path, monkeypatch):
    config = SkipgramConfig(dim=8, epochs=1, sample=0, dynamic_window=False, threads=3, checkpoint_minutes=1e-9)
    big = corpus(n_sentences=30_000)
    whole = train_vectors(*big, config, seed=1)
    save = Checkpoints.save

    def save_and_fail(self, model, progress):
        save(self, model, progress)
        raise Interrupted

    monkeypatch.setattr(trainer_module.Checkpoints, "save", save_and_fail)
    with pytest.raises(Interrupted):
        train_vectors(*big, config, seed=1, checkpoints=tmp_path)
    monkeypatch.setattr(trainer_module.Checkpoints, "save", save)
    resumed = train_vectors(*big, config.model_copy(update={"threads": 1}), seed=1, checkpoints=tmp_path)
    assert 0 < resumed.resumed_at < 1
    assert resumed.epochs[0].n_pairs == whole.epochs[0].n_pairs


def test_killed_at_random_moments_ends_in_the_same_bytes(tmp_path):
    script = Path(killed_training.__file__)
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    command = [sys.executable, str(script), str(tmp_path), "7"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    for mode, n_kills in (("deterministic", 20), ("hogwild", 5)):
        found = json.loads(done.stdout)[mode]
        assert found["n_killed"] == n_kills
        assert found["n_resumed"] >= 1
        assert found["broken"] == found["unbroken"]
