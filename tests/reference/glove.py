"""Plain, slow GloVe: co-occurrence as fractions, and the authors' AdaGrad in the form in which they wrote it."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import pairwise

import numpy as np


def cooccurrence(token_ids, sentence_offsets, *, window, symmetric):
    """X as {(i, j): exact sum of 1/d}, j within the window of i."""
    counts: defaultdict[tuple[int, int], Fraction] = defaultdict(Fraction)
    for start, end in pairwise(sentence_offsets):
        for position in range(int(start), int(end)):
            for other in range(int(start), int(end)):
                distance = position - other
                if distance != 0 and abs(distance) <= window and (symmetric or distance > 0):
                    counts[int(token_ids[position]), int(token_ids[other])] += Fraction(1, abs(distance))
    return dict(counts)


def weight(x, x_max, alpha):
    return 1.0 if x >= x_max else (x / x_max) ** alpha


def objective(entries, center, context, center_bias, context_bias, *, x_max, alpha):
    """J, with the factor 1/2, over (i, j, X[i, j])."""
    return sum(
        0.5 * weight(x, x_max, alpha) * (center[i] @ context[j] + center_bias[i] + context_bias[j] - np.log(x)) ** 2
        for i, j, x in entries
    )


class Adagrad:
    """One array of parameters; gradients are multiplied by the rate before they are squared, sums begin at 1."""

    def __init__(self, values, learning_rate):
        self.values, self.rate, self.squares = values, learning_rate, np.ones_like(values)

    def step(self, row, gradient):
        scaled = self.rate * gradient
        self.values[row] -= scaled / np.sqrt(self.squares[row])
        self.squares[row] += scaled**2


def train(entries, center, context, center_bias, context_bias, *, learning_rate, x_max, alpha):
    """One pass over (i, j, X[i, j]) in order, in place; the loss of each entry before its step, added up."""
    w, c, b, b2 = (Adagrad(values, learning_rate) for values in (center, context, center_bias, context_bias))
    loss = 0.0
    for i, j, x in entries:
        error = w.values[i] @ c.values[j] + b.values[i] + b2.values[j] - np.log(x)
        slope = weight(x, x_max, alpha) * error
        loss += 0.5 * slope * error
        by_w, by_c = slope * c.values[j].copy(), slope * w.values[i].copy()
        w.step(i, by_w)
        c.step(j, by_c)
        b.step(i, slope)
        b2.step(j, slope)
    return loss
