import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from reference.words_corpora import planted_synonyms, stage_io, vocabulary_of
from vecmill.errors import FormatError, TrainingDiverged, VocabularyError
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.train import train_words

SETTINGS = {"dim": 20, "window": 2, "sample": 0, "epochs": 4, "learning_rate": 0.1, "threads": 1}
CONFIGS = {
    "skipgram": SkipgramConfig(**SETTINGS),
    "cbow exact": CbowConfig(kind="cbow", **SETTINGS | {"learning_rate": 0.2}),
    "cbow word2vec": CbowConfig(kind="cbow", cbow_gradient="word2vec", **SETTINGS),
}


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_planted_synonyms_become_nearest_neighbours(tmp_path, name):
    io = stage_io(tmp_path, planted_synonyms(), seed=1)
    report = train_words(CONFIGS[name], io)
    vectors = WordVectors.load(io.output / "vectors")
    unit = vectors.vectors / vectors.norms[:, None]
    nearest = {}
    for topic in range(20):
        cosines = unit @ unit[vectors.id_of(f"{topic}-one")]
        cosines[vectors.id_of(f"{topic}-one")] = -2
        nearest[topic] = vectors.words[int(np.argmax(cosines))]
    assert nearest == {topic: f"{topic}-two" for topic in range(20)}
    losses = [row["loss"] for row in report.table]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1


def test_what_the_stage_writes_and_says(tmp_path):
    sentences = planted_synonyms(n_topics=3, n_sentences=300)
    io = stage_io(tmp_path, sentences)
    report = train_words(SkipgramConfig(dim=7, epochs=3, sample=0, dynamic_window=False), io)

    vocabulary = vocabulary_of(sentences)
    vectors = WordVectors.load(io.output / "vectors")
    assert list(vectors.words) == vocabulary.words
    assert vectors.counts.tolist() == vocabulary.counts.tolist()
    assert vectors.vectors.shape == (18, 7)
    context = np.load(io.output / "context_vectors.npy", allow_pickle=False)
    assert (context.shape, context.dtype) == ((18, 7), np.float32)
    assert np.abs(context).max() > 0

    table = pq.read_table(io.output / "losses.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("epoch", "int32"),
        ("loss", "double"),
        ("n_pairs", "int64"),
        ("learning_rate", "double"),
    ]
    assert table.column("epoch").to_pylist() == [1, 2, 3]
    assert table.column("n_pairs").to_pylist() == [300 * 6] * 3
    np.testing.assert_allclose(table.column("learning_rate"), np.linspace(0.025, 1e-4, 4)[1:])
    assert table.to_pylist() == report.table

    metrics = dict(report.metrics)
    for timing in ("compile_seconds", "train_seconds", "words_per_second"):
        assert metrics.pop(timing) >= 0
    assert metrics == {
        "kind": "skipgram",
        "mode": "hogwild",
        "schedule": "linear",
        "resumed_at_epoch": 0,
        "dim": 7,
        "n_words": 18,
        "n_epochs": 3,
        "final_loss": report.table[-1]["loss"],
        "n_pairs": 5400,
        "threads": 1,
    }
    assert report.rows == {"vectors/vectors.npy": 18, "context_vectors.npy": 18, "losses.parquet": 3}
    assert all((io.output / path).is_file() for path in report.rows)


@pytest.mark.parametrize("mode", ["hogwild", "deterministic"])
@pytest.mark.parametrize("name", ["skipgram", "cbow exact"])
def test_same_seed_same_bytes(tmp_path, name, mode):
    sentences = planted_synonyms(n_topics=5, n_sentences=500)
    made = []
    for run, (seed, threads) in enumerate([(4, 1), (4, 3), (5, 1)]):
        io = stage_io(tmp_path / str(run), sentences, seed=seed)
        # 1,500 tokens are too few for hogwild to share
        train_words(CONFIGS[name].model_copy(update={"threads": threads, "mode": mode}), io)
        made.append(digests(io.output))
    assert made[0] == made[1]
    assert made[0]["losses.parquet"] != made[2]["losses.parquet"]
    assert made[0]["vectors/vectors.npy"] != made[2]["vectors/vectors.npy"]


@pytest.mark.parametrize("name", ["skipgram", "cbow exact"])
def test_absurd_learning_rate_is_named(tmp_path, name):
    config = CONFIGS[name].model_copy(update={"learning_rate": 1e12})
    with pytest.raises(TrainingDiverged) as caught:
        train_words(config, stage_io(tmp_path, planted_synonyms(n_topics=3, n_sentences=2_000)))
    message = str(caught.value)
    assert "the loss became" in message
    assert "in epoch 1 of 4, between tokens 0 and 6,000, at learning rate 1e+12" in message
    usual = {"skipgram": "0.025", "cbow": "0.1"}[config.kind]
    assert f"lower train.learning_rate from 1e+12 to {usual}" in message


def test_tokens_of_another_vocabulary_are_refused(tmp_path):
    sentences = [["a", "b"], ["b", "c", "d"]]
    io = stage_io(tmp_path, sentences, vocabulary=vocabulary_of([["a", "b"], ["b", "c"]]))
    with pytest.raises(FormatError, match=r"token_ids\[4\] is 3, outside the vocabulary of 3 words") as caught:
        train_words(SkipgramConfig(), io)
    assert "--refresh encode" in str(caught.value)


def test_no_tokens_is_refused(tmp_path):
    io = stage_io(tmp_path, [], vocabulary=vocabulary_of([["a", "b"]]))
    with pytest.raises(VocabularyError, match="no tokens"):
        train_words(SkipgramConfig(), io)
