"""gensim on the same vectors: files in both directions, cosines, neighbours and its own evaluation of word pairs."""

from __future__ import annotations

import gc
from pathlib import Path

import gensim.models.keyedvectors
import numpy as np
import pytest
from gensim.models import KeyedVectors

from vecmill.errors import FormatError
from vecmill.evaluation.benchmarks import benchmark_files, load_benchmark
from vecmill.evaluation.config import BUNDLED_BENCHMARKS, EvaluationConfig
from vecmill.evaluation.similarity import word_similarity
from vecmill.vectors.glove_format import load_glove, save_glove
from vecmill.vectors.npy_format import load_npy, save_npy
from vecmill.vectors.word2vec_format import load_word2vec, save_word2vec
from vecmill.vectors.word_vectors import WordVectors

BOTH = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])

WORDS = ["the", "Straße", "東京", "no\u00a0break", "\u2003", "emoji🙂", "'", "-1.5", "\\n", "e\u0301", "a_b"]


@pytest.fixture
def ours() -> WordVectors:
    rows = np.random.default_rng(8).normal(size=(len(WORDS), 9)).astype(np.float32)
    # the ends of float32's range, minus zero, and numbers whose short decimal form is easily got wrong
    rows[0] = [3.4028235e38, -3.4028235e38, 1e-45, 1.1754944e-38, -0.0, 0.1, 16777216, 9007199254740992, 1e-7]
    return WordVectors(WORDS, rows)


def as_gensim(vectors: WordVectors) -> KeyedVectors:
    theirs = KeyedVectors(vectors.dim)
    theirs.add_vectors(list(vectors.words), np.array(vectors.vectors))
    return theirs


@BOTH
def test_gensim_reads_what_we_write(ours: WordVectors, binary: bool, tmp_path: Path) -> None:
    save_word2vec(ours, tmp_path / "v", binary=binary)
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "v"), binary=binary)
    assert tuple(theirs.index_to_key) == ours.words
    assert theirs.vectors.tobytes() == ours.vectors.tobytes()


@BOTH
def test_we_read_what_gensim_writes(ours: WordVectors, binary: bool, tmp_path: Path) -> None:
    as_gensim(ours).save_word2vec_format(str(tmp_path / "v"), binary=binary)
    back = load_word2vec(tmp_path / "v", binary=binary)
    assert back.words == ours.words
    assert back.vectors.tobytes() == ours.vectors.tobytes()


def test_binary_files_are_the_same_bytes(ours: WordVectors, tmp_path: Path) -> None:
    as_gensim(ours).save_word2vec_format(str(tmp_path / "theirs"), binary=True)
    save_word2vec(ours, tmp_path / "ours", binary=True)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_a_word_with_a_blank_breaks_gensims_own_file(tmp_path: Path) -> None:
    """Why we refuse to write such words: gensim writes them, and nobody can read the file."""
    theirs = KeyedVectors(2)
    theirs.add_vectors(["new york", "x"], np.ones((2, 2), dtype=np.float32))
    theirs.save_word2vec_format(str(tmp_path / "v"), binary=False)
    with pytest.raises(ValueError, match="could not convert"):
        KeyedVectors.load_word2vec_format(str(tmp_path / "v"), binary=False)
    with pytest.raises(FormatError, match="3 numbers after the word b'new'"):
        load_word2vec(tmp_path / "v", binary=False)


@pytest.fixture(scope="module")
def rated() -> tuple[WordVectors, KeyedVectors]:
    """Lower-cased words of all benchmarks, one in twelve left out, with vectors that share a common direction."""
    words = sorted(
        {
            word.lower()
            for name in BUNDLED_BENCHMARKS
            for word in (*load_benchmark(name).words1, *load_benchmark(name).words2)
        }
    )
    words = [word for i, word in enumerate(words) if i % 12]
    rng = np.random.default_rng(9)
    rows = (rng.normal(size=(len(words), 30)) + rng.normal(size=30)).astype(np.float32)
    vectors = WordVectors(words, rows)
    return vectors, as_gensim(vectors)


def test_similarities(rated: tuple[WordVectors, KeyedVectors]) -> None:
    vectors, theirs = rated
    pairs = np.random.default_rng(10).choice(vectors.words, size=(500, 2))
    for word1, word2 in pairs:
        assert vectors.similarity(word1, word2) == pytest.approx(theirs.similarity(word1, word2), abs=1e-6)


