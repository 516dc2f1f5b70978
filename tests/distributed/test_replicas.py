import numpy as np
import pytest

from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.distributed import worker as worker_module
from vecmill.distributed.exchange import Traffic, exchange_rows
from vecmill.distributed.replicas import round_words
from vecmill.distributed.tiers import due_tier, tiers_of
from vecmill.distributed.trainer import train_shared
from vecmill.distributed.transport import OneProcess
from vecmill.distributed.worker import MATRICES, Worker
from vecmill.errors import VecmillError
from vecmill.kernels.touches import count_touches
from vecmill.words.checkpoint import Checkpoints
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.model import copied_model, same_vectors
from vecmill.words.run import EPOCH, StreamKeys
from vecmill.words.touch_rates import touch_rates
from vecmill.words.trainer import prepared_run, train_vectors

SETTINGS = {"dim": 8, "window": 3, "epochs": 2, "sample": 0.01, "threads": 1}


def corpus(n_sentences=7_001):
    sentences = planted_synonyms(n_topics=5, n_sentences=n_sentences)
    vocabulary = vocabulary_of(sentences)
    return *encoded(sentences, vocabulary), vocabulary.counts


def train(settings, n_workers, *, seed=2, n_sentences=7_001, kind="skipgram", checkpoints=None, way="touches", **more):
    distributed = {"workers": n_workers, **more}
    cls = SkipgramConfig if kind == "skipgram" else CbowConfig
    config = cls(kind=kind, distributed=distributed, **{**SETTINGS, **settings})
    token_ids, offsets, counts = corpus(n_sentences)
    run = prepared_run(token_ids, offsets, counts, config, seed=seed)
    return train_shared(run, config, counts, OneProcess(n_workers), checkpoints, way=way)


@pytest.mark.parametrize("kind", ["skipgram", "cbow"])
def test_one_worker_is_a_plain_training(kind):
    alone = train({"heldout_share": 0.1}, 1, kind=kind).training
    cls = SkipgramConfig if kind == "skipgram" else CbowConfig
    plain = train_vectors(*corpus(), cls(kind=kind, heldout_share=0.1, **SETTINGS), seed=2)
    assert [each.n_pairs for each in alone.epochs] == [each.n_pairs for each in plain.epochs]
    assert [each.heldout_loss for each in alone.epochs] == [each.heldout_loss for each in plain.epochs]
    np.testing.assert_array_equal(alone.center_vectors, plain.center_vectors)
    np.testing.assert_array_equal(alone.context_vectors, plain.context_vectors)


@pytest.mark.parametrize(
    ("kind", "precision"), [("skipgram", "float32"), ("cbow", "float32"), ("skipgram", "bfloat16"), ("cbow", "float16")]
)
def test_several_workers_learn_what_one_does(kind, precision):
    settings = {"dim": 16, "window": 2, "sample": 0, "epochs": 4, "learning_rate": 0.1}
    one = train(settings, 1, kind=kind).training
    several = train(settings, 4, kind=kind, precision=precision, tiers=2)
    assert [each.n_pairs for each in several.training.epochs] == [each.n_pairs for each in one.epochs]
    assert several.training.epochs[-1].loss == pytest.approx(one.epochs[-1].loss, rel=0.05)
    again = train(settings, 4, kind=kind, precision=precision, tiers=2)
    np.testing.assert_array_equal(again.training.center_vectors, several.training.center_vectors)


def test_a_plain_mean_learns_less():
    settings = {"dim": 16, "window": 2, "sample": 0, "epochs": 3, "learning_rate": 0.05}
    losses = {way: train(settings, 8, way=way).training.epochs[-1].loss for way in ("touches", "mean")}
    one = train(settings, 1).training.epochs[-1].loss
    assert abs(losses["touches"] - one) < 0.5 * (losses["mean"] - one)


def test_short_numbers_take_about_half_the_bytes():
    long, short = (
        train({"dim": 64, "epochs": 1}, 4, precision=each, tiers=3).traffic for each in ("float32", "bfloat16")
    )
    assert 0.5 < short.sent.sum() / long.sent.sum() < 0.8  # where all agree, every 16th exchange, it is float32
    assert (long.sent > 0).all() and long.sent.sum() == long.received.sum()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_after_an_exchange_of_all_rows_replicas_are_equal_and_nothing_is_lost(precision):
    token_ids, offsets, counts = corpus(500)
    config = SkipgramConfig(**SETTINGS)
    run = prepared_run(token_ids, offsets, counts, config, seed=1)
    workers = [Worker(run, copied_model(run.model), 1) for _ in range(3)]
    keys = StreamKeys.of(1, EPOCH, 0)
    everything = dict.fromkeys(MATRICES, np.ones(counts.size, np.bool_))
    traffic = Traffic.among(3)
    for turn in range(4):
        for i, worker in enumerate(workers):
            first = 300 * i + 100 * turn
            worker.train(first, first + 100, lambda at: 0.05, keys, 0)
        whole = turn == 3
        steps = dict.fromkeys(MATRICES, 1e-9)  # sums
        before = [copied_model(worker.model) for worker in workers]
        base = copied_model(run.model)
        exchange_rows(workers, OneProcess(3), everything, steps, precision, traffic, whole=whole)
        for name in MATRICES:
            total = sum(getattr(each, name) - getattr(base, name) for each in before)
            kept = sum(getattr(worker.model, name) - getattr(run.model, name) for worker in workers)
            moved = getattr(run.model, name) - getattr(base, name)
            np.testing.assert_allclose(moved + kept, total, atol=1e-5)
        equal = [same_vectors(worker.model, run.model) for worker in workers]
        assert all(equal) if whole or precision == "float32" else not any(equal)


