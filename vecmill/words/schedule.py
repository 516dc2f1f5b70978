"""The learning rate as a function of how much of the training is done."""

from __future__ import annotations

from vecmill.words.config import NegativeSamplingConfig


def learning_rate_at(config: NegativeSamplingConfig, done_frac: float) -> float:
    """Straight line from ``learning_rate`` at 0 to ``min_learning_rate`` at 1.

    Parameters
    ----------
    done_frac : tokens seen over tokens of all epochs, 0–1

    Source: gensim; word2vec.c falls to zero and stops at a floor instead.
    """
    return config.learning_rate + (config.min_learning_rate - config.learning_rate) * done_frac
