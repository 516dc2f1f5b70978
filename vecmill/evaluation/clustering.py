"""Clusters of vectors, and how well they agree with categories that people gave.

A cluster means directions that go together, so rows are divided by their norms first. Agglomerative clustering is
scipy's. Purity and silhouette are told apart by what they need: purity compares with categories, silhouette
looks at the clusters alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vecmill.errors import ConfigError
from vecmill.evaluation.similarity import find_word
from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.word_vectors import WordVectors

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Algorithm = Literal["kmeans", "agglomerative"]

_N_STARTS = 10
_MOST_ITERATIONS = 100
# The distances of agglomerative clustering are held at once: 10,000 words take 400 MB.
_MOST_AGGLOMERATIVE = 10_000


@dataclass(frozen=True)
class ClusterScore:
    """How well clusters agree with categories.

    Attributes
    ----------
    purity : share of words that are in their cluster's commonest category, 0 to 1 (Zhao and Karypis 2001); None without
        covered words. It rises with the number of clusters, so compare models at the same number
    silhouette : mean over words of (b - a) / max(a, b), a the mean cosine distance to their own cluster, b to the
        nearest other, -1 to 1 (Rousseeuw 1987); None with fewer than two clusters, or as many as words
    n_clusters, n_words, n_covered : clusters, words with a category, and those with a vector
    """

    purity: float | None
    silhouette: float | None
    n_clusters: int
    n_words: int
    n_covered: int


def cluster_score(
    vectors: WordVectors, categories: Mapping[str, Hashable], *, algorithm: Algorithm = "kmeans", seed: int = 0
) -> ClusterScore:
    """Cluster the words of ``categories``, into as many clusters as there are categories among the covered words.

    Parameters
    ----------
    categories : the category of each word. Words are looked up as in :mod:`vecmill.evaluation.similarity`; those
        without a vector are left out
    """
    found = {word: find_word(vectors, word) for word in categories}
    covered = [word for word, spelling in found.items() if spelling is not None]
    labels = [categories[word] for word in covered]
    n_clusters = len(set(labels))
    if not covered:
        return ClusterScore(None, None, 0, len(categories), 0)
    rows = vectors.vectors[[vectors.id_of(found[word] or word) for word in covered]].astype(np.float64)
    clusters = cluster_rows(rows, n_clusters, algorithm=algorithm, seed=seed)
    return ClusterScore(
        purity=purity(clusters.tolist(), labels),
        silhouette=silhouette(rows, clusters),
        n_clusters=n_clusters,
        n_words=len(categories),
        n_covered=len(covered),
    )


def cluster_rows(rows: Floats, n_clusters: int, *, algorithm: Algorithm = "kmeans", seed: int = 0) -> Ids:
    """The cluster of each row, int64[n], numbers below ``n_clusters`` (fewer may be used).

    Parameters
    ----------
    rows : float64[n, dim]; only directions count
    algorithm : kmeans: k-means++ starts (Arthur and Vassilvitskii 2007), the best of ten by distortion; agglomerative:
        average linkage of cosine distances, cut at ``n_clusters``
    seed : for k-means, integer >= 0

    Raises
    ------
    ConfigError : fewer than one cluster, more clusters than rows, or too many rows for agglomerative clustering
    """
    if not 1 <= n_clusters <= len(rows):
        raise ConfigError(f"{n_clusters} clusters of {len(rows)} rows", expected="at least 1, at most one a row")
    units = _units(rows)
    if n_clusters == 1:
        return np.zeros(len(rows), np.int64)
    if algorithm == "agglomerative":
        return _agglomerative(units, n_clusters)
    return _kmeans(units, n_clusters, seed)


def purity(clusters: Sequence[Hashable], categories: Sequence[Hashable]) -> float:
    """Share of items in the commonest category of their cluster. Raises ValueError for different or no lengths."""
    if not clusters:
        raise ValueError("no items have no purity")
    counts: dict[Hashable, dict[Hashable, int]] = {}
    for cluster, category in zip(clusters, categories, strict=True):
        inside = counts.setdefault(cluster, {})
        inside[category] = inside.get(category, 0) + 1
    return sum(max(inside.values()) for inside in counts.values()) / len(clusters)


def silhouette(rows: Floats, clusters: Ids) -> float | None:
    """Mean silhouette by cosine distance; a row alone in its cluster counts 0. None where it is undefined.

    The mean cosine of a row to a cluster is its product with the cluster's mean direction, so no pair is looked at.
    """
    names, members, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    if not 2 <= len(names) < len(rows):
        return None
    units = _units(rows)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, members, units)
    total = 0.0
    for block in row_blocks(len(rows), len(names)):
        own = members[block]
        at = np.arange(len(own))
        products = units[block] @ sums.T
        distances = 1.0 - products / sizes
        # a row is no neighbour of itself, and its distance to itself is 0
        has_direction = np.einsum("ij,ij->i", units[block], units[block])
        alone = sizes[own] == 1
        inside = 1.0 - (products[at, own] - has_direction) / np.maximum(sizes[own] - 1, 1)
        distances[at, own] = np.inf
        nearest = distances.min(axis=1)
        greater = np.maximum(inside, nearest)
        values = np.where(alone | (greater <= 0), 0.0, (nearest - inside) / np.where(greater > 0, greater, 1.0))
        total += float(values.sum())
    return total / len(rows)


def _units(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Floats = rows / np.where(norms > 0, norms, 1.0)
    return units


def _kmeans(units: Floats, n_clusters: int, seed: int) -> Ids:
    best, least = np.zeros(len(units), np.int64), np.inf
    for stream in np.random.SeedSequence(seed).spawn(_N_STARTS):
        centers = _first_centers(units, n_clusters, np.random.default_rng(stream))
        clusters = np.full(len(units), -1, np.int64)
        for _ in range(_MOST_ITERATIONS):
            nearest, distances = _nearest(units, centers)
            if np.array_equal(nearest, clusters):
                break
            clusters = nearest
            sums = np.zeros_like(centers)
            np.add.at(sums, clusters, units)
            sizes = np.bincount(clusters, minlength=n_clusters)[:, None]
            centers = np.where(sizes > 0, sums / np.maximum(sizes, 1), centers)  # an empty cluster stays where it is
        distortion = float(distances.sum())
        if distortion < least:
            best, least = clusters, distortion
    return best


def _first_centers(units: Floats, n_clusters: int, rng: np.random.Generator) -> Floats:
    """k-means++: each center is drawn in proportion to the squared distance to those before it."""
    chosen = [int(rng.integers(len(units)))]
    distances = np.full(len(units), np.inf)
    while len(chosen) < n_clusters:
        off = units - units[chosen[-1]]
        distances = np.minimum(distances, np.einsum("ij,ij->i", off, off))
        total = distances.sum()
        chosen.append(int(rng.choice(len(units), p=distances / total if total > 0 else None)))
    centers: Floats = units[chosen]
    return centers


def _nearest(units: Floats, centers: Floats) -> tuple[Ids, Floats]:
    """The nearest center of each row, and the squared distance to it."""
    nearest, least = np.empty(len(units), np.int64), np.empty(len(units))
    squares = np.einsum("ij,ij->i", centers, centers)
    for block in row_blocks(len(units), len(centers)):
        distances = squares - 2.0 * (units[block] @ centers.T)
        nearest[block] = distances.argmin(axis=1)
        least[block] = distances.min(axis=1) + np.einsum("ij,ij->i", units[block], units[block])
    return nearest, least


def _agglomerative(units: Floats, n_clusters: int) -> Ids:
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(units) > _MOST_AGGLOMERATIVE:
        raise ConfigError(
            f"agglomerative clustering of {len(units):,} rows",
            expected=f"at most {_MOST_AGGLOMERATIVE:,}, since all their distances are held at once",
            todo="cluster fewer words, or take kmeans",
        )
    # Squared Euclidean distances of directions are twice their cosine distances; unlike scipy's cosine distance they
    # are defined for rows of zeros.
    merges = linkage(units, method="average", metric="sqeuclidean")
    clusters: Ids = fcluster(merges, n_clusters, criterion="maxclust").astype(np.int64) - 1
    return clusters
