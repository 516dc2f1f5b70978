"""Word counts with a cap on distinct words, and a proven bound on what that loses.

Misra and Gries 1982, "Finding repeated elements", in the mergeable form of Agarwal et al. 2012, "Mergeable summaries"
(sec. 2.2), with purges that wait until the table is twice as large as it may stay: subtract the (k + 1)-th largest
count c from all and drop what is not above zero. For every word then

    lower <= true <= lower + delta,    (k + 1) * delta + (sum of all lower) <= N,

because a purge takes c from at least k + 1 words, hence (k + 1) * c from the sum. Adding counts and merging two
summaries keep both sides of the second line; so the bound delta <= N / (k + 1) holds for any order and grouping of
merges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecmill.text.rules import TokenRules
from vecmill.text.word_index import WordIndex


class BoundedCounts:
    """Lower bounds of word counts, of at most ``max_entries`` words once purged.

    Parameters
    ----------
    max_entries : k, words that stay after a purge; twice as many may stand before one

    Attributes
    ----------
    delta : no word occurred more than this much oftener than its lower bound (0 for a word that is not kept) says
    n_tokens : N, sum of all counts added
    """

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self.delta = 0
        self.n_tokens = 0
        self._index = WordIndex(TokenRules("whitespace", lowercase=False))
        self._lower: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def words(self) -> pa.Array:
        """large_string[len(self)], a copy."""
        return (
            pa.concat_arrays([self._index.words().slice(0, len(self))])
            if len(self)
            else pa.array([], pa.large_string())
        )

    @property
    def lower(self) -> npt.NDArray[np.int64]:
        """int64[len(self)], a lower bound of each word's count."""
        return self._lower[: len(self)].copy()

    def add(self, words: pa.Array, counts: npt.NDArray[np.int64]) -> None:
        """Add counts of different words; purges where more than twice ``max_entries`` words stand then."""
        self._put(words, counts)
        self.n_tokens += int(counts.sum())
        if len(self) > 2 * self.max_entries:
            self.purge()

    def merge(self, other: BoundedCounts) -> None:
        """Add what another summary has counted; it stays as it is."""
        self._put(other.words, other.lower)
        self.n_tokens += other.n_tokens
        self.delta += other.delta
        if len(self) > 2 * self.max_entries:
            self.purge()

    def purge(self) -> None:
        """Come down to ``max_entries`` words at most."""
        n = len(self)
        if n <= self.max_entries:
            return
        lower = self.lower
        cut = int(np.partition(lower, n - 1 - self.max_entries)[n - 1 - self.max_entries])
        stays = np.flatnonzero(lower > cut)
        words = self._index.words().take(pa.array(stays))
        self._index.clear()
        self._index.number(words)
        self._lower[: len(stays)] = lower[stays] - cut
        self.delta += cut

    def _put(self, words: pa.Array, counts: npt.NDArray[np.int64]) -> None:
        n_before = len(self)
        numbers = self._index.number(words)
        n = len(self)
        if len(self._lower) < n:
            self._lower = np.concatenate([self._lower, np.zeros(max(n, len(self._lower)), dtype=np.int64)])
        self._lower[n_before:n] = 0
        self._lower[numbers] += counts
