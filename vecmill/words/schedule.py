"""The learning rate as a function of how much of the training is done."""

from __future__ import annotations

import math

from vecmill.words.config import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    NegativeSamplingConfig,
    StepSchedule,
)


def learning_rate_at(config: NegativeSamplingConfig, done_frac: float) -> float:
    """The learning rate a (``learning_rate``), falling to b (``min_learning_rate``) as the schedule says.

    With w = ``warmup_frac`` and t = (done - w) / (1 - w), the share done of what follows the warm-up:

    =========== =========================================================
    done < w    a · done / w
    linear      a + (b - a) · t
    constant    a
    exponential a · (b / a) ** t
    step        max(b, a · factor ** floor(t · n_steps)), the last share to t = 1
    cosine      b + (a - b) · (1 + cos(π t)) / 2
    =========== =========================================================

    Parameters
    ----------
    done_frac : tokens seen over tokens of all epochs, 0–1

    Kernels draw a straight line between the rates at the ends of a chunk, so that a step takes one chunk.
    Source: linear as in gensim (word2vec.c falls to zero and stops at a floor instead); cosine Loshchilov and Hutter
    2017, eq. 5, one period.
    """
    start, end = config.learning_rate, config.min_learning_rate
    schedule = config.schedule
    warmup = schedule.warmup_frac
    if done_frac < warmup:
        return start * done_frac / warmup
    if warmup:
        done_frac = (done_frac - warmup) / (1 - warmup) if warmup < 1 else 0.0
    if isinstance(schedule, ConstantSchedule):
        return start
    if isinstance(schedule, ExponentialSchedule):
        return float(start * (end / start) ** done_frac)
    if isinstance(schedule, StepSchedule):
        # a share worked out from a warm-up may lie a rounding below the border that it stands for
        step = min(int(done_frac * schedule.n_steps + 1e-9), schedule.n_steps - 1)
        return max(end, float(start * schedule.factor**step))
    if isinstance(schedule, CosineSchedule):
        return end + (start - end) * (1 + math.cos(math.pi * done_frac)) / 2
    return start + (end - start) * done_frac
