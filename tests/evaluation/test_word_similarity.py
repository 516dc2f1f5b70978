"""Scores of a model on a benchmark: policies for case, unseen words and degenerate input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vecmill.evaluation.benchmarks import Benchmark, load_benchmark
from vecmill.evaluation.similarity import common_similarity, find_word, word_similarity
from vecmill.vectors.word_vectors import WordVectors


def benchmark_of(*rows: tuple[str, str, float]) -> Benchmark:
    words1, words2, scores = zip(*rows, strict=True)
    return Benchmark("own", "Own", words1, words2, scores, "ab" * 32, (0.0, 10.0))


def model_of(words: list[str], seed: int = 0, dim: int = 8) -> WordVectors:
    rows = np.random.default_rng(seed).normal(size=(len(words), dim)).astype(np.float32)
    return WordVectors(words, rows)


LETTERS = list("abcdefghij")
RATED = benchmark_of(*[(LETTERS[i], LETTERS[(3 * i + 1) % 10], float((7 * i) % 11)) for i in range(10)])


def test_covered_pairs_by_hand() -> None:
    model = model_of(LETTERS)
    score = word_similarity(model, RATED, n_resamples=200)
    cosines = [model.similarity(*pair) for pair in zip(RATED.words1, RATED.words2, strict=True)]
    assert score.spearman == pytest.approx(stats.spearmanr(cosines, RATED.scores).statistic, abs=1e-12)
    assert score.pearson == pytest.approx(stats.pearsonr(cosines, RATED.scores).statistic, abs=1e-12)
    assert score.spearman_all_pairs == score.spearman
    assert (score.n_pairs, score.n_covered, score.coverage, score.n_missing_words, score.reason) == (10, 10, 1.0, 0, "")
    assert score.lower is not None and score.upper is not None and score.spearman is not None
    assert -1 <= score.lower < score.spearman < score.upper <= 1


def test_uncovered_pairs_stand_in_the_middle_of_the_ranks() -> None:
    model = model_of(LETTERS[:8])
    score = word_similarity(model, RATED, n_resamples=200)
    pairs = list(zip(RATED.words1, RATED.words2, strict=True))
    covered = [i for i, (a, b) in enumerate(pairs) if a in model and b in model]
    assert 3 <= len(covered) < 10
    cosines = {i: model.similarity(*pairs[i]) for i in covered}
    middle = np.median(list(cosines.values()))
    everywhere = [cosines.get(i, middle) for i in range(10)]
    ratings = np.array(RATED.scores)
    assert score.spearman == pytest.approx(
        stats.spearmanr([cosines[i] for i in covered], ratings[covered]).statistic, abs=1e-12
    )
    assert score.spearman_all_pairs == pytest.approx(stats.spearmanr(everywhere, ratings).statistic, abs=1e-12)
    assert (score.n_covered, score.coverage) == (len(covered), len(covered) / 10)
    assert (score.n_missing_words, score.missing_words) == (2, ("i", "j"))
    assert score.lower_all_pairs is not None and score.upper_all_pairs is not None


def perfect_pairs(n: int) -> tuple[Benchmark, WordVectors]:
    """A model that ranks n pairs exactly as the raters did."""
    angles = np.linspace(0.1, 1.5, n)
    words = ["origin", *[f"w{i}" for i in range(n)]]
    rows = np.stack([np.cos([0, *angles]), np.sin([0, *angles])], axis=1)
    return benchmark_of(*[("origin", f"w{i}", float(n - i)) for i in range(n)]), WordVectors(words, rows)


@settings(deadline=None)
@given(kept=st.sets(st.integers(0, 29), min_size=3, max_size=29))
def test_losing_vocabulary_costs_a_good_model(kept: set[int]) -> None:
    benchmark, model = perfect_pairs(30)
    rows = [0, *[1 + i for i in sorted(kept)]]
    smaller = WordVectors([model.words[row] for row in rows], model.vectors[rows])
    whole, part = (word_similarity(each, benchmark, n_resamples=100) for each in (model, smaller))
    assert whole.spearman_all_pairs == part.spearman == 1.0
    assert part.spearman_all_pairs is not None and part.spearman_all_pairs < 1.0


def test_exact_spelling_comes_before_lower_case() -> None:
    model = model_of(["turkey", "Turkey", "brazil", "FBI"])
    assert find_word(model, "Turkey") == "Turkey"
    assert find_word(model, "TURKEY") == "turkey"
    assert find_word(model, "Brazil") == "brazil"
    assert find_word(model, "fbi") is None
    rated = benchmark_of(("Turkey", "Brazil", 1), ("TURKEY", "FBI", 2), ("turkey", "brazil", 3), ("fbi", "FBI", 4))
    score = word_similarity(model, rated, n_resamples=100)
    assert (score.n_covered, score.n_lowercased, score.missing_words) == (3, 2, ("fbi",))


def test_pairs_of_a_word_with_itself_are_tied() -> None:
    words = [f"w{i}" for i in range(100)]
    model = model_of(words, dim=37)
    rated = benchmark_of(*[(word, word, float(i % 11)) for i, word in enumerate(words)])
    score = word_similarity(model, rated, n_resamples=100)
    assert score.spearman is None and score.reason == "the similarities of all 100 covered pairs are equal"


def test_pairs_of_a_word_with_itself_count_in_one_score_only() -> None:
    own = [("e", "e", 9.0), ("f", "f", 8.0), ("g", "g", 10.0)]
    mixed = benchmark_of(*zip(RATED.words1, RATED.words2, RATED.scores, strict=True), *own)
    model = model_of(LETTERS[:8])
    without, with_own = (word_similarity(model, each, n_resamples=200) for each in (RATED, mixed))
    assert with_own.spearman_all_pairs == without.spearman_all_pairs
    assert with_own.spearman != without.spearman
    assert (with_own.n_self_pairs, with_own.n_pairs, with_own.n_covered) == (3, 13, without.n_covered + 3)


def test_random_vectors_score_nothing_on_all_pairs() -> None:
    """241 pairs of SCWS are won by any vectors, which only the score as published rewards."""
    scws = load_benchmark("scws")
    score = word_similarity(model_of(sorted({*scws.words1, *scws.words2}), dim=50), scws, n_resamples=100)
    assert score.n_self_pairs == 241 and score.coverage == 1.0
    assert score.spearman is not None and score.spearman > 0.17
    # four standard errors of a correlation of 1,762 unrelated pairs
    assert score.spearman_all_pairs is not None and abs(score.spearman_all_pairs) < 4 / np.sqrt(1762)


def test_nothing_but_self_pairs_and_two_others() -> None:
    rated = benchmark_of(("a", "a", 9), ("b", "b", 8), ("c", "d", 1), ("d", "e", 2))
    score = word_similarity(model_of(LETTERS), rated, n_resamples=100)
    assert score.spearman is not None and score.spearman_all_pairs is None and score.lower_all_pairs is None
    assert score.reason == (
        "without pairs of a word with itself, 2 pairs have vectors for both words; a correlation needs 3"
    )


@pytest.mark.parametrize(
    ("words", "rated", "reason"),
    [
        (["zzz"], RATED, "0 pairs have vectors for both words; a correlation needs 3"),
        (["a", "b"], RATED, "1 pairs have vectors"),
        (LETTERS, benchmark_of(("a", "b", 1.0)), "1 pairs have vectors"),
        (
            LETTERS,
            benchmark_of(("a", "b", 5), ("a", "c", 5), ("a", "d", 5)),
            "the ratings of all 3 covered pairs are equal",
        ),
        (
            LETTERS,
            benchmark_of(("a", "b", 1), ("b", "a", 2), ("a", "b", 3)),
            "the similarities of all 3 covered pairs are",
        ),
    ],
)
def test_no_score_has_a_reason(words: list[str], rated: Benchmark, reason: str) -> None:
    score = word_similarity(model_of(words), rated, n_resamples=100)
    assert score.reason.startswith(reason)
    plain = json.loads(json.dumps(score.as_json(), allow_nan=False))
    for name in ("spearman", "lower", "upper", "pearson", "spearman_all_pairs", "lower_all_pairs", "upper_all_pairs"):
        assert plain[name] is None
    assert plain["coverage"] == score.n_covered / score.n_pairs


def test_vectors_of_zeros_are_not_nan() -> None:
    rows = model_of(LETTERS).vectors.copy()
    rows[[0, 4]] = 0
    score = word_similarity(WordVectors(LETTERS, rows), RATED, n_resamples=100)
    json.dumps(score.as_json(), allow_nan=False)
    assert score.spearman is not None


def test_three_pairs_have_an_interval_without_nan() -> None:
    rated = benchmark_of(("a", "b", 1), ("c", "d", 2), ("e", "f", 3))
    score = word_similarity(model_of(LETTERS), rated, n_resamples=100)
    json.dumps(score.as_json(), allow_nan=False)
    assert score.lower is not None and score.upper is not None and -1 <= score.lower <= score.upper <= 1


def test_seed_and_content_decide_the_interval() -> None:
    men = load_benchmark("men")
    model = model_of(sorted({*men.words1, *men.words2}))
    first, again, other = (word_similarity(model, men, n_resamples=100, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert (first.lower, first.upper) != (other.lower, other.upper) and first.spearman == other.spearman


def test_wider_confidence_is_a_wider_interval() -> None:
    model = model_of(LETTERS)
    narrow, wide = (word_similarity(model, RATED, confidence=c, n_resamples=500) for c in (0.5, 0.95))
    assert None not in (narrow.lower, wide.lower, narrow.upper, wide.upper)
    assert wide.lower < narrow.lower < narrow.upper < wide.upper  # type: ignore[operator]


def test_models_on_the_pairs_that_all_of_them_cover() -> None:
    benchmark = load_benchmark("wordsim353")
    words = sorted({word.lower() for word in (*benchmark.words1, *benchmark.words2)})
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(len(words), 8))
    models = {
        "whole": WordVectors(words, rows),
        "half": WordVectors(words[::2], rng.normal(size=rows[::2].shape)),
        "other": WordVectors(words[50:], rows[50:] * 2),
    }
    found = common_similarity(models, benchmark, n_resamples=100)
    known = set(words[::2]) & set(words[50:])
    n_common = sum(
        a.lower() in known and b.lower() in known for a, b in zip(benchmark.words1, benchmark.words2, strict=True)
    )
    assert {score.n_pairs for score in found.values()} == {n_common} and 0 < n_common < 353
    assert all(score.coverage == 1.0 for score in found.values())
    # the same vectors on the same pairs, resampled alike
    assert (found["whole"].spearman, found["whole"].lower) == (found["other"].spearman, found["other"].lower)
    nothing = common_similarity({"a": models["whole"], "b": WordVectors(["qq"], np.ones((1, 8)))}, benchmark)
    assert nothing["a"].spearman is None and nothing["a"].n_pairs == 0 and "0 pairs" in nothing["a"].reason