def test_touches_count_every_row_that_is_written():
    token_ids, offsets, counts = corpus(300)
    run = prepared_run(token_ids, offsets, counts, SkipgramConfig(**SETTINGS, heldout_share=0.2), seed=1)
    run.model.context_vectors[:, :8] = 0.1
    worker = Worker(run, copied_model(run.model), 2)
    worker.train(10, 400, lambda at: 0.05, StreamKeys.of(1, EPOCH, 0), 0)
    for name in MATRICES:
        everything = np.ones(counts.size, np.bool_)
        parts = worker.take_changes(name, everything, "float32", whole=False, n_workers=3)
        assert all((each.ids % 3 == owner).all() for owner, each in enumerate(parts))
        written = np.flatnonzero((getattr(worker.model, name) != getattr(run.model, name)).any(axis=1))
        assert set(written) <= {row for each in parts for row in each.ids}
        assert all((each.touches > 0).all() for each in parts)


def test_touches_are_what_the_rates_promise():
    token_ids, offsets, counts = corpus()
    config = SkipgramConfig(**SETTINGS)
    run = prepared_run(token_ids, offsets, counts, config, seed=1)
    touches = [np.zeros(counts.size, np.int32) for _ in MATRICES]
    room = np.empty(30_000, np.int32), np.empty(30_000, np.int64)
    keys = StreamKeys.of(1, EPOCH, 0)
    rest = (run.sampler, *room, 3, config.negative_samples, keys.keep, keys.draw, *touches)
    count_touches(token_ids, offsets, 0, 0, token_ids.size, *rest)
    rates = touch_rates(counts, sample=0.01, negative_exponent=0.75, negative_samples=5)
    for found, rate in zip(touches, rates, strict=True):
        np.testing.assert_allclose(found, rate * token_ids.size, rtol=0.25, atol=20)


def test_tiers_follow_the_rates_and_are_due_in_turn():
    assert tiers_of(np.array([1.0, 5e-3, 4e-4, 1e-6]), 2_000.0, 3).tolist() == [0, 0, 2, 2]
    assert tiers_of(np.array([16 / 8_000, 16 / 8_000 + 1e-9, 16 / 32_000]), 2_000.0, 3).tolist() == [1, 0, 2]
    assert tiers_of(np.array([1.0, 1e-9]), 2_000.0, 1).tolist() == [0, 0]
    assert [due_tier(n, 3) for n in (1, 2, 3, 4, 8, 12, 16, 32, 64)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [due_tier(n, 1) for n in (1, 4, 16)] == [0, 0, 0]


def test_rounds_shrink_with_the_corpus():
    assert [round_words(16_384, n) for n in (100, 10_000, 500_000, 10_000_000)] == [64, 312, 15_625, 16_384]


def test_more_workers_than_words_are_no_harm():
    assert train({"epochs": 1}, 16, n_sentences=3).training.epochs[0].n_pairs > 0


def test_a_row_that_is_not_counted_does_not_go_unnoticed(monkeypatch):
    monkeypatch.setattr(worker_module, "count_touches", lambda *arguments: None)
    with pytest.raises(VecmillError, match=r"changed rows that .*count_touches does not count.*train\.mode"):
        train({}, 2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_that_was_stopped_at_a_checkpoint_ends_in_the_same_bytes(tmp_path, monkeypatch, precision):
    settings = {"heldout_share": 0.05}
    unbroken = train(settings, 3, precision=precision, tiers=2).training
    save, asked, n_saved = Checkpoints.save, 0, 0

    def due(self):
        nonlocal asked
        asked += 1
        return asked > 5

    def save_and_die(self, model, progress):
        nonlocal asked, n_saved
        save(self, model, progress)
        asked, n_saved = 0, n_saved + 1
        if n_saved <= 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "due", due)

    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    n_deaths = 0
    while True:
        try:
            resumed = train(settings, 3, precision=precision, tiers=2, checkpoints=tmp_path).training
            break
        except KeyboardInterrupt:
            n_deaths += 1
    assert n_deaths == 3 and resumed.resumed_at > 0
    assert resumed.epochs == unbroken.epochs
    np.testing.assert_array_equal(resumed.center_vectors, unbroken.center_vectors)
    np.testing.assert_array_equal(resumed.context_vectors, unbroken.context_vectors)
