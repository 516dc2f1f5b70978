import numpy as np
import pytest
from scipy.special import expit, log_expit

from vecmill.kernels.sigmoid import exact_sigmoid, sigmoid_and_loss, sigmoid_table

POINTS = np.concatenate([np.linspace(-7, 7, 2001), [-40.0, 40.0, -6.0, 6.0, 0.0]])


def test_table_is_as_close_as_it_says():
    table = sigmoid_table()
    values, losses = np.array([sigmoid_and_loss(np.float32(x), table) for x in POINTS]).T
    assert np.abs(values - expit(POINTS)).max() <= 0.0030
    assert np.abs(losses - -log_expit(POINTS)).max() <= 0.0060


def test_exact_is_exact():
    table = exact_sigmoid()
    values, losses = np.array([sigmoid_and_loss(x, table) for x in POINTS]).T
    np.testing.assert_allclose(values, expit(POINTS), rtol=1e-12)
    np.testing.assert_allclose(losses, -log_expit(POINTS), rtol=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_just_below_the_limit_stays_inside_the_table(dtype, compiled):
    """In float64 adding the limit rounds up to the end of the table, unless the compiler fuses it away."""
    function = sigmoid_and_loss if compiled else getattr(sigmoid_and_loss, "py_func", sigmoid_and_loss)
    table, below = sigmoid_table(dtype), np.nextafter(dtype(6), dtype(0))
    assert function(below, table)[0] == table.sigmoids[-1]
    assert function(-below, table)[0] == table.sigmoids[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows(bad):
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(sigmoid_and_loss(np.float32(bad), sigmoid_table())[1])
