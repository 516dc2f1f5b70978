import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reference import killed_glove
from reference.words_corpora import encoded, planted_synonyms, stage_io, vocabulary_of
from vecmill.kernels.cooccurrence import PAIR
from vecmill.store.stage import StageIO
from vecmill.words import glove_trainer
from vecmill.words.checkpoint import Checkpoints
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_pairs import kept_pairs, shuffle_pairs
from vecmill.words.glove_train import train_glove
from vecmill.words.glove_trainer import train_glove_vectors

CONFIG = GloveConfig(
    kind="glove", dim=8, window=2, x_max=10, epochs=3, learning_rate=0.1, threads=1, checkpoint_minutes=1e-9
)


class Interrupted(Exception):
    pass


def corpus(n_topics=5, n_sentences=2_000):
    sentences = planted_synonyms(n_topics, n_sentences)
    vocabulary = vocabulary_of(sentences)
    return *encoded(sentences, vocabulary), vocabulary.counts


def trained(checkpoints, config=CONFIG, *, seed=1, arrays=None):
    # without a folder for them, temporary files have to be with the checkpoints
    arrays = corpus() if arrays is None else arrays
    return train_glove_vectors(*arrays, config, seed=seed, folder=Path("/nowhere"), checkpoints=checkpoints)


def fail_after(monkeypatch, n_checkpoints):
    """Let training fail once it has saved so often."""
    n_saved = 0
    save = Checkpoints.save

    def save_and_fail(self, model, progress):
        nonlocal n_saved
        save(self, model, progress)
        n_saved += 1
        if n_saved == n_checkpoints:
            raise Interrupted

    monkeypatch.setattr(Checkpoints, "save", save_and_fail)


# --- counted pairs ----------------------------------------------------------------------------------------------------


def some_pairs(folder):
    pairs = np.zeros(5_000, PAIR)
    pairs["row"], pairs["col"], pairs["value"] = np.arange(5_000) // 7, np.arange(5_000) % 7, np.arange(5_000)
    return shuffle_pairs(iter([pairs]), folder, key=np.uint64(5), memory_bytes=1 << 20)


def refuse(folder):
    raise AssertionError("counted again")


def test_counted_pairs_are_kept_and_found(tmp_path):
    made = kept_pairs(some_pairs, tmp_path / "new", "this one")
    found = kept_pairs(refuse, tmp_path / "new", "this one")
    np.testing.assert_array_equal(found.offsets, made.offsets)
    assert found.n_pairs == 5_000
    for chunk in range(found.n_chunks):
        np.testing.assert_array_equal(found.read(chunk), made.read(chunk))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "new",
        "new/pairs",
        "new/pairs/pairs",
        "new/pairs/pairs.json",
    ]


@pytest.mark.parametrize("damage", ["training", "cut off", "one bit", "no json", "no record", "half written"])
def test_pairs_that_do_not_fit_are_counted_again(tmp_path, damage):
    whole = kept_pairs(some_pairs, tmp_path, "this one").path.read_bytes()
    folder = tmp_path / "pairs"
    if damage == "cut off":
        (folder / "pairs").write_bytes(whole[:-100])
    elif damage == "one bit":
        (folder / "pairs").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "no json":
        (folder / "pairs.json").write_text('{"training": "this')
    elif damage == "no record":
        (folder / "pairs.json").unlink()
    elif damage == "half written":
        folder.rename(tmp_path / "pairs.tmp")
    made = []
    again = kept_pairs(
        lambda place: made.append(place) or some_pairs(place),
        tmp_path,
        "another" if damage == "training" else "this one",
    )
    assert made == [tmp_path / "pairs.tmp"]
    assert again.path.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_counting_that_broke_off_leaves_nothing_that_counts(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise Interrupted

    monkeypatch.setattr(glove_trainer, "shuffle_pairs", fail)
    with pytest.raises(Interrupted):
        trained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.tmp"]
    monkeypatch.undo()
    np.testing.assert_array_equal(trained(tmp_path).word_vectors, trained(tmp_path / "unbroken").word_vectors)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["hogwild", "deterministic"])
