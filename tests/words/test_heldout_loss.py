import numpy as np
import pytest

from reference.negative_sampling import examples
from reference.negative_sampling import negative_sampling as plain_loss
from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.errors import VocabularyError
from vecmill.kernels.sampling import make_sampler
from vecmill.words import run as run_module
from vecmill.words.config import CbowConfig, SkipgramConfig
from vecmill.words.heldout import heldout_sentences, measure_heldout
from vecmill.words.model import initial_model
from vecmill.words.progress_state import EpochResult, stops_early
from vecmill.words.run import HELDOUT, StreamKeys, TrainingRun
from vecmill.words.trainer import train_vectors

SETTINGS = {"dim": 6, "window": 2, "sample": 0.05, "heldout_share": 0.2, "threads": 1}


def a_run(config, n_sentences=300, seed=3):
    sentences = planted_synonyms(n_topics=4, n_sentences=n_sentences)
    vocabulary = vocabulary_of(sentences)
    token_ids, offsets = encoded(sentences, vocabulary)
    sampler = make_sampler(vocabulary.counts, sample=config.sample, negative_exponent=0.75)
    model = initial_model(len(vocabulary), config.dim, np.random.default_rng(1))
    model.context_vectors[:, : config.dim] = np.random.default_rng(2).normal(size=(len(vocabulary), config.dim))
    heldout = heldout_sentences(n_sentences, config, seed)
    return TrainingRun(token_ids, offsets, vocabulary.counts, sampler, model, config, seed, heldout)


@pytest.mark.parametrize("config", [SkipgramConfig(**SETTINGS), CbowConfig(kind="cbow", **SETTINGS)])
def test_equals_the_plain_loss(config):
    run = a_run(config)
    keys = StreamKeys.of(run.seed, HELDOUT, 1)
    offsets = run.sentence_offsets
    losses = []
    for example in examples(
        run.token_ids, offsets, run.sampler, window=2, dynamic_window=True, n_negatives=5,
        keep_key=keys.keep, draw_key=keys.draw,
    ):  # fmt: skip
        if np.searchsorted(offsets, example.position, side="right") - 1 not in run.heldout:
            continue
        inputs = run.model.center_vectors[example.around].astype(np.float64)
        inputs = [inputs.mean(axis=0)] if config.kind == "cbow" else inputs
        context = run.model.context_vectors.astype(np.float64)
        losses += [plain_loss(x, context, example.center, example.negatives)[0] for x in inputs]
    assert len(losses) > 50
    assert measure_heldout(run) == pytest.approx(np.mean(losses), rel=1e-12)


def test_the_share_is_kept_and_belongs_to_the_seed():
    config = SkipgramConfig(heldout_share=0.1)
    chosen = heldout_sentences(50_000, config, 1)
    assert chosen.size == pytest.approx(5_000, abs=5 * (50_000 * 0.09) ** 0.5)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, heldout_sentences(50_000, config, 1))
    assert not np.array_equal(chosen, heldout_sentences(50_000, config, 2))
    np.testing.assert_array_equal(heldout_sentences(30_000, config, 1), chosen[chosen < 30_000])
    assert heldout_sentences(50_000, SkipgramConfig(), 1).size == 0


@pytest.mark.parametrize("mode", ["hogwild", "deterministic"])
def test_heldout_sentences_are_not_trained_on_and_all_others_are(monkeypatch, mode):
    config = SkipgramConfig(mode=mode, epochs=1, **SETTINGS)
    run = a_run(config)
    seen = np.zeros(run.n_tokens, int)

    def record(*arguments):
        sentence, first, last = arguments[2:5]
        if first < last:
            assert run.sentence_offsets[sentence] <= first < run.sentence_offsets[sentence + 1]
        seen[first:last] += 1
        return 1.0, 1

    monkeypatch.setattr(run_module, "train_skipgram", record)
    train_vectors(run.token_ids, run.sentence_offsets, np.bincount(run.token_ids), config, seed=run.seed)
    is_heldout = np.zeros(run.sentence_offsets.size - 1, int)
    is_heldout[run.heldout] = 1
    np.testing.assert_array_equal(seen, 1 - np.repeat(is_heldout, np.diff(run.sentence_offsets)))


def test_learning_lowers_it_and_patience_ends_training():
    run = a_run(SkipgramConfig(**SETTINGS), n_sentences=3_000)
    corpus = run.token_ids, run.sentence_offsets, np.bincount(run.token_ids)
    config = SkipgramConfig(learning_rate=0.2, epochs=4, **SETTINGS)
    losses = [each.heldout_loss for each in train_vectors(*corpus, config, seed=3).epochs]
    assert losses[-1] < losses[0] - 0.1
    impatient = config.model_copy(update={"patience": 2, "min_delta": 100.0, "epochs": 9})
    assert len(train_vectors(*corpus, impatient, seed=3).epochs) == 3


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "stops"),
    [
        ([3.0, 2.0, 2.5], 1, 0, True),
        ([3.0, 2.0, 2.5], 2, 0, False),
        ([3.0, 2.0, 2.5, 1.9], 2, 0, False),
        ([3.0, 2.0, 2.5, 1.95], 2, 0.1, True),
        ([3.0, 2.0, 2.0], 1, 0, True),
        ([3.0, 4.0, 5.0], 0, 0, False),
        ([], 1, 0, False),
    ],
)
def test_patience(losses, patience, min_delta, stops):
    config = SkipgramConfig(heldout_share=0.1, patience=patience, min_delta=min_delta)
    assert stops_early(config, [EpochResult(1.0, 1, 0.1, loss) for loss in losses]) == stops


def test_heldout_sentences_without_pairs_are_refused():
    run = a_run(SkipgramConfig(**SETTINGS | {"heldout_share": 1e-9}))
    with pytest.raises(VocabularyError, match=r"the 0 held-out sentences of 300 .*raise train\.heldout_share"):
        measure_heldout(run)
