import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.kernels.row_exchange import add_rows, add_weighted, follow_rows, gather_changes


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
