import numpy as np
import pytest

from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.errors import VecmillError
from vecmill.kernels.rounds import combine_changes
from vecmill.words import deterministic
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.deterministic import shard_size
from vecmill.words.trainer import train_vectors

SETTINGS = {"dim": 8, "window": 3, "epochs": 2, "mode": "deterministic", "sample": 0.01}
CONFIGS = [
    SkipgramConfig(**SETTINGS),
    SkipgramConfig(heldout_share=0.1, round_shards=3, negative_samples=11, dynamic_window=False, **SETTINGS),
    CbowConfig(kind="cbow", shard_tokens=100, **SETTINGS),
]


def corpus(n_sentences=7_001):
    sentences = planted_synonyms(n_topics=5, n_sentences=n_sentences)
    vocabulary = vocabulary_of(sentences)
    return *encoded(sentences, vocabulary), vocabulary.counts


@pytest.mark.parametrize("config", CONFIGS)
def test_the_same_bytes_with_any_number_of_threads(config):
    one, *others = (
        train_vectors(*corpus(), config.model_copy(update={"threads": threads}), seed=2) for threads in (1, 2, 3, 5)
    )
    assert [one.threads, *(each.threads for each in others)] == [1, 2, 3, config.round_shards]
    for other in others:
        assert other.epochs == one.epochs
        np.testing.assert_array_equal(other.center_vectors, one.center_vectors)
        np.testing.assert_array_equal(other.context_vectors, one.context_vectors)


def test_learns_what_hogwild_learns():
    settings = {"dim": 16, "window": 2, "sample": 0, "epochs": 8, "learning_rate": 0.1, "threads": 1}
    hogwild, rounds = (
        train_vectors(*corpus(), SkipgramConfig(mode=mode, **settings), seed=1).epochs
        for mode in ("hogwild", "deterministic")
    )
    assert [each.n_pairs for each in rounds] == [each.n_pairs for each in hogwild]
    assert rounds[-1].loss == pytest.approx(hogwild[-1].loss, rel=0.1)


def test_a_row_that_is_not_listed_does_not_go_unnoticed(monkeypatch):
    monkeypatch.setattr(deterministic, "mark_rows", lambda *arguments: (arguments[12], arguments[14]))
    with pytest.raises(VecmillError, match=r"changed rows that .*mark_rows does not list.*train\.mode: hogwild"):
        train_vectors(*corpus(500), SkipgramConfig(**SETTINGS), seed=0)


def test_shards_shrink_with_the_corpus():
    config = SkipgramConfig(round_shards=4, shard_tokens=2048)
    assert [shard_size(config, n) for n in (10, 10_000, 1_000_000, 10_000_000)] == [64, 64, 976, 2048]


@pytest.mark.parametrize("n_parts", [1, 3])
def test_combined_changes_equal_the_formula(n_parts):
    rng = np.random.default_rng(0)
    n_shards, n_words, dim = 4, 20, 6
    rows = [rng.permutation(n_words)[:n] for n in (12, 0, 20, 7)]
    ids, n_ids = np.zeros((n_shards, n_words), np.int64), np.array([each.size for each in rows])
    changes = rng.normal(size=(n_shards, n_words, dim))
    base = rng.normal(size=(n_words, dim))
    changes[2, :3] = 0
    expected = base.copy()
    for row in range(n_words):
        total = None
        for shard, shard_rows in enumerate(rows):
            ids[shard, : shard_rows.size] = shard_rows
            for b in changes[shard][: shard_rows.size][shard_rows == row]:
                if total is None or not total.any() or not b.any():
                    total = b if total is None else total + b
                else:
                    total = (1 - total @ b / (2 * total @ total)) * total + (1 - total @ b / (2 * b @ b)) * b
        expected[row] += 0 if total is None else total
    owners = np.full(n_words, -1)
    for part in range(n_parts):
        combine_changes(ids, n_ids, changes, owners, base, part, n_parts)
    np.testing.assert_allclose(base, expected, rtol=1e-12)
    assert (owners == -1).all()
