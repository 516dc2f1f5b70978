"""Simulated models on simulated benchmarks: the truth is known, so error rates of a comparison can be counted.

Everything is new in each draw: items, what the models share (they learned from one corpus), what each training adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vecmill.evaluation.items import BenchmarkItems, all_pairs_score


@dataclass(frozen=True)
class SimulatedBenchmarks:
    """How models answer simulated benchmarks.

    An item has a latent similarity g ~ N(0, 1). People rate it g + noise, in tenths. A training answers
    (strength + shift) g + shared noise + own noise, where ``shift`` belongs to the training: a lucky seed is better on
    every item of every benchmark.

    Attributes
    ----------
    n_items : pairs of each benchmark
    strength : how much of g the models see
    shared_sd, own_sd : noise of an item that all trainings have alike, and that each has to itself
    shift_sd : standard deviation of a training's shift
    uncovered_frac : share of pairs without vectors
    """

    n_items: tuple[int, ...] = (353, 300, 250)
    strength: float = 0.5
    shared_sd: float = 0.7
    own_sd: float = 0.3
    shift_sd: float = 0.0
    uncovered_frac: float = 0.15

    def draw(
        self, rng: np.random.Generator, *, n_champion: int = 1, n_challenger: int = 1, gain: float = 0.0
    ) -> tuple[list[dict[str, BenchmarkItems]], list[dict[str, BenchmarkItems]]]:
        """Replicas of a champion and of a challenger whose strength is greater by ``gain``, on new items."""
        n_models = n_champion + n_challenger
        strengths = self.strength + self.shift_sd * rng.normal(size=n_models)
        strengths[n_champion:] += gain
        models: list[dict[str, BenchmarkItems]] = [{} for _ in range(n_models)]
        for number, n in enumerate(self.n_items):
            latent, shared = rng.normal(size=n), self.shared_sd * rng.normal(size=n)
            ratings = np.round(latent + 0.4 * rng.normal(size=n), 1)
            uncovered = rng.random(n) < self.uncovered_frac
            words = tuple(f"a{item}" for item in range(n)), tuple(f"b{item}" for item in range(n))
            for model, strength in zip(models, strengths, strict=True):
                cosines = strength * latent + shared + self.own_sd * rng.normal(size=n)
                cosines[uncovered] = np.nan
                name = f"simulated{number}"
                model[name] = BenchmarkItems(name, name, "simulated", *words, ratings, cosines)
        return models[:n_champion], models[n_champion:]

    def gain_in_score(self, gain: float) -> float:
        """What a gain in strength adds to the correlation on unlimited items, from 400,000 simulated ones."""
        unlimited = SimulatedBenchmarks(
            (400_000,), self.strength, self.shared_sd, self.own_sd, 0.0, self.uncovered_frac
        )
        scores = []
        for each in (0.0, gain):
            # The same stream twice: the same items, so that little noise is left in the difference.
            (model,) = unlimited.draw(np.random.default_rng(0), gain=each)[1]
            scores.append(all_pairs_score(next(iter(model.values()))))
        return scores[1] - scores[0]

    @property
    def seed_sd(self) -> float:
        """Standard deviation of the score on unlimited items that ``shift_sd`` comes to."""
        return abs(self.gain_in_score(self.shift_sd)) if self.shift_sd else 0.0
