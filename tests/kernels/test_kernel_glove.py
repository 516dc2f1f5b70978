import numpy as np
import pytest

from reference import glove as twin
from vecmill.kernels.cooccurrence import PAIR
from vecmill.kernels.glove import train_glove
from vecmill.words.glove_model import initial_glove

N_WORDS, DIM, SETTINGS = 6, 5, {"x_max": 7.0, "alpha": 0.6}
# word 5 only with itself, both sides of x_max, columns above and below rows
PAIRS = np.array(
    [(4, 1, 30.5), (4, 4, 2.0), (2, 0, 0.25), (3, 3, 7.0), (1, 4, 3.5), (4, 1, 1.0), (5, 5, 0.125), (0, 0, 900.0)], PAIR
)


def model(dtype=np.float64, learning_rate=0.05, dim=DIM):
    """Larger vectors than at the start of a training, so that products and biases matter."""
    made = initial_glove(N_WORDS, dim, learning_rate, np.random.default_rng(3), dtype)
    for side, bias in ((made.center, dim), (made.context, dim + 1)):
        side[:, 0, :dim] *= 8
        side[:, 0, bias] *= 8
    return made


def plain(made):
    """center, context, center_bias, context_bias as arrays of their own."""
    dim = made.dim
    return (
        made.center[:, 0, :dim].copy(),
        made.context[:, 0, :dim].copy(),
        made.center[:, 0, dim].copy(),
        made.context[:, 0, dim + 1].copy(),
    )


def entries(pairs, symmetric):
    found = []
    for row, col, value in pairs.tolist():
        found.append((row, col, value))
        if symmetric and row != col:
            found.append((col, row, value))
    return found


@pytest.mark.parametrize("learning_rate", [0.02, 0.1])
@pytest.mark.parametrize("symmetric", [True, False])
def test_twin_takes_the_same_steps(symmetric, learning_rate):
    ours = model(learning_rate=learning_rate)
    expected = plain(ours)
    pairs = np.concatenate([PAIRS] * 3)
    loss, n_updates = train_glove(pairs, ours.center, ours.context, *SETTINGS.values(), symmetric)
    learned = entries(pairs, symmetric)
    expected_loss = twin.train(learned, *expected, learning_rate=learning_rate, **SETTINGS)
    assert n_updates == len(learned) == (36 if symmetric else 24)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    for found, wanted in zip(plain(ours), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)


def test_twin_is_close_in_float32():
    ours = model(np.float32)
    expected = [each.astype(np.float64) for each in plain(ours)]
    loss, _ = train_glove(PAIRS, ours.center, ours.context, *SETTINGS.values(), True)
    assert loss == pytest.approx(twin.train(entries(PAIRS, True), *expected, learning_rate=0.05, **SETTINGS), rel=1e-5)
    for found, wanted in zip(plain(ours), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_twin_of_ones_and_padding_never_change(dtype):
    ours = model(dtype)
    for _ in range(50):
        train_glove(PAIRS, ours.center, ours.context, *SETTINGS.values(), True)
    for side, one in ((ours.center, DIM + 1), (ours.context, DIM)):
        assert (side[:, 0, one] == 1).all()
        assert not side[:, 0, DIM + 2 :].any()


@pytest.mark.parametrize("pair", [(4, 1, 2.5), (3, 3, 90.0)])
def test_step_is_the_gradient_of_the_objective(pair):
    """AdaGrad's first step is learning_rate times the gradient, which finite differences give too."""
    rate = 1e-6
    ours = model(learning_rate=rate)
    parameters = plain(ours)
    gradients = []
    for values in parameters:
        gradient = np.empty_like(values)
        for place in np.ndindex(values.shape):
            kept, around = values[place], []
            for shift in (1e-6, -1e-6):
                values[place] = kept + shift
                around.append(twin.objective([pair], *parameters, **SETTINGS))
            values[place] = kept
            gradient[place] = (around[0] - around[1]) / 2e-6
        gradients.append(gradient)
    before = plain(ours)
    train_glove(np.array([pair], PAIR), ours.center, ours.context, *SETTINGS.values(), False)
    for old, new, gradient in zip(before, plain(ours), gradients, strict=True):
        assert np.abs(gradient).max() > 0.05
        np.testing.assert_allclose((old - new) / rate, gradient, rtol=1e-5, atol=1e-8)


def test_no_pairs_is_no_work():
    ours = model(np.float32)
    before = ours.center.copy()
    assert train_glove(np.empty(0, PAIR), ours.center, ours.context, 100.0, 0.75, True) == (0.0, 0)
    np.testing.assert_array_equal(ours.center, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_show_in_the_loss(bad):
    ours = model(np.float32)
    ours.context[1, 0, 2] = bad
    with np.errstate(invalid="ignore", over="ignore"):
        loss, _ = train_glove(PAIRS, ours.center, ours.context, 100.0, 0.75, True)
    assert not np.isfinite(loss)
