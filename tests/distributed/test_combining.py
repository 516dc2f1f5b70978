import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.distributed.combine import RowChanges, combined, go_on_share
from vecmill.distributed.precision import WIRE_TYPES, restored, shortened


def changes(ids, touches, values):
    return RowChanges(np.array(ids, np.int32), np.array(touches, np.int32), np.array(values, np.float32))


@st.composite
def parts_of_workers(draw):
    """Some workers' changes to some of ten rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        ids = np.flatnonzero(rng.random(10) < draw(st.sampled_from([0.0, 0.3, 1.0])))
        values = rng.normal(size=(ids.size, 3)).astype(np.float32)
        parts.append(changes(ids, rng.integers(1, draw(st.sampled_from([2, 1000])), ids.size), values))
    return parts


@settings(deadline=None)  # the first call compiles
@given(parts_of_workers(), st.floats(0, 10))
def test_equals_the_formula(parts, step):
    together, shares = combined(parts, len(parts), step)
    assert together.ids.tolist() == sorted({row for each in parts for row in each.ids.tolist()})
    for row, touches, value in zip(*together, strict=True):
        mine = [(n, d) for each in parts for r, n, d in zip(*each, strict=True) if r == row]
        total = sum(n for n, _ in mine)

        def g(n, step=step):
            return -np.expm1(-step * n) / (step * n) if step * n > 0 else 1.0

        expected = sum(g(int(total)) / g(int(n)) * d.astype(np.float64) for n, d in mine)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
        assert touches == total
        share = sum(n * g(int(total)) / g(int(n)) for n, _ in mine) / total
        assert shares[together.ids.tolist().index(row)] == pytest.approx(share, rel=1e-4)
        assert share <= 1 + 1e-6


@settings(deadline=None)  # the first call compiles
@given(parts_of_workers(), st.floats(0, 10))
def test_a_row_that_one_worker_touched_moves_by_all_of_its_change(parts, step):
    together, _ = combined(parts, len(parts), step)
    for row, _, value in zip(*together, strict=True):
        mine = [d for each in parts for r, _, d in zip(*each, strict=True) if r == row]
        if len(mine) == 1:
            np.testing.assert_array_equal(value, mine[0])


def test_rare_rows_move_by_the_sum_and_frequent_ones_by_the_weighted_mean():
    rare = [changes([0], [1], [[1.0, 0]]), changes([0], [1], [[0, 3.0]])]
    np.testing.assert_allclose(combined(rare, 2, 1e-6)[0].values, [[1, 3]], rtol=1e-5)
    often = [changes([0], [1_000], [[1.0, 0]]), changes([0], [3_000], [[0, 3.0]])]
    np.testing.assert_allclose(combined(often, 2, 1.0)[0].values, [[0.25, 2.25]], rtol=1e-5)


@settings(deadline=None)  # the first call compiles
@given(st.integers(1, 500), st.integers(1, 16), st.floats(1e-4, 0.5))
def test_workers_that_are_pulled_alike_come_as_far_as_one_that_reads_it_all(touches, n_workers, step):
    # rows are pulled to 1 from 0, a share 1 - exp(-step) of what is left with each touch
    part = changes([0], [touches], [[-np.expm1(-step * touches)]])
    together = combined([part] * n_workers, n_workers, step)[0].values[0, 0]
    assert together == pytest.approx(-np.expm1(-step * touches * n_workers), rel=1e-4)
    assert together <= 1.0001  # the sum would be up to n_workers


def test_mean_and_sum_are_what_they_are_called():
    parts = [changes([1], [5], [[2.0]]), changes([1, 4], [5, 1], [[4.0], [8.0]])]
    assert combined(parts, 4, 0.1, "mean")[0].values.tolist() == [[1.5], [2.0]]
    assert combined(parts, 4, 0.1, "sum")[0].values.tolist() == [[6.0], [8.0]]


def test_a_remainder_without_touches_travels_whole():
    assert go_on_share(np.array([0, 0]), 0.3).tolist() == [1, 1]
    assert combined([changes([2], [0], [[0.5]])], 2, 0.3)[0].values.tolist() == [[0.5]]


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(st.floats(-(2.0**99), 2.0**99, width=32), max_size=20), st.sampled_from(["bfloat16", "float16", "float32"])
)
def test_shortened_numbers_are_the_nearest(values, precision):
    numbers = np.array(values, np.float32)
    sent = shortened(numbers, precision)
    assert sent.dtype == WIRE_TYPES[precision]
    back = restored(sent, precision)
    if precision == "float32":
        np.testing.assert_array_equal(back, numbers)
    elif precision == "bfloat16":
        assert (np.abs(back - numbers) <= np.abs(numbers) * 2**-8 + 1e-38).all()
    else:
        inside = np.abs(numbers) < 65_504
        assert (np.abs(back - numbers)[inside] <= np.abs(numbers[inside]) * 2**-10 + 1e-7).all()
        assert np.isfinite(back).all()


def test_bfloat16_equals_torch():
    torch = pytest.importorskip("torch")
    numbers = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    expected = torch.from_numpy(numbers).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(restored(shortened(numbers, "bfloat16"), "bfloat16"), expected)
    assert np.isnan(restored(shortened(np.array([np.nan], np.float32), "bfloat16"), "bfloat16")).all()
