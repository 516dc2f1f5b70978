"""WordVectors: lookup, cosines, and what the constructor refuses."""

from __future__ import annotations

import numpy as np
import pytest

from vecmill.errors import FormatError, UserError, VocabularyError
from vecmill.vectors.word_vectors import UnknownWord, WordVectors, content_digest


@pytest.fixture
def corners() -> WordVectors:
    """Directions that can be checked by hand; `nothing` has none."""
    words = ["east", "north", "northeast", "west", "nothing"]
    rows = [[2, 0], [0, 3], [1, 1], [-1, 0], [0, 0]]
    return WordVectors(words, np.array(rows, dtype=np.float32), counts=[9, 8, 7, 6, 5], space_id="plane")


def test_lookup(corners: WordVectors) -> None:
    assert corners["north"].tolist() == [0.0, 3.0]
    assert "north" in corners and "south" not in corners
    assert corners.id_of("west") == 3
    assert (len(corners), corners.dim, corners.space_id) == (5, 2, "plane")
    assert corners.words[2] == "northeast"
    assert corners.counts is not None and corners.counts.tolist() == [9, 8, 7, 6, 5]
    assert corners.norms == pytest.approx([2, 3, 2**0.5, 1, 0])


def test_vectors_cannot_be_written_to(corners: WordVectors) -> None:
    for array in (corners.vectors, corners["east"], corners.counts, corners.norms):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_float32_array_is_not_copied_and_stays_writable_for_its_owner() -> None:
    mine = np.ones((2, 3), dtype=np.float32)
    vectors = WordVectors(["a", "b"], mine)
    assert np.shares_memory(vectors.vectors, mine)
    mine[0, 0] = 2


def test_similarity(corners: WordVectors) -> None:
    assert corners.similarity("east", "northeast") == pytest.approx(0.5**0.5, abs=1e-15)
    assert corners.similarity("east", "west") == -1.0
    assert corners.similarity("east", "north") == 0.0
    assert corners.similarity("east", "nothing") == 0.0
    assert corners.similarity("nothing", "nothing") == 0.0


def test_a_word_is_exactly_like_itself() -> None:
    # 0.1 * 0.1 summed and divided by the norm's square is not 1 in floating point
    rows = np.random.default_rng(1).normal(size=(200, 37)).astype(np.float32)
    vectors = WordVectors([f"w{i}" for i in range(200)], rows)
    ids = np.arange(200)
    assert (vectors.similarities(ids, ids) == 1.0).all()


def test_similarity_is_symmetric_to_the_last_bit() -> None:
    rows = np.random.default_rng(2).normal(size=(300, 50)).astype(np.float32)
    vectors = WordVectors([f"w{i}" for i in range(300)], rows)
    left, right = np.random.default_rng(3).integers(0, 300, size=(2, 1000))
    assert (vectors.similarities(left, right) == vectors.similarities(right, left)).all()


@pytest.mark.parametrize("magnitude", [1e-42, 1e-30, 1e30, 3e38])
def test_cosines_survive_extreme_lengths(magnitude: float) -> None:
    rows = np.array([[1, 0], [1, 1], [0, 1]]) * np.array([[1.0], [magnitude], [1.0]])
    vectors = WordVectors(["a", "long", "b"], rows)
    assert vectors.similarity("a", "long") == pytest.approx(0.5**0.5, abs=1e-3 if magnitude < 1e-38 else 1e-7)
    assert [word for word, _ in vectors.neighbours("a")] == ["long", "b"]
    assert [word for word, _ in vectors.neighbours("long")] == ["a", "b"]


def test_unknown_word_names_similar_spellings() -> None:
    vectors = WordVectors(["computer", "Brazil", "dog"], np.eye(3, dtype=np.float32))
    with pytest.raises(UnknownWord, match=r"'computre' has no vector among 3 words.*perhaps 'computer'.*min_count"):
        vectors["computre"]
    with pytest.raises(UnknownWord, match="perhaps 'Brazil'"):
        vectors.id_of("brazil")
    with pytest.raises(UnknownWord, match=r"'zzz' has no vector among 3 words\. What"):
        vectors.similarity("dog", "zzz")


def test_unknown_word_is_a_vocabulary_error_and_a_key_error() -> None:
    assert issubclass(UnknownWord, VocabularyError) and issubclass(UnknownWord, KeyError)
    assert UnknownWord("x").exit_code == UserError.exit_code == 2
    assert str(UnknownWord("no such word")) == "no such word."


@pytest.mark.parametrize(
    ("words", "vectors", "message"),
    [
        (["a"], np.ones((2, 2)), r"shape \(2, 2\) for 1 words"),
        (["a", "b"], np.ones(2), r"shape \(2,\) for 2 words"),
        ([], np.ones((0, 2)), r"shape \(0, 2\) for 0 words.*at least one word"),
        (["a"], np.ones((1, 0)), r"shape \(1, 0\) for 1 words"),
        (["a"], np.ones((1, 2), dtype=int), "type int64.*floating point"),
        (["a"], np.array([["x"]]), "type <U1.*floating point"),
        (["a", "b", "a"], np.ones((3, 1)), "'a' stands in rows 0 and 2.*every word once"),
        (["a", ""], np.ones((2, 1)), "word 1 is an empty text"),
        (["a", 7], np.ones((2, 1)), "word 1 is 7.*UTF-8"),
        (["a", "\ud800"], np.ones((2, 1)), r"word 1 is '\\ud800'.*UTF-8"),
        (["a", "b"], np.array([[1.0, 2.0], [3.0, np.nan]]), r"vector 1 \(word 'b'\) holds nan at position 1"),
        (["a", "b"], np.array([[1.0, -np.inf], [3.0, 1.0]]), r"vector 0 \(word 'a'\) holds -inf at position 1"),
        (["a"], np.array([[1e39]]), r"vector 0 \(word 'a'\) holds inf.*range of float32"),
    ],
)
def test_refused_words_and_vectors(words: list[str], vectors: np.ndarray, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        WordVectors(words, vectors)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1], r"shape \(1,\).*each of the 2 words"),
        ([1.5, 2.0], "type float64.*integers"),
        ([4, -1], "count of word 1 is -1.*no negative"),
    ],
)
def test_refused_counts(counts: list[float], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        WordVectors(["a", "b"], np.ones((2, 2), dtype=np.float32), counts=counts)


def test_an_empty_space_id_is_refused() -> None:
    with pytest.raises(FormatError, match="space_id is an empty text"):
        WordVectors(["a"], np.ones((1, 1), dtype=np.float32), space_id="")


def test_not_finite_far_down_is_found() -> None:
    rows = np.ones((30_000, 100), dtype=np.float32)
    rows[29_999, 99] = np.inf
    with pytest.raises(FormatError, match=r"vector 29999 \(word 'w29999'\) holds inf at position 99"):
        WordVectors([f"w{i}" for i in range(30_000)], rows)


def test_space_id_comes_from_the_content() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    first = WordVectors(["ab", "c"], rows).space_id
    assert first == WordVectors(["ab", "c"], rows.astype(np.float64)).space_id
    assert first != WordVectors(["a", "bc"], rows).space_id
    assert first != WordVectors(["c", "ab"], rows).space_id
    assert first != WordVectors(["ab", "c"], rows + np.float32(1)).space_id
    # Stated once, so that a stamp means the same in every version.
    assert content_digest(["ab", "c"], rows) == "d8a0321293471349bc03d18697a616701562e2064054828dbf162b1850b91ffe"
