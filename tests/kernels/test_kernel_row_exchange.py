import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.kernels.row_exchange import add_rows, add_weighted, follow_rows, gather_changes, settle_rows


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**32), st.integers(0, 9), st.integers(1, 5))
def test_rows_move_as_numpy_moves_them(seed, n, dim):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(9)[:n]
    replica, reference = rng.normal(size=(2, 9, dim + 2)).astype(np.float32)
    changes = np.empty((n, dim), np.float32)
    gather_changes(rows, replica, reference, changes)
    np.testing.assert_array_equal(changes, replica[rows, :dim] - reference[rows, :dim])

    weights, target = rng.normal(size=n).astype(np.float32), reference.copy()
    expected = target.copy()
    expected[rows, :dim] += weights[:, np.newaxis] * changes
    add_weighted(rows, weights, changes, target)
    np.testing.assert_allclose(target, expected, rtol=1e-5, atol=1e-6)

    target, expected = reference.copy(), reference.copy()
    expected[rows, :dim] += changes
    add_rows(rows, changes, target)
    np.testing.assert_array_equal(target, expected)

    remainders = rng.random(9) < 0.5
    followed, expected = replica.copy(), replica.copy()
    for row, change in zip(rows, changes, strict=True):
        expected[row, :dim] = replica[row, :dim] + change if remainders[row] else reference[row, :dim]
    follow_rows(rows, changes, remainders, reference, followed)
    np.testing.assert_array_equal(followed, expected)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.sampled_from([0.0, 1e-9, 0.01, 3.0]))
def test_settled_rows_are_the_formula(seed, n_threads, step):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(7, 3))
    own, seen = rng.normal(size=(2, 5, 3))
    touches = rng.integers(0, 30, 5).astype(float)
    x = step * touches
    weights = [np.expm1(-n_threads * each) / np.expm1(-each) / n_threads if each else 1 for each in x]
    expected = shared.copy()
    expected[:5] += np.array(weights)[:, np.newaxis] * (own - seen)
    settle_rows(shared, own, seen, touches, step, n_threads)
    np.testing.assert_allclose(shared, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(own, shared[:5])
    np.testing.assert_array_equal(seen, own)


@pytest.mark.parametrize("touches", [1e-3, 5, 1e4])
def test_threads_pulled_alike_come_as_far_as_one_that_makes_all_their_steps(touches):
    shared, target, step = np.zeros((1, 1)), 7.0, 0.1
    for _ in range(4):
        own, seen = np.full((1, 1), target * -np.expm1(-step * touches)), np.zeros((1, 1))
        settle_rows(shared, own, seen, np.array([float(touches)]), step, 4)
    assert shared[0, 0] == pytest.approx(target * -np.expm1(-step * 4 * touches), rel=1e-6)
