"""The two subword kernels: against their NumPy twins, their losses' gradients, and at the edges."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import subwords as twins
from reference.kernel_cases import DRAW_KEY, KEEP_KEY, Case, numeric_gradient, zipf_case
from vecmill.kernels.sigmoid import exact_sigmoid, sigmoid_table
from vecmill.kernels.subword_cbow import train_subword_cbow
from vecmill.kernels.subword_rows import make_subword_rows, make_subword_workspace, vectors_of_row
from vecmill.kernels.subword_skipgram import train_subword_skipgram

KINDS = ["skipgram", "cbow"]
KERNELS = {"skipgram": train_subword_skipgram, "cbow": train_subword_cbow}
BOTH_KINDS = pytest.mark.parametrize("kind", KINDS)
BOTH_GRADIENTS = pytest.mark.parametrize("exact_gradient", [True, False])


class SubwordCase:
    """A case of the plain kernels and a few shared n-gram rows below the words'; a word may have none, or one twice."""

    def __init__(self, case: Case, n_ngram_rows: int = 9, most: int = 6, lists: list[list[int]] | None = None) -> None:
        self.case = case
        rng = np.random.default_rng(23)
        lists = lists or [
            [word_id, *(case.n_words + rng.integers(0, n_ngram_rows, rng.integers(0, most + 1)))]
            for word_id in range(case.n_words)
        ]
        self.subwords = make_subword_rows(
            np.cumsum([0, *map(len, lists)]).astype(np.int64), np.array([r for each in lists for r in each], np.int32)
        )
        self.input_vectors = rng.normal(0, 0.9, (case.n_words + n_ngram_rows, case.dim)).astype(case.dtype)
        self.context_vectors = case.context_vectors

    def workspace(self, n_tokens):
        case = self.case
        return make_subword_workspace(
            chunk_tokens=n_tokens,
            window=case.window,
            n_negatives=case.n_negatives,
            row_length=case.dim,
            dtype=case.dtype,
        )

    def run(self, kind, exact_gradient, *, rates, first=0, last=None, table=None, l2=0.0, clip=0.0):
        case = self.case
        last = case.token_ids.size if last is None else last
        return KERNELS[kind](
            case.token_ids,
            case.sentence_offsets,
            int(np.searchsorted(case.sentence_offsets, first, side="right")) - 1,
            first,
            last,
            self.input_vectors,
            self.context_vectors,
            self.subwords,
            case.sampler,
            exact_sigmoid(case.dtype) if table is None else table,
            self.workspace(last - first),
            case.window,
            case.dynamic_window,
            case.n_negatives,
            *rates,
            KEEP_KEY,
            DRAW_KEY,
            exact_gradient,
            l2,
            clip,
        )

    def run_twin(self, kind, exact_gradient, *, rates, **more):
        case = self.case
        first_rate, last_rate = rates
        examples = case.examples()
        n_negatives = case.n_negatives
        if kind == "bags":
            train = twins.train_cbow_of_bags
        elif kind == "cbow":
            train, more = twins.train_cbow, {"window": case.window, **more}
        else:
            train, more = twins.train_skipgram, {"n_negatives": n_negatives, **more}
            # windows, too, are drawn from counters that leave room for the negatives of all pairs
            examples = twins.with_all_negatives(
                case.examples(n_negatives=2 * case.window * n_negatives),
                case.sampler,
                n_negatives=n_negatives,
                draw_key=DRAW_KEY,
                window=case.window,
            )
        return train(
            examples,
            self.subwords,
            self.input_vectors,
            self.context_vectors,
            lambda position: first_rate + (last_rate - first_rate) * position / case.token_ids.size,
            exact_gradient=exact_gradient,
            **more,
        )


@BOTH_KINDS
@BOTH_GRADIENTS
@pytest.mark.parametrize("dynamic_window", [True, False])
def test_twin_gives_the_same_vectors_and_loss(kind, exact_gradient, dynamic_window):
    ours, twin = (SubwordCase(zipf_case(dynamic_window=dynamic_window)) for _ in range(2))
    loss, n_pairs = ours.run(kind, exact_gradient, rates=(0.1, 0.03))
    twin_loss, twin_pairs = twin.run_twin(kind, exact_gradient, rates=(0.1, 0.03))
    assert n_pairs == twin_pairs > 10
    assert loss == pytest.approx(twin_loss, rel=1e-10)
    np.testing.assert_allclose(ours.input_vectors, twin.input_vectors, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, rtol=1e-8, atol=1e-11)


