import hashlib
import json
import queue
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import vecmill.words.glove_trainer as glove_trainer
from reference.words_corpora import encoded, planted_synonyms, stage_io, vocabulary_of
from vecmill.config.base import key_config
from vecmill.errors import FormatError, TrainingDiverged, VocabularyError
from vecmill.progress import show_progress_on
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.glove_config import GloveConfig
from vecmill.words.glove_model import initial_glove, vectors_of
from vecmill.words.glove_train import train_glove
from vecmill.words.glove_trainer import train_glove_vectors

# x_max is for corpora where counts reach thousands; here the largest are some hundred
CONFIG = GloveConfig(
    kind="glove", dim=20, window=2, x_max=10, epochs=12, learning_rate=0.1, bias_learning_rate=0.1, mode="deterministic"
)


def with_(config=CONFIG, **changes):
    return config.model_copy(update=changes)


def trained(folder, config=CONFIG, seed=1, n_topics=5, n_sentences=500):
    sentences = planted_synonyms(n_topics, n_sentences)
    vocabulary = vocabulary_of(sentences)
    folder.mkdir(exist_ok=True)
    return train_glove_vectors(*encoded(sentences, vocabulary), vocabulary.counts, config, seed=seed, folder=folder)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Recorder:
    def __init__(self):
        self.bars, self.open = [], 0

    def bar(self, description, total, unit):
        self.open += 1
        self.bars.append({"description": description, "total": total, "unit": unit, "done": 0, "text": ""})
        return Line(self.bars[-1])

    def close(self, bar):
        self.open -= 1


class Line:
    def __init__(self, kept):
        self.kept = kept

    def advance(self, amount=1):
        self.kept["done"] += amount

    def note(self, text):
        self.kept["text"] = text


# --- the stage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["deterministic", "hogwild"])
@pytest.mark.parametrize("combine", ["sum", "center"])
def test_planted_synonyms_become_nearest_neighbours(tmp_path, combine, mode):
    io = stage_io(tmp_path, planted_synonyms(), seed=1)
    report = train_glove(with_(combine=combine, mode=mode, threads=2), io)
    vectors = WordVectors.load(io.output / "vectors")
    unit = vectors.vectors / vectors.norms[:, None]
    # among the words that have synonyms: a sum of both sides also likes the words beside it
    candidates = [word for word in vectors.words if not word[:-1].endswith("near")]
    nearest = {}
    for topic in range(20):
        cosines = {word: unit[vectors.id_of(word)] @ unit[vectors.id_of(f"{topic}-one")] for word in candidates}
        del cosines[f"{topic}-one"]
        nearest[topic] = max(cosines, key=cosines.__getitem__)
    assert nearest == {topic: f"{topic}-two" for topic in range(20)}
    losses = [row["loss"] for row in report.table]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2 * losses[0]


def test_what_the_stage_writes_and_says(tmp_path):
    sentences = planted_synonyms(n_topics=3, n_sentences=300)
    io = stage_io(tmp_path, sentences)
    report = train_glove(with_(dim=7, epochs=3), io)
    vocabulary = vocabulary_of(sentences)
    vectors = WordVectors.load(io.output / "vectors")
    assert list(vectors.words) == vocabulary.words
    assert vectors.counts.tolist() == vocabulary.counts.tolist()
    assert vectors.vectors.shape == (18, 7)
    context = np.load(io.output / "context_vectors.npy", allow_pickle=False)
    assert (context.shape, context.dtype) == ((18, 7), np.float32)
    assert sorted(path.name for path in io.output.iterdir()) == ["context_vectors.npy", "losses.parquet", "vectors"]

    table = pq.read_table(io.output / "losses.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("epoch", "int32"),
        ("loss", "double"),
        ("n_pairs", "int64"),
        ("learning_rate", "double"),
    ]
    assert table.column("epoch").to_pylist() == [1, 2, 3]
    assert table.column("learning_rate").to_pylist() == [0.1] * 3
    assert table.to_pylist() == report.table
    (n_pairs,) = set(table.column("n_pairs").to_pylist())

    metrics = dict(report.metrics)
    for timing in [name for name in metrics if name.endswith(("_seconds", "_per_second"))]:
        assert metrics.pop(timing) >= 0
    assert metrics == {
        "kind": "glove",
        "dim": 7,
        "n_words": 18,
        "n_epochs": 3,
        "final_loss": report.table[-1]["loss"],
        "n_pairs": 3 * n_pairs,
        "stopped_early": False,
        "threads": 1,
        "resumed_at_epoch": 0,
    }
    assert report.rows == {"vectors/vectors.npy": 18, "context_vectors.npy": 18, "losses.parquet": 3}
    assert all((io.output / path).is_file() for path in report.rows)


