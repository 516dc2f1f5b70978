"""Statistics of vectors, the slow and obvious way."""

from __future__ import annotations

import math

import numpy as np


def cosine_mean(rows: np.ndarray) -> float:
    rows = rows[np.abs(rows).sum(axis=1) > 0].astype(np.float64)
    pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
    return sum(rows[i] @ rows[j] / (np.linalg.norm(rows[i]) * np.linalg.norm(rows[j])) for i, j in pairs) / len(pairs)


def isotropy(rows: np.ndarray) -> float:
    """Directions by the singular value decomposition of V, which are the eigenvectors of its V^T V."""
    rows = rows.astype(np.float64)
    _, _, axes = np.linalg.svd(rows, full_matrices=True)
    sums = [sum(math.exp(float(row @ axis)) for row in rows) for axis in (*axes, *-axes)]
    return min(sums) / max(sums)


def k_occurrences(rows: np.ndarray, n_neighbours: int) -> list[int]:
    rows = rows.astype(np.float64)
    counts = [0] * len(rows)
    for i, row in enumerate(rows):
        cosines = [
            (row @ other / (np.linalg.norm(row) * np.linalg.norm(other)), j) for j, other in enumerate(rows) if j != i
        ]
        for _, j in sorted(cosines, reverse=True)[:n_neighbours]:
            counts[j] += 1
    return counts
