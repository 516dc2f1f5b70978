"""Post-processing of word vectors, the slow and obvious way, in float64."""

from __future__ import annotations

import numpy as np


def l2_normalise(rows: np.ndarray) -> np.ndarray:
    out = rows.astype(np.float64)
    for i in range(len(out)):
        norm = np.sqrt(sum(x * x for x in out[i]))
        if norm > 0:
            out[i] /= norm
    return out


def center(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows - rows.mean(axis=0)


def all_but_the_top(rows: np.ndarray, n_components: int) -> np.ndarray:
    out = center(rows)
    _, _, components = np.linalg.svd(out, full_matrices=False)
    left = out.copy()
    for component in components[:n_components]:
        for i in range(len(out)):
            left[i] -= np.dot(out[i], component) * component
    return left


def whiten_zca(rows: np.ndarray, epsilon: float) -> np.ndarray:
    """The inverse of the symmetric square root of the covariance."""
    centered = center(rows)
    covariance = centered.T @ centered / len(rows)
    covariance += epsilon * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, axes = np.linalg.eigh(covariance)
    root = sum(np.sqrt(value) * np.outer(axis, axis) for value, axis in zip(values, axes.T, strict=True))
    return centered @ np.linalg.inv(root)


def power_normalise(rows: np.ndarray, exponent: float) -> np.ndarray:
    return np.array([[np.sign(x) * abs(float(x)) ** exponent for x in row] for row in rows])