def test_neighbours(rated: tuple[WordVectors, KeyedVectors]) -> None:
    vectors, theirs = rated
    for word in vectors.words[::500]:
        found, wanted = vectors.neighbours(word, 10), theirs.most_similar(word, topn=10)
        assert [neighbour for neighbour, _ in found] == [neighbour for neighbour, _ in wanted]
        assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in wanted], abs=1e-6)


@pytest.mark.parametrize("name", BUNDLED_BENCHMARKS)
def test_word_pairs(rated: tuple[WordVectors, KeyedVectors], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """gensim skips our header as an invalid line, folds to upper case (the vocabulary is lower case, so both policies
    find the same words), and counts unseen pairs as a percentage."""
    vectors, theirs = rated
    [path] = benchmark_files(EvaluationConfig(benchmarks=(name,)))
    # gensim's cosine of a word with itself is 1 give or take a rounding, which puts SCWS's 241 self-pairs in an
    # arbitrary order. Computed in float64 and rounded to twelve digits they are tied, as ours are.
    monkeypatch.setattr(
        gensim.models.keyedvectors.KeyedVectors,
        "similarity",
        lambda self, a, b: round(
            float(
                np.dot(self[a].astype(np.float64), self[b].astype(np.float64))
                / np.linalg.norm(self[a].astype(np.float64))
                / np.linalg.norm(self[b].astype(np.float64))
            ),
            12,
        ),
    )
    pearson, spearman, unseen_pct = theirs.evaluate_word_pairs(str(path))
    score = word_similarity(vectors, load_benchmark(name), n_resamples=100)
    assert score.spearman == pytest.approx(spearman.statistic, abs=1e-6)
    assert score.pearson == pytest.approx(pearson.statistic, abs=1e-6)
    assert score.coverage == pytest.approx(1 - unseen_pct / 100, abs=1e-12) and score.coverage < 1


@pytest.mark.parametrize("name", [name for name in BUNDLED_BENCHMARKS if name != "scws"])
def test_word_pairs_with_gensims_own_cosine(rated: tuple[WordVectors, KeyedVectors], name: str) -> None:
    vectors, theirs = rated
    [path] = benchmark_files(EvaluationConfig(benchmarks=(name,)))
    pearson, spearman, _ = theirs.evaluate_word_pairs(str(path))
    score = word_similarity(vectors, load_benchmark(name), n_resamples=100)
    assert score.spearman == pytest.approx(spearman.statistic, abs=1e-6)
    assert score.pearson == pytest.approx(pearson.statistic, abs=1e-6)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_gensim_reads_our_glove_text(ours: WordVectors, tmp_path: Path) -> None:
    """gensim opens a file without a header twice and leaves the first of the two to the garbage collector."""
    save_glove(ours, tmp_path / "v.txt")
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "v.txt"), binary=False, no_header=True)
    gc.collect()
    assert tuple(theirs.index_to_key) == ours.words
    assert theirs.vectors.tobytes() == ours.vectors.tobytes()


def test_we_read_gensims_glove_text(ours: WordVectors, tmp_path: Path) -> None:
    as_gensim(ours).save_word2vec_format(str(tmp_path / "v.txt"), binary=False, write_header=False)
    back = load_glove(tmp_path / "v.txt")
    assert back.words == ours.words
    assert back.vectors.tobytes() == ours.vectors.tobytes()


def test_gensims_matrix_as_npy(ours: WordVectors, tmp_path: Path) -> None:
    """What people do with gensim: np.save the matrix, and write the keys to a text file."""
    theirs = as_gensim(ours)
    np.save(tmp_path / "v.npy", theirs.vectors)
    (tmp_path / "v.txt").write_text("\n".join(theirs.index_to_key), encoding="utf-8")
    back = load_npy(tmp_path / "v.npy")
    assert back.words == ours.words and back.vectors.tobytes() == ours.vectors.tobytes()
    save_npy(back, tmp_path / "again.npy")
    again = KeyedVectors(ours.dim)
    again.add_vectors(
        (tmp_path / "again.txt").read_text(encoding="utf-8").split("\n")[:-1], np.load(tmp_path / "again.npy")
    )
    assert tuple(again.index_to_key) == ours.words and again.vectors.tobytes() == ours.vectors.tobytes()
