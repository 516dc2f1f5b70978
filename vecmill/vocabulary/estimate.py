"""A quick vocabulary: counts of the whole corpus estimated from its reservoir, with confidence intervals.

A word's total is estimated by the ratio estimator of survey sampling. With x_i its occurrences in sampled document i,
m_i the size of that document (1, or its bytes where the sample is weighted by length), M the sum of all m in the
corpus, and p_i the probability that the document was included (Cohen and Kaplan 2007, "rank conditioning"):

    T = M R,   R = sum x_i/p_i / sum m_i/p_i,
    V = (M / sum m_i/p_i)^2  n/(n-1)  sum (x_i - R m_i)^2 (1 - p_i) / p_i^2.           (Särndal et al. 1992, sec. 5.6)

Words come in clumps, and most are rare, so that T +- 1.96 sqrt(V) misses far too often. A document with j occurrences
is taken for one event of weight j/p instead, and the interval for a sum of weighted Poisson counts is used (Fay and
Feuer 1997): with G the quantiles of gamma distributions matched by mean and variance,

    low = G(a/2; mean T, variance V),    high = G(1 - a/2; mean T + w, variance V + w^2),

w being the largest weight seen (1/p where the word is not in the sample). tests/vocabulary/test_vocabulary_estimate.py
simulates how often that covers the truth, for words frequent and rare, scattered and clumped: as often as stated, but
for words that are rare and come by the dozen (0.91 to 0.93 in place of 0.95), since a sample without a clump cannot
tell of it. It is right for a word chosen beforehand, not for words chosen because the sample has many of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecmill.corpus.documents import iter_documents
from vecmill.errors import VocabularyError
from vecmill.progress import track
from vecmill.text.rules import DEFAULT_RULES, TokenRules
from vecmill.text.word_index import WordIndex
from vecmill.vocabulary.reservoir import Reservoir

# Few documents are longer, and so a thousand of them take 200 MB at the very most.
_WHOLE_TEXT_CHARS = 200_000


@dataclass(frozen=True)
class EstimatedVocabulary:
    """Words of a sample by falling estimate, then in code point order.

    Attributes
    ----------
    words : different words of the sample
    counts : float64[n_words], estimated occurrences in the corpus
    low, high : float64[n_words], confidence limits
    unseen_high : upper limit of the count of a word that is not in the sample
    level : of confidence
    n_sampled, n_offered : documents (or sentences) in the sample and in the corpus
    """

    words: list[str]
    counts: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    unseen_high: float
    level: float
    n_sampled: int
    n_offered: int

    def interval(self, word: str) -> tuple[float, float]:
        """Confidence limits of a word's count, in the sample or not."""
        if word not in self.words:
            return 0.0, self.unseen_high
        place = self.words.index(word)
        return float(self.low[place]), float(self.high[place])


