"""The estimated vocabulary: its intervals cover the truth as often as they state, for words of every kind."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from vecmill.errors import VocabularyError
from vecmill.vocabulary.estimate import estimate_vocabulary
from vecmill.vocabulary.reservoir import Reservoir, Weighting

N_DOCUMENTS = 1_500
N_TRIALS = 200


def corpus() -> tuple[dict[str, npt.NDArray[np.int64]], pa.Array]:
    """Occurrences of each word in each document, and the documents."""
    rng = np.random.default_rng(5)
    lengths = rng.lognormal(3, 0.7, N_DOCUMENTS).astype(np.int64) + 1

    def clumped(mean: float, shape: float) -> npt.NDArray[np.int64]:
        return rng.negative_binomial(shape, shape / (shape + mean), N_DOCUMENTS)

    occurrences = {
        "common": rng.poisson(20, N_DOCUMENTS),
        "long": lengths,
        "proportional": rng.poisson(0.1 * lengths),
        "clumped": clumped(3, 0.3),
        "seldom": rng.poisson(0.3, N_DOCUMENTS),
        "rare": rng.poisson(0.02, N_DOCUMENTS),
        "rarer": rng.poisson(0.003, N_DOCUMENTS),
        "once": (np.arange(N_DOCUMENTS) == 7).astype(np.int64),
    }
    texts = [
        " ".join(" ".join([word] * int(times[number])) for word, times in occurrences.items() if times[number])
        for number in range(N_DOCUMENTS)
    ]
    return occurrences, pa.array(texts)


@pytest.mark.parametrize("weighting", ["uniform", "length"])
def test_intervals_cover_as_often_as_they_state(weighting: Weighting) -> None:
    occurrences, texts = corpus()
    ids = [str(number) for number in range(N_DOCUMENTS)]
    truth = {word: int(times.sum()) for word, times in occurrences.items()}
    covered: Counter[str] = Counter()
    errors: dict[str, list[float]] = {word: [] for word in truth}
    for seed in range(N_TRIALS):
        sample = Reservoir(150, seed, 1_000_000, weighting=weighting)
        sample.add(ids, texts)
        estimate = estimate_vocabulary(sample)
        counts = dict(zip(estimate.words, estimate.counts, strict=True))
        for word, count in truth.items():
            low, high = estimate.interval(word)
            covered[word] += low <= count <= high
            errors[word].append(counts.get(word, 0.0) - count)
    shares = {word: covered[word] / N_TRIALS for word in truth}
    # Three standard errors of a share of 0.95: 0.046 of a word's 200 trials, 0.016 of all 1600.
    assert min(shares.values()) > 0.95 - 0.046, shares
    assert sum(shares.values()) / len(shares) > 0.95 - 0.016, shares
    # Nor are they right only because they are wide.
    frequent = [shares[word] for word in ("common", "long", "proportional", "clumped")]
    assert sum(frequent) / len(frequent) < 0.95 + 0.03, shares
    for word, found in errors.items():
        assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(N_TRIALS) + 0.01 * truth[word], word


def test_a_sample_of_everything_is_exact() -> None:
    occurrences, texts = corpus()
    sample = Reservoir(N_DOCUMENTS, 1, 1_000_000)
    sample.add([str(number) for number in range(N_DOCUMENTS)], texts)
    estimate = estimate_vocabulary(sample)
    assert dict(zip(estimate.words, estimate.counts, strict=True)) == {
        word: times.sum() for word, times in occurrences.items()
    }
    assert (estimate.low == estimate.counts).all()
    assert (estimate.high == estimate.counts).all()
    assert estimate.interval("nowhere") == (0.0, 0.0)
    assert (estimate.n_sampled, estimate.n_offered) == (N_DOCUMENTS, N_DOCUMENTS)


def test_too_little_to_go_by_is_refused() -> None:
    sample = Reservoir(10, 1)
    sample.add(["a"], pa.array(["one"]))
    with pytest.raises(VocabularyError, match=r"a sample of 1 document.*at least 2.*reservoir_size"):
        estimate_vocabulary(sample)
    sample = Reservoir(10, 1)
    sample.add(["b", "c"], pa.array(["...", "!"]))
    with pytest.raises(VocabularyError, match=r"no word in the 2 sampled documents.*token_pattern"):
        estimate_vocabulary(sample)
