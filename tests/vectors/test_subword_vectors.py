"""N-grams, their hash and vectors of unseen words; agreement with gensim stands in tests/peers."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.subwords import fnv1a_signed, ngrams
from vecmill.errors import FormatError
from vecmill.vectors import subword_ngrams
from vecmill.vectors.subword_ngrams import ngram_table
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word_vectors import UnknownWord, WordVectors

ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


def model(words=("walk", "walks", "東京"), *, min_n=2, max_n=3, subword_buckets=100_003, drop=0):
    """Random rows for the words and for all buckets that they use, less the last ``drop``."""
    rng = np.random.default_rng(4)
    ids = np.unique(ngram_table(words, min_n=min_n, max_n=max_n, subword_buckets=subword_buckets).buckets)
    ids = ids[: ids.size - drop]
    return SubwordVectors(
        WordVectors(words, rng.normal(size=(len(words), 5)).astype(np.float32), np.arange(len(words), 0, -1)),
        ids,
        rng.normal(size=(ids.size, 5)).astype(np.float32),
        min_n=min_n,
        max_n=max_n,
        subword_buckets=subword_buckets,
    )


# --- n-grams ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    words=st.lists(st.one_of(ANY_TEXT, st.sampled_from(["</s>", "", "banana", "<>"])), max_size=6),
    lengths=st.tuples(st.integers(0, 5), st.integers(0, 7)),
    subword_buckets=st.sampled_from([1, 7, 2_000_000, 2**31 - 1]),
)
def test_table_is_that_of_the_definition(words, lengths, subword_buckets):
    min_n, max_n = lengths
    table = ngram_table(words, min_n=min_n, max_n=max_n, subword_buckets=subword_buckets)
    assert (table.offsets.dtype, table.buckets.dtype, table.offsets[0]) == (np.int64, np.int32, 0)
    for word_id, word in enumerate(words):
        expected = [fnv1a_signed(gram.encode()) % subword_buckets for gram in ngrams(word, min_n, max_n)]
        assert table.buckets[table.offsets[word_id] : table.offsets[word_id + 1]].tolist() == expected


def test_table_of_several_blocks(monkeypatch):
    words = [f"wörd{number}" * (number % 3) for number in range(50)]
    whole = ngram_table(words, min_n=3, max_n=6, subword_buckets=1_000)
    monkeypatch.setattr(subword_ngrams, "_BLOCK_WORDS", 7)
    pieces = ngram_table(words, min_n=3, max_n=6, subword_buckets=1_000)
    np.testing.assert_array_equal(whole.offsets, pieces.offsets)
    np.testing.assert_array_equal(whole.buckets, pieces.buckets)


def test_known_hashes():
    # 32-bit FNV-1a of ASCII is the published one; "é" shows the sign
    assert fnv1a_signed(b"a") == 0xE40C292C
    assert fnv1a_signed("é".encode()) != 0xBFC9A0DE
    assert ngrams("x", 3, 6) == ["<x>"]
    assert ngrams("x", 1, 2) == ["<x", "x", "x>"]


@pytest.mark.parametrize("arguments", [(0, 0, 10), (3, 6, 0), (5, 3, 10)])
def test_no_ngrams(arguments):
    min_n, max_n, subword_buckets = arguments
    table = ngram_table(["word", "x"], min_n=min_n, max_n=max_n, subword_buckets=subword_buckets)
    assert (table.offsets.tolist(), table.buckets.size) == ([0, 0, 0], 0)


# --- vectors ----------------------------------------------------------------------------------------------------------


def by_hand(subwords, word):
    """The definition, n-gram by n-gram."""
    row_of = dict(zip(subwords.bucket_ids.tolist(), subwords.bucket_rows.astype(np.float64), strict=True))
    parts = [subwords.word_rows[word].astype(np.float64)] if word in subwords else []
    for gram in ngrams(word, subwords.min_n, subwords.max_n):
        parts.append(row_of.get(fnv1a_signed(gram.encode()) % subwords.subword_buckets, np.zeros(5)))
    return np.mean(parts, axis=0)


@pytest.mark.parametrize("drop", [0, 4])
@pytest.mark.parametrize("word", ["walk", "東京", "walked", "talk", "東京都", "</s>walk"])
def test_vectors_are_means_of_rows(word, drop):
    subwords = model(drop=drop)
    np.testing.assert_allclose(subwords[word], by_hand(subwords, word), rtol=1e-6)


def test_many_words_at_once():
    subwords = model()
    words = ["walk", "walked", "zzz", "東京", "talks"]
    vectors, known = subwords.compose(words)
    assert known.tolist() == [True, True, False, True, True]
    assert not vectors[2].any()
    for vector, word in zip(vectors[known], np.array(words)[known], strict=True):
        np.testing.assert_array_equal(vector, subwords[word])
    composed = subwords.word_vectors()
    assert composed.words == subwords.words
    np.testing.assert_array_equal(composed["walks"], subwords["walks"])
    assert composed.counts.tolist() == [3, 2, 1]
    assert subwords.compose([])[0].shape == (0, 5)


def test_words_of_which_nothing_is_known():
    subwords = model()
    assert "walked" not in subwords and "walk" in subwords
    for word in ("zzz", "", "</s>"):
        with pytest.raises(UnknownWord, match=r"none of the 3 words and has no n-gram in common .* smaller min_n"):
            subwords[word]
    without = model(max_n=0, min_n=0)
    assert without.bucket_ids.size == 0
    np.testing.assert_array_equal(without["walk"], without.word_rows["walk"])
    with pytest.raises(UnknownWord):
        without["walked"]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [True, False])
def test_files_give_back_every_bit(tmp_path, mmap):
    subwords = model()
    for _ in range(2):  # the second time over itself
        subwords.save(tmp_path / "m")
        subwords = SubwordVectors.load(tmp_path / "m", mmap=mmap)
    assert subwords.words == model().words
    assert (subwords.min_n, subwords.max_n, subwords.subword_buckets) == (2, 3, 100_003)
    np.testing.assert_array_equal(subwords.bucket_ids, model().bucket_ids)
    np.testing.assert_array_equal(subwords.bucket_rows, model().bucket_rows)
    np.testing.assert_array_equal(subwords["walked"], model()["walked"])
    assert subwords.bucket_rows.flags.owndata is False or not mmap
    with pytest.raises(ValueError, match="read-only"):
        subwords.bucket_rows[0] = 0


@pytest.mark.parametrize("name", ["subwords.json", "bucket_ids.npy", "bucket_rows.npy"])
@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_damaged_folders_are_refused(tmp_path, name, damage):
    model().save(tmp_path / "m")
    path = tmp_path / "m" / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        model(("walk", "walking")).save(tmp_path / "other")
        path.write_bytes((tmp_path / "other" / name).read_bytes() if name != "subwords.json" else b'{"format": 1}')
    with pytest.raises(FormatError, match=r"holds no|cannot be read|not JSON|does not say|bucket rows are"):
        SubwordVectors.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_n": "3"}, "min_n, max_n, subword_buckets are not all there"),
        ({"max_n": 10**9}, "n-grams of 2 to 1000000000 characters"),
        ({"subword_buckets": 2**40}, "at most 2147483647 buckets"),
        ({"subword_buckets": 3}, r"bucket ids run from .* below 3, none twice"),
        ({"version": 2}, "of version 1"),
    ],
)
def test_hostile_numbers_are_refused(tmp_path, change, message):
    model().save(tmp_path)
    path = tmp_path / "subwords.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatError, match=message):
        SubwordVectors.load(tmp_path)


@pytest.mark.parametrize(
    ("ids", "rows", "message"),
    [
        (np.array([2, 1], np.int32), np.zeros((2, 5), np.float32), "rising"),
        (np.array([1, 1], np.int32), np.zeros((2, 5), np.float32), "none twice"),
        (np.array([1, 2]), np.zeros((2, 5), np.float32), r"bucket ids are int64\[2\]"),
        (np.array([1, 2], np.int32), np.zeros((2, 5)), r"are float64\[2, 5\]. Expected: float32\[2, 5\]"),
        (np.array([1, 2], np.int32), np.full((2, 5), np.nan, np.float32), "bucket row 0 holds NaN"),
    ],
)
def test_rows_that_do_not_fit_are_refused(ids, rows, message):
    with pytest.raises(FormatError, match=message):
        SubwordVectors(model().word_rows, ids, rows, min_n=2, max_n=3, subword_buckets=97)
