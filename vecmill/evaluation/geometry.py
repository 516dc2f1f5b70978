"""How vectors lie in their space: lengths, shared direction, isotropy, used dimensions and hubs. No ratings are needed.

These numbers say nothing of quality by themselves. They tell models apart that score alike, and show what went wrong
with one that scores badly: all vectors in one cone, a few directions that hold everything, words that are everybody's
neighbour.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.postprocessing import principal_components
from vecmill.vectors.word_vectors import WordVectors

Floats = npt.NDArray[np.float64]

# Radovanović, Nanopoulos and Ivanović 2010 count neighbourhoods of ten.
_N_NEIGHBOURS = 10
_NORM_QUANTILES = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


@dataclass(frozen=True)
class VectorStatistics:
    """Statistics of a model; numbers that are undefined (one word, nothing but zeros) are None.

    Attributes
    ----------
    n_words, dim, n_zero_vectors : the size, and rows without direction
    norm_mean, norm_min, norm_p05, norm_p25, norm_median, norm_p75, norm_p95, norm_max : Euclidean norms
    cosine_mean : of two different words drawn at random, -1 to 1; 0 for directions that share nothing
    isotropy : min Z(c) / max Z(c), 0 to 1, where Z(c) = sum of exp(c · v) and c runs over the eigenvectors of V^T V
        with either sign; 1 if no direction is special (Mu and Viswanath 2018, section 2.2; an eigenvector's sign is
        arbitrary, so both are taken)
    effective_dim : (sum of variances)² / sum of squared variances along the principal components, 1 to dim
    n_components_90 : components that hold 90 % of the variance
    hubness_skewness : skewness of how often a word is among the ten nearest of another (Radovanović et al. 2010); near
        0 without hubs
    hubness_max : how often the greatest hub is; antihub_frac : share of words that never are
    n_hubness_words : words that the last three are about, from the top
    """

    n_words: int
    dim: int
    n_zero_vectors: int
    norm_mean: float
    norm_min: float
    norm_p05: float
    norm_p25: float
    norm_median: float
    norm_p75: float
    norm_p95: float
    norm_max: float
    cosine_mean: float | None
    isotropy: float
    effective_dim: float | None
    n_components_90: int | None
    hubness_skewness: float | None
    hubness_max: int | None
    antihub_frac: float | None
    n_hubness_words: int

    def as_json(self) -> dict[str, Any]:
        """The numbers with six digits, which hide in what order a processor added them up."""
        return {
            name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in asdict(self).items()
        }


def vector_statistics(vectors: WordVectors, *, n_hubness_words: int = 5_000) -> VectorStatistics:
    """Statistics of all vectors; hubness, which compares each word with each, of the first ``n_hubness_words``."""
    norms = vectors.norms
    quantiles = np.quantile(norms, list(_NORM_QUANTILES.values()))
    variances, _ = principal_components(vectors)
    total = float(variances.sum())
    occurrences = k_occurrences(vectors, n_hubness_words, _N_NEIGHBOURS)
    return VectorStatistics(
        n_words=len(vectors),
        dim=vectors.dim,
        n_zero_vectors=int((norms == 0).sum()),
        norm_mean=float(norms.mean()),
        **{f"norm_{name}": float(value) for name, value in zip(_NORM_QUANTILES, quantiles, strict=True)},
        cosine_mean=cosine_mean(vectors),
        isotropy=isotropy(vectors),
        effective_dim=total**2 / float((variances**2).sum()) if total > 0 else None,
        n_components_90=int(np.searchsorted(np.cumsum(variances), 0.9 * total) + 1) if total > 0 else None,
        hubness_skewness=_skewness(occurrences) if len(occurrences) else None,
        hubness_max=int(occurrences.max()) if len(occurrences) else None,
        antihub_frac=float((occurrences == 0).mean()) if len(occurrences) else None,
        n_hubness_words=len(occurrences),
    )


def cosine_mean(vectors: WordVectors) -> float | None:
    """Mean cosine of all pairs of different words that have a direction; None with fewer than two.

    The sum of all products of directions is the square of their sum, so no pair is looked at.
    """
    n, total = int((vectors.norms > 0).sum()), np.zeros(vectors.dim)
    for rows in row_blocks(*vectors.vectors.shape):
        total += _directions(vectors, rows).sum(axis=0)
    return float((total @ total - n) / (n * (n - 1))) if n > 1 else None


def isotropy(vectors: WordVectors) -> float:
    """min Z(c) / max Z(c), see :class:`VectorStatistics`; by logarithms, so that long vectors do not overflow."""
    products = np.zeros((vectors.dim, vectors.dim))
    for rows in row_blocks(*vectors.vectors.shape):
        block = vectors.vectors[rows].astype(np.float64)
        products += block.T @ block
    _, axes = np.linalg.eigh(products)
    axes = np.concatenate([axes, -axes], axis=1)
    log_sums = np.full(2 * vectors.dim, -np.inf)
    for rows in row_blocks(len(vectors), 2 * vectors.dim):
        exponents = vectors.vectors[rows].astype(np.float64) @ axes
        highest = exponents.max(axis=0)
        here = highest + np.log(np.exp(exponents - highest).sum(axis=0))
        log_sums = np.logaddexp(log_sums, here)
    return float(np.exp(log_sums.min() - log_sums.max()))


def k_occurrences(vectors: WordVectors, n_words: int, n_neighbours: int) -> npt.NDArray[np.int64]:
    """How often each of the first words with a direction is among the nearest (by cosine) of another of them.

    Returns
    -------
    int64[n], n at most ``n_words``; empty where there are not more words than neighbours
    """
    n_words = min(n_words, len(vectors))
    directions = _directions(vectors, slice(0, n_words))[vectors.norms[:n_words] > 0]
    n = len(directions)
    if n <= n_neighbours:
        return np.empty(0, np.int64)
    occurrences = np.zeros(n, np.int64)
    for rows in row_blocks(n, 2 * n):
        cosines = directions[rows] @ directions.T
        cosines[np.arange(len(cosines)), np.arange(rows.start, rows.stop)] = -np.inf
        nearest = np.argpartition(cosines, n - n_neighbours, axis=1)[:, n - n_neighbours :]
        occurrences += np.bincount(nearest.ravel(), minlength=n)
    return occurrences


def _directions(vectors: WordVectors, rows: slice) -> Floats:
    """float64: the rows divided by their norms, rows of zeros as they are."""
    norms = vectors.norms[rows]
    directions: Floats = vectors.vectors[rows].astype(np.float64) / np.where(norms > 0, norms, 1.0)[:, None]
    return directions


def _skewness(values: npt.NDArray[np.int64]) -> float | None:
    """Third standardised moment; None where all values are equal."""
    off = values - values.mean()
    variance = float((off**2).mean())
    return float((off**3).mean()) / variance**1.5 if variance > 0 else None
