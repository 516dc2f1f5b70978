"""Word similarity: how well cosines agree with people's ratings, and how much of a benchmark a model covers.

Stated policies, the same for every model:

- *Case*: a word is looked up as the benchmark spells it, then in lower case. (gensim folds both sides to upper case.)
- *Covered pairs*: the pairs whose two words have a vector. ``spearman`` and ``pearson`` are about these alone, line by
  line as published, so they compare with published scores and equal gensim's. But a small vocabulary of easy words can
  score high on few pairs, and pairs of a word with itself, rated high and similar by definition, give even random
  vectors 0.21 on SCWS.
- *All pairs*: ``spearman_all_pairs`` is about every pair of two different words. An uncovered pair gets the median
  similarity of the covered ones: that puts it in the middle of the ranks, where it says nothing, so the score shrinks
  as vocabulary is lost, and random vectors score 0. (gensim's dummy4unknown gives such pairs 0, which is below nearly
  every cosine and rewards a model that misses the pairs that people rated low.)
- *Too little*: with fewer than three covered pairs, or nothing but equal ratings or similarities, there is no score,
  and ``reason`` says why; likewise for all pairs with fewer than three covered pairs of two different words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vecmill.evaluation.benchmarks import Benchmark
from vecmill.evaluation.statistics import (
    Floats,
    Interval,
    pearson,
    percentile_interval,
    spearman,
    spearman_resamples,
)
from vecmill.vectors.word_vectors import WordVectors

_MIN_PAIRS = 3
_N_MISSING_SHOWN = 20


@dataclass(frozen=True)
class SimilarityScore:
    """A model's score on one benchmark. Coefficients and interval ends are None where they are undefined.

    Attributes
    ----------
    benchmark, title, digest, scale : which benchmark, and sha256 of its file
    spearman, lower, upper : on the covered pairs, with its bootstrap interval
    pearson : on the covered pairs
    spearman_all_pairs, lower_all_pairs, upper_all_pairs : on all pairs of two different words, uncovered ones in the
        middle of the ranks
    n_pairs, n_covered, coverage : pairs, those whose words both have vectors, and their share (0 to 1)
    n_self_pairs : of the pairs, those of a word with itself
    n_lowercased : benchmark words found only in lower case
    n_missing_words, missing_words : benchmark words without vector, and the first of them in alphabetical order
    confidence, n_resamples : of the intervals
    reason : why a coefficient is missing; empty where none is
    """

    benchmark: str
    title: str
    spearman: float | None
    lower: float | None
    upper: float | None
    pearson: float | None
    spearman_all_pairs: float | None
    lower_all_pairs: float | None
    upper_all_pairs: float | None
    n_pairs: int
    n_covered: int
    coverage: float
    n_self_pairs: int
    n_lowercased: int
    n_missing_words: int
    missing_words: tuple[str, ...]
    confidence: float
    n_resamples: int
    reason: str
    scale: tuple[float, float]
    digest: str

    def as_json(self) -> dict[str, Any]:
        """The score as plain JSON values; undefined numbers are null."""
        plain = asdict(self)
        return {**plain, "missing_words": list(self.missing_words), "scale": list(self.scale)}


def word_similarity(
    vectors: WordVectors, benchmark: Benchmark, *, confidence: float = 0.95, n_resamples: int = 1000, seed: int = 0
) -> SimilarityScore:
    """Score ``vectors`` on ``benchmark``; the policies stand in the module's docstring.

    The interval is the percentile bootstrap over pairs. Its draws depend on the seed and the benchmark's content alone,
    not on what else is evaluated.

    Parameters
    ----------
    confidence : share of the resamples that an interval holds, in (0, 1)
    n_resamples : resamples behind each interval
    seed : integer >= 0
    """
    ids1, ids2 = (_rows(vectors, words) for words in (benchmark.words1, benchmark.words2))
    covered = (ids1 >= 0) & (ids2 >= 0)
    n_covered = int(covered.sum())
    ratings = np.array(benchmark.scores, dtype=np.float64)
    cosines = vectors.similarities(ids1[covered], ids2[covered])
    different = np.array([a != b for a, b in zip(benchmark.words1, benchmark.words2, strict=True)], dtype=np.bool_)
    streams = np.random.SeedSequence([seed, int(benchmark.digest[:16], 16)]).spawn(2)

    rho = r = interval = None
    reason = _reason(ratings[covered], cosines)
    if not reason:
        rho, r = spearman(cosines, ratings[covered]), pearson(cosines, ratings[covered])
        interval = _interval(cosines, ratings[covered], n_resamples, confidence, streams[0])

    rho_all = interval_all = None
    reason_all = _reason(ratings[covered & different], cosines[different[covered]])
    if not reason_all:
        everywhere = np.full(len(benchmark), np.median(cosines[different[covered]]))
        everywhere[covered] = cosines
        rho_all = spearman(everywhere[different], ratings[different])
        interval_all = _interval(everywhere[different], ratings[different], n_resamples, confidence, streams[1])
    if reason_all and not reason:
        reason = f"without pairs of a word with itself, {reason_all}"

    words = sorted({*benchmark.words1, *benchmark.words2})
    missing = [word for word in words if word not in vectors and word.lower() not in vectors]
    return SimilarityScore(
        benchmark=benchmark.name,
        title=benchmark.title,
        spearman=rho,
        lower=interval.lower if interval else None,
        upper=interval.upper if interval else None,
        pearson=r,
        spearman_all_pairs=rho_all,
        lower_all_pairs=interval_all.lower if interval_all else None,
        upper_all_pairs=interval_all.upper if interval_all else None,
        n_pairs=len(benchmark),
        n_covered=n_covered,
        coverage=n_covered / len(benchmark) if len(benchmark) else 0.0,
        n_self_pairs=int((~different).sum()),
        n_lowercased=sum(word not in vectors for word in words) - len(missing),
        n_missing_words=len(missing),
        missing_words=tuple(missing[:_N_MISSING_SHOWN]),
        confidence=confidence,
        n_resamples=n_resamples,
        reason=reason,
        scale=benchmark.scale,
        digest=benchmark.digest,
    )


def common_similarity(
    models: Mapping[str, WordVectors],
    benchmark: Benchmark,
    *,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, SimilarityScore]:
    """Score several models on the pairs that all of them cover, by the models' names.

    Models with different vocabularies cover different pairs, so their scores on covered pairs are about different
    questions. Here they are about the same, and resampled alike; ``n_pairs`` is the number of common pairs.
    """
    common = np.ones(len(benchmark), dtype=np.bool_)
    for vectors in models.values():
        for words in (benchmark.words1, benchmark.words2):
            common &= _rows(vectors, words) >= 0
    kept = np.flatnonzero(common).tolist()
    subset = replace(
        benchmark,
        words1=tuple(benchmark.words1[at] for at in kept),
        words2=tuple(benchmark.words2[at] for at in kept),
        scores=tuple(benchmark.scores[at] for at in kept),
        digest=hashlib.sha256(f"{benchmark.digest} {kept}".encode()).hexdigest(),
    )
    return {
        name: word_similarity(vectors, subset, confidence=confidence, n_resamples=n_resamples, seed=seed)
        for name, vectors in models.items()
    }


def find_word(vectors: WordVectors, word: str) -> str | None:
    """The word as the vocabulary spells it: as it is, else in lower case, else None."""
    if word in vectors:
        return word
    lowered = word.lower()
    return lowered if lowered in vectors else None


def _rows(vectors: WordVectors, words: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Each word's row, -1 where it has none."""
    spellings = (find_word(vectors, word) for word in words)
    return np.array([-1 if each is None else vectors.id_of(each) for each in spellings], dtype=np.int64)


def _reason(ratings: Floats, cosines: Floats) -> str:
    """Why covered pairs with these ratings and cosines have no correlation; empty if they have."""
    if len(ratings) < _MIN_PAIRS:
        return f"{len(ratings)} pairs have vectors for both words; a correlation needs {_MIN_PAIRS}"
    if ratings.min() == ratings.max():
        return f"the ratings of all {len(ratings)} covered pairs are equal"
    if cosines.min() == cosines.max():
        return f"the similarities of all {len(ratings)} covered pairs are equal"
    return ""


def _interval(
    x: Floats, y: Floats, n_resamples: int, confidence: float, stream: np.random.SeedSequence
) -> Interval | None:
    return percentile_interval(spearman_resamples(x, y, n_resamples, np.random.default_rng(stream)), confidence)