def estimate_vocabulary(
    sample: Reservoir, rules: TokenRules = DEFAULT_RULES, *, level: float = 0.95
) -> EstimatedVocabulary:
    """Estimate how often each word of a sample occurs in the corpus that the sample was drawn from.

    Parameters
    ----------
    sample : reservoir of a corpus, each of whose documents was added once; its texts should be whole
        (``reservoir_text_chars``)
    rules : what words are
    level : confidence of each word's interval, for itself

    Raises
    ------
    VocabularyError : fewer than two documents were sampled, or there is no word in them
    """
    table = sample.to_table()
    n = len(table)
    if n < 2:
        raise VocabularyError(
            f"a sample of {n} document(s) says nothing about how much documents differ",
            expected="at least 2",
            todo="raise vocabulary.reservoir_size, or add text to corpus.sources",
        )
    rows, words, occurrences = _occurrences(table["text"].combine_chunks(), rules)
    if not words:
        raise VocabularyError(f"no word in the {n} sampled documents", todo="choose another vocabulary.token_pattern")
    inclusion = sample.inclusion()
    by_length = sample.weighting == "length"
    sizes = table["n_bytes"].to_numpy().astype(np.float64) if by_length else np.ones(n)
    total = float(sample.n_bytes_offered if by_length else sample.n_offered)
    scale = total / float((sizes / inclusion).sum())  # what turns sums over the sample into sums over the corpus
    n_words = len(words)
    document, word = rows
    weights = occurrences / inclusion[document] * scale
    counts: npt.NDArray[np.float64] = np.bincount(word, weights, n_words).astype(np.float64)
    ratios = counts / total
    # sum (x - R m)^2 (1-p)/p^2, of which x is zero for most documents.
    spread = (1 - inclusion) / inclusion**2
    variances = (
        np.bincount(word, occurrences**2 * spread[document], n_words)
        - 2 * ratios * np.bincount(word, occurrences * sizes[document] * spread[document], n_words)
        + ratios**2 * float((sizes**2 * spread).sum())
    )
    variances = np.maximum(variances, 0.0) * scale**2 * n / (n - 1)
    largest = np.zeros(n_words)
    np.maximum.at(largest, word, weights)
    low, high = _limits(counts, variances, largest * (1 - inclusion.min()), level)
    seen = np.bincount(word, occurrences, n_words)  # nobody has to estimate what the sample itself shows
    low, high = np.maximum(low, seen), np.maximum(high, seen)
    order = sorted(range(n_words), key=lambda k: (-counts[k], words[k]))
    one = scale / float(inclusion.min()) * float(inclusion.min() < 1)
    return EstimatedVocabulary(
        words=[words[k] for k in order],
        counts=counts[order],
        low=low[order],
        high=high[order],
        unseen_high=float(_limits(np.zeros(1), np.zeros(1), np.full(1, one), level)[1][0]),
        level=level,
        n_sampled=n,
        n_offered=sample.n_offered,
    )


def draw_sample(corpus_dir: Path, size: int, seed: int = 0) -> Reservoir:
    """A sample of whole documents of an ingest artifact; their text is read once and not cut into words.

    Parameters
    ----------
    size : documents
    seed : other seeds draw other documents

    Raises
    ------
    StoreError : the folder holds no shard
    """
    sample = Reservoir(size, seed, _WHOLE_TEXT_CHARS)
    with track("drawing a sample", unit="documents") as bar:
        for batch in iter_documents(corpus_dir):
            sample.add(batch.column("doc_id").to_pylist(), batch.column("text"))
            bar.advance(batch.num_rows)
    return sample


def _limits(
    means: npt.NDArray[np.float64],
    variances: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    level: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Confidence limits of Fay and Feuer; both are the mean itself where variance and weight are zero."""
    from scipy.stats import gamma

    tail = (1 - level) / 2

    def quantile(
        share: float, mean: npt.NDArray[np.float64], variance: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        spreads = (variance > 0) & (mean > 0)
        safe = np.where(spreads, variance, 1.0), np.where(spreads, mean, 1.0)
        found = gamma.ppf(share, safe[1] ** 2 / safe[0], scale=safe[0] / safe[1])
        return np.where(spreads, found, mean)

    return quantile(tail, means, variances), quantile(1 - tail, means + weights, variances + weights**2)


def _occurrences(
    texts: pa.Array, rules: TokenRules
) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], list[str], npt.NDArray[np.float64]]:
    """Which document has which word how often: (document, word) of each pair, the words, and occurrences."""
    index = WordIndex(rules)
    found = index.find(texts)
    codes = found.targets[found.codes].astype(np.int64)
    documents = np.repeat(np.arange(len(texts)), np.diff(found.text_offsets))
    pairs, occurrences = np.unique(documents * max(1, len(index)) + codes, return_counts=True)
    document, code = np.divmod(pairs, max(1, len(index)))
    used, word = np.unique(code, return_inverse=True)
    all_words: Sequence[str] = index.words().to_pylist()
    return (document, word), [all_words[k] for k in used], occurrences.astype(np.float64)
