import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from reference.words_corpora import planted_synonyms, stage_io
from vecmill.errors import ConfigError, FormatError
from vecmill.vectors.word2vec_format import save_word2vec
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.config import SkipgramConfig
from vecmill.words.train import train_words

OLD = planted_synonyms(n_topics=3, n_sentences=900)
# two of the old topics, and one that is new
NEW = [s for s in planted_synonyms(n_topics=4, n_sentences=900, seed=9) if not s[0].startswith("0-")]
SETTINGS = {"dim": 6, "epochs": 2, "sample": 0, "threads": 1}


@pytest.fixture
def artifact(tmp_path):
    io = stage_io(tmp_path / "old", OLD)
    train_words(SkipgramConfig(**SETTINGS), io)
    return io.output


@pytest.mark.parametrize("form", ["artifact", "folder", "text.vec", "binary.bin"])
def test_old_words_keep_their_rows_and_new_ones_follow(tmp_path, artifact, form):
    old = WordVectors.load(artifact / "vectors")
    path = {"artifact": artifact, "folder": artifact / "vectors"}.get(form, tmp_path / form)
    if form in ("text.vec", "binary.bin"):
        save_word2vec(old, path, binary=form == "binary.bin")
    io = stage_io(tmp_path / "new", NEW, seed=5)
    report = train_words(SkipgramConfig(pretrained=str(path), **SETTINGS), io)

    vectors = WordVectors.load(io.output / "vectors")
    assert vectors.words[: len(old)] == old.words
    new_words = vectors.words[len(old) :]
    assert len(new_words) == 6 and all(word.startswith("3-") for word in new_words)
    met = np.array([not word.startswith("0-") for word in old.words])
    np.testing.assert_array_equal(vectors.vectors[: len(old)][~met], old.vectors[~met])
    assert (vectors.vectors[: len(old)][met] != old.vectors[met]).any(axis=1).all()
    n_new_tokens = 3 * len(NEW)
    assert vectors.counts.sum() == n_new_tokens + (3 * len(OLD) if old.counts is not None and "." not in form else 0)
    context = np.load(io.output / "context_vectors.npy")
    assert context.shape == vectors.vectors.shape
    old_context = np.load(artifact / "context_vectors.npy") if form == "artifact" else np.zeros_like(old.vectors)
    np.testing.assert_array_equal(context[: len(old)][~met], old_context[~met])

    moved = pq.read_table(io.output / "movement.parquet").to_pydict()
    assert set(moved["word"]) == {word for word in old.words if not word.startswith("0-")}
    assert moved["cosine_distance"] == sorted(moved["cosine_distance"], reverse=True)
    for word, distance in zip(*moved.values(), strict=True):
        before, after = old[word].astype(float), vectors[word].astype(float)
        cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
        assert distance == pytest.approx(1 - cosine, abs=1e-12)
    metrics = report.metrics
    assert (metrics["n_words"], metrics["n_pretrained_words"], metrics["n_new_words"]) == (24, 18, 6)
    assert metrics["moved_max_cosine_distance"] == moved["cosine_distance"][0]
    assert metrics["moved_mean_cosine_distance"] == pytest.approx(np.mean(moved["cosine_distance"]))
    assert metrics["pretrained_context_vectors"] == (form == "artifact")
    assert f"| {moved['word'][0]} | {moved['cosine_distance'][0]:.4f} |" in report.markdown
    assert all((io.output / name).is_file() for name in report.rows)


def test_at_a_tiny_learning_rate_nothing_moves(tmp_path, artifact):
    settings = SETTINGS | {"learning_rate": 1e-30, "min_learning_rate": 0, "pretrained": str(artifact)}
    io = stage_io(tmp_path / "new", OLD)
    report = train_words(SkipgramConfig(**settings), io)
    assert report.metrics["moved_max_cosine_distance"] == 0
    for name in ("vectors/vectors.npy", "context_vectors.npy"):
        digests = {hashlib.sha256((folder / name).read_bytes()).digest() for folder in (artifact, io.output)}
        assert len(digests) == 1


def test_text_without_a_pretrained_word(tmp_path, artifact):
    io = stage_io(tmp_path / "new", [["x", "y"]] * 20)
    report = train_words(SkipgramConfig(pretrained=str(artifact), **SETTINGS), io)
    assert "No pretrained word occurs in this text" in report.markdown
    assert "moved_max_cosine_distance" not in report.metrics


def test_refusals(tmp_path, artifact):
    io = stage_io(tmp_path / "new", NEW)
    with pytest.raises(FormatError, match=r"have 6 numbers\. Expected: train\.dim = 7\. .*set train\.dim to 6"):
        train_words(SkipgramConfig(pretrained=str(artifact), **SETTINGS | {"dim": 7}), io)
    with pytest.raises(ConfigError, match="no such file"):
        train_words(SkipgramConfig(pretrained=str(tmp_path / "gone"), **SETTINGS), io)
    np.save(artifact / "context_vectors.npy", np.zeros((2, 6), np.float32))
    with pytest.raises(FormatError, match=r"context_vectors\.npy is float32\[2, 6\]\. Expected: float32\[18, 6\]"):
        train_words(SkipgramConfig(pretrained=str(artifact), **SETTINGS), io)
