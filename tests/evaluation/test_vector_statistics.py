"""Statistics of vectors: equal to the plain versions, scipy and scikit-learn; known shapes; edge cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA

from reference import geometry as reference
from vecmill.evaluation.geometry import cosine_mean, isotropy, k_occurrences, vector_statistics
from vecmill.vectors import neighbours
from vecmill.vectors.word_vectors import WordVectors


def model(n_words: int = 80, dim: int = 6, seed: int = 0, shift: float = 0.5) -> WordVectors:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_words, dim)) * np.linspace(1.5, 0.3, dim) + shift
    return WordVectors([f"w{i}" for i in range(n_words)], rows)


def test_equal_to_the_plain_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = model()
    for block_floats in (neighbours.BLOCK_FLOATS, 25):
        monkeypatch.setattr(neighbours, "BLOCK_FLOATS", block_floats)
        assert cosine_mean(vectors) == pytest.approx(reference.cosine_mean(vectors.vectors), abs=1e-12)
        assert isotropy(vectors) == pytest.approx(reference.isotropy(vectors.vectors), rel=1e-9)
        assert k_occurrences(vectors, 80, 10).tolist() == reference.k_occurrences(vectors.vectors, 10)
        assert k_occurrences(vectors, 30, 3).tolist() == reference.k_occurrences(vectors.vectors[:30], 3)


def test_against_scipy_and_scikit_learn() -> None:
    vectors = model()
    found = vector_statistics(vectors)
    ratios = PCA().fit(vectors.vectors.astype(np.float64)).explained_variance_ratio_
    assert found.effective_dim == pytest.approx(1 / (ratios**2).sum(), rel=1e-6)
    assert found.n_components_90 == int((np.cumsum(ratios) < 0.9).sum()) + 1
    occurrences = k_occurrences(vectors, 80, 10)
    assert found.hubness_skewness == pytest.approx(stats.skew(occurrences), rel=1e-9)
    assert found.hubness_max == occurrences.max() and found.antihub_frac == (occurrences == 0).mean()
    assert found.norm_median == pytest.approx(np.median(vectors.norms)) and found.norm_mean == vectors.norms.mean()
    assert found.norm_p95 == pytest.approx(np.percentile(vectors.norms, 95))


def test_what_the_numbers_tell() -> None:
    even, cone = model(500, 20, shift=0.0), model(500, 20, shift=3.0)
    assert abs(cosine_mean(even) or 0) < 0.01 < 0.8 < (cosine_mean(cone) or 0)
    assert isotropy(even) > 0.2 > 1e-3 > isotropy(cone)
    flat = WordVectors(even.words, even.vectors * np.array([1.0, 1.0] + [1e-3] * 18, np.float32))
    assert vector_statistics(flat).effective_dim == pytest.approx(2, abs=0.05)
    assert vector_statistics(flat).n_components_90 == 2
    hub = WordVectors(even.words, np.concatenate([cone.vectors[:1] * 0 + 1, even.vectors[1:] + 0.3]))
    assert (vector_statistics(hub).hubness_max or 0) > (vector_statistics(even).hubness_max or 0)


def test_edge_cases() -> None:
    one = vector_statistics(WordVectors(["a"], np.ones((1, 3))))
    assert one.cosine_mean is None and one.effective_dim is None and one.n_components_90 is None
    assert one.hubness_skewness is None and one.n_hubness_words == 0
    zeros = vector_statistics(WordVectors(["a", "b"], np.zeros((2, 3))))
    assert zeros.n_zero_vectors == 2 and zeros.isotropy == 1.0 and zeros.cosine_mean is None
    long = vector_statistics(WordVectors(["a", "b"], np.array([[1e30, 0], [0, 1e30]])))
    assert long.isotropy == 0.0 and long.cosine_mean == pytest.approx(0.0)
    with_zero = model().vectors.copy()
    with_zero[3] = 0
    found = vector_statistics(WordVectors(model().words, with_zero), n_hubness_words=40)
    assert found.n_hubness_words == 39 and found.n_zero_vectors == 1
    for each in (one, zeros, long, found):
        json.dumps(each.as_json(), allow_nan=False)


def test_json_has_six_digits() -> None:
    plain = vector_statistics(model()).as_json()
    assert plain["n_words"] == 80 and len(str(plain["isotropy"]).lstrip("0.")) <= 6
