"""How often words occur, and in how many documents, by their numbers in a word index."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vecmill.kernels.token_counts import DOCUMENT_BITS, tally
from vecmill.text.word_index import FoundTokens

# Of one word.
TALLY_BYTES = 16

_LAST = (1 << DOCUMENT_BITS) - 1


class Tallies:
    """Occurrences and documents of words; used by one thread at a time.

    Parameters
    ----------
    n_words : room to begin with; it grows with the index
    """

    def __init__(self, n_words: int) -> None:
        self._tallies: npt.NDArray[np.int64] = np.zeros((n_words, 2), dtype=np.int64)
        self._next_document = 1

    @property
    def nbytes(self) -> int:
        return self._tallies.nbytes

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64[room], occurrences; a view."""
        return self._tallies[:, 0]

    @property
    def documents(self) -> npt.NDArray[np.int64]:
        """int64[room], documents that the word occurs in; a copy."""
        return self._tallies[:, 1] >> DOCUMENT_BITS

    def documents_of(self, words: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """int64[len(words)], documents that some words occur in."""
        return np.asarray(self._tallies[words, 1] >> DOCUMENT_BITS)

    def table(self, n_words: int) -> npt.NDArray[np.int64]:
        """int64[n_words, 2], both side by side."""
        return np.stack([self.counts[:n_words], self.documents[:n_words]], axis=1)

    def add(self, found: FoundTokens) -> int:
        """Add the words of texts, each one a document; returns how many words there were, those OUTSIDE left aside."""
        n_tallied = 0
        for start, stop, first_document, tallies in self.spans(found):
            offsets = found.text_offsets[start : stop + 1]
            n_tallied += tally(found.codes, offsets, found.targets, tallies, first_document)
        return n_tallied

    def spans(self, found: FoundTokens) -> Iterator[tuple[int, int, int, npt.NDArray[np.int64]]]:
        """Texts to be added, in spans that have numbers for their documents.

        Yields
        ------
        start, stop : of the texts
        first_document : number of the first of them
        tallies : int64[room, 2], where a kernel of :mod:`vecmill.kernels.token_counts` adds them
        """
        self._reach(len(found.targets))
        start = 0
        n_texts = len(found.text_offsets) - 1
        while start < n_texts:
            if self._next_document > _LAST:
                # Nobody has seen a document yet, as far as their numbers go; how many there were stays.
                self._tallies[:, 1] &= ~_LAST
                self._next_document = 1
            stop = min(n_texts, start + _LAST + 1 - self._next_document)
            yield start, stop, self._next_document, self._tallies
            self._next_document += stop - start
            start = stop

    def add_counts(
        self, words: npt.NDArray[np.int32], counts: npt.NDArray[np.int64], documents: npt.NDArray[np.int64]
    ) -> None:
        """Add occurrences and documents of different words, from documents that :meth:`add` is not given."""
        self._reach(int(words.max(initial=-1)) + 1)
        self._tallies[words, 0] += counts
        self._tallies[words, 1] += documents << DOCUMENT_BITS

    def _reach(self, n_words: int) -> None:
        if len(self._tallies) < n_words:
            tallies = np.zeros((n_words, 2), dtype=np.int64)
            tallies[: len(self._tallies)] = self._tallies
            self._tallies = tallies

    def clear(self) -> None:
        """Begin anew; the memory stays."""
        self._tallies.fill(0)
        self._next_document = 1
