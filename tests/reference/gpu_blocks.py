"""Blocks of the torch trainer, word by word in NumPy float64: losses, changes of rows, and how they are held back."""

from __future__ import annotations

import numpy as np


def windows(word_ids, sentences, reaches):
    """(place of the centre word, places in its window) for the places of a row of kept words."""
    for i in range(len(word_ids)):
        if sentences[i] >= 0:
            near = range(max(0, i - reaches[i]), min(len(word_ids), i + reaches[i] + 1))
            yield i, [j for j in near if j != i and sentences[j] == sentences[i]]


class Twin:
    """One block of ``groups`` groups of ``group`` words, whose first word stands at place ``window``.

    kind : skipgram, cbow, subword_skipgram, subword_cbow
    negatives : int[groups, M];  rows_of : for subwords, the rows of each word
    """

    def __init__(self, kind, stretch, window, group, negatives, weight, exact, inputs, contexts, rows_of=None):
        self.kind, self.group, self.window, self.exact = kind, group, window, exact
        self.word_ids, self.sentences, self.reaches, self.n_words = stretch
        self.negatives, self.weight, self.rows_of = negatives, weight, rows_of
        self.inputs, self.contexts = inputs.astype(np.float64), contexts.astype(np.float64)
        self.input_gradient, self.context_gradient = np.zeros_like(self.inputs), np.zeros_like(self.contexts)
        self.input_bends, self.context_bends = np.zeros(len(inputs)), np.zeros(len(contexts))
        self.loss, self.n_pairs = 0.0, 0

    def own(self, place):
        return self.window <= place < self.window + self.n_words

    def run(self):
        for i, near in windows(self.word_ids, self.sentences, self.reaches):
            if self.kind == "skipgram":
                for j in near:
                    if self.own(j):  # the negatives are those of the input's group
                        self.learn([(j, 1.0)], i, self.place_group(j))
            elif self.own(i) and near:
                if self.kind == "subword_skipgram":
                    for j in near:
                        self.learn([(i, 1.0)], j, self.place_group(i))
                else:
                    self.learn([(j, 1.0) for j in near], i, self.place_group(i))
        return self

    def place_group(self, place):
        return (place - self.window) // self.group

    def learn(self, places, output, group):
        """The mean of the rows of the words at ``places`` learns to tell the word at ``output`` from negatives."""
        words = [self.word_ids[place] for place, _ in places]
        rows = [row for word in words for row in (self.rows_of[word] if self.rows_of else [word])]
        x = np.mean([self.inputs[row] for row in rows], axis=0)
        target = self.word_ids[output]
        outputs = [(target, 1.0, 1.0)]
        outputs += [(k, -1.0, self.weight) for k in self.negatives[group] if k != target]
        change, bent = np.zeros_like(x), 0.0
        for word, sign, weight in outputs:
            z = sign * (x @ self.contexts[word])
            wrong = weight * sign / (1 + np.exp(z))
            self.loss += weight * np.log1p(np.exp(-z))
            change += wrong * self.contexts[word]
            self.context_gradient[word] += wrong * x
            # with subwords the bound of Jaakkola and Jordan 2000, else the second derivative
            bend = weight * (np.tanh(z / 2) / (2 * z) if self.rows_of else np.exp(z) / (1 + np.exp(z)) ** 2)
            self.context_bends[word] += bend
            bent += bend
        part = 1 / len(rows) if self.exact else 1.0
        for row in rows:
            self.input_gradient[row] += part * change
            self.input_bends[row] += part * bent
        self.n_pairs += 1

    def changed(self, learning_rate, bent=None):
        """Both matrices after the block; ``bent`` : for both, second derivatives for each unit of a row's bends."""
        found = []
        for which, (matrix, gradient, bends) in enumerate(
            (
                (self.inputs, self.input_gradient, self.input_bends),
                (self.contexts, self.context_gradient, self.context_bends),
            )
        ):
            changed = matrix.copy()
            for row, change in enumerate(gradient):
                if bent is not None and bends[row] > 0:
                    values, vectors = np.linalg.eigh(learning_rate * bends[row] * bent[which])
                    change = vectors @ (-np.expm1(-values) / values * (vectors.T @ change))
                changed[row] += learning_rate * change
            found.append(changed)
        return found
