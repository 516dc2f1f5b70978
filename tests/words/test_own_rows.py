"""Rows of the commonest words that threads keep for themselves for a while."""

import numpy as np
import pytest

from reference.kernel_cases import zipf_case
from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.kernels.cbow import train_cbow
from vecmill.kernels.sigmoid import sigmoid_table
from vecmill.kernels.skipgram import train_skipgram
from vecmill.words import own_rows
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.own_rows import OwnRows
from vecmill.words.run import CHUNK_TOKENS
from vecmill.words.trainer import prepared_run, train_vectors

SETTINGS = {"dim": 16, "window": 2, "sample": 0, "threads": 4, "learning_rate": 0.1}


@pytest.fixture
def shared_late(monkeypatch):
    """A corpus of a few thousand words is treated as a large one is: eight rows, settled every 256 tokens."""
    monkeypatch.setattr(own_rows, "STALE_TOKENS", 1024)
    monkeypatch.setattr(own_rows, "WORDS_PER_ROW", 2)
    monkeypatch.setattr(own_rows, "MIN_SETTLINGS", 8)
    monkeypatch.setattr("vecmill.words.hogwild.CHUNK_TOKENS", 1024)


def corpus(n_sentences=7_000):
    sentences = planted_synonyms(n_topics=5, n_sentences=n_sentences)
    vocabulary = vocabulary_of(sentences)
    return *encoded(sentences, vocabulary), vocabulary.counts


def a_run(**settings):
    return prepared_run(*corpus(), SkipgramConfig(**SETTINGS | settings), seed=1)


@pytest.mark.parametrize(("kernel", "extra"), [(train_skipgram, ()), (train_cbow, (True,))])
def test_the_kernel_works_on_own_rows_as_it_would_on_the_models(kernel, extra):
    case, plain = (zipf_case(dim=32, dtype=np.float32) for _ in range(2))
    options = {"rates": (0.3, 0.1), "table": sigmoid_table()}
    found = plain.run(kernel, *extra, 0.0, 0.0, **options)

    before = case.center_vectors.copy(), case.context_vectors.copy()
    n = 3
    own = [each[:n].copy() for each in before]
    work = case.workspace()
    work.own_rows[:] = n, *(each.ctypes.data for each in own)
    assert case.run(kernel, *extra, 0.0, 0.0, work=work, **options) == found

    for now, was, mine, expected in zip(
        (case.center_vectors, case.context_vectors),
        before,
        own,
        (plain.center_vectors, plain.context_vectors),
        strict=True,
    ):
        np.testing.assert_array_equal(now[:n], was[:n])
        np.testing.assert_array_equal(mine, expected[:n])
        assert not np.array_equal(mine, was[:n])
        np.testing.assert_array_equal(now[n:], expected[n:])


def test_one_thread_and_little_text_have_none(shared_late):
    run = a_run()
    for threads, has_some in ((1, False), (4, True), (200, False)):
        work = run.workspace()
        own = OwnRows(run, threads, work)
        assert (work.own_rows[0] > 0) == has_some
        assert own.step == (256 if has_some else CHUNK_TOKENS)


def test_what_threads_changed_is_in_the_model_and_in_each_others_rows(shared_late):
    run = a_run()
    rng = np.random.default_rng(1)
    run.model.context_vectors[:] = rng.normal(size=run.model.context_vectors.shape)
    before = run.model.context_vectors.copy()
    works = [run.workspace() for _ in range(2)]
    first, second = (OwnRows(run, 4, work) for work in works)
    n = works[0].own_rows[0]
    first._matrices[1].own[:] += 1
    second._matrices[1].own[:] += 10
    for own in (first, second):
        own.trained(255, 0.0)
    np.testing.assert_array_equal(run.model.context_vectors, before)  # it is not time yet
    for own in (first, second, first):
        own.trained(256, 0.0)  # no rate: no step goes far, changes add up
    np.testing.assert_allclose(run.model.context_vectors[:n], before[:n] + 11, rtol=1e-6)
    np.testing.assert_array_equal(run.model.context_vectors[n:], before[n:])
    np.testing.assert_array_equal(first._matrices[1].own, run.model.context_vectors[:n])
    np.testing.assert_array_equal(second._matrices[1].own, first._matrices[1].own)


@pytest.mark.parametrize("config", [SkipgramConfig, CbowConfig])
def test_threads_with_own_rows_learn_what_one_learns(config, shared_late):
    kind = "skipgram" if config is SkipgramConfig else "cbow"
    losses = [
        train_vectors(*corpus(), config(kind=kind, **SETTINGS | {"threads": threads, "epochs": 8}), seed=1).epochs
        for threads in (1, 4)
    ]
    assert losses[1][-1].loss == pytest.approx(losses[0][-1].loss, rel=0.1)
    assert losses[1][-1].n_pairs == losses[0][-1].n_pairs
