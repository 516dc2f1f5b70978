"""Plain, slow skip-gram and CBOW with negative sampling: no tables, no buffers, no chunks, float64, Python integers.

Draws follow the definition in vecmill.kernels.sampling (a number is a function of key and token position); everything
else is written from the papers' equations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

GAMMA = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


def splitmix(counter: int) -> int:
    z = counter & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


@dataclass(frozen=True)
class Example:
    """One centre word: its word id, the word ids around it, its negatives without those equal to itself.

    ``around_numbers`` counts the kept words of the whole corpus from 0.
    """

    position: int
    center: int
    around: list[int]
    negatives: list[int]
    around_numbers: list[int] = field(default_factory=list)


def examples(token_ids, sentence_offsets, sampler, *, window, dynamic_window, n_negatives, keep_key, draw_key):
    """Every centre word of the corpus that has a neighbour, in order."""
    found = []
    n_words = len(sampler.aliases)
    n_before = 0
    for start, end in pairwise(sentence_offsets):
        kept = [
            position
            for position in range(int(start), int(end))
            if splitmix(int(keep_key) + position * GAMMA) >> 32 <= int(sampler.keep_thresholds[token_ids[position]])
        ]
        for place, position in enumerate(kept):
            counter = int(draw_key) + position * (1 + n_negatives) * GAMMA
            reach = window - ((splitmix(counter) >> 32) * window >> 32) if dynamic_window else window
            around = kept[max(0, place - reach) : place] + kept[place + 1 : place + 1 + reach]
            numbers = [n_before + kept.index(p) for p in around]
            if not around:
                continue
            center = int(token_ids[position])
            negatives = []
            for k in range(1, 1 + n_negatives):
                bits = splitmix(counter + k * GAMMA)
                column = (bits >> 32) * n_words >> 32
                is_column = bits & 0xFFFFFFFF <= int(sampler.alias_thresholds[column])
                negatives.append(column if is_column else int(sampler.aliases[column]))
            found.append(
                Example(
                    position,
                    center,
                    [int(token_ids[p]) for p in around],
                    [n for n in negatives if n != center],
                    numbers,
                )
            )
        n_before += len(kept)
    return found


def log_sigmoid(x: float) -> float:
    return -float(np.logaddexp(0.0, -x))


def sigmoid(x: float) -> float:
    return float(np.exp(log_sigmoid(x)))


def negative_sampling(x, context_vectors, center, negatives):
    """Loss of input x, and its derivatives by x and by each row of the context vectors."""
    loss, by_x, by_rows = 0.0, np.zeros_like(x), np.zeros_like(context_vectors)
    for word_id, label in [(center, 1.0), *((negative, 0.0) for negative in negatives)]:
        score = float(x @ context_vectors[word_id])
        loss -= log_sigmoid(score) if label else log_sigmoid(-score)
        by_x += (sigmoid(score) - label) * context_vectors[word_id]
        by_rows[word_id] += (sigmoid(score) - label) * x
    return loss, by_x, by_rows


@dataclass(frozen=True)
class Limits:
    """Weight decay, and the largest norm of a row's gradient; 0 for none."""

    l2: float = 0.0
    gradient_clip: float = 0.0

    def step(self, row, gradient, rate):
        """Descend in place; ``gradient`` is of the loss."""
        norm = float(np.linalg.norm(gradient))
        if 0 < self.gradient_clip < norm:
            gradient = gradient * (self.gradient_clip / norm)
        row -= rate * (gradient + self.l2 * row)


NO_LIMITS = Limits()


def train_skipgram(all_examples, center_vectors, context_vectors, learning_rate_at, limits=NO_LIMITS):
    """Gradient descent, in place: all scores of a window first, then v_c in turn, then the u of the window.

    Where a word stands twice around the centre word, its second turn finds its vector as the first one left it.
    """
    loss, n_pairs = 0.0, 0
    for example in all_examples:
        rate = learning_rate_at(example.position)
        rows = [example.center, *example.negatives]
        labels = np.array([1.0] + [0.0] * len(example.negatives))
        u = context_vectors[rows]
        by_rows = {row: np.zeros(u.shape[1]) for row in rows}
        scores = center_vectors[example.around] @ u.T
        for c, of_c in zip(example.around, scores, strict=True):
            loss -= sum(log_sigmoid(s if label else -s) for s, label in zip(of_c, labels, strict=True))
            wrong = np.array([sigmoid(s) for s in of_c]) - labels
            for row, of_row in zip(rows, wrong, strict=True):
                by_rows[row] += of_row * center_vectors[c]
            limits.step(center_vectors[c], wrong @ u, rate)
            n_pairs += 1
        for row, gradient in by_rows.items():
            limits.step(context_vectors[row], gradient, rate)
    return loss, n_pairs


def train_cbow(all_examples, center_vectors, context_vectors, learning_rate_at, limits=NO_LIMITS, *, exact_gradient):
    """Gradient descent, in place, on the mean of the window."""
    loss, n_pairs = 0.0, 0
    for example in all_examples:
        rate = learning_rate_at(example.position)
        mean = np.mean([center_vectors[c] for c in example.around], axis=0)
        word_loss, by_mean, by_rows = negative_sampling(mean, context_vectors, example.center, example.negatives)
        for c in example.around:
            limits.step(center_vectors[c], by_mean / (len(example.around) if exact_gradient else 1), rate)
        for row in {example.center, *example.negatives}:
            limits.step(context_vectors[row], by_rows[row], rate)
        loss += word_loss
        n_pairs += 1
    return loss, n_pairs
