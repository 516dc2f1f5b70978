from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vecmill.words.run as run_module
from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.errors import FormatError, TrainingDiverged, VocabularyError
from vecmill.kernels.sampling import make_sampler
from vecmill.progress import show_progress_on
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.corpus_check import check_corpus
from vecmill.words.hogwild import Hogwild
from vecmill.words.model import initial_model, without_padding
from vecmill.words.progress_state import Progress
from vecmill.words.run import CHUNK_TOKENS, Totals, TrainingRun
from vecmill.words.trainer import train_vectors

SMALL = {"dim": 8, "window": 2, "epochs": 2}


def corpus(n_sentences=1_000):
    sentences = planted_synonyms(n_topics=5, n_sentences=n_sentences)
    vocabulary = vocabulary_of(sentences)
    return *encoded(sentences, vocabulary), vocabulary.counts


@dataclass
class Recorder:
    total: float = 0
    done: float = 0
    text: str = ""
    n_open: int = 0

    def bar(self, description, total, unit):
        self.total, self.n_open = total, self.n_open + 1
        return self

    def close(self, bar):
        self.n_open -= 1

    def advance(self, amount=1):
        self.done += amount

    def note(self, text):
        self.text = text


@pytest.mark.parametrize(
    "config", [SkipgramConfig(**SMALL), CbowConfig(kind="cbow", **SMALL)], ids=["skipgram", "cbow"]
)
def test_threads_share_the_work_and_learn_from_the_same_pairs(config):
    token_ids, sentence_offsets, counts = corpus(n_sentences=3 * CHUNK_TOKENS // 3 + 100)
    results = [
        train_vectors(token_ids, sentence_offsets, counts, config.model_copy(update={"threads": threads}), seed=2)
        for threads in (1, 3)
    ]
    assert [result.threads for result in results] == [1, 3]
    one, three = (result.epochs for result in results)
    assert [epoch.n_pairs for epoch in one] == [epoch.n_pairs for epoch in three]
    # Thirty words: threads meet in the same rows all the time, and the scheduler says how often, so CBOW's first epoch
    # loses 4 to 6 % more than one thread's. A model that saw a third of the text, as one of them alone would, is 47 %
    # (skip-gram) and 101 % (CBOW) above in the second epoch.
    for alone, together in zip(one, three, strict=True):
        assert together.loss == pytest.approx(alone.loss, rel=0.12)


def recorded_calls(monkeypatch, config, seed):
    """What each chunk asked of the kernel: (first, last, first rate, last rate, keep key, draw key)."""
    calls = []

    def record(*arguments):
        calls.append((*arguments[3:5], *arguments[13:17]))
        return 1.0, 1

    monkeypatch.setattr(run_module, "train_skipgram", record)
    train_vectors(*corpus(n_sentences=CHUNK_TOKENS), config, seed=seed)
    return calls[1:]


def test_learning_rate_falls_without_a_step_over_chunks_and_epochs(monkeypatch):
    config = SkipgramConfig(dim=4, epochs=3, learning_rate=0.1, min_learning_rate=0.01, threads=1)
    calls = recorded_calls(monkeypatch, config, seed=0)
    n_tokens = 3 * CHUNK_TOKENS
    seen = 0
    for first, last, first_rate, last_rate, _, _ in calls:
        assert first == seen % n_tokens
        assert first_rate == pytest.approx(0.1 - 0.09 * seen / (3 * n_tokens))
        seen += last - first
        assert last_rate == pytest.approx(0.1 - 0.09 * seen / (3 * n_tokens))
    assert seen == 3 * n_tokens


def test_every_epoch_and_seed_has_random_streams_of_its_own(monkeypatch):
    config = SkipgramConfig(dim=4, epochs=3, threads=1)
    streams = [
        {int(key) for call in recorded_calls(monkeypatch, config, seed=seed) for key in call[4:]} for seed in (7, 8)
    ]
    assert [len(keys) for keys in streams] == [6, 6]
    assert not streams[0] & streams[1]


def test_one_endless_sentence_is_shared_too():
    token_ids, _, counts = corpus(n_sentences=2 * CHUNK_TOKENS // 3 + 100)
    one_sentence = np.array([0, token_ids.size])
    config = SkipgramConfig(dim=4, epochs=1, window=3, dynamic_window=False, sample=0, threads=2)
    result = train_vectors(token_ids, one_sentence, counts, config, seed=0)
    assert result.threads == 2
    assert result.epochs[0].n_pairs == 6 * token_ids.size - 2 * (1 + 2 + 3)


def test_small_corpora_are_not_torn_apart():
    assert train_vectors(*corpus(), SkipgramConfig(threads=8, **SMALL), seed=0).threads == 1


def test_progress_counts_every_token_of_every_epoch():
    token_ids, sentence_offsets, counts = corpus()
    recorder = Recorder()
    with show_progress_on(recorder):
        train_vectors(token_ids, sentence_offsets, counts, SkipgramConfig(**SMALL), seed=0)
    assert recorder.done == recorder.total == 2 * token_ids.size
    assert recorder.text.startswith("epoch 2/2, loss ")
    assert recorder.n_open == 0


def test_progress_ends_when_training_fails():
    recorder = Recorder()
    with show_progress_on(recorder), pytest.raises(TrainingDiverged):
        train_vectors(*corpus(), SkipgramConfig(learning_rate=1e12, **SMALL), seed=0)
    assert recorder.n_open == 0


def test_divergence_in_the_last_step_is_found(monkeypatch):
    def spoil(*arguments):
        arguments[6][3, 1] = np.inf  # context_vectors
        return 1.0, 1

    monkeypatch.setattr(run_module, "train_skipgram", spoil)
    with pytest.raises(
        TrainingDiverged, match=r"context_vectors has NaN .* first in row 3.*lower train.learning_rate below 0.025"
    ):
        train_vectors(*corpus(), SkipgramConfig(**SMALL), seed=0)


def test_failure_of_one_thread_stops_the_others(monkeypatch):
    token_ids, sentence_offsets, counts = corpus(n_sentences=CHUNK_TOKENS)
    seen = []

    def diverge(*arguments):
        seen.append(arguments[3])
        return float("nan"), 1

    monkeypatch.setattr(run_module, "train_skipgram", diverge)
    config = SkipgramConfig(**SMALL)
    sampler = make_sampler(counts, sample=0, negative_exponent=0.75)
    model = initial_model(counts.size, config.dim, np.random.default_rng(0))
    run = TrainingRun(token_ids, sentence_offsets, counts, sampler, model, config, seed=0)
    half = token_ids.size // 2
    progress = Progress(cuts=[0, half, token_ids.size], positions=[0, half])
    totals = Totals(Recorder(), "epoch 1/1")
    with Hogwild(run, 2) as hogwild:
        with pytest.raises(TrainingDiverged):
            hogwild.train_slice(0, progress, run.workspace(), totals, lambda: False)
        assert seen == [0]
        hogwild.train_slice(1, progress, run.workspace(), totals, lambda: False)
    assert seen == [0]


def test_nothing_to_learn_from_is_refused():
    lonely = np.zeros(4, np.int32), np.arange(5), np.array([4])
    with pytest.raises(VocabularyError, match=r"no pair of neighbouring words to learn from, in 4 tokens and 4 sent"):
        train_vectors(*lonely, SkipgramConfig(), seed=0)
    token_ids, sentence_offsets, counts = corpus()
    with pytest.raises(VocabularyError, match=r"train\.sample = 1e-14.*raise train\.sample"):
        train_vectors(token_ids, sentence_offsets, counts, SkipgramConfig(sample=1e-14), seed=0)


def test_one_word_vocabulary_trains():
    token_ids = np.zeros(40, np.int32)
    result = train_vectors(token_ids, np.array([0, 40]), np.array([40]), SkipgramConfig(sample=0), seed=0)
    assert result.epochs[-1].loss < result.epochs[0].loss


def test_mapped_files_are_read_in_place(tmp_path):
    token_ids, sentence_offsets, counts = corpus()
    np.save(tmp_path / "token_ids.npy", token_ids)
    mapped = np.load(tmp_path / "token_ids.npy", mmap_mode="r")
    config = SkipgramConfig(threads=1, **SMALL)
    from_memory, from_file = (
        train_vectors(ids, sentence_offsets, counts, config, seed=1) for ids in (token_ids, mapped)
    )
    np.testing.assert_array_equal(from_memory.center_vectors, from_file.center_vectors)


# --- checks before training -------------------------------------------------------------------------------------------

IDS, OFFSETS, COUNTS = np.array([0, 2, 1, 0], np.int32), np.array([0, 3, 3, 4]), np.array([2, 1, 1])


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"token_ids": IDS.astype(np.int64)}, FormatError, r"token_ids is int64\[4\]\. Expected: int32"),
        ({"token_ids": IDS.reshape(2, 2)}, FormatError, r"token_ids is int32\[2, 2\]"),
        ({"token_ids": np.array([0, 1, 3, 9], np.int32)}, FormatError, r"token_ids\[2\] is 3, outside .* of 3 words"),
        ({"token_ids": np.array([0, 1, 0, -1], np.int32)}, FormatError, r"token_ids\[3\] is -1, .*ids from 0 to 2"),
        ({"token_ids": np.empty(0, np.int32), "sentence_offsets": np.array([0])}, VocabularyError, "has no tokens"),
        ({"sentence_offsets": OFFSETS.astype(np.int32)}, FormatError, r"sentence_offsets is int32\[4\]"),
        ({"sentence_offsets": np.array([0, 3])}, FormatError, r"runs from 0 to 3\. Expected: from 0 to n_tokens = 4"),
        ({"sentence_offsets": np.array([1, 4])}, FormatError, "runs from 1 to 4"),
        ({"sentence_offsets": np.empty(0, np.int64)}, FormatError, r"runs nowhere \(empty\)"),
        ({"sentence_offsets": np.array([0, 3, 2, 4])}, FormatError, r"sentence_offsets\[2\] is 2, below the 3 before"),
        ({"counts": np.empty(0, np.int64)}, VocabularyError, "vocabulary has no words"),
        ({"counts": np.array([2, 0, 1])}, FormatError, "word 1 has the count 0"),
    ],
)
def test_misfits_are_refused_by_name(change, kind, message):
    arrays = {"token_ids": IDS, "sentence_offsets": OFFSETS, "counts": COUNTS}
    check_corpus(**arrays)
    with pytest.raises(kind, match=message):
        check_corpus(**arrays | change)


# --- model ------------------------------------------------------------------------------------------------------------


@given(n_words=st.integers(1, 40), dim=st.integers(1, 40))
def test_rows_are_padded_and_unpadded(n_words, dim):
    model = initial_model(n_words, dim, np.random.default_rng(0))
    padded = model.center_vectors
    assert padded.shape[1] % 16 == 0
    assert padded.ctypes.data % 64 == 0
    assert padded.flags.c_contiguous
    assert np.abs(padded[:, :dim]).max() <= 0.5 / dim
    assert padded[:, :dim].any(axis=1).all()
    assert not padded[:, dim:].any()
    assert not model.context_vectors.any()
    expected = padded[:, :dim].copy()
    dense = without_padding(padded, dim)
    np.testing.assert_array_equal(dense, expected)
    assert dense.flags.c_contiguous
    assert np.shares_memory(dense, padded)


def test_unpadding_crosses_blocks():
    padded = initial_model(10_000, 3, np.random.default_rng(0)).center_vectors
    expected = padded[:, :3].copy()
    np.testing.assert_array_equal(without_padding(padded, 3), expected)
