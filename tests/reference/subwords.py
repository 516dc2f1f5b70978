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


def with_all_negatives(examples, sampler, *, n_negatives, draw_key, window) -> list[Example]:
    """The examples with the negatives of each pair, one pair after another; ``examples`` draws others."""
    found = []
    n_words = len(sampler.aliases)
    for example in examples:
        counter = int(draw_key) + example.position * (1 + 2 * window * n_negatives) * GAMMA
        negatives = []
        for k in range(1, 1 + n_negatives * len(example.around)):
            bits = splitmix(counter + k * GAMMA)
            column = (bits >> 32) * n_words >> 32
            is_column = bits & 0xFFFFFFFF <= int(sampler.alias_thresholds[column])
            negatives.append(column if is_column else int(sampler.aliases[column]))
        found.append(replace(example, negatives=negatives))
    return found


def word_rows(subwords, word_id):
    return subwords.rows[subwords.offsets[word_id] : subwords.offsets[word_id + 1]].tolist()


def _learn(h, context_vectors, outputs, rate, l2, clip):
    """Steps on the outputs (word id, label, weight): all scores first, then one after another, a word that stands twice
    in one step where rows decay or gradients are clipped; the loss, and minus its derivative by h."""
    loss, change, steps = 0.0, np.zeros_like(h), []
    for word_id, label, weight in outputs:
        score = float(h @ context_vectors[word_id])
        loss -= weight * (log_sigmoid(score) if label else log_sigmoid(-score))
        steps.append([word_id, weight * (label - sigmoid(score))])
    if l2 or clip:
        steps = [[word_id, sum(s for w, s in steps if w == word_id)] for word_id in dict.fromkeys(w for w, _ in steps)]
    for word_id, step in steps:
        change += step * context_vectors[word_id]
        context_vectors[word_id] += rate * (clipped(step * h, clip) - l2 * context_vectors[word_id])
    return loss, change


def clipped(gradient, clip):
    """The gradient, no longer than ``clip``; 0: as it is."""
    norm = np.linalg.norm(gradient)
    return gradient * (clip / norm) if clip and norm > clip else gradient


def train_skipgram(
    all_examples,
    subwords,
    input_vectors,
    context_vectors,
    learning_rate_at,
    *,
    exact_gradient,
    n_negatives,
    l2=0.0,
    clip=0.0,
):
    """Gradient descent, in place, one pair after another; takes what ``with_all_negatives`` gives.

    The rows get their changes after the last pair of a centre word, and h has them meanwhile.
    """
    loss, n_pairs = 0.0, 0
    for example in all_examples:
        rate, rows = learning_rate_at(example.position), word_rows(subwords, example.center)
        h, total = np.mean(input_vectors[rows], axis=0), 0.0
        for pair, c in enumerate(example.around):
            negatives = example.negatives[pair * n_negatives : (pair + 1) * n_negatives]
            outputs = [(c, 1, 1), *((k, 0, 1) for k in negatives if k != c)]
            pair_loss, change = _learn(h, context_vectors, outputs, rate, l2, clip)
            change = change / (len(rows) if exact_gradient else 1)
            h, total, loss = h + rate * change, total + change, loss + pair_loss
        if example.around:
            total = clipped(total, clip)
            for row in rows:
                input_vectors[row] += rate * (total - l2 * input_vectors[row])
        n_pairs += len(example.around)
    return loss, n_pairs


def train_cbow_of_bags(all_examples, subwords, input_vectors, context_vectors, learning_rate_at, *, exact_gradient):
    """Gradient descent, in place, on the mean over all rows of the window, each fetched anew for each window."""
    loss, n_pairs = 0.0, 0
    for example in all_examples:
        rate = learning_rate_at(example.position)
        rows = [row for c in example.around for row in word_rows(subwords, c)]
        outputs = [(example.center, 1, 1), *((k, 0, 1) for k in example.negatives if k != example.center)]
        example_loss, change = _learn(np.mean(input_vectors[rows], axis=0), context_vectors, outputs, rate, 0, 0)
        for row in rows:
            input_vectors[row] += rate * change / (len(rows) if exact_gradient else 1)
        loss += example_loss
        n_pairs += 1
    return loss, n_pairs


def train_cbow(
    all_examples,
    subwords,
    input_vectors,
    context_vectors,
    learning_rate_at,
    *,
    exact_gradient,
    window,
    l2=0.0,
    clip=0.0,
):
    """The same, but a word's rows get their changes when the word is left behind, 2 * window + 1 kept words later.

    Until then the change that each row is to get is kept beside, and is part of the word's sum.
    """
    loss, n_pairs = 0.0, 0
    near = {}  # place: number of the kept word, word id
    fetched, pending, decay = {}, {}, {}  # by word id: sum of rows, change of each row, share of each row to take

    def leave(place):
        _, word_id = near.pop(place)
        if word_id not in [other for _, other in near.values()]:
            for row in word_rows(subwords, word_id):
                input_vectors[row] += pending[word_id] - decay[word_id] * input_vectors[row]

    def current_sum(word_id):
        rows = word_rows(subwords, word_id)
        return fetched[word_id] + pending[word_id] * sum(rows.count(row) for row in rows)

    for example in all_examples:
        rate = learning_rate_at(example.position)
        for number, word_id in zip(example.around_numbers, example.around, strict=True):
            place = (number + window) % (2 * window + 1)
            if place in near and near[place][0] != number:
                leave(place)
            if place not in near:
                if word_id not in [other for _, other in near.values()]:
                    fetched[word_id] = input_vectors[word_rows(subwords, word_id)].sum(axis=0)
                    pending[word_id], decay[word_id] = np.zeros_like(fetched[word_id]), 0.0
                near[place] = number, word_id
        n_rows = sum(len(word_rows(subwords, word_id)) for word_id in example.around)
        h = sum(current_sum(word_id) for word_id in example.around) / n_rows
        outputs = [(example.center, 1, 1), *((k, 0, 1) for k in example.negatives if k != example.center)]
        example_loss, change = _learn(h, context_vectors, outputs, rate, l2, clip)
        for word_id in example.around:
            pending[word_id] = pending[word_id] + rate * clipped(change / (n_rows if exact_gradient else 1), clip)
            decay[word_id] += rate * l2
        loss += example_loss
        n_pairs += 1
    for place in sorted(near):
        leave(place)
    return loss, n_pairs
