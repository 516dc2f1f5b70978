"""The map between two spaces: SciPy as peer, planted rotations, moved words, what an index of old vectors is worth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.errors import FormatError
from vecmill.vectors.alignment import (
    align,
    distances,
    index_recall,
    least_shared,
    mapped,
    procrustes,
    shared_words,
)
from vecmill.vectors.word_vectors import WordVectors

N_WORDS, DIM = 400, 12


def rotation(dim: int, seed: int = 0) -> np.ndarray:
    drawn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    return np.asarray(drawn)


def model(seed: int = 0, n_words: int = N_WORDS) -> WordVectors:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n_words, DIM)) * generator.uniform(0.1, 5, (n_words, 1))
    return WordVectors([f"w{i}" for i in range(n_words)], rows.astype(np.float32), np.arange(n_words, 0, -1))


def rotated(vectors: WordVectors, seed: int = 1, noise: float = 0.0) -> WordVectors:
    rows = vectors.vectors @ rotation(vectors.dim, seed)
    rows = rows + noise * np.random.default_rng(seed + 100).normal(size=rows.shape) * vectors.norms[:, None]
    return WordVectors(vectors.words, rows.astype(np.float32), vectors.counts)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), n=st.integers(1, 40), dim=st.integers(1, 8))
def test_procrustes_as_scipy(seed: int, n: int, dim: int) -> None:
    """Where there are fewer points than dimensions the best map is not unique; then both are equally good."""
    x, y = np.random.default_rng(seed).normal(size=(2, n, dim))
    theirs, _ = scipy.linalg.orthogonal_procrustes(x, y)
    ours = procrustes(x, y)
    assert np.allclose(ours @ ours.T, np.eye(dim), atol=1e-9)
    assert np.linalg.norm(x @ ours - y) == pytest.approx(np.linalg.norm(x @ theirs - y), abs=1e-9)
    if n >= dim:
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_rotation_is_found() -> None:
    old = model()
    new = rotated(old)
    shared = shared_words(old, new)
    found = align(old, new, shared)
    np.testing.assert_allclose(found.map, rotation(DIM, 1), atol=1e-6)
    assert found.residual < 1e-6 and found.heldout_residual < 1e-6 and found.heldout_cosine == pytest.approx(1)
    assert (found.n_anchors, found.n_trimmed, found.n_heldout) == (256, 64, 80)
    assert distances(old, new, shared, found.map).max() < 1e-12
    recall = index_recall(old, new, shared, found.map)
    assert recall.old_index == recall.old_queries == recall.both_old == 1
    assert recall.old_index_unmapped < 0.1 and recall.old_queries_unmapped < 0.1


def test_words_that_moved_do_not_turn_the_map() -> None:
    """Every sixth word points elsewhere; without trimming the map is off by more than ten times as much."""
    old = model()
    new = rotated(old, noise=0.003)
    rows = new.vectors.copy()
    rows[::6] = np.random.default_rng(9).normal(size=rows[::6].shape) + 3
    new = WordVectors(new.words, rows, new.counts)
    shared = shared_words(old, new)
    trimmed, plain = (align(old, new, shared, trim_frac=frac) for frac in (0.2, 0.0))
    off = [np.abs(each.map - rotation(DIM, 1)).max() for each in (trimmed, plain)]
    assert off[0] < 0.01 < 10 * off[0] < off[1]
    # Held-out words are not trimmed: their residual tells of the moved ones.
    assert trimmed.residual < 0.02 and trimmed.heldout_residual > 0.3


def test_the_residual_of_unrelated_spaces_is_told_on_words_held_out() -> None:
    old, new = model(1, 80), model(2, 80)
    found = align(old, new, shared_words(old, new))
    assert found.residual < 1.2 and found.heldout_residual > 1.25 and abs(found.heldout_cosine) < 0.2


def test_recall_against_plain_numpy() -> None:
    old = model()
    new = rotated(old, noise=0.15)
    shared = shared_words(old, new)
    found = align(old, new, shared)
    recall = index_recall(old, new, shared, found.map, n=5, n_queries=50, n_indexed=300)
    x = old.vectors[:300] / old.norms[:300, None]
    y = new.vectors[:300] / new.norms[:300, None]

    def nearest(queries: np.ndarray, index: np.ndarray, asked: np.ndarray) -> list[set[int]]:
        cosines = queries[asked] @ index.T
        cosines[np.arange(len(asked)), asked] = -2
        return [set(np.argsort(-row)[:5].tolist()) for row in cosines]

    asked = np.linspace(0, 299, 50).round().astype(int)
    truth = nearest(y, y, asked)

    def share(others: list[set[int]]) -> float:
        return float(np.mean([len(a & b) / 5 for a, b in zip(truth, others, strict=True)]))

    assert recall.old_index == pytest.approx(share(nearest(y, x @ found.map, asked)))
    assert recall.old_queries == pytest.approx(share(nearest(x @ found.map, y, asked)))
    assert recall.both_old == pytest.approx(share(nearest(x, x, asked)))
    assert recall.old_index_unmapped == pytest.approx(share(nearest(y, x, asked)))
    assert (recall.n, recall.n_queries, recall.n_indexed) == (5, 50, 300)
    assert 0.2 < recall.both_old < recall.old_index < 1


def test_shared_words_by_the_rarer_rank() -> None:
    rows = np.eye(5, dtype=np.float32)
    old = WordVectors(["a", "b", "c", "d", "e"], rows, [5, 4, 3, 2, 1])
    new = WordVectors(["e", "d", "b", "x", "c"], np.vstack([rows[:4], np.zeros((1, 5), np.float32)]))
    shared = shared_words(old, new)  # c has no direction in the new model; e is frequent there and rare here
    assert [old.words[row] for row in shared.old_ids] == ["b", "d", "e"]
    assert [new.words[row] for row in shared.new_ids] == ["b", "d", "e"]


def test_moved_vectors_carry_the_other_space() -> None:
    old = model()
    there = mapped(old, rotation(DIM, 1), "new space")
    assert there.space_id == "new space" and there.words == old.words and there.counts is not None
    np.testing.assert_allclose(there.vectors, old.vectors @ rotation(DIM, 1), atol=1e-5)


def test_refusals() -> None:
    old = model()
    few = model(n_words=20)
    with pytest.raises(FormatError, match=r"20 words in common.*at least 60, for a map of 12 dimensions"):
        align(old, few, shared_words(old, few))
    narrow = WordVectors(old.words, old.vectors[:, :5].copy())
    with pytest.raises(FormatError, match="have 12 and 5 dimensions"):
        align(old, narrow, shared_words(old, narrow))
    with pytest.raises(FormatError, match=r"the map is float64\[5, 5\], the vectors have 12 dimensions"):
        mapped(old, np.eye(5), "x")
    with pytest.raises(FormatError, match="not orthogonal"):
        mapped(old, 2 * np.eye(DIM), "x")
    assert least_shared(100) == 500