def test_word_vectors_are_the_sum_or_the_center(tmp_path):
    total, center = (trained(tmp_path / combine, with_(combine=combine)) for combine in ("sum", "center"))
    np.testing.assert_array_equal(total.context_vectors, center.context_vectors)
    np.testing.assert_array_equal(total.word_vectors, center.word_vectors + center.context_vectors)


def test_same_seed_same_bytes_whatever_the_memory_and_threads(tmp_path):
    sentences = planted_synonyms(n_topics=5, n_sentences=500)
    made = []
    runs = [(4, 0, CONFIG.memory_bytes), (4, 3, 1 << 20), (5, 0, CONFIG.memory_bytes)]
    for run, (seed, threads, memory_bytes) in enumerate(runs):
        io = stage_io(tmp_path / str(run), sentences, seed=seed)
        train_glove(with_(threads=threads, memory_bytes=memory_bytes), io)
        made.append(digests(io.output))
    assert made[0] == made[1]
    assert made[0]["losses.parquet"] != made[2]["losses.parquet"]
    assert made[0]["vectors/vectors.npy"] != made[2]["vectors/vectors.npy"]


def test_absurd_learning_rate_is_named_and_nothing_is_left(tmp_path):
    io = stage_io(tmp_path, planted_synonyms(n_topics=3, n_sentences=2_000))
    with pytest.raises(TrainingDiverged) as caught:
        train_glove(with_(learning_rate=1e12), io)
    assert "the loss became" in str(caught.value)
    assert "in epoch 1 of 12" in str(caught.value)
    assert "lower train.learning_rate from 1e+12 to 0.05" in str(caught.value)
    assert list(io.output.iterdir()) == []


def test_tokens_of_another_vocabulary_are_refused(tmp_path):
    sentences = [["a", "b"], ["b", "c", "d"]]
    io = stage_io(tmp_path, sentences, vocabulary=vocabulary_of([["a", "b"], ["b", "c"]]))
    with pytest.raises(FormatError, match=r"token_ids\[4\] is 3, outside the vocabulary of 3 words"):
        train_glove(CONFIG, io)


def test_lonely_words_are_refused(tmp_path):
    io = stage_io(tmp_path, [["a"], ["b"], ["a"]])
    with pytest.raises(VocabularyError, match=r"no pair of neighbouring words to learn from, in 3 tokens and 3 sent"):
        train_glove(CONFIG, io)


# --- the trainer ------------------------------------------------------------------------------------------------------


def test_threads_learn_from_the_same_pairs(tmp_path):
    config = with_(mode="hogwild", epochs=3)
    one = trained(tmp_path / "1", with_(config, threads=1), n_topics=150, n_sentences=40_000)
    three = trained(tmp_path / "3", with_(config, threads=3), n_topics=150, n_sentences=40_000)
    assert one.threads == 1
    assert [epoch.n_pairs for epoch in one.epochs] == [epoch.n_pairs for epoch in three.epochs]
    for alone, together in zip(one.epochs, three.epochs, strict=True):
        assert together.loss == pytest.approx(alone.loss, rel=0.1)


