"""The paired bootstrap's kernel: against scipy, item by item, and without compilation."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from reference.bootstrap import plain_resamples
from vecmill.evaluation.resampling import paired_resamples


def sample(n: int, n_columns: int, n_values: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratings and columns with as many ties as ``n_values`` forces, and strata of unequal size in mixed order."""
    rng = np.random.default_rng(seed)
    ratings = rng.integers(0, n_values, n).astype(float)
    columns = rng.integers(0, n_values, (n_columns, n)) + 0.5 * ratings
    strata = np.where(rng.random(n) < 0.3, 7, 2)
    return ratings, columns, strata


@pytest.mark.parametrize(("n", "n_columns", "n_values"), [(1, 1, 5), (2, 2, 2), (7, 3, 3), (40, 2, 4), (353, 2, 10**9)])
def test_same_as_scipy_on_the_same_draws(n: int, n_columns: int, n_values: int) -> None:
    ratings, columns, strata = sample(n, n_columns, n_values)
    found = paired_resamples(ratings, columns, strata, 30, [5, 6])
    plain = plain_resamples(ratings, columns, strata, 30, [5, 6])
    assert found.shape == (30, n_columns)
    np.testing.assert_allclose(found, plain, atol=1e-12, equal_nan=True)


def test_constant_columns_rank_nothing_and_constant_ratings_give_nan() -> None:
    ratings = np.arange(20.0)
    found = paired_resamples(ratings, np.array([np.ones(20), ratings]), np.zeros(20, np.int64), 50, [1])
    assert (found[:, 0] == 0).all() and found[:, 1] == pytest.approx(np.ones(50))
    assert np.isnan(paired_resamples(np.ones(20), ratings[None], np.zeros(20, np.int64), 5, [1])).all()


def test_draws_depend_on_the_seed_alone() -> None:
    ratings, columns, strata = sample(60, 2, 10**6)
    once = paired_resamples(ratings, columns, strata, 700, [1, 2], threads=1)
    assert (paired_resamples(ratings, columns, strata, 700, [1, 2], threads=2) == once).all()
    assert (paired_resamples(ratings, columns[::-1], strata, 700, [1, 2])[:, ::-1] == once).all()
    assert not (paired_resamples(ratings, columns, strata, 700, [1, 3]) == once).all()


def test_strata_keep_their_sizes() -> None:
    """A stratum of its own for the only item that matters: it is in every resample, so nothing is ever constant."""
    ratings, column = np.zeros(30), np.zeros(30)
    ratings[4] = column[4] = 1.0
    strata = np.zeros(30, np.int64)
    strata[4] = 1
    assert paired_resamples(ratings, column[None], strata, 200, [1])[:, 0] == pytest.approx(np.ones(200))
    assert np.isnan(paired_resamples(ratings, column[None], np.zeros(30, np.int64), 200, [1])).any()


def test_standard_error_is_that_of_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(8)
    ratings = rng.normal(size=120)
    columns = ratings + rng.normal(size=(2, 120))
    found = paired_resamples(ratings, columns, np.zeros(120, np.int64), 4000, [9])
    peer = stats.bootstrap(
        (ratings, *columns),
        lambda r, a, b: stats.spearmanr(r, b).statistic - stats.spearmanr(r, a).statistic,
        paired=True,
        vectorized=False,
        n_resamples=600,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    # 600 resamples know a standard deviation to 3 %
    assert np.std(found[:, 1] - found[:, 0]) == pytest.approx(peer.standard_error, rel=0.12)


def test_kernel_works_uncompiled() -> None:
    code = (
        "import numpy as np\n"
        "from vecmill.evaluation.resampling import paired_resamples\n"
        "r = np.arange(9.0)\n"
        "print(paired_resamples(r, np.array([r, -r]), np.arange(9) % 2, 3, [1]).round(6).tolist())"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::IndexError", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[[1.0, -1.0], [1.0, -1.0], [1.0, -1.0]]", done.stderr
