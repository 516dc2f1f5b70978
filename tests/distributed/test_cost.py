import numpy as np
import pytest

from reference.words_corpora import encoded, planted_synonyms, vocabulary_of
from vecmill.distributed.cost import CostModel, Link
from vecmill.distributed.replicas import round_words
from vecmill.distributed.trainer import train_shared
from vecmill.distributed.transport import OneProcess
from vecmill.words.config import SkipgramConfig
from vecmill.words.touch_rates import touch_rates
from vecmill.words.trainer import prepared_run


def a_model(**changed):
    rates = [np.full(1_000, 1e-3), np.full(1_000, 1e-2)]
    said = {"dim": 100, "sync_words": 1_000, "n_tiers": 1, "precision": "float32", "words_per_second": 1e6}
    return CostModel(rates, **(said | changed))


def test_rows_and_bytes_by_hand():
    model = a_model()
    touched = 1_000 * (1 - np.exp(-1)) + 1_000 * (1 - np.exp(-10))
    by_any = 1_000 * (1 - np.exp(-4)) + 1_000 * (1 - np.exp(-40))
    assert model.rows_per_round(4) == pytest.approx((touched, by_any / 4, by_any))
    assert model.bytes_per_round(4) == pytest.approx((touched * 0.75 * 408, by_any * 0.75 * 404))
    assert model.bytes_per_round(1) == (0, 0)


def test_seconds_of_a_round_by_hand():
    model, link = a_model(row_seconds=1e-6), Link(bytes_per_second=1e8, latency_seconds=1e-3)
    first, second = model.bytes_per_round(4)
    rows = sum(model.rows_per_round(4))
    assert model.round_seconds(4, link) == pytest.approx(1e-3 + rows * 1e-6 + 2e-3 + (first + second) / 1e8)
    assert model.speed(4, link) == pytest.approx(4_000 / model.round_seconds(4, link))
    assert model.speed(1, link) == pytest.approx(1e6)


@pytest.mark.parametrize(("precision", "n_tiers"), [("float32", 1), ("float32", 3), ("bfloat16", 2)])
def test_bytes_are_those_that_travel(precision, n_tiers):
    sentences = planted_synonyms(n_topics=300, n_sentences=30_000)
    vocabulary = vocabulary_of(sentences)
    (token_ids, offsets), counts = encoded(sentences, vocabulary), vocabulary.counts
    distributed = {"workers": 4, "tiers": n_tiers, "precision": precision}
    config = SkipgramConfig(dim=20, epochs=1, threads=1, distributed=distributed)
    run = prepared_run(token_ids, offsets, counts, config, seed=1)
    traffic = train_shared(run, config, counts, OneProcess(4)).traffic
    rates = touch_rates(counts, sample=config.sample, negative_exponent=0.75, negative_samples=5)
    words = round_words(16_384, token_ids.size // 4)
    model = CostModel(rates, 20, words, n_tiers, precision, words_per_second=1e6)
    n_rounds = token_ids.size / 4 / words
    assert sum(model.bytes_per_round(4)) * n_rounds == pytest.approx(traffic.received.mean(), rel=0.05)