def test_enough_pairs_are_shared_by_threads(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    token_ids, counts = rng.integers(0, 400, 40_000).astype(np.int32), np.full(400, 100)
    config = with_(mode="hogwild", threads=2, epochs=1, window=5)
    seen = []
    chunk = glove_trainer._Run.train_chunk

    def record(self, pairs, key):
        seen.append((pairs.size, int((pairs["row"] == pairs["col"]).sum())))
        return chunk(self, pairs, key)

    monkeypatch.setattr(glove_trainer._Run, "train_chunk", record)
    corpus = token_ids, np.array([0, token_ids.size]), counts
    result = train_glove_vectors(*corpus, config, seed=0, folder=tmp_path)
    assert result.threads == 2
    assert len(seen) == 1 + 32
    assert result.epochs[0].n_pairs == sum(2 * n_pairs - n_equal for n_pairs, n_equal in seen)


def test_progress_counts_tokens_then_pairs_of_every_epoch(tmp_path):
    recorder = Recorder()
    with show_progress_on(recorder):
        result = trained(tmp_path)
    counting, training = recorder.bars
    assert (counting["unit"], counting["done"], counting["total"]) == ("tokens", 1_500, 1_500)
    assert training["unit"] == "pairs"
    assert training["done"] == training["total"] > 0
    assert training["text"].startswith("epoch 12/12, loss ")
    assert recorder.open == 0
    assert len(result.epochs) == 12


def test_every_epoch_takes_the_chunks_in_another_order(tmp_path, monkeypatch):
    orders = []
    train_chunks = glove_trainer._Run.train_chunks

    def record(self, epoch, chunks, totals, due):
        order = [chunks.get() for _ in range(self.pairs.n_chunks)]
        orders.append(tuple(order))
        for chunk in order:
            chunks.put(chunk)
        train_chunks(self, epoch, chunks, totals, due)

    monkeypatch.setattr(glove_trainer._Run, "train_chunks", record)
    trained(tmp_path, with_(epochs=4))
    assert len(set(orders)) == 4
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(32))}


def test_every_epoch_takes_the_pairs_of_a_chunk_in_another_order(tmp_path, monkeypatch):
    taken = []

    def record(pairs, *rest):
        taken.append(pairs.copy())
        return train_kernel(pairs, *rest)

    train_kernel = glove_trainer.train_glove
    monkeypatch.setattr(glove_trainer, "train_glove", record)
    trained(tmp_path, with_(epochs=3, threads=1))
    largest = max(map(len, taken))
    orders = {pairs.tobytes() for pairs in taken if len(pairs) == largest}
    assert len(orders) >= 3
    assert {np.sort(np.concatenate(taken[1 + 32 * epoch :][:32])).tobytes() for epoch in range(3)} == {
        np.sort(np.concatenate(taken[1:33])).tobytes()
    }


def test_divergence_in_the_last_step_is_found(tmp_path, monkeypatch):
    def spoil(pairs, center, context, *_):
        context[3, 0, 1] = np.inf
        return 1.0, 1

    monkeypatch.setattr(glove_trainer, "train_glove", spoil)
    with pytest.raises(TrainingDiverged, match=r"context_vectors has NaN .* first in row 3.*lower .* from 0.1 to 0.05"):
        trained(tmp_path)


def test_failure_of_one_thread_stops_the_others(tmp_path, monkeypatch):
    seen = []

    def diverge(pairs, *_):
        seen.append(pairs.size)
        return float("nan"), 1

    monkeypatch.setattr(glove_trainer, "train_glove", diverge)
    sentences = planted_synonyms(5, 500)
    n_words = len(vocabulary_of(sentences).words)
    corpus = encoded(sentences, vocabulary_of(sentences))
    pairs = glove_trainer.count_and_shuffle(*corpus, n_words, CONFIG, seed=0, folder=tmp_path)
    model = initial_glove(n_words, CONFIG.dim, 0.05, np.random.default_rng(0))
    run = glove_trainer._Run(pairs, model, CONFIG, seed=0, threads=2)
    totals = glove_trainer._EpochTotals(Line({"done": 0, "text": ""}), "epoch 1/12")
    chunks = queue.SimpleQueue()
    for chunk in range(4):
        chunks.put(chunk)
    with pytest.raises(TrainingDiverged, match="the loss became nan in epoch 1 of 12"):
        run.train_chunks(0, chunks, totals, lambda: False)
    run.train_chunks(0, chunks, totals, lambda: False)
    assert len(seen) == 1


@pytest.mark.parametrize(("min_delta", "n_epochs"), [(0.0, 12), (100.0, 4)])
def test_training_ends_when_its_loss_falls_no_more(tmp_path, min_delta, n_epochs):
    result = trained(tmp_path, with_(patience=3, min_delta=min_delta))
    assert len(result.epochs) == n_epochs


