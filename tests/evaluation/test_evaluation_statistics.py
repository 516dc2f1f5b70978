"""Rank correlation against scipy, and the bootstrap against a plain one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from vecmill.evaluation.statistics import mean_ranks, pearson, percentile_interval, spearman, spearman_resamples

# Few different values give many ties.
columns = st.integers(2, 40).flatmap(
    lambda n: st.tuples(*[hnp.arrays(np.float64, n, elements=st.integers(-3, 3) | st.floats(-1e6, 1e6))] * 2)
)


@settings(deadline=None)
@given(columns)
def test_same_as_scipy(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = drawn
    assert mean_ranks(x).tolist() == stats.rankdata(x).tolist()
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert spearman(x, y) is None and pearson(x, y) is None
        return
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 10, 353, 3000])
@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_same_as_scipy_on_benchmark_like_data(n: int, decimals: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    y = np.round(x + rng.normal(size=n), decimals) + np.arange(n) * 1e-12 * (n < 4)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)


@given(columns, st.sampled_from([1e-300, 1e-5, 1e5, 1e300]))
def test_never_nan_and_never_beyond_one(drawn: tuple[np.ndarray, np.ndarray], factor: float) -> None:
    x, y = drawn
    for each in (spearman(x, y), pearson(x * factor, y), pearson(x, y * factor)):
        assert each is None or -1.0 <= each <= 1.0


def test_undefined_coefficients_are_none() -> None:
    for n in (0, 1):
        assert spearman(np.zeros(n), np.zeros(n)) is None and pearson(np.zeros(n), np.zeros(n)) is None
    assert spearman(np.ones(5), np.arange(5.0)) is None and pearson(np.arange(5.0), np.ones(5)) is None
    assert pearson(np.array([1e308, -1e308, 0]), np.array([1.0, -1, 0])) == pytest.approx(1.0)


def plain_resamples(x: np.ndarray, y: np.ndarray, n_resamples: int, rng: np.random.Generator) -> list[float]:
    """One resample after the other, each ranked by scipy."""
    found = []
    for row in rng.integers(0, len(x), size=(n_resamples, len(x))):
        if len(set(x[row])) > 1 and len(set(y[row])) > 1:
            found.append(stats.spearmanr(x[row], y[row]).statistic)
    return found


@pytest.mark.parametrize(("n", "n_values"), [(3, 3), (5, 2), (40, 4), (200, 10**9)])
def test_resamples_are_those_of_a_plain_bootstrap(n: int, n_values: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.integers(0, n_values, size=(2, n)).astype(float)
    x[:2], y[:2] = (0, 1), (1, 0)
    found = spearman_resamples(x, y, 200, np.random.default_rng(7))
    plain = plain_resamples(x, y, 200, np.random.default_rng(7))
    assert found == pytest.approx(plain, abs=1e-12)


def test_resamples_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(2, 60))
    monkeypatch.setattr("vecmill.evaluation.statistics._BLOCK_ITEMS", 60 * 7)
    found = spearman_resamples(x, y, 100, np.random.default_rng(1))
    assert found == pytest.approx(plain_resamples(x, y, 100, np.random.default_rng(1)), abs=1e-12)


def test_interval_by_hand() -> None:
    interval = percentile_interval(np.arange(101) / 100, 0.9)
    assert interval is not None
    assert (interval.lower, interval.upper) == (pytest.approx(0.05), pytest.approx(0.95))
    assert percentile_interval(np.empty(0), 0.9) is None


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 300 samples of 80 pairs, about 90 % have the population's coefficient inside their 90 % interval."""
    rng = np.random.default_rng(20)
    correlation = 0.6
    truth = 6 / np.pi * np.arcsin(correlation / 2)  # Spearman's coefficient of a bivariate normal
    n_inside = 0
    for _ in range(300):
        x, noise = rng.normal(size=(2, 80))
        interval = percentile_interval(
            spearman_resamples(x, correlation * x + np.sqrt(1 - correlation**2) * noise, 300, rng), 0.9
        )
        assert interval is not None
        n_inside += interval.lower <= truth <= interval.upper
    # four binomial standard deviations (0.017) around 0.9, and a little for the percentile method's known shortfall
    assert 0.9 - 0.08 < n_inside / 300 < 0.9 + 0.07


def test_more_pairs_make_a_narrower_interval() -> None:
    rng = np.random.default_rng(21)
    widths = []
    for n in (50, 500, 5000):
        x, noise = rng.normal(size=(2, n))
        interval = percentile_interval(spearman_resamples(x, x + noise, 200, rng), 0.95)
        assert interval is not None
        widths.append(interval.upper - interval.lower)
    assert widths[0] > 1.7 * widths[1] > 1.7**2 * widths[2]
