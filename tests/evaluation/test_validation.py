"""Held-out validation: pairs, threshold, AUC against scikit-learn and plain counting, and what is refused."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from vecmill.errors import FormatError, VocabularyError
from vecmill.evaluation.config import ValidationConfig
from vecmill.evaluation.context_pairs import ContextPairs, draw_context_pairs
from vecmill.evaluation.quality_score import QualityScore, quality_score
from vecmill.evaluation.validation import area_under_curve, best_threshold, validate_pairs
from vecmill.text.rules import TokenRules
from vecmill.vectors.word_vectors import WordVectors
from vecmill.vocabulary.phrases import Phrases
from vecmill.vocabulary.schema import PHRASES_SCHEMA

WORDS = ["the", "cat", "sat", "on", "mat", "dog", "ran"]
RULES = TokenRules()
CONFIG = ValidationConfig(n_pairs=5_000, window=2)
scores = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12).map(np.array)


def pairs_of(texts: list[str], *, window: int = 2, n_pairs: int = 10_000, seed: int = 0) -> ContextPairs:
    return draw_context_pairs([pa.array(texts)], WORDS, RULES, window=window, n_pairs=n_pairs, seed=seed)


def unordered(pairs: ContextPairs) -> list[tuple[int, int]]:
    both = np.sort(np.stack([pairs.centers, pairs.contexts], axis=1), axis=1)
    return sorted(map(tuple, both.tolist()))


def test_pairs_stand_in_one_sentence_and_unknown_words_keep_their_places() -> None:
    pairs = pairs_of(["The cat, xyz sat. On the mat"])
    # the-cat, the-xyz, cat-xyz, cat-sat, xyz-sat; on-the, on-mat, the-mat
    assert unordered(pairs) == sorted([(0, 1), (-1, 0), (-1, 1), (1, 2), (-1, 2), (0, 3), (3, 4), (0, 4)])
    assert pairs.n_pairs_in_text == 8 and pairs.n_tokens == 7 and pairs.n_known == 6 and pairs.n_documents == 1
    assert pairs.counts.tolist() == [2, 1, 1, 1, 1, 0, 0]
    assert sorted(set(pairs.sentences[pairs.covered].tolist())) == [1, 2]


def phrases_of(*parts: tuple[int, str, str]) -> Phrases:
    rows = [{"round": n, "first": first, "second": second, "count": 9, "score": 20.0} for n, first, second in parts]
    return Phrases(pl.DataFrame(pa.Table.from_pylist(rows, PHRASES_SCHEMA)))


def test_a_phrase_is_one_word_of_held_out_text_too() -> None:
    phrases = phrases_of((1, "new", "york"), (1, "rare", "bird"), (2, "new_york", "city"))
    words = ["the", "mat", "new_york", "new_york_city", "york"]
    texts = [pa.array(["The New York mat", "new york city, the york. New. York the"])]
    pairs = draw_context_pairs(texts, words, RULES, window=1, n_pairs=99, seed=0, phrases=phrases)
    # the-new_york, new_york-mat; new_york_city-the, the-york; york-the. "new" is part of a phrase and no word.
    assert unordered(pairs) == sorted([(0, 2), (1, 2), (0, 3), (0, 4), (0, 4)])
    assert (pairs.n_tokens, pairs.n_known, pairs.counts.tolist()) == (9, 8, [3, 1, 1, 1, 2])
    apart = draw_context_pairs(texts, words, RULES, window=1, n_pairs=99, seed=0)
    assert apart.n_tokens == 12 and apart.counts.tolist() == [3, 1, 0, 0, 4]


def test_no_pair_crosses_documents_or_joins_a_word_with_itself() -> None:
    assert unordered(pairs_of(["cat", "dog", "", "ran ran ran"])) == []
    assert unordered(pairs_of(["cat dog", "mat on"])) == [(1, 5), (3, 4)]


def test_a_sample_is_even_over_the_text() -> None:
    """Each of 400 pairs is drawn with probability 1/4, wherever it stands; chi-square over tenths of the text."""
    words = [f"w{number}" for number in range(401)]
    columns = [pa.array([" ".join(words)])]
    found = np.zeros(400)
    for seed in range(60):
        pairs = draw_context_pairs(columns, words, RULES, window=1, n_pairs=100, seed=seed)
        assert len(pairs.centers) == 100 and len(set(unordered(pairs))) == 100
        found[np.minimum(pairs.centers, pairs.contexts)] += 1
    tenths = found.reshape(10, 40).sum(axis=1)
    assert found.sum() == 6000 and ((tenths - 600) ** 2 / 600).sum() < 30


def test_both_directions_are_drawn() -> None:
    pairs = pairs_of(["cat dog"] * 400)
    assert 120 < (pairs.centers == 1).sum() < 280


@given(scores, scores)
def test_auc_is_the_share_of_ordered_pairs(right: np.ndarray, wrong: np.ndarray) -> None:
    plain = np.mean([(a > b) + (a == b) / 2 for a, b in itertools.product(right, wrong)])
    labels = [1] * len(right) + [0] * len(wrong)
    assert area_under_curve(right, wrong) == pytest.approx(plain)
    assert area_under_curve(right, wrong) == pytest.approx(roc_auc_score(labels, np.concatenate([right, wrong])))


@given(scores, scores)
def test_no_threshold_is_better(right: np.ndarray, wrong: np.ndarray) -> None:
    def n_right(threshold: float) -> int:
        return int((right >= threshold).sum() + (wrong < threshold).sum())

    everything = [*np.concatenate([right, wrong]), np.inf]
    assert n_right(best_threshold(right, wrong)) == max(map(n_right, everything))


@pytest.fixture(scope="module")
def topics() -> tuple[WordVectors, ContextPairs]:
    """Sentences about one of two topics, and vectors that know which word belongs to which."""
    rng = np.random.default_rng(3)
    words = [f"a{n}" for n in range(20)] + [f"b{n}" for n in range(20)]
    texts = [" ".join(rng.choice(words[:20] if n % 2 else words[20:], 8)) + "." for n in range(800)]
    rows = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0) + rng.normal(0, 0.3, (40, 2)).astype(np.float32)
    pairs = draw_context_pairs([pa.array(texts)], words, RULES, window=2, n_pairs=5_000, seed=1)
    return WordVectors(words, rows), pairs


def test_vectors_that_know_the_topics_beat_chance(topics: tuple[WordVectors, ContextPairs]) -> None:
    vectors, pairs = topics
    score = validate_pairs(vectors, pairs, CONFIG, seed=1)
    # A sampled neighbour is of the same topic half of the time, so no vectors can get far above 3/4.
    assert 0.7 < score.accuracy < 0.8 and 0.65 < score.auc < 0.8 and score.recall > 0.9
    assert score.auc_by_frequency == pytest.approx(0.5, abs=0.03)
    assert score.mean_true > score.mean_sampled + 0.2
    assert score.auc_all_pairs == score.auc and score.pair_coverage == 1.0
    assert score.quality == pytest.approx(2 * score.auc - 1)
    assert score.n_tuned + score.n_scored == score.n_pairs == 5_000


def test_random_vectors_are_at_chance(topics: tuple[WordVectors, ContextPairs]) -> None:
    vectors, pairs = topics
    rows = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    score = validate_pairs(WordVectors(vectors.words, rows), pairs, CONFIG)
    assert abs(score.auc - 0.5) < 0.04 and abs(score.accuracy - 0.5) < 0.04 and score.quality < 0.08


def test_figures_equal_scikit_learn_s(
    topics: tuple[WordVectors, ContextPairs], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, pairs = topics
    seen = []

    def watched(right: np.ndarray, wrong: np.ndarray) -> float:
        seen.append((right, wrong))
        return area_under_curve(right, wrong)

    monkeypatch.setattr("vecmill.evaluation.validation.area_under_curve", watched)
    score = validate_pairs(vectors, pairs, CONFIG, seed=5)
    right, wrong = seen[0]
    labels = [True] * len(right) + [False] * len(wrong)
    predicted = np.concatenate([right, wrong]) >= score.threshold
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, average="binary")
    assert (score.precision, score.recall, score.f1) == pytest.approx((precision, recall, f1))
    assert score.accuracy == pytest.approx(np.mean(predicted == labels))


def test_counts_tell_pairs_apart_unless_sampled_ones_are_as_common() -> None:
    words = [f"w{n}" for n in range(300)]
    chances = 1 / np.arange(1, 301)
    drawn = np.random.default_rng(2).choice(words, size=(500, 20), p=chances / chances.sum())
    texts = pa.array([" ".join(row) for row in drawn.tolist()])
    pairs = draw_context_pairs([texts], words, RULES, window=3, n_pairs=10_000, seed=0)
    vectors = WordVectors(words, np.random.default_rng(1).normal(size=(300, 5)).astype(np.float32))
    flatter = validate_pairs(vectors, pairs, CONFIG).auc_by_frequency
    assert flatter > 0.55
    assert abs(validate_pairs(vectors, pairs, replace_config(negative_exponent=1.0)).auc_by_frequency - 0.5) < 0.03


def test_the_threshold_is_judged_on_other_sentences(topics: tuple[WordVectors, ContextPairs]) -> None:
    """With vectors that know nothing, a threshold fitted to the scored pairs would get more than half of them right."""
    vectors, pairs = topics
    few = replace(pairs, **{name: getattr(pairs, name)[:60] for name in ("centers", "contexts", "sentences")})
    accuracies = []
    for seed in range(60):
        rows = np.random.default_rng(seed).normal(size=(40, 30)).astype(np.float32)
        accuracies.append(validate_pairs(WordVectors(vectors.words, rows), few, CONFIG, seed=seed).accuracy)
    assert abs(np.mean(accuracies) - 0.5) < 0.03


def test_lost_words_cost(topics: tuple[WordVectors, ContextPairs]) -> None:
    vectors, pairs = topics
    whole = validate_pairs(vectors, pairs, CONFIG)
    for n_lost in (3, 8, 15):
        lost = (pairs.centers >= 40 - n_lost) | (pairs.contexts >= 40 - n_lost)
        fewer = replace(
            pairs,
            centers=np.where(pairs.centers >= 40 - n_lost, -1, pairs.centers),
            contexts=np.where(pairs.contexts >= 40 - n_lost, -1, pairs.contexts),
        )
        score = validate_pairs(vectors, fewer, CONFIG)
        assert score.pair_coverage == pytest.approx(1 - lost.mean())
        assert score.quality < whole.quality


def test_dot_needs_context_vectors(topics: tuple[WordVectors, ContextPairs]) -> None:
    vectors, pairs = topics
    config = replace_config(score="dot")
    swapped = np.roll(vectors.vectors, 20, axis=0)  # each topic's context vectors are the other topic's
    assert validate_pairs(vectors, pairs, config, context_vectors=vectors.vectors).auc > 0.65
    assert validate_pairs(vectors, pairs, config, context_vectors=swapped).auc < 0.4
    for context_vectors, said in ((None, "there are none"), (swapped[:3], r"the shape \(3, 2\)")):
        with pytest.raises(FormatError, match=said) as refused:
            validate_pairs(vectors, pairs, config, context_vectors=context_vectors)
        assert "take the score cosine" in str(refused.value)


def test_too_little_text_is_refused() -> None:
    vectors = WordVectors(WORDS, np.eye(7, dtype=np.float32))
    with pytest.raises(
        VocabularyError, match=r"1 documents and 3 words has 3 pairs .* knows 3 of the words"
    ) as refused:
        validate_pairs(vectors, pairs_of(["the cat sat"]), CONFIG)
    assert "at least 10 pairs" in str(refused.value)
    with pytest.raises(VocabularyError, match="0 words has 0 pairs"):
        validate_pairs(vectors, pairs_of(["", "?!"]), CONFIG)


def test_two_words_that_make_up_the_text(topics: tuple[WordVectors, ContextPairs]) -> None:
    pairs = pairs_of(["cat dog"] * 5_000 + ["mat ran"])
    score = validate_pairs(WordVectors(WORDS, np.eye(7, dtype=np.float32)), pairs, CONFIG)
    assert score.auc == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_score(topics: tuple[WordVectors, ContextPairs]) -> None:
    vectors, pairs = topics
    assert validate_pairs(vectors, pairs, CONFIG, seed=4) == validate_pairs(vectors, pairs, CONFIG, seed=4)
    assert validate_pairs(vectors, pairs, CONFIG, seed=4) != validate_pairs(vectors, pairs, CONFIG, seed=5)


def test_quality_is_the_mean_of_what_was_measured() -> None:
    assert quality_score([0.6, None, -0.3], [0.2], 0.8) == QualityScore(pytest.approx(0.2), 0.2, pytest.approx(0.6))
    assert quality_score([0.6, None, -0.3], [0.2], 0.8).quality == pytest.approx(1 / 3)
    assert quality_score([0.5]).quality == 0.5 and quality_score().quality is None
    assert quality_score(auc_all_pairs=0.3).quality == 0.0
    assert quality_score([1.0], [1.0], 1.0).quality == 1.0


def replace_config(**changes: object) -> ValidationConfig:
    return CONFIG.model_copy(update=changes)
