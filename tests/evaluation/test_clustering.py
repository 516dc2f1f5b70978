"""Clustering: scikit-learn's scores on the same clusters, planted clusters found, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from vecmill.errors import ConfigError
from vecmill.evaluation import clustering
from vecmill.evaluation.clustering import cluster_rows, cluster_score, purity, silhouette
from vecmill.vectors import neighbours
from vecmill.vectors.word_vectors import WordVectors

ALGORITHMS = pytest.mark.parametrize("algorithm", ["kmeans", "agglomerative"])


def planted(n_clusters: int = 4, n_each: int = 15, spread: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around random directions, of any length, and which direction each belongs to."""
    rng = np.random.default_rng(seed)
    centers = np.linalg.qr(rng.normal(size=(8, 8)))[0][:n_clusters]
    labels = np.repeat(np.arange(n_clusters), n_each)
    rows = centers[labels] + rng.normal(size=(len(labels), 8)) * spread
    return rows * rng.uniform(0.2, 5, size=(len(labels), 1)), labels


@ALGORITHMS
def test_planted_clusters_are_found(algorithm: str) -> None:
    rows, labels = planted(spread=0.1)
    clusters = cluster_rows(rows, 4, algorithm=algorithm, seed=3)  # type: ignore[arg-type]
    assert adjusted_rand_score(labels, clusters) == 1.0
    assert purity(clusters.tolist(), labels.tolist()) == 1.0


def test_kmeans_is_as_good_as_scikit_learns() -> None:
    rows, _ = planted(spread=0.5, n_each=40)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    clusters = cluster_rows(rows, 6)
    distortion = sum(((units[clusters == k] - units[clusters == k].mean(axis=0)) ** 2).sum() for k in range(6))
    theirs = KMeans(6, n_init=10, random_state=0).fit(units)
    assert distortion <= theirs.inertia_ * 1.02
    np.testing.assert_array_equal(cluster_rows(rows, 6, seed=5), cluster_rows(rows, 6, seed=5))


def test_agglomerative_against_scikit_learn() -> None:
    rows, _ = planted(spread=0.5)
    theirs = AgglomerativeClustering(5, metric="cosine", linkage="average").fit_predict(rows)
    assert adjusted_rand_score(theirs, cluster_rows(rows, 5, algorithm="agglomerative")) == 1.0


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 25), n_clusters=st.integers(2, 6), blocks=st.booleans())
def test_silhouette_against_scikit_learn(seed: int, n: int, n_clusters: int, blocks: bool) -> None:
    rng = np.random.default_rng(seed)
    rows, clusters = rng.normal(size=(n, 4)), rng.integers(0, n_clusters, n)
    with pytest.MonkeyPatch.context() as patch:
        if blocks:
            patch.setattr(neighbours, "BLOCK_FLOATS", 7)
        ours = silhouette(rows, clusters)
    if 2 <= len(set(clusters.tolist())) < n:
        assert ours == pytest.approx(silhouette_score(rows, clusters, metric="cosine"), abs=1e-9)
    else:
        assert ours is None


def test_purity_by_hand() -> None:
    assert purity([0, 0, 0, 1, 1], ["a", "a", "b", "b", "c"]) == 3 / 5
    with pytest.raises(ValueError, match="no items"):
        purity([], [])


@ALGORITHMS
def test_categories_of_words(algorithm: str) -> None:
    rows, labels = planted(spread=0.1)
    words = [f"w{i}" for i in range(len(rows))]
    vectors = WordVectors([*words[:-2], "W58"], rows[:-1])
    categories = dict(zip(words, labels.tolist(), strict=True)) | {"unseen": 9}
    found = cluster_score(vectors, categories, algorithm=algorithm)  # type: ignore[arg-type]
    assert (found.n_words, found.n_covered, found.n_clusters, found.purity) == (61, 58, 4, 1.0)
    assert found.silhouette is not None and found.silhouette > 0.7
    nothing = cluster_score(vectors, {"unseen": 1})
    assert (nothing.purity, nothing.silhouette, nothing.n_covered) == (None, None, 0)
    alone = cluster_score(vectors, {"w1": "a", "w2": "a"})
    assert (alone.purity, alone.silhouette, alone.n_clusters) == (1.0, None, 1)


@ALGORITHMS
def test_equal_rows_and_rows_of_zeros(algorithm: str) -> None:
    rows = np.array([[0.0, 0], [0, 0], [1, 0], [2, 0], [0, 1]])
    clusters = cluster_rows(rows, 3, algorithm=algorithm)  # type: ignore[arg-type]
    assert clusters[2] == clusters[3] != clusters[4]
    assert len(cluster_rows(rows, 1, algorithm=algorithm)) == 5  # type: ignore[arg-type]
    assert np.isfinite(silhouette(rows, np.array([0, 0, 1, 1, 2])) or 0.0)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    for n_clusters in (0, 4):
        with pytest.raises(ConfigError, match=rf"{n_clusters} clusters of 3 rows"):
            cluster_rows(np.eye(3), n_clusters)
    monkeypatch.setattr(clustering, "_MOST_AGGLOMERATIVE", 2)
    with pytest.raises(ConfigError, match=r"of 3 rows.*at most 2.*take kmeans"):
        cluster_rows(np.eye(3), 2, algorithm="agglomerative")