@BOTH_KINDS
@BOTH_GRADIENTS
@pytest.mark.parametrize(("dim", "n_negatives"), [(16, 4), (112, 5), (304, 18)])
def test_twin_is_close_to_vector_instructions(kind, exact_gradient, dim, n_negatives):
    settings = {"dim": dim, "n_negatives": n_negatives, "window": 4}
    ours, twin = SubwordCase(zipf_case(dtype=np.float32, **settings)), SubwordCase(zipf_case(**settings))
    assert vectors_of_row(ours.workspace(1), 0.0, 0.0) == (
        0 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else dim / 16
    )
    for each in (ours, twin):
        each.input_vectors *= 3 / dim**0.5
    loss, n_pairs = ours.run(kind, exact_gradient, rates=(0.02, 0.01))
    twin_loss, twin_pairs = twin.run_twin(kind, exact_gradient, rates=(0.02, 0.01))
    assert n_pairs == twin_pairs > 10
    assert loss == pytest.approx(twin_loss, rel=2e-6)
    np.testing.assert_allclose(ours.input_vectors, twin.input_vectors, atol=1e-5)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, atol=1e-5)


@BOTH_KINDS
@BOTH_GRADIENTS
@pytest.mark.parametrize(("l2", "clip"), [(0.3, 0.0), (0.0, 0.4), (0.2, 0.6)])
def test_twin_decays_and_clips_alike(kind, exact_gradient, l2, clip):
    plain, ours, twin = (SubwordCase(zipf_case(sample=0.5)) for _ in range(3))
    plain.run(kind, exact_gradient, rates=(0.1, 0.03))
    loss, _ = ours.run(kind, exact_gradient, rates=(0.1, 0.03), l2=l2, clip=clip)
    twin_loss, _ = twin.run_twin(kind, exact_gradient, rates=(0.1, 0.03), l2=l2, clip=clip)
    assert loss == pytest.approx(twin_loss, rel=1e-10)
    np.testing.assert_allclose(ours.input_vectors, twin.input_vectors, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, rtol=1e-8, atol=1e-11)
    assert np.abs(ours.input_vectors - plain.input_vectors).max() > 1e-3
    assert np.abs(ours.context_vectors - plain.context_vectors).max() > 1e-3


def test_clipped_gradients_are_no_longer_than_asked_for():
    case, rate, clip = SubwordCase(zipf_case(), most=0), 1e-6, 0.05
    before = case.input_vectors.copy(), case.context_vectors.copy()
    place = int(case.case.sentence_offsets[1])
    case.run("skipgram", False, rates=(rate, rate), first=place, last=place + 3, clip=clip)
    # each of the three windows may change a row once, and each of its pairs a context row
    most_changes = (3, 3 * 2 * case.case.window)
    for old, new, most in zip(before, (case.input_vectors, case.context_vectors), most_changes, strict=True):
        assert 0.5 * clip < np.linalg.norm(old - new, axis=1).max() / rate < most * clip * (1 + 1e-6)


def test_cbow_of_words_without_common_ngrams_is_that_of_bags():
    """What differs from fetching rows for each window is what words near by change in common n-grams, no more."""
    case = zipf_case(sample=0.5)
    lists = [[w, *(case.n_words + 2 * w + extra for extra in [0, 1, 1][: w % 4])] for w in range(case.n_words)]
    ours, twin = (SubwordCase(zipf_case(sample=0.5), n_ngram_rows=2 * case.n_words, lists=lists) for _ in range(2))
    loss, _ = ours.run("cbow", False, rates=(0.1, 0.03))
    twin_loss, _ = twin.run_twin("bags", False, rates=(0.1, 0.03))
    assert loss == pytest.approx(twin_loss, rel=1e-10)
    np.testing.assert_allclose(ours.input_vectors, twin.input_vectors, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, rtol=1e-8, atol=1e-11)


def test_cbow_with_common_ngrams_is_near_that_of_bags():
    ours, twin = SubwordCase(zipf_case()), SubwordCase(zipf_case())
    before = ours.input_vectors.copy()
    loss, _ = ours.run("cbow", False, rates=(1e-4, 1e-4))
    twin_loss, _ = twin.run_twin("bags", False, rates=(1e-4, 1e-4))
    assert loss == pytest.approx(twin_loss, rel=1e-3)
    moved = np.abs(twin.input_vectors - before).max()
    np.testing.assert_allclose(ours.input_vectors, twin.input_vectors, atol=0.01 * moved)


@BOTH_KINDS
def test_twin_is_close_in_float32_with_the_table(kind):
    ours, twin = SubwordCase(zipf_case(dtype=np.float32)), SubwordCase(zipf_case())
    loss, _ = ours.run(kind, False, rates=(0.01, 0.01), table=sigmoid_table())
    twin_loss, _ = twin.run_twin(kind, False, rates=(0.01, 0.01))
    assert loss == pytest.approx(twin_loss, rel=2e-3)
    np.testing.assert_allclose(ours.input_vectors, twin.input_vectors, atol=5e-3)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, atol=5e-3)


@BOTH_KINDS
def test_exact_step_is_the_gradient_of_the_loss(kind):
    case, rate = SubwordCase(zipf_case()), 1e-8
    matrices = case.input_vectors, case.context_vectors
    expected = [numeric_gradient(case, lambda: case.run(kind, True, rates=(0.0, 0.0))[0], each) for each in matrices]
    before = [each.copy() for each in matrices]
    case.run(kind, True, rates=(rate, rate))
    for old, new, gradient in zip(before, matrices, expected, strict=True):
        assert np.abs(gradient).max() > 0.5
        np.testing.assert_allclose((old - new) / rate, gradient, rtol=1e-5, atol=1e-5)


