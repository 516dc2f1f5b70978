"""Pairs of words that stand near each other in a text, drawn evenly from all of them in one pass.

A pair is a word and another one at most ``window`` words away in the same sentence, either way round. Words that the
model does not know keep their places, so which pairs a text has does not depend on the model (beyond its token rules
and its phrases, each of which is one word here, as it was in training).
Pairs of a word with itself are left out: any vectors find them similar.

Every pair gets a random priority and the smallest ones stay ("bottom-k sampling"), so memory is bounded by the number
of pairs wanted whatever the text's size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecmill.kernels.tokens import SENTENCE_BREAK
from vecmill.text.rules import TokenRules
from vecmill.vocabulary.phrases import Phrases, UnitIndex

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ContextPairs:
    """Pairs drawn from a text, in random order.

    Attributes
    ----------
    centers, contexts : int64[n], rows of the model, -1 for words that it does not know
    sentences : int64[n], number of the sentence that the pair stands in
    counts : int64[n_words], occurrences in the text by row of the model
    n_documents, n_tokens, n_known : documents, words (a phrase is one), and those of them that the model knows
    n_pairs_in_text : pairs that were drawn from
    """

    centers: Ids
    contexts: Ids
    sentences: Ids
    counts: Ids
    n_documents: int
    n_tokens: int
    n_known: int
    n_pairs_in_text: int

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """bool[n], whether the model knows both words."""
        return (self.centers >= 0) & (self.contexts >= 0)


def draw_context_pairs(
    texts: Iterable[pa.Array],
    words: Iterable[str],
    rules: TokenRules,
    *,
    window: int,
    n_pairs: int,
    seed: int,
    phrases: Phrases | None = None,
) -> ContextPairs:
    """Draw up to ``n_pairs`` pairs from texts, without replacement.

    Parameters
    ----------
    texts : columns of texts (string), one text a document
    words : the model's, by row
    rules : how text is cut into them
    window : words to each side, at least 1
    phrases : neighbouring words that are joined; None: none
    seed : integer >= 0; the draw also depends on how the texts are cut into columns
    """
    names = list(words)
    n_words = len(names)
    index = UnitIndex(rules, names, phrases or Phrases.none())
    rng = np.random.default_rng([seed, 1])
    counts = np.zeros(n_words, np.int64)
    kept = _Kept(n_pairs)
    n_documents = n_tokens = n_sentences = n_in_text = 0
    for column in texts:
        found, _ = index.find(column)
        ids = np.where(found.codes >= 0, found.targets[found.codes], -1).astype(np.int64)
        ids[ids >= n_words] = -1  # forms that fold to words outside the model, parts of phrases
        sentences = np.cumsum(found.breaks >= SENTENCE_BREAK, dtype=np.int64) + n_sentences
        n_documents += len(column)
        n_tokens += len(ids)
        n_sentences = int(sentences[-1]) + 1 if len(sentences) else n_sentences
        counts += np.bincount(ids[ids >= 0], minlength=n_words)
        for distance in range(1, window + 1):
            left, right = ids[:-distance], ids[distance:]
            pairs = np.flatnonzero(
                (sentences[:-distance] == sentences[distance:]) & ((left != right) | (left < 0) | (right < 0))
            )
            n_in_text += len(pairs)
            kept.offer(rng.random(len(pairs)), left[pairs], right[pairs], sentences[pairs])
    priorities, left, right, sentences = kept.sorted()
    swapped = rng.random(len(priorities)) < 0.5
    return ContextPairs(
        np.where(swapped, right, left),
        np.where(swapped, left, right),
        sentences,
        counts,
        n_documents,
        n_tokens,
        int(counts.sum()),
        n_in_text,
    )


class _Kept:
    """The ``size`` pairs of smallest priority; twice as many stand before they are cut down."""

    def __init__(self, size: int) -> None:
        self._size, self._limit, self._n = size, 1.0, 0
        self._parts: list[tuple[npt.NDArray[np.float64], Ids, Ids, Ids]] = []

    def offer(self, priorities: npt.NDArray[np.float64], left: Ids, right: Ids, sentences: Ids) -> None:
        chosen = np.flatnonzero(priorities < self._limit)
        if not len(chosen):
            return
        self._parts.append((priorities[chosen], left[chosen], right[chosen], sentences[chosen]))
        self._n += len(chosen)
        if self._n > 2 * self._size:
            self._parts = [self.sorted()]
            self._n = len(self._parts[0][0])
            self._limit = float(self._parts[0][0][-1])

    def sorted(self) -> tuple[npt.NDArray[np.float64], Ids, Ids, Ids]:
        """Priorities, words to the left and right, sentences; by priority."""
        if not self._parts:
            nothing = np.empty(0, np.int64)
            return np.empty(0), nothing, nothing, nothing
        priorities, left, right, sentences = (np.concatenate(each) for each in zip(*self._parts, strict=True))
        order = np.argsort(priorities, kind="stable")[: self._size]
        return priorities[order], left[order], right[order], sentences[order]
