"""Starting a training from words and n-grams that were trained before."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from reference.words_corpora import stage_io
from vecmill.errors import ConfigError, FormatError
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.kinds import trainer_files
from vecmill.words.subword_config import SubwordCbowConfig, SubwordSkipgramConfig
from vecmill.words.subword_train import train_subwords

OLD = [["walking", "along", "streets"], ["walked", "along", "roads"], ["jumping", "over", "fences"]] * 60
NEW = [["walking", "along", "paths"], ["walks", "along", "streets"]] * 60
SETTINGS = {"dim": 6, "epochs": 2, "sample": 0, "threads": 1, "subword_buckets": 50_000}


def config(kind="skipgram", **more):
    cls = SubwordSkipgramConfig if kind == "skipgram" else SubwordCbowConfig
    return cls(kind=f"subword_{kind}", **SETTINGS | more)


@pytest.fixture
def artifact(tmp_path):
    io = stage_io(tmp_path / "old", OLD)
    train_subwords(config(), io)
    return io.output


@pytest.mark.parametrize("kind", ["skipgram", "cbow"])
@pytest.mark.parametrize("form", ["artifact", "folder"])
def test_old_words_keep_their_rows_and_new_ones_follow(tmp_path, artifact, form, kind):
    old = SubwordVectors.load(artifact / "subwords")
    path = artifact if form == "artifact" else shutil.copytree(artifact / "subwords", tmp_path / "elsewhere")
    io = stage_io(tmp_path / "new", NEW, seed=5)
    report = train_subwords(config(kind, pretrained=str(path)), io)

    subwords, vectors = SubwordVectors.load(io.output / "subwords"), WordVectors.load(io.output / "vectors")
    assert subwords.words == vectors.words
    assert subwords.words[: len(old)] == old.words
    assert sorted(subwords.words[len(old) :]) == ["paths", "walks"]
    assert set(old.bucket_ids.tolist()) < set(subwords.bucket_ids.tolist())
    np.testing.assert_array_equal(subwords.word_vectors().vectors, vectors.vectors)

    used = {bucket for word in {w for s in NEW for w in s} for bucket in subwords.ngrams_of([word]).buckets.tolist()}
    at_rest = np.array([bucket not in used for bucket in old.bucket_ids.tolist()])
    after = subwords.bucket_rows[np.searchsorted(subwords.bucket_ids, old.bucket_ids)]
    np.testing.assert_array_equal(after[at_rest], old.bucket_rows[at_rest])
    assert (after[~at_rest] != old.bucket_rows[~at_rest]).any(axis=1).all()
    met = np.array([word in {w for s in NEW for w in s} for word in old.words])
    own_before, own_after = old.word_rows.vectors, subwords.word_rows.vectors[: len(old)]
    np.testing.assert_array_equal(own_after[~met], own_before[~met])
    assert (own_after[met] != own_before[met]).any(axis=1).all()
    context = np.load(io.output / "context_vectors.npy")
    old_context = np.load(artifact / "context_vectors.npy") if form == "artifact" else np.zeros_like(own_before)
    assert context.shape == vectors.vectors.shape
    np.testing.assert_array_equal(context[: len(old)][~met], old_context[~met])

    moved = pq.read_table(io.output / "movement.parquet").to_pydict()
    assert set(moved["word"]) == {"walking", "along", "streets"}
    assert moved["cosine_distance"] == sorted(moved["cosine_distance"], reverse=True)
    for word, distance in zip(*moved.values(), strict=True):
        before, now = old[word].astype(float), subwords[word].astype(float)
        assert distance == pytest.approx(1 - before @ now / np.linalg.norm(before) / np.linalg.norm(now), abs=1e-7)
    metrics = report.metrics
    assert (metrics["n_words"], metrics["n_pretrained_words"], metrics["n_new_words"]) == (len(subwords), len(old), 2)
    assert metrics["moved_max_cosine_distance"] == moved["cosine_distance"][0]
    assert metrics["pretrained_context_vectors"] == (form == "artifact")
    assert all((io.output / name).is_file() for name in report.rows)


def test_at_a_tiny_learning_rate_nothing_moves(tmp_path, artifact):
    io = stage_io(tmp_path / "new", OLD)
    report = train_subwords(config(learning_rate=1e-30, min_learning_rate=0, pretrained=str(artifact)), io)
    assert report.metrics["moved_max_cosine_distance"] == 0
    for name in ("vectors/vectors.npy", "subwords/bucket_rows.npy", "context_vectors.npy"):
        assert (io.output / name).read_bytes() == (artifact / name).read_bytes()


def test_files_that_count_for_the_key(artifact):
    assert trainer_files(config()) == []
    names = [path.relative_to(artifact).as_posix() for path in trainer_files(config(pretrained=str(artifact)))]
    assert {"subwords/subwords.json", "subwords/bucket_rows.npy", "context_vectors.npy"} <= set(names)
    assert any(name.startswith("subwords/words/") for name in names)
    assert not any(name.startswith("vectors/") for name in names)


def test_refusals(tmp_path, artifact):
    io = stage_io(tmp_path / "new", NEW)
    for change, message in [
        ({"dim": 7}, r"have dim 6\. Expected: train\.dim = 7\. .*set train\.dim to 6"),
        ({"max_n": 5}, r"have max_n 6\. Expected: train\.max_n = 5"),
        ({"subword_buckets": 9}, r"have subword_buckets 50000\."),
    ]:
        with pytest.raises(FormatError, match=message):
            train_subwords(config(pretrained=str(artifact), **change), io)
    for path in (tmp_path / "gone", artifact / "vectors"):
        with pytest.raises(ConfigError, match=r"holds no n-grams: .*Expected: the folder of a train artifact with sub"):
            train_subwords(config(pretrained=str(path)), io)
    np.save(artifact / "context_vectors.npy", np.zeros((2, 6), np.float32))
    with pytest.raises(FormatError, match=r"context_vectors\.npy is float32\[2, 6\]\. Expected: float32\["):
        train_subwords(config(pretrained=str(artifact)), io)