def test_biases_may_have_a_rate_of_their_own(tmp_path):
    model = initial_glove(3, 4, 0.05, np.random.default_rng(0), bias_learning_rate=0.5)
    for side, bias in ((model.center, 4), (model.context, 5)):
        assert side[:, 1, bias] == pytest.approx(4)
        assert side[:, 1, :4] == pytest.approx(400)
    slow, fast = (trained(tmp_path / str(rate), with_(bias_learning_rate=rate, epochs=2)) for rate in (0.1, 1.0))
    assert fast.epochs[1].loss < slow.epochs[1].loss


def test_one_word_vocabulary_trains(tmp_path):
    corpus = np.zeros(40, np.int32), np.array([0, 40]), np.array([40])
    result = train_glove_vectors(*corpus, CONFIG, seed=0, folder=tmp_path)
    assert [epoch.n_pairs for epoch in result.epochs] == [1] * 12
    assert result.epochs[-1].loss < result.epochs[0].loss


def test_windows_to_the_left_learn_each_direction_by_itself(tmp_path):
    corpus = np.array([0, 1, 0, 1, 2], np.int32), np.array([0, 2, 2, 5]), np.array([2, 2, 1])
    config = with_(symmetric=False, window=1)
    result = train_glove_vectors(*corpus, config, seed=0, folder=tmp_path)
    assert result.epochs[0].n_pairs == 2  # (1, 0) twice and (2, 1); none of (0, 1), (1, 2)


def test_mapped_files_are_read_in_place(tmp_path):
    sentences = planted_synonyms(5, 500)
    vocabulary = vocabulary_of(sentences)
    token_ids, sentence_offsets = encoded(sentences, vocabulary)
    np.save(tmp_path / "token_ids.npy", token_ids)
    mapped = np.load(tmp_path / "token_ids.npy", mmap_mode="r")
    from_memory, from_file = (
        train_glove_vectors(ids, sentence_offsets, vocabulary.counts, CONFIG, seed=1, folder=tmp_path)
        for ids in (token_ids, mapped)
    )
    np.testing.assert_array_equal(from_memory.word_vectors, from_file.word_vectors)


# --- model and configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_words", "dim"), [(1, 1), (3, 14), (3, 15), (9_000, 5)])
def test_rows_are_aligned_and_vectors_come_out_in_place(n_words, dim):
    model = initial_glove(n_words, dim, 0.05, np.random.default_rng(0))
    for side, bias, one in ((model.center, dim, dim + 1), (model.context, dim + 1, dim)):
        assert side.shape[2] % 16 == 0
        assert side.shape[2] >= dim + 2
        assert side.ctypes.data % 64 == 0
        assert 0 < np.abs(side[:, 0, [*range(dim), bias]]).max() <= 0.5 / dim
        assert (side[:, 0, one] == 1).all()
        assert side[0, 1, bias] == pytest.approx(400)
        expected = side[:, 0, :dim].copy()
        vectors = vectors_of(side, dim)
        np.testing.assert_array_equal(vectors, expected)
        assert vectors.flags.c_contiguous
        assert np.shares_memory(vectors, side)


def test_means_are_not_part_of_the_key():
    plain = key_config(GloveConfig(kind="glove"))
    assert plain == key_config(GloveConfig(kind="glove", threads=7, memory_bytes=1 << 30, checkpoint_minutes=0))
    assert "threads" not in json.dumps(plain)
    assert plain != key_config(GloveConfig(kind="glove", combine="center"))


def test_every_field_is_described_and_bounded():
    for name, field in GloveConfig.model_fields.items():
        assert field.description, name
    for wrong in (
        {"window": 0},
        {"window": 1_001},
        {"x_max": 0},
        {"alpha": float("nan")},
        {"kind": "cbow"},
        {"cbow": 1},
    ):
        with pytest.raises(ValidationError):
            GloveConfig(**{"kind": "glove"} | wrong)
    with pytest.raises(ValidationError):
        GloveConfig()


def test_import_of_the_configuration_is_light():
    code = (
        "import sys, vecmill.words.glove_config; print([m for m in ('numpy', 'numba', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
