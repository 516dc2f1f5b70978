"""Which words moved further than training again moves them.

The logarithm of a word's cosine distance between two trainings of one recipe is close to normally distributed about a
location that falls with the word's frequency. Location and scale are taken from words of like frequency:

- **replicas**: from distances between two trainings of one recipe. A word that moves more than its like between
  replicas too has that as its location.
- **bulk**, where there are no replicas: from the very distances in question, whose median and 84th percentile the few
  words that moved do not disturb (Efron 2004, "empirical null").

z = (log distance - location) / scale,  p = P(N(0, 1) > z),  and q by Benjamini and Hochberg 1995

With replicas the scale is widened until no more of their own distances lie beyond the 99th and 99.9th percentile of
the normal distribution than should.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Cosine distances below this turn no neighbour list; rounding to half precision gives up to 1e-6.
LEAST_DISTANCE = 1e-4
_FLOOR = 1e-6  # of distances before the logarithm
_LEAST_SCALE = 0.1  # of log distances; that of trainings on the built-in text is 0.33
_WINDOW_WORDS = 400
_ONE_SIGMA = 0.8413447460685429  # P(N(0, 1) < 1)
# Levels at which the replicas' own tail is compared with the normal one's, as (level, normal quantile).
_TAIL = ((0.99, 2.3263478740408408), (0.999, 3.090232306167813))


@dataclass(frozen=True)
class Noise:
    """What training again does to each word; float64[n] each, of log distances."""

    location: Floats
    scale: Floats


def bulk_noise(distances: Floats) -> Noise:
    """Noise as the bulk of the distances shows it; ``distances``: float64[n], by falling frequency."""
    logs = _logs(distances)
    location, scale = _curves(logs)
    return Noise(location, scale)


def replica_noise(replicas: Sequence[Floats]) -> Noise:
    """Noise as distances between replicas show it.

    Parameters
    ----------
    replicas : at least one float64[n], by falling frequency, NaN for words that a replica does not have
    """
    logs = np.array([_logs(each) for each in replicas])
    curves = [_curves(each) for each in logs]
    location = np.mean([each for each, _ in curves], axis=0)
    scale = np.mean([each for _, each in curves], axis=0)
    z = ((logs - location) / scale)[np.isfinite(logs)]
    wider = max(float(np.quantile(z, level)) / normal for level, normal in _TAIL) if len(z) else 1.0
    known = np.isfinite(logs)
    total = np.where(known, logs, 0.0).sum(axis=0)
    own = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), -np.inf)
    return Noise(np.maximum(location, own), scale * max(1.0, wider))


def p_values(distances: Floats, noise: Noise) -> Floats:
    """Probability of a distance as large or larger from training again; 1 for one below :data:`LEAST_DISTANCE`."""
    z = (_logs(distances) - noise.location) / noise.scale
    p = np.array([0.5 * math.erfc(each / math.sqrt(2)) for each in z])
    return np.where(distances < LEAST_DISTANCE, 1.0, p)


def benjamini_hochberg(p: Floats) -> Floats:
    """The smallest false discovery rate at which each hypothesis would be rejected; float64[n], as SciPy has it.

    Source: Benjamini and Hochberg 1995. It holds for independent tests and for positively dependent ones (Benjamini
    and Yekutieli 2001), as words that turn together with their neighbours are.
    """
    n = len(p)
    order = np.argsort(p, kind="stable")
    ratios = p[order] * n / np.arange(1, n + 1)
    found = np.empty(n)
    found[order] = np.minimum.accumulate(ratios[::-1])[::-1]
    return np.minimum(found, 1.0)


def _logs(distances: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(distances, _FLOOR))
    return logs


def _curves(logs: Floats) -> tuple[Floats, Floats]:
    """Median and upper scale of each word's like, from windows that overlap by half, joined by straight lines."""
    known = np.flatnonzero(np.isfinite(logs))
    if not len(known):
        return np.zeros(len(logs)), np.full(len(logs), _LEAST_SCALE)
    middles, locations, scales = [], [], []
    window = min(_WINDOW_WORDS, len(known))
    n_windows = max(1, round(2 * len(known) / window) - 1)
    for start in np.linspace(0, len(known) - window, n_windows).round().astype(np.int64):
        rows = known[start : start + window]
        median, upper = np.quantile(logs[rows], [0.5, _ONE_SIGMA])
        middles.append(rows.mean())
        locations.append(median)
        scales.append(max(upper - median, _LEAST_SCALE))
    at = np.arange(len(logs))
    return np.interp(at, middles, locations), np.interp(at, middles, scales)
