from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.kernel_cases import Case, numeric_gradient, zipf_case
from reference.negative_sampling import Limits
from reference.negative_sampling import train_cbow as reference_cbow
from vecmill.kernels.cbow import train_cbow
from vecmill.kernels.sigmoid import sigmoid_table


def line(case, first_rate, last_rate):
    return lambda position: first_rate + (last_rate - first_rate) * position / case.token_ids.size


@pytest.mark.parametrize("exact_gradient", [True, False])
@pytest.mark.parametrize("dynamic_window", [True, False])
def test_twin_gives_the_same_vectors_and_loss(exact_gradient, dynamic_window):
    ours, twin = (zipf_case(dynamic_window=dynamic_window) for _ in range(2))
    loss, n_pairs = ours.run(train_cbow, exact_gradient, rates=(0.3, 0.1))
    twin_loss, twin_pairs = reference_cbow(
        twin.examples(),
        twin.center_vectors,
        twin.context_vectors,
        line(twin, 0.3, 0.1),
        exact_gradient=exact_gradient,
    )
    assert n_pairs == twin_pairs > 10
    assert loss == pytest.approx(twin_loss, rel=1e-10)
    np.testing.assert_allclose(ours.center_vectors, twin.center_vectors, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, rtol=1e-9, atol=1e-12)


def test_twin_is_close_in_float32_with_the_table():
    ours, twin = zipf_case(dtype=np.float32), zipf_case()
    ours.run(train_cbow, True, rates=(0.05, 0.05), table=sigmoid_table())
    reference_cbow(
        twin.examples(), twin.center_vectors, twin.context_vectors, line(twin, 0.05, 0.05), exact_gradient=True
    )
    np.testing.assert_allclose(ours.center_vectors, twin.center_vectors, atol=2e-3)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, atol=2e-3)


