"""Ranked lists, nearest-neighbour classes and rated pairs: scikit-learn, scipy, textbook examples, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, ndcg_score
from sklearn.neighbors import KNeighborsClassifier

from vecmill.errors import ConfigError, FormatError
from vecmill.evaluation.retrieval import knn_accuracy, rank_by_cosine, retrieval_score, sts_correlation


def test_textbook_lists() -> None:
    """Two queries: relevant at ranks 1, 3, 6 of six (all found), and at rank 2 of five (one of two found)."""
    rankings = [list("abcdef"), list("vwxyz")]
    grades = [{"a": 1, "c": 1, "f": 1}, {"w": 1, "missing": 1}]
    found = retrieval_score(rankings, grades, cutoffs=(1, 3, 10))
    assert found.precision == {1: 0.5, 3: pytest.approx((2 / 3 + 1 / 3) / 2), 10: pytest.approx((0.3 + 0.1) / 2)}
    assert found.recall == {1: pytest.approx(1 / 6), 3: pytest.approx((2 / 3 + 1 / 2) / 2), 10: 0.75}
    assert found.mrr == 0.75
    assert found.mean_average_precision == pytest.approx(((1 + 2 / 3 + 3 / 6) / 3 + (1 / 2) / 2) / 2)
    first = (1 + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2)
    second = (1 / np.log2(3)) / (1 + 1 / np.log2(3))
    assert found.ndcg[3] == pytest.approx((first + second) / 2)
    assert (found.n_queries, found.n_unjudged) == (2, 0)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 15), k=st.integers(1, 20))
def test_against_scikit_learn(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    grades, scores = rng.integers(0, 4, n), rng.permutation(n)
    if not grades.any():
        return
    ranking = np.argsort(-scores).tolist()
    found = retrieval_score([ranking], [dict(enumerate(grades.tolist()))], cutoffs=(k,))
    assert found.ndcg[k] == pytest.approx(ndcg_score([grades], [scores], k=k))
    assert found.mean_average_precision == pytest.approx(average_precision_score(grades > 0, scores))


def test_queries_without_relevant_documents_are_left_out() -> None:
    found = retrieval_score([["a"], ["b"]], [{"a": 2}, {"b": 0}], cutoffs=(1,))
    assert (found.precision[1], found.n_queries, found.n_unjudged) == (1.0, 1, 1)
    nothing = retrieval_score([["a"]], [{}])
    assert nothing.mrr is None and nothing.ndcg == {1: None, 5: None, 10: None} and nothing.n_unjudged == 1
    empty_list = retrieval_score([[]], [{"a": 1}], cutoffs=(3,))
    assert (empty_list.mrr, empty_list.precision[3], empty_list.ndcg[3], empty_list.recall[3]) == (0, 0, 0, 0)


def test_lists_that_are_refused() -> None:
    with pytest.raises(FormatError, match="list of query 1 holds a document twice"):
        retrieval_score([["a"], ["b", "b"]], [{}, {}])
    with pytest.raises(FormatError, match="1 ranked lists and judgements of 2 queries"):
        retrieval_score([["a"]], [{}, {}])
    for grade in (-1.0, float("nan"), float("inf")):
        with pytest.raises(FormatError, match="query 0 has a grade"):
            retrieval_score([["a"]], [{"a": grade}])
    with pytest.raises(ConfigError, match="cut-offs"):
        retrieval_score([["a"]], [{"a": 1}], cutoffs=(0,))


def test_ranking_by_cosine() -> None:
    rng = np.random.default_rng(0)
    documents, queries = (rng.normal(size=(n, 5)).astype(np.float32) for n in (40, 6))
    cosines = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        documents / np.linalg.norm(documents, axis=1, keepdims=True)
    ).T
    assert rank_by_cosine(queries, documents, 40) == np.argsort(-cosines, axis=1).tolist()


def test_nearest_neighbours_against_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 160)
    rows = (np.eye(6)[labels] + rng.normal(size=(160, 6)) * 0.6).astype(np.float32)
    for n in (1, 3):
        theirs = KNeighborsClassifier(n, metric="cosine").fit(rows[:100], labels[:100])
        ours = knn_accuracy(rows[:100], labels[:100].tolist(), rows[100:], labels[100:].tolist(), n=n)
        # scikit-learn gives ties to the smaller label, here they go to the nearer row
        assert ours == pytest.approx(theirs.score(rows[100:], labels[100:]), abs=0 if n == 1 else 0.06)
        assert 0.4 < ours < 1


def test_ties_go_to_the_nearer_row() -> None:
    train = np.array([[1, 0], [1, 1]], np.float32)
    assert knn_accuracy(train, ["near", "far"], np.array([[1, 0.1]], np.float32), ["near"], n=2) == 1.0
    assert knn_accuracy(train, ["near", "far"], np.zeros((1, 2), np.float32), ["near"]) == 0.0
    with pytest.raises(FormatError, match="2 rows with 1 labels to learn from"):
        knn_accuracy(train, ["a"], train, ["a", "b"])


def test_rated_pairs_against_scipy() -> None:
    rng = np.random.default_rng(2)
    left = rng.normal(size=(50, 8)).astype(np.float32)
    right = (left + rng.normal(size=(50, 8)) * rng.uniform(0, 3, size=(50, 1))).astype(np.float32)
    ratings = rng.integers(0, 6, 50).tolist()
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(left, right, strict=True)]
    found = sts_correlation(left, right, ratings)
    assert found[0] == pytest.approx(stats.spearmanr(cosines, ratings).statistic, abs=1e-6)
    assert found[1] == pytest.approx(stats.pearsonr(cosines, ratings).statistic, abs=1e-6)
    assert sts_correlation(left, right, [1.0] * 50) == (None, None)
    assert sts_correlation(left[:0], right[:0], []) == (None, None)
    for bad in ([1.0], [float("nan")] * 50):
        with pytest.raises(FormatError, match="a finite rating a row"):
            sts_correlation(left, right, bad)