@BOTH_KINDS
@pytest.mark.parametrize("position", [0, 3, 6])
def test_fasttext_step_is_the_gradient_times_the_rows_of_the_input(kind, position):
    sentence = [6, 2, 2, 7, 0, 5, 1]
    case, rate = SubwordCase(Case([sentence], 8, window=2, dynamic_window=False, sample=0.0)), 1e-8
    place = {"first": position, "last": position + 1}
    gradient = numeric_gradient(case, lambda: case.run(kind, False, rates=(0.0, 0.0), **place)[0], case.input_vectors)
    before = case.input_vectors.copy()
    case.run(kind, False, rates=(rate, rate), **place)
    around = sentence[max(0, position - 2) : position] + sentence[position + 1 : position + 3]
    words = [sentence[position]] if kind == "skipgram" else around
    n_rows = sum(len(twins.word_rows(case.subwords, word_id)) for word_id in words)
    np.testing.assert_allclose((before - case.input_vectors) / rate, n_rows * gradient, rtol=1e-5, atol=1e-5)
    assert np.abs(gradient).max() > 0.01


@BOTH_KINDS
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6))
def test_corpus_may_be_cut_anywhere(kind, cuts):
    whole, pieces = SubwordCase(zipf_case()), SubwordCase(zipf_case())
    before, n_tokens = whole.input_vectors.copy(), whole.case.token_ids.size
    rate = 0.1 if kind == "skipgram" else 1e-4
    _, expected_pairs = whole.run(kind, False, rates=(rate, rate))
    bounds = [0, *sorted(min(cut, n_tokens) for cut in cuts), n_tokens]
    parts = [pieces.run(kind, False, rates=(rate, rate), first=first, last=last) for first, last in pairwise(bounds)]
    assert sum(n_pairs for _, n_pairs in parts) == expected_pairs
    # a cut brings CBOW's words their changes earlier
    tolerance = 0 if kind == "skipgram" else 0.01 * np.abs(whole.input_vectors - before).max()
    np.testing.assert_allclose(pieces.input_vectors, whole.input_vectors, rtol=0, atol=tolerance)
    np.testing.assert_allclose(pieces.context_vectors, whole.context_vectors, rtol=0, atol=tolerance)


EDGES = {
    "no sentence": ([], 3, {}),
    "empty sentences": ([[], [], []], 3, {}),
    "one token": ([[2]], 3, {}),
    "one-word vocabulary": ([[0, 0, 0]], 1, {"sample": 0.0}),
    "one dimension": ([[0, 0, 0]], 1, {"sample": 0.0, "dim": 1}),
    "all words sub-sampled away": ([[2, 0, 1, 1], [1, 2]], 3, {"sample": 1e-12}),
    "fewer words than negatives": ([[1, 0], [0, 1, 1]], 2, {"n_negatives": 20, "sample": 0.0}),
    "ids at the limits": ([[4, 0], [4, 4, 0]], 5, {"sample": 0.0}),
    "window beyond the sentence": ([[2, 0, 1], [1, 2]], 3, {"window": 40, "dynamic_window": False, "sample": 0.0}),
}


@BOTH_KINDS
@pytest.mark.parametrize("most", [0, 6], ids=["no n-grams", "n-grams"])
@pytest.mark.parametrize("name", EDGES)
def test_twin_agrees_at_the_edges(kind, most, name):
    sentences, n_words, chosen = EDGES[name]
    ours, twin = (SubwordCase(Case(sentences, n_words, **chosen), most=most) for _ in range(2))
    loss, n_pairs = ours.run(kind, False, rates=(0.1, 0.1))
    twin_loss, twin_pairs = twin.run_twin(kind, False, rates=(0.1, 0.1))
    assert (n_pairs == 0) == (name in ["no sentence", "empty sentences", "one token", "all words sub-sampled away"])
    assert n_pairs == twin_pairs
    assert loss == pytest.approx(twin_loss, rel=1e-10)
    np.testing.assert_allclose(ours.input_vectors, twin.input_vectors, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ours.context_vectors, twin.context_vectors, rtol=1e-8, atol=1e-12)


@BOTH_KINDS
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_show_in_the_loss(kind, bad):
    case = SubwordCase(zipf_case(dtype=np.float32))
    case.input_vectors[case.case.token_ids[-1]] = bad
    with np.errstate(invalid="ignore", over="ignore"):
        loss, _ = case.run(kind, False, rates=(0.01, 0.01), table=sigmoid_table())
    assert not np.isfinite(loss)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is that run")
def test_plain_python_gives_the_same_answers():
    """Without compilation every index is checked, and a negative one would show as a wrong row."""
    done = subprocess.run(
        # NumPy warns where an unsigned product wraps, which is what these products are for
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "twin"),
            *("-W", "ignore:overflow encountered:RuntimeWarning", "kernels/test_kernel_subword.py"),
        ],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