def test_step_is_the_gradient_of_the_loss():
    case, rate = zipf_case(), 1e-8
    expected = [
        numeric_gradient(case, lambda: case.run(train_cbow, True, rates=(0.0, 0.0))[0], matrix)
        for matrix in (case.center_vectors, case.context_vectors)
    ]
    before = case.center_vectors.copy(), case.context_vectors.copy()
    case.run(train_cbow, True, rates=(rate, rate))
    for old, new, gradient in zip(before, (case.center_vectors, case.context_vectors), expected, strict=True):
        assert np.abs(gradient).max() > 0.5
        np.testing.assert_allclose((old - new) / rate, gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("position", [0, 3, 6])
def test_word2vec_step_is_the_gradient_times_the_words_around(position):
    sentence = [6, 2, 2, 7, 0, 5, 1]
    settings_of_case = {"window": 2, "dynamic_window": False, "sample": 0.0}
    case, rate = Case([sentence], 8, **settings_of_case), 1e-8
    place = {"first": position, "last": position + 1}
    expected = [
        numeric_gradient(case, lambda: case.run(train_cbow, False, rates=(0.0, 0.0), **place)[0], matrix)
        for matrix in (case.center_vectors, case.context_vectors)
    ]
    before = case.center_vectors.copy(), case.context_vectors.copy()
    case.run(train_cbow, False, rates=(rate, rate), **place)
    n_around = len(sentence[max(0, position - 2) : position + 3]) - 1
    np.testing.assert_allclose((before[0] - case.center_vectors) / rate, n_around * expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose((before[1] - case.context_vectors) / rate, expected[1], rtol=1e-5, atol=1e-6)
    assert np.abs(expected[0]).max() > 0.01


@pytest.mark.parametrize("limits", [Limits(l2=0.2), Limits(gradient_clip=0.8), Limits(0.1, 0.5)], ids=repr)
def test_twin_decays_and_clips_alike(limits):
    ours, twin, free = (zipf_case() for _ in range(3))
    ours.run(train_cbow, True, limits.l2, limits.gradient_clip, rates=(0.3, 0.1))
    free.run(train_cbow, True, rates=(0.3, 0.1))
    reference_cbow(
        twin.examples(), twin.center_vectors, twin.context_vectors, line(twin, 0.3, 0.1), limits, exact_gradient=True
    )
    np.testing.assert_allclose(ours.center_vectors, twin.center_vectors, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, rtol=1e-9, atol=1e-12)
    assert np.abs(ours.center_vectors - free.center_vectors).max() > 0.01


def test_weight_decay_is_the_gradient_of_half_the_squares_of_the_rows_that_change():
    l2, rate = 0.3, 1e-8
    case = Case([[6, 2, 7, 0, 5, 1]], 8, window=2, dynamic_window=False, sample=0.0)
    place = {"first": 2, "last": 3}

    def loss():
        rows = case.center_vectors[[6, 2, 0, 5]], case.context_vectors[[7, *case.examples()[2].negatives]]
        squares = sum(np.square(each).sum() for each in (rows[0], np.unique(rows[1], axis=0)))
        return case.run(train_cbow, True, rates=(0.0, 0.0), **place)[0] + l2 / 2 * squares

    expected = [numeric_gradient(case, loss, matrix) for matrix in (case.center_vectors, case.context_vectors)]
    before = case.center_vectors.copy(), case.context_vectors.copy()
    case.run(train_cbow, True, l2, rates=(rate, rate), **place)
    for old, new, gradient in zip(before, (case.center_vectors, case.context_vectors), expected, strict=True):
        assert np.abs(gradient).max() > 0.1
        np.testing.assert_allclose((old - new) / rate, gradient, rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6))
def test_corpus_may_be_cut_anywhere(cuts):
    whole, pieces = zipf_case(), zipf_case()
    n_tokens = whole.token_ids.size
    _, expected_pairs = whole.run(train_cbow, True, rates=(0.2, 0.2))
    bounds = [0, *sorted(min(cut, n_tokens) for cut in cuts), n_tokens]
    parts = [pieces.run(train_cbow, True, rates=(0.2, 0.2), first=first, last=last) for first, last in pairwise(bounds)]
    assert sum(n_pairs for _, n_pairs in parts) == expected_pairs
    np.testing.assert_array_equal(pieces.center_vectors, whole.center_vectors)
    np.testing.assert_array_equal(pieces.context_vectors, whole.context_vectors)


EDGES = {
    "no sentence": Case([], 3),
    "empty sentences": Case([[], [], []], 3),
    "one token": Case([[2]], 3),
    "one-word vocabulary": Case([[0, 0, 0]], 1, sample=0.0),
    "all words sub-sampled away": Case([[2, 0, 1, 1], [1, 2]], 3, sample=1e-12),
    "fewer words than negatives": Case([[1, 0], [0, 1, 1]], 2, n_negatives=20, sample=0.0),
    "ids at the limits": Case([[4, 0], [4, 4, 0]], 5, sample=0.0),
}


@pytest.mark.parametrize("name", EDGES)
def test_twin_agrees_at_the_edges(name):
    case = EDGES[name]
    twin = Case(case.sentences, case.n_words, case.dim, case.window, case.dynamic_window, case.n_negatives, case.sample)
    loss, n_pairs = case.run(train_cbow, True, rates=(0.1, 0.1))
    twin_loss, twin_pairs = reference_cbow(
        twin.examples(), twin.center_vectors, twin.context_vectors, line(twin, 0.1, 0.1), exact_gradient=True
    )
    assert (n_pairs == 0) == (name in ["no sentence", "empty sentences", "one token", "all words sub-sampled away"])
    assert n_pairs == twin_pairs
    assert loss == pytest.approx(twin_loss, rel=1e-10)
    np.testing.assert_allclose(case.center_vectors, twin.center_vectors, rtol=1e-9)
    np.testing.assert_allclose(case.context_vectors, twin.context_vectors, rtol=1e-9)
