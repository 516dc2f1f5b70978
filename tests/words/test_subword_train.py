"""Training with subwords: what is learnt, written and refused."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import vecmill.words.subword_run as subword_run
from reference.subwords import fnv1a_signed, ngrams
from reference.words_corpora import encoded, stage_io, vocabulary_of
from vecmill.config.base import Config
from vecmill.errors import ConfigError, TrainingDiverged, VocabularyError
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.run import CHUNK_TOKENS
from vecmill.words.subword_config import SubwordCbowConfig, SubwordSkipgramConfig
from vecmill.words.subword_run import subword_rows
from vecmill.words.subword_train import train_subwords
from vecmill.words.subword_trainer import train_subword_vectors

SETTINGS = {
    **{"dim": 20, "window": 2, "sample": 0, "epochs": 4, "mode": "deterministic"},
    **{"subword_buckets": 5_000, "learning_rate": 0.1},
}
SKIPGRAM = SubwordSkipgramConfig(kind="subword_skipgram", **SETTINGS)
CBOW = SubwordCbowConfig(kind="subword_cbow", **SETTINGS)
BOTH = pytest.mark.parametrize("config", [SKIPGRAM, CBOW], ids=["skipgram", "cbow"])

STEMS = ["walk", "jump", "build", "grind", "vote", "climb", "scrub", "fetch"]
ENDINGS = ["s", "er", "ers", "ing"]


def planted_morphology(n_sentences=6_000, seed=3):
    """Sentences "c a c'": all forms of a stem meet the same four words; the form in -ed of every stem is left out."""
    rng = np.random.default_rng(seed)
    sentences = []
    for stem, ending, left, right in zip(
        rng.integers(0, len(STEMS), n_sentences),
        rng.integers(0, len(ENDINGS), n_sentences),
        *rng.integers(0, 4, (2, n_sentences)),
        strict=True,
    ):
        near = [f"{chr(ord('a') + stem)}{number}" * 2 for number in (left, right)]
        sentences.append([near[0], STEMS[stem] + ENDINGS[ending], near[1]])
    return sentences


@BOTH
def test_unseen_inflections_lie_near_their_stem(tmp_path, config):
    io = stage_io(tmp_path, planted_morphology(), seed=1)
    report = train_subwords(config, io)
    subwords, vectors = SubwordVectors.load(io.output / "subwords"), WordVectors.load(io.output / "vectors")
    assert "walked" not in vectors
    nearest = {stem: vectors.neighbours(subwords[f"{stem}ed"], n=4) for stem in STEMS}
    for stem, found in nearest.items():
        assert sum(word.startswith(stem) for word, _ in found) >= 3, nearest
    losses = [row["loss"] for row in report.table]
    assert losses == sorted(losses, reverse=True)


def test_what_the_stage_writes_and_says(tmp_path):
    sentences = planted_morphology(n_sentences=300)
    io = stage_io(tmp_path, sentences)
    report = train_subwords(SKIPGRAM.model_copy(update={"dim": 7, "epochs": 3, "dynamic_window": False}), io)

    vocabulary = vocabulary_of(sentences)
    vectors, subwords = WordVectors.load(io.output / "vectors"), SubwordVectors.load(io.output / "subwords")
    assert list(vectors.words) == list(subwords.words) == vocabulary.words
    assert vectors.counts.tolist() == vocabulary.counts.tolist()
    assert vectors.vectors.shape == (len(vocabulary), 7)
    np.testing.assert_array_equal(subwords.word_vectors().vectors, vectors.vectors)
    context = np.load(io.output / "context_vectors.npy", allow_pickle=False)
    assert (context.shape, context.dtype) == ((len(vocabulary), 7), np.float32)
    assert np.abs(context).max() > 0

    used = {fnv1a_signed(gram.encode()) % 5_000 for word in vocabulary.words for gram in ngrams(word, 3, 6)}
    assert subwords.bucket_ids.tolist() == sorted(used)
    table = pq.read_table(io.output / "losses.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("epoch", "int32"),
        ("loss", "double"),
        ("n_pairs", "int64"),
        ("learning_rate", "double"),
    ]
    assert table.to_pylist() == report.table
    assert table.column("n_pairs").to_pylist() == [300 * 6] * 3
    assert report.metrics["n_bucket_rows"] == report.rows["subwords/bucket_rows.npy"] == len(used)
    assert all((io.output / path).is_file() for path in report.rows)


@BOTH
def test_same_seed_same_bytes_on_one_thread(tmp_path, config):
    sentences = planted_morphology(n_sentences=500)
    made = []
    for run, (seed, threads) in enumerate([(4, 0), (4, 3), (5, 0)]):
        io = stage_io(tmp_path / str(run), sentences, seed=seed)
        train_subwords(config.model_copy(update={"threads": threads}), io)
        files = sorted(path for path in io.output.rglob("*") if path.is_file())
        made.append({path.relative_to(io.output): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    assert made[0] == made[1]
    changed = {path.as_posix() for path in made[0] if made[0][path] != made[2][path]}
    assert {"losses.parquet", "vectors/vectors.npy", "subwords/bucket_rows.npy"} <= changed


@BOTH
def test_threads_share_the_work_and_learn_from_the_same_pairs(config):
    sentences = planted_morphology(n_sentences=CHUNK_TOKENS)
    vocabulary = vocabulary_of(sentences)
    corpus = (*encoded(sentences, vocabulary), vocabulary.words, vocabulary.counts)
    one, three = (
        train_subword_vectors(
            *corpus, config.model_copy(update={"mode": "hogwild", "threads": threads, "epochs": 1}), seed=2
        )
        for threads in (1, 3)
    )
    assert (one.threads, three.threads) == (1, 3)
    assert one.epochs[0].n_pairs == three.epochs[0].n_pairs
    assert three.epochs[0].loss == pytest.approx(one.epochs[0].loss, rel=0.1)


def test_rows_of_a_word_are_its_own_and_those_of_its_ngrams():
    words = ["banana", "東京", "x", "nab"]
    subwords, bucket_ids = subword_rows(words, SKIPGRAM)
    assert len(set(bucket_ids.tolist())) == bucket_ids.size
    for word_id, word in enumerate(words):
        own, *others = subwords.rows[subwords.offsets[word_id] : subwords.offsets[word_id + 1]].tolist()
        assert own == word_id
        assert [bucket_ids[row - len(words)] for row in others] == [
            fnv1a_signed(gram.encode()) % 5_000 for gram in ngrams(word, 3, 6)
        ]
    # in the order of first use: the n-grams that are new to a word are neighbours
    assert subwords.rows[1] == len(words)


@pytest.mark.parametrize("change", [{"max_n": 0, "min_n": 0}, {"min_n": 0, "max_n": 1}, {"min_n": 9, "max_n": 9}])
def test_few_or_no_ngrams(tmp_path, change):
    io = stage_io(tmp_path, [["a", "b"], ["b", "a", "c"]] * 20)
    report = train_subwords(SKIPGRAM.model_copy(update=change), io)
    assert report.metrics["n_bucket_rows"] == (3 if change["max_n"] == 1 else 0)
    subwords = SubwordVectors.load(io.output / "subwords")
    assert np.isfinite(subwords["a"]).all()


@BOTH
def test_one_word_vocabulary_and_empty_sentences(config):
    offsets = np.array([0, 0, 40, 40])
    result = train_subword_vectors(np.zeros(40, np.int32), offsets, ["only"], np.array([40]), config, seed=0)
    assert len(result.epochs) == 4
    lonely = np.zeros(4, np.int32), np.arange(5), ["only"], np.array([4])
    with pytest.raises(VocabularyError, match=r"no pair of neighbouring words to learn from, in 4 tokens and 4 sent"):
        train_subword_vectors(*lonely, config, seed=0)


def test_absurd_learning_rate_is_named(tmp_path):
    config = SKIPGRAM.model_copy(update={"learning_rate": 1e12})
    with pytest.raises(TrainingDiverged, match=r"the loss became .* in epoch 1 of 4.*from 1e\+12 to 0\.05"):
        train_subwords(config, stage_io(tmp_path, planted_morphology()))


def test_divergence_in_the_last_step_is_found(monkeypatch):
    def spoil(*arguments):
        arguments[6][1, 1] = np.inf  # context_vectors
        return 1.0, 1

    monkeypatch.setattr(subword_run, "train_subword_skipgram", spoil)
    with pytest.raises(TrainingDiverged, match=r"context_vectors has NaN .* first in row 1.*below 0\.05"):
        train_subword_vectors(
            *(np.array([0, 1], np.int32), np.array([0, 2]), ["a", "b"], np.array([1, 1])),
            SKIPGRAM.model_copy(update={"learning_rate": 0.05}),
            seed=0,
        )


@BOTH
def test_heldout_loss_is_measured_and_stops_training(tmp_path, config):
    change = {"heldout_share": 0.1, "patience": 2, "epochs": 30, "learning_rate": 0.2, "min_delta": 0.02}
    io = stage_io(tmp_path, planted_morphology(n_sentences=800))
    report = train_subwords(config.model_copy(update=change), io)
    losses = pq.read_table(io.output / "losses.parquet").column("heldout_loss").to_pylist()
    assert report.metrics["stopped_early"] and 3 <= len(losses) < 30
    assert 40 < report.metrics["n_heldout_sentences"] < 120
    assert report.metrics["best_heldout_loss"] == min(losses) < losses[0]
    best = [min(losses[: i + 1]) for i in range(len(losses))]
    assert best[-3] - best[-1] <= 2 * 0.02


@BOTH
def test_heldout_loss_is_that_of_training_and_changes_nothing(config):
    """Measured on all sentences, it is the training loss at a learning rate that moves nothing."""
    sentences = planted_morphology(n_sentences=300)
    vocabulary = vocabulary_of(sentences)
    corpus = (*encoded(sentences, vocabulary), vocabulary.words, vocabulary.counts)
    still = {"learning_rate": 1e-30, "min_learning_rate": 0, "epochs": 1, "heldout_share": 0.4}
    first = train_subword_vectors(*corpus, config.model_copy(update=still | {"epochs": 1}), seed=3)
    again = train_subword_vectors(*corpus, config.model_copy(update=still | {"epochs": 2}), seed=3)
    assert first.epochs[0].heldout_loss == again.epochs[1].heldout_loss
    # all scores are still 0, so only the number of negatives that count differs
    assert first.epochs[0].heldout_loss == pytest.approx(first.epochs[0].loss, rel=0.02)
    np.testing.assert_array_equal(first.vectors.bucket_rows, again.vectors.bucket_rows)


@pytest.mark.parametrize("change", [{"l2": 5.0}, {"gradient_clip": 1e-3}])
@BOTH
def test_decay_and_clipping_keep_rows_short(tmp_path, config, change):
    lengths = []
    for i, settings in enumerate([{}, change]):
        io = stage_io(tmp_path / str(i), planted_morphology(n_sentences=500))
        train_subwords(config.model_copy(update=settings), io)
        lengths.append(np.linalg.norm(SubwordVectors.load(io.output / "subwords").bucket_rows, axis=1).mean())
    assert lengths[1] < 0.8 * lengths[0]


# --- configuration ----------------------------------------------------------------------------------------------------


def test_settings_that_training_does_not_follow_are_refused(tmp_path):
    config = SKIPGRAM.model_copy(update={"shard_tokens": 4_096})
    message = r"train\.shard_tokens is 4096, .* cannot do\. Expected: 2048.* leave out train\.shard_tokens"
    with pytest.raises(ConfigError, match=message):
        train_subwords(config, stage_io(tmp_path, planted_morphology(n_sentences=9)))


def test_every_field_is_described_and_lengths_must_rise():
    for model in (SubwordSkipgramConfig, SubwordCbowConfig):
        assert issubclass(model, Config)
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
    with pytest.raises(ValidationError, match="min_n 7 is above max_n 6"):
        SubwordSkipgramConfig(kind="subword_skipgram", min_n=7)
    assert SubwordSkipgramConfig(kind="subword_skipgram", min_n=3, max_n=0).max_n == 0
