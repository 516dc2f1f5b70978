"""The vector kernels of skip-gram and CBOW, against the same twins as the plain ones."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.kernel_cases import Case, zipf_case
from reference.negative_sampling import NO_LIMITS, Limits
from reference.negative_sampling import train_cbow as reference_cbow
from reference.negative_sampling import train_skipgram as reference_skipgram
from vecmill.kernels.cbow import train_cbow
from vecmill.kernels.negative_sampling import PlainWorkspace, make_workspace
from vecmill.kernels.sigmoid import sigmoid_table
from vecmill.kernels.skipgram import train_skipgram
from vecmill.kernels.windows import VectorWorkspace

TRAINERS = {
    "skipgram": (train_skipgram, (), reference_skipgram, {}),
    "cbow": (train_cbow, (True,), reference_cbow, {"exact_gradient": True}),
    "cbow, word2vec gradient": (train_cbow, (False,), reference_cbow, {"exact_gradient": False}),
}


def vector_case(**options):
    return zipf_case(**{"dim": 32, "dtype": np.float32} | options)


def assert_twin_agrees(name, case, twin, rates=(0.3, 0.1), limits=NO_LIMITS):
    """Train the case with the vector kernel (compiled code only), and the twin, float64, beside it."""
    kernel, extra, reference, options = TRAINERS[name]
    loss, n_pairs = case.run(kernel, *extra, limits.l2, limits.gradient_clip, rates=rates, table=sigmoid_table())
    slope = (rates[1] - rates[0]) / max(1, case.token_ids.size)
    twin_loss, twin_pairs = reference(
        twin.examples(), twin.center_vectors, twin.context_vectors, lambda p: rates[0] + slope * p, limits, **options
    )
    assert n_pairs == twin_pairs
    assert loss == pytest.approx(twin_loss, rel=2e-6)
    np.testing.assert_allclose(case.center_vectors, twin.center_vectors, atol=2e-5)
    np.testing.assert_allclose(case.context_vectors, twin.context_vectors, atol=2e-5)
    return n_pairs


def pair_of_cases(**options):
    case, twin = vector_case(**options), vector_case(**options, dtype=np.float64)
    twin.center_vectors[:], twin.context_vectors[:] = case.center_vectors, case.context_vectors
    return case, twin


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("dynamic_window", [True, False])
def test_vectors_and_loss_are_the_twins(name, dynamic_window):
    assert assert_twin_agrees(name, *pair_of_cases(dynamic_window=dynamic_window)) > 10


@pytest.mark.parametrize("limits", [NO_LIMITS, Limits(0.1, 0.5)], ids=repr)
@pytest.mark.parametrize("name", ["skipgram", "cbow"])
def test_words_drawn_again_and_the_centre_word_in_blocks_of_outputs(name, limits):
    assert_twin_agrees(name, *pair_of_cases(n_negatives=40, dim=16), rates=(0.02, 0.02), limits=limits)


# the cases are small and their words repeated: rows stand twice among inputs and among outputs
@pytest.mark.parametrize("limits", [Limits(l2=0.2), Limits(gradient_clip=0.8), Limits(0.1, 0.5)], ids=repr)
@pytest.mark.parametrize("name", TRAINERS)
def test_weight_decay_and_clipped_gradients_are_the_twins(name, limits):
    assert assert_twin_agrees(name, *pair_of_cases(), limits=limits) > 10


# 1 + negatives: two inputs a block up to 8, one beyond, two vectors of scores beyond 16, blocks of outputs beyond 32
@pytest.mark.parametrize("n_negatives", [1, 7, 8, 15, 20, 40])
@pytest.mark.parametrize("name", ["skipgram", "cbow"])
def test_any_number_of_negatives(name, n_negatives):
    # 300 words: without many repeated negatives, which have tests of their own
    assert_twin_agrees(name, *pair_of_cases(n_negatives=n_negatives, n_words=300, dim=16, sample=0.0))


@pytest.mark.parametrize("dim", [16, 48, 112])
def test_any_padded_length(dim):
    assert_twin_agrees("skipgram", *pair_of_cases(dim=dim), rates=(0.05, 0.05))


SENTENCES = {
    "no sentence": ([], 3),
    "empty sentences": ([[], [], []], 3),
    "one token": ([[2]], 3),
    "one-word vocabulary": ([[0, 0, 0]], 1),
    "fewer words than negatives": ([[1, 0], [0, 1, 1]], 2),
    "ids at the limits": ([[4, 0], [4, 4, 0]], 5),
}


@pytest.mark.parametrize("edge", SENTENCES)
@pytest.mark.parametrize("name", ["skipgram", "cbow"])
def test_twin_agrees_at_the_edges(name, edge):
    sentences, n_words = SENTENCES[edge]
    options = {"dim": 16, "n_negatives": 5, "sample": 0.0}
    case, twin = Case(sentences, n_words, dtype=np.float32, **options), Case(sentences, n_words, **options)
    n_pairs = assert_twin_agrees(name, case, twin, rates=(0.1, 0.1))
    assert (n_pairs == 0) == (edge in ["no sentence", "empty sentences", "one token"])


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), name=st.sampled_from(["skipgram", "cbow"]))
def test_corpus_may_be_cut_anywhere_and_every_bit_stays(cuts, name):
    kernel, extra, *_ = TRAINERS[name]
    whole, pieces = vector_case(), vector_case()
    n_tokens = whole.token_ids.size
    _, expected_pairs = whole.run(kernel, *extra, rates=(0.2, 0.2))
    bounds = [0, *sorted(min(cut, n_tokens) for cut in cuts), n_tokens]
    parts = [pieces.run(kernel, *extra, rates=(0.2, 0.2), first=first, last=last) for first, last in pairwise(bounds)]
    assert sum(n_pairs for _, n_pairs in parts) == expected_pairs
    np.testing.assert_array_equal(pieces.center_vectors, whole.center_vectors)
    np.testing.assert_array_equal(pieces.context_vectors, whole.context_vectors)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("matrix", ["center_vectors", "context_vectors"])
@pytest.mark.parametrize("name", ["skipgram", "cbow"])
def test_numbers_that_are_not_finite_show_in_the_loss(name, matrix, bad):
    kernel, extra, *_ = TRAINERS[name]
    case = vector_case()
    getattr(case, matrix)[case.token_ids[-1]] = bad
    loss, _ = case.run(kernel, *extra, rates=(0.01, 0.01))
    assert not np.isfinite(loss)


@pytest.mark.parametrize("large", [-90.0, -20.0, 20.0, 90.0, 1e4])
def test_scores_far_out_stay_exact(large):
    case, twin = pair_of_cases(sample=0.0)
    for each in (case, twin):
        each.center_vectors[:], each.context_vectors[:] = 0, 0
        each.center_vectors[:, 3], each.context_vectors[:, 3] = 1, large
    assert_twin_agrees("skipgram", case, twin, rates=(0.0, 0.0))


@pytest.mark.parametrize(
    ("options", "is_vector"),
    [({}, True), ({"row_length": 40}, False), ({"n_negatives": 300}, True), ({"dtype": np.float64}, False)],
)
def test_workspace_decides(options, is_vector):
    usual = {"chunk_tokens": 10, "window": 2, "n_negatives": 5, "row_length": 48}
    assert isinstance(make_workspace(**usual | options), VectorWorkspace if is_vector else PlainWorkspace)