@pytest.mark.parametrize("n_checkpoints", [1, 32, 40])
def test_an_interrupted_training_goes_on_where_it_was(tmp_path, monkeypatch, mode, n_checkpoints):
    config = CONFIG.model_copy(update={"mode": mode})
    unbroken = trained(tmp_path / "unbroken", config)
    fail_after(monkeypatch, n_checkpoints)
    with pytest.raises(Interrupted):
        trained(tmp_path / "broken", config)
    monkeypatch.setattr(glove_trainer, "count_and_shuffle", refuse)
    resumed = trained(tmp_path / "broken", config)
    assert resumed.resumed_at == pytest.approx(n_checkpoints / 32)
    assert resumed.epochs == unbroken.epochs
    np.testing.assert_array_equal(resumed.word_vectors, unbroken.word_vectors)
    np.testing.assert_array_equal(resumed.context_vectors, unbroken.context_vectors)


def test_checkpoints_by_epochs_and_the_last_one_of_all(tmp_path):
    by_epochs = CONFIG.model_copy(update={"checkpoint_minutes": 0, "checkpoint_epochs": 2})
    trained(tmp_path, by_epochs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000001", "pairs"]
    assert trained(tmp_path, by_epochs).resumed_at == 2
    never = CONFIG.model_copy(update={"checkpoint_minutes": 0})
    trained(tmp_path / "never", never)
    assert [path.name for path in (tmp_path / "never").iterdir()] == ["pairs"]


def test_a_checkpoint_of_another_seed_config_or_corpus_is_not_used(tmp_path):
    def resumed_at(*arrays, seed=1, **settings):
        trained(tmp_path)
        settings = CONFIG.model_copy(update=settings)
        return trained(tmp_path, settings, seed=seed, arrays=arrays or None).resumed_at

    assert resumed_at() == 3
    assert resumed_at(threads=2, memory_bytes=1 << 20, checkpoint_minutes=1) == 3
    assert resumed_at(seed=2) == 0
    assert resumed_at(epochs=4) == 0
    token_ids, offsets, counts = corpus()
    assert resumed_at(token_ids[::-1].copy(), offsets, counts) == 0


def test_threads_that_stop_for_a_checkpoint_leave_no_chunk_out(tmp_path, monkeypatch):
    config = CONFIG.model_copy(update={"threads": 3, "epochs": 2})
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 400, 60_000).astype(np.int32), np.array([0, 60_000]), np.full(400, 150)
    whole = trained(tmp_path / "whole", config, arrays=arrays)
    assert whole.threads == 3
    fail_after(monkeypatch, 4)
    with pytest.raises(Interrupted):
        trained(tmp_path / "broken", config, arrays=arrays)
    resumed = trained(tmp_path / "broken", config, arrays=arrays)
    assert 4 / 32 <= resumed.resumed_at <= 12 / 32
    assert [each.n_pairs for each in resumed.epochs] == [each.n_pairs for each in whole.epochs]


def test_the_stage_goes_on_and_writes_the_same_bytes(tmp_path, monkeypatch):
    sentences = planted_synonyms(5, 2_000)

    def stage(name):
        io = stage_io(tmp_path / name, sentences, seed=1)
        return StageIO(io.inputs, io.output, io.seed, checkpoints=tmp_path / name / "checkpoints")

    unbroken, broken = stage("unbroken"), stage("broken")
    train_glove(CONFIG, unbroken)
    fail_after(monkeypatch, 10)
    with pytest.raises(Interrupted):
        train_glove(CONFIG, broken)
    assert list(broken.output.iterdir()) == []
    report = train_glove(CONFIG, broken)
    assert report.metrics["resumed_at_epoch"] == pytest.approx(10 / 32)
    for name in ("vectors/vectors.npy", "context_vectors.npy", "losses.parquet"):
        assert (broken.output / name).read_bytes() == (unbroken.output / name).read_bytes()


def test_killed_at_random_moments_ends_in_the_same_bytes(tmp_path):
    script = Path(killed_glove.__file__)
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    command = [sys.executable, str(script), str(tmp_path), "7"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["n_killed"] == killed_glove.N_KILLS
    assert found["n_resumed"] >= 1
    assert found["broken"] == found["unbroken"]
