"""Exact neighbours, against a plain float64 search."""

from __future__ import annotations

import numpy as np
import pytest

from vecmill.errors import FormatError
from vecmill.vectors import neighbours as neighbours_module
from vecmill.vectors.neighbours import nearest_rows, row_blocks, row_norms
from vecmill.vectors.word_vectors import UnknownWord, WordVectors


def plain_nearest(vectors: np.ndarray, query: np.ndarray, n: int, excluded: set[int]) -> list[int]:
    """All cosines in float64, sorted."""
    rows, query = vectors.astype(np.float64), query.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    allowed = [i for i in range(len(rows)) if i not in excluded and norms[i] > 0]
    cosines = {i: rows[i] @ query / norms[i] / np.linalg.norm(query) for i in allowed}
    return sorted(allowed, key=lambda i: (-cosines[i], i))[:n]


@pytest.fixture
def model() -> WordVectors:
    rows = np.random.default_rng(5).normal(size=(500, 20)).astype(np.float32)
    rows[[7, 400]] = 0
    return WordVectors([f"w{i}" for i in range(500)], rows)


@pytest.mark.parametrize("block_floats", [1, 900, 1 << 20])
def test_same_as_a_plain_search_whatever_the_blocks(
    model: WordVectors, block_floats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours_module, "BLOCK_FLOATS", block_floats)
    for word_id in (0, 3, 499):
        found = model.neighbours(f"w{word_id}", n=12, exclude=["w1", "w2"])
        wanted = plain_nearest(model.vectors, model.vectors[word_id], 12, {word_id, 1, 2})
        assert [word for word, _ in found] == [f"w{i}" for i in wanted]
        assert [cosine for _, cosine in found] == pytest.approx(
            [model.similarity(f"w{word_id}", f"w{i}") for i in wanted], abs=1e-12
        )


def test_many_queries_are_answered_as_one_by_one(model: WordVectors) -> None:
    words = ["w5", "w17", "w5", "w7"]
    assert model.neighbours_of_words(words, 4) == [model.neighbours(word, 4) for word in words]
    assert model.neighbours_of_words([], 4) == []


def test_a_vector_may_find_any_word(model: WordVectors) -> None:
    assert model.neighbours(model["w9"], n=1) == [("w9", pytest.approx(1.0, abs=1e-12))]
    # only the direction counts, in any number format
    assert model.neighbours(model["w9"].astype(np.float64) * 1e300, n=3)[0][0] == "w9"
    assert model.neighbours(model["w9"].astype(np.float64) * 1e-300, n=1, exclude=["w9"])[0][0] != "w9"


def test_rows_of_zeros_have_no_neighbours_and_are_none(model: WordVectors) -> None:
    assert model.neighbours("w7") == []
    assert model.neighbours(np.zeros(20)) == []
    everyone = {word for word, _ in model.neighbours("w0", n=1000)}
    assert len(everyone) == 497 and not {"w0", "w7", "w400"} & everyone


def test_equal_cosines_come_by_row() -> None:
    rows = np.tile(np.array([[1.0, 2.0]], dtype=np.float32), (40, 1))
    same = WordVectors([f"w{i}" for i in range(40)], rows)
    assert [word for word, _ in same.neighbours("w20", n=5)] == ["w0", "w1", "w2", "w3", "w4"]


def test_cosines_closer_than_float32_tells_apart() -> None:
    rng = np.random.default_rng(6)
    rows = (rng.normal(size=40) + 3e-7 * rng.normal(size=(3000, 40))).astype(np.float32)
    near = WordVectors([f"w{i}" for i in range(3000)], rows)
    query = rng.normal(size=40)
    wanted = plain_nearest(rows, query.astype(np.float32), 5, set())
    direction = (query / np.abs(query).max()).astype(np.float32)
    assert plain_nearest(rows, direction, 5, set()) == wanted
    assert [word for word, _ in near.neighbours(query, n=5)] == [f"w{i}" for i in wanted]


def test_refused_queries(model: WordVectors) -> None:
    with pytest.raises(UnknownWord, match="'nowhere'"):
        model.neighbours("nowhere")
    with pytest.raises(UnknownWord, match="'nowhere'"):
        model.neighbours("w0", exclude=["nowhere"])
    with pytest.raises(FormatError, match=r"shape \(3,\).*\(20,\)"):
        model.neighbours(np.ones(3))
    with pytest.raises(FormatError, match="NaN or infinity"):
        model.neighbours(np.full(20, np.nan))
    with pytest.raises(FormatError, match="0 neighbours"):
        model.neighbours("w0", n=0)


def test_blocks_cover_every_row_once() -> None:
    for n_rows, width in [(0, 3), (1, 10**9), (1000, 4096), (257, 4096 * 4096)]:
        covered = [row for rows in row_blocks(n_rows, width) for row in range(rows.start, rows.stop)]
        assert covered == list(range(n_rows))


def test_one_row_needs_no_candidates_beside_it() -> None:
    rows = np.ones((1, 2), dtype=np.float32)
    [(ids, cosines)] = nearest_rows(rows, row_norms(rows), rows, 3, [[0]])
    assert (ids.tolist(), cosines.tolist()) == ([], [])
