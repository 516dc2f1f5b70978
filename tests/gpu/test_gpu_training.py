"""Whole trainings in blocks, on the processor: what they learn, write, repeat and go on from."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from reference import killed_blocks
from reference.words_corpora import planted_synonyms, stage_io
from vecmill.errors import ConfigError, TrainingDiverged
from vecmill.gpu import epochs
from vecmill.gpu import train as gpu_train
from vecmill.gpu.epochs import block_shape, stretch_tokens
from vecmill.gpu.memory import check_memory, training_bytes
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.checkpoint import Checkpoints
from vecmill.words.config import SkipgramConfig
from vecmill.words.device_config import (
    CbowSection,
    GpuConfig,
    SkipgramSection,
    SubwordCbowSection,
    SubwordSkipgramSection,
)
from vecmill.words.subword_train import train_subwords
from vecmill.words.train import train_words
from vecmill.words.trainer import prepared_run

SETTINGS = {"dim": 20, "window": 2, "sample": 0, "epochs": 4, "learning_rate": 0.1, "threads": 1}
SUBWORDS = {"min_n": 3, "max_n": 4, "subword_buckets": 5_000, "subword_gradient": "exact"}
SECTIONS = {
    "skipgram": SkipgramSection(**SETTINGS),
    "cbow": CbowSection(kind="cbow", **SETTINGS | {"learning_rate": 0.2}),
    "subword_skipgram": SubwordSkipgramSection(kind="subword_skipgram", **SETTINGS, **SUBWORDS),
    "subword_cbow": SubwordCbowSection(kind="subword_cbow", **SETTINGS | {"learning_rate": 0.2}, **SUBWORDS),
}


@pytest.fixture(autouse=True)
def processor(monkeypatch):
    monkeypatch.setattr(gpu_train, "usable_device", lambda _: torch.device("cpu"))


def train_here(config, io):
    on_gpu = gpu_train.train_subwords_on_gpu if "subword" in config.kind else gpu_train.train_words_on_gpu
    return on_gpu(config, io)


def train_there(config, io):
    return (train_subwords if "subword" in config.kind else train_words)(config, io)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", SECTIONS)
def test_planted_synonyms_are_found_as_the_processors_trainer_finds_them(tmp_path, kind):
    sentences = planted_synonyms()
    reports = []
    for name, train in (("gpu", train_here), ("cpu", train_there)):
        io = stage_io(tmp_path / name, sentences, seed=1)
        reports.append(train(SECTIONS[kind].model_copy(update={"heldout_share": 0.02}), io))
        vectors = WordVectors.load(io.output / "vectors")
        unit = vectors.vectors / vectors.norms[:, None]
        found = 0
        for topic in range(20):
            cosines = unit @ unit[vectors.id_of(f"{topic}-one")]
            cosines[vectors.id_of(f"{topic}-one")] = -2
            found += vectors.words[int(np.argmax(cosines))] == f"{topic}-two"
        assert found == 20, name
    here, there = reports
    assert [each["n_pairs"] for each in here.table] == [each["n_pairs"] for each in there.table]
    assert here.metrics["final_heldout_loss"] < there.metrics["final_heldout_loss"] + 0.02
    assert set(here.rows) == set(there.rows)
    assert set(here.metrics) - set(there.metrics) == {"device", "torch"}
    assert (here.metrics["device"], here.metrics["torch"]) == ("cpu: processor", torch.__version__)


@pytest.mark.parametrize("kind", SECTIONS)
def test_same_seed_same_bytes(tmp_path, kind):
    sentences = planted_synonyms(n_topics=5, n_sentences=600)
    made = []
    for run, seed in enumerate((4, 4, 5)):
        io = stage_io(tmp_path / str(run), sentences, seed=seed)
        train_here(SECTIONS[kind].model_copy(update={"mode": "deterministic", "epochs": 2}), io)
        made.append(digests(io.output))
    assert made[0] == made[1]
    assert made[0]["vectors/vectors.npy"] != made[2]["vectors/vectors.npy"]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("kind", ["subword_skipgram", "subword_cbow"])
def test_rows_that_all_words_share_do_not_overshoot(tmp_path, monkeypatch, kind):
    """Vectors of words with n-grams in common grow fast; with directions of some blocks ago they grew without bound."""
    monkeypatch.setattr(epochs, "MIN_BLOCKS", 24)
    monkeypatch.setattr(epochs, "MIN_STRETCH_TOKENS", 1 << 17)
    rng = np.random.default_rng(7)
    words = [f"{first}{second}wordings" for first in "bdfgklmnprst" for second in "aeiouy"]
    shares = 1 / np.arange(1, len(words) + 1)
    topics = [rng.permutation(len(words)) for _ in range(4)]
    sentences = [
        [words[topics[i % 4][place]] for place in rng.choice(len(words), 20, p=shares / shares.sum())]
        for i in range(4_000)
    ]
    settings = {"dim": 32, "epochs": 2, "sample": 0, "threads": 1, "subword_buckets": 5_000, "heldout_share": 0.02}
    config = SECTIONS[kind].__class__(kind=kind, **settings)
    assert config.subword_gradient == "fasttext" and config.learning_rate == 0.05
    losses = [
        train(config, stage_io(tmp_path / name, sentences, seed=1)).metrics["final_heldout_loss"]
        for name, train in (("gpu", train_here), ("cpu", train_there))
    ]
    assert losses[0] < losses[1] + 0.05, losses


@pytest.mark.parametrize(("kind", "factor"), [("skipgram", 1.0), ("subword_skipgram", 1.5)])
def test_steps_are_those_of_the_rate_and_with_subwords_of_one_and_a_half_times_as_much(
    tmp_path, monkeypatch, kind, factor
):
    config = SECTIONS[kind].model_copy(update={"epochs": 1})
    sentences = planted_synonyms(n_topics=5, n_sentences=500)
    as_it_is = stage_io(tmp_path / "as-it-is", sentences, seed=1)
    train_here(config, as_it_is)
    monkeypatch.setattr(epochs, "SUBWORD_RATE", 1.0)
    rates = {name: factor * getattr(config, name) for name in ("learning_rate", "min_learning_rate")}
    told = stage_io(tmp_path / "told", sentences, seed=1)
    train_here(config.model_copy(update=rates), told)
    found, expected = (WordVectors.load(io.output / "vectors").vectors for io in (as_it_is, told))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("kind", ["skipgram", "subword_cbow"])
def test_an_interrupted_training_goes_on_in_the_same_bytes(tmp_path, monkeypatch, kind):
    config = SECTIONS[kind].model_copy(update={"checkpoint_minutes": 1e-9, "epochs": 3, "heldout_share": 0.05})
    sentences = planted_synonyms(n_topics=5, n_sentences=2_500)
    unbroken = stage_io(tmp_path / "unbroken", sentences, seed=1)
    train_here(config, unbroken)
    n_saved, save = 0, Checkpoints.save

    def save_and_fail(self, model, progress):
        nonlocal n_saved
        save(self, model, progress)
        n_saved += 1
        if n_saved == 6:
            raise Interrupted

    monkeypatch.setattr(Checkpoints, "save", save_and_fail)
    checkpoints = tmp_path / "checkpoints"
    first = stage_io(tmp_path / "first", sentences, seed=1)
    with pytest.raises(Interrupted):
        train_here(config, first.__class__(**vars(first) | {"checkpoints": checkpoints}))
    kept = json.loads(next(checkpoints.glob("*/progress.json")).read_text())["progress"]
    assert kept["results"] and kept["positions"][0] % stretch_tokens(7_500) == 0 < kept["positions"][0]
    second = stage_io(tmp_path / "second", sentences, seed=1)
    report = train_here(config, second.__class__(**vars(second) | {"checkpoints": checkpoints}))
    assert 1 < report.metrics["resumed_at_epoch"] < 3
    assert digests(second.output) == digests(unbroken.output)


def test_a_killed_training_goes_on_in_the_same_bytes(tmp_path):
    unbroken = killed_blocks.train(None)
    child = subprocess.Popen(
        [sys.executable, killed_blocks.__file__, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])},
    )
    try:
        began = time.monotonic()
        while not any(int(each.name[-8:]) >= 2 for each in tmp_path.glob("checkpoint-????????")):
            assert child.poll() is None and time.monotonic() - began < 200
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    resumed = killed_blocks.train(tmp_path)
    assert 0 < resumed.resumed_at < 3
    assert resumed.epochs == unbroken.epochs
    np.testing.assert_array_equal(resumed.center_vectors, unbroken.center_vectors)
    np.testing.assert_array_equal(resumed.context_vectors, unbroken.context_vectors)


def test_a_checkpoint_of_other_blocks_or_of_the_processor_is_not_gone_on_from(tmp_path):
    config = SECTIONS["skipgram"].model_copy(update={"checkpoint_epochs": 1, "epochs": 2})
    sentences = planted_synonyms(n_topics=3, n_sentences=500)
    resumed = []
    others = config.model_copy(update={"gpu": GpuConfig(shared_negatives=8)})
    for name, train, each in (("a", train_here, config), ("b", train_here, others), ("c", train_there, config)):
        io = stage_io(tmp_path / name, sentences)
        report = train(each, io.__class__(**vars(io) | {"checkpoints": tmp_path / "checkpoints"}))
        resumed.append(report.metrics["resumed_at_epoch"])
    assert resumed == [0, 0, 0]


def test_training_ends_early_and_starts_from_what_stands(tmp_path):
    sentences = planted_synonyms(n_topics=5, n_sentences=1_500)
    first = stage_io(tmp_path / "first", sentences)
    patient = {"heldout_share": 0.1, "patience": 1, "min_delta": 5.0, "schedule": {"kind": "cosine"}}
    report = train_here(SkipgramSection(**SETTINGS, **patient), first)
    assert report.metrics["stopped_early"] and report.metrics["n_epochs"] == 2
    second = stage_io(tmp_path / "second", sentences)
    more = train_here(SkipgramSection(**SETTINGS | {"epochs": 1}, pretrained=str(first.output)), second)
    assert more.metrics["pretrained_context_vectors"] and more.metrics["n_new_words"] == 0
    assert more.table[0]["loss"] < report.table[0]["loss"] - 0.1
    assert (second.output / "movement.parquet").is_file()


def test_absurd_learning_rate_is_named(tmp_path):
    config = SECTIONS["skipgram"].model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingDiverged, match="the loss became nan in epoch 1 of 4, between tokens 0 and") as caught:
        train_here(config, stage_io(tmp_path, planted_synonyms(n_topics=3, n_sentences=2_000)))
    advice = "lower train.gpu.block_words below 4096, or lower train.learning_rate from 1e+30 to 0.025"
    assert advice in str(caught.value)


def a_run(n_words=1_000):
    ids = np.arange(n_words, dtype=np.int32)
    return prepared_run(ids, np.array([0, n_words]), np.ones(n_words, np.int64), SkipgramConfig(), seed=0)


def test_what_does_not_fit_is_refused_with_numbers():
    run, gpu = a_run(), GpuConfig()
    model, work = training_bytes(run, gpu)
    assert model == 2 * 1_000 * 112 * 4
    check_memory(run, gpu, torch.device("cuda"), free_bytes=model + work)
    with pytest.raises(ConfigError) as caught:
        check_memory(run, gpu, torch.device("cuda"), free_bytes=model)
    message = str(caught.value)
    assert "2,000 rows of 100 numbers" in message and "0.00 GiB are free" in message
    assert "lower train.gpu.block_words, lower train.dim, raise vocabulary.min_count" in message
    larger = training_bytes(run, GpuConfig(shared_negatives=640))
    assert larger[0] == model and larger[1] > 2 * work


def test_blocks_shrink_with_the_corpus():
    assert block_shape(GpuConfig(block_words=8_192), 10_000_000) == (256, 32)
    assert block_shape(GpuConfig(block_words=8_192), 256 * 70) == (2, 32)
    assert block_shape(GpuConfig(block_words=8_192), 100) == (1, 32)
    assert block_shape(GpuConfig(group_words=1_000), 1_000) == (1, 32)
