"""Plain, slow subword training, n-grams and hash: float64, Python integers, written from the definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reference.negative_sampling import GAMMA, Example, log_sigmoid, sigmoid, splitmix


def fnv1a_signed(data: bytes) -> int:
    """FNV-1a of 32 bits over bytes that are signed numbers."""
    value = 2166136261
    for byte in data:
        value ^= byte if byte < 128 else byte + 0xFFFFFF00
        value = value * 16777619 % 2**32
    return value


def ngrams(word: str, min_n: int, max_n: int) -> list[str]:
    """The n-grams of a word by the position of their first character, then by length."""
    if word == "</s>":
        return []
    marked = f"<{word}>"
    found = []
    for start in range(len(marked)):
        for n in range(max(min_n, 1), max_n + 1):
            if start + n <= len(marked) and not (n == 1 and start in (0, len(marked) - 1)):
                found.append(marked[start : start + n])
    return found


def with_all_negatives(examples, sampler, *, n_negatives, draw_key) -> list[Example]:
    """The examples with every negative that is drawn; ``examples`` leaves out those that are the centre word."""
    found = []
    n_words = len(sampler.aliases)
    for example in examples:
        counter = int(draw_key) + example.position * (1 + n_negatives) * GAMMA
        negatives = []
        for k in range(1, 1 + n_negatives):
            bits = splitmix(counter + k * GAMMA)
            column = (bits >> 32) * n_words >> 32
            is_column = bits & 0xFFFFFFFF <= int(sampler.alias_thresholds[column])
            negatives.append(column if is_column else int(sampler.aliases[column]))
        found.append(replace(example, negatives=negatives))
    return found


def word_rows(subwords, word_id):
    return subwords.rows[subwords.offsets[word_id] : subwords.offsets[word_id + 1]].tolist()


def _learn(h, context_vectors, outputs, rate):
    """Steps on the outputs (word id, label, weight), one after another; the loss, and minus its derivative by h."""
    loss, change = 0.0, np.zeros_like(h)
    for word_id, label, weight in outputs:
        u = context_vectors[word_id].copy()
        score = float(h @ u)
        loss -= weight * (log_sigmoid(score) if label else log_sigmoid(-score))
        step = weight * (label - sigmoid(score))
        change += step * u
        context_vectors[word_id] += rate * step * h
    return loss, change


def train_skipgram(
    all_examples, subwords, input_vectors, context_vectors, learning_rate_at, *, exact_gradient, negative_weight
):
    """Gradient descent, in place, one step for each centre word; takes what ``with_all_negatives`` gives."""
    loss, n_pairs = 0.0, 0
    for example in all_examples:
        rate, rows = learning_rate_at(example.position), word_rows(subwords, example.center)
        outputs = [(c, 1, 1) for c in example.around]
        outputs += [(k, 0, negative_weight * sum(c != k for c in example.around)) for k in example.negatives]
        example_loss, change = _learn(np.mean(input_vectors[rows], axis=0), context_vectors, outputs, rate)
        for row in rows:
            input_vectors[row] += rate * change / (len(rows) if exact_gradient else 1)
        loss += example_loss
        n_pairs += len(example.around)
    return loss, n_pairs


def train_cbow(all_examples, subwords, input_vectors, context_vectors, learning_rate_at, *, exact_gradient):
    """Gradient descent, in place, on the mean over all rows of the window."""
    loss, n_pairs = 0.0, 0
    for example in all_examples:
        rate = learning_rate_at(example.position)
        rows = [row for c in example.around for row in word_rows(subwords, c)]
        outputs = [(example.center, 1, 1), *((k, 0, 1) for k in example.negatives if k != example.center)]
        example_loss, change = _learn(np.mean(input_vectors[rows], axis=0), context_vectors, outputs, rate)
        for row in rows:
            input_vectors[row] += rate * change / (len(rows) if exact_gradient else 1)
        loss += example_loss
        n_pairs += 1
    return loss, n_pairs
