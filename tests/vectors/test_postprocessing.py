"""Post-processing: equal to the plain versions and to scikit-learn, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from reference import postprocessing as reference
from vecmill.errors import ConfigError, FormatError
from vecmill.vectors import neighbours
from vecmill.vectors.postprocessing import (
    all_but_the_top,
    average_with_context,
    center,
    l2_normalise,
    power_normalise,
    principal_components,
    whiten,
)
from vecmill.vectors.postprocessing_steps import STEP_NAMES, Step, parse_steps, postprocess
from vecmill.vectors.word_vectors import WordVectors

FUNCTIONS: dict[str, tuple[Callable[[WordVectors], WordVectors], Callable[[np.ndarray], np.ndarray]]] = {
    "l2_normalise": (l2_normalise, reference.l2_normalise),
    "center": (center, reference.center),
    "all_but_the_top": (lambda v: all_but_the_top(v, 2), lambda rows: reference.all_but_the_top(rows, 2)),
    "whiten": (lambda v: whiten(v, "zca", 0.01), lambda rows: reference.whiten_zca(rows, 0.01)),
    "power_normalise": (lambda v: power_normalise(v, 0.4), lambda rows: reference.power_normalise(rows, 0.4)),
}


def model(n_words: int = 60, dim: int = 7, seed: int = 0) -> WordVectors:
    """Vectors with a common direction, directions of different size, and counts."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_words, dim)) * np.linspace(2, 0.2, dim) @ rng.normal(size=(dim, dim)) + rng.normal(
        size=dim
    )
    return WordVectors([f"w{i}" for i in range(n_words)], rows.astype(np.float32), np.arange(n_words, 0, -1))


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=15, deadline=None)
@given(n_words=st.integers(8, 40), dim=st.integers(3, 6), seed=st.integers(0, 10_000))
def test_equal_to_the_plain_version(name: str, n_words: int, dim: int, seed: int) -> None:
    vectors = model(n_words, dim, seed)
    ours, plain = FUNCTIONS[name]
    expected = plain(vectors.vectors)
    np.testing.assert_allclose(ours(vectors).vectors, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_rest_of_the_model_stays(name: str) -> None:
    vectors = model()
    before = vectors.vectors.tobytes()
    done = FUNCTIONS[name][0](vectors)
    assert vectors.vectors.tobytes() == before
    assert done.words == vectors.words and done.vectors.dtype == np.float32
    assert done.counts is not None and vectors.counts is not None
    np.testing.assert_array_equal(done.counts, vectors.counts)


def test_only_normalising_stays_in_the_space() -> None:
    vectors = WordVectors(model().words, model().vectors, space_id="reviews-1")
    assert l2_normalise(vectors).space_id == "reviews-1"
    others = [FUNCTIONS[name][0](vectors).space_id for name in FUNCTIONS if name != "l2_normalise"]
    others.append(average_with_context(vectors, vectors.vectors[::-1]).space_id)
    assert "reviews-1" not in others and len(set(others)) == len(others)
    assert center(vectors).space_id == center(vectors).space_id


@pytest.mark.parametrize("name", FUNCTIONS)
def test_small_blocks_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = model()
    whole = FUNCTIONS[name][0](vectors)
    monkeypatch.setattr(neighbours, "BLOCK_FLOATS", 21)
    np.testing.assert_allclose(FUNCTIONS[name][0](vectors).vectors, whole.vectors, rtol=1e-4, atol=1e-5)


def test_normalising_against_scikit_learn() -> None:
    vectors = model()
    np.testing.assert_allclose(l2_normalise(vectors).vectors, normalize(vectors.vectors), rtol=1e-6)
    zeros = WordVectors(["a", "b"], np.array([[0, 0], [3, 4]], np.float32))
    np.testing.assert_allclose(l2_normalise(zeros).vectors, [[0, 0], [0.6, 0.8]], rtol=1e-7)


def test_rows_of_extreme_length_are_normalised() -> None:
    rows = np.array([[3e38, 3e38], [1e-45, 0], [-0.0, 1e-30]], np.float32)
    done = l2_normalise(WordVectors(["a", "b", "c"], rows))
    np.testing.assert_allclose(done.norms, 1.0, rtol=1e-6)


@pytest.mark.parametrize("method", ["pca", "zca"])
def test_whitening_against_scikit_learn(method: str) -> None:
    vectors = model(200)
    theirs = PCA(whiten=True).fit(vectors.vectors.astype(np.float64))
    # scikit-learn divides the covariance by n - 1
    expected = theirs.transform(vectors.vectors) * np.sqrt(200 / 199)
    if method == "zca":
        expected = expected @ theirs.components_
    done = whiten(vectors, method, epsilon=0.0)  # type: ignore[arg-type]
    np.testing.assert_allclose(done.vectors, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.cov(done.vectors.T, bias=True), np.eye(7), atol=1e-4)


def test_both_ways_to_whiten_have_the_same_cosines() -> None:
    vectors = model()
    ids = np.arange(60)
    pca, zca = (whiten(vectors, method) for method in ("pca", "zca"))  # type: ignore[arg-type]
    np.testing.assert_allclose(pca.similarities(ids, ids[::-1]), zca.similarities(ids, ids[::-1]), atol=1e-5)


def test_epsilon_keeps_flat_directions_small() -> None:
    rows = np.random.default_rng(3).normal(size=(300, 3)) * [1.0, 1.0, 1e-3]
    vectors = WordVectors([str(i) for i in range(300)], rows)
    assert whiten(vectors, epsilon=0.0).vectors[:, 2].std() == pytest.approx(1.0, abs=0.01)
    assert whiten(vectors, epsilon=0.01).vectors[:, 2].std() < 0.02


def test_principal_components_against_scikit_learn() -> None:
    vectors = model(100)
    variances, components = principal_components(vectors)
    theirs = PCA(svd_solver="full").fit(vectors.vectors.astype(np.float64))
    np.testing.assert_allclose(variances, theirs.explained_variance_ * 99 / 100, rtol=1e-6)
    np.testing.assert_allclose(components.T, theirs.components_, atol=1e-6)


def test_all_but_the_top_leaves_nothing_along_them() -> None:
    vectors = model(100)
    _, components = principal_components(vectors)
    done = all_but_the_top(vectors, 3)
    np.testing.assert_allclose(done.vectors @ components[:, :3], 0.0, atol=1e-5)
    np.testing.assert_allclose(done.vectors.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_array_equal(all_but_the_top(vectors).vectors, all_but_the_top(vectors, 1).vectors)
    np.testing.assert_allclose(all_but_the_top(vectors, 0).vectors, center(vectors).vectors, atol=1e-6)
    wide = WordVectors([str(i) for i in range(3)], np.random.default_rng(1).normal(size=(3, 250)))
    np.testing.assert_array_equal(all_but_the_top(wide).vectors, all_but_the_top(wide, 2).vectors)


def test_averaging() -> None:
    vectors = model()
    context = model(seed=5).vectors
    np.testing.assert_allclose(
        average_with_context(vectors, context).vectors, (vectors.vectors + context) / 2, rtol=1e-6
    )
    with pytest.raises(FormatError, match=r"shape \(59, 7\).*\(60, 7\), a row a word.*train artifact"):
        average_with_context(vectors, context[1:])
    with pytest.raises(FormatError, match="holds nan"):
        average_with_context(vectors, np.full_like(context, np.nan))


def test_refusals() -> None:
    vectors = model()
    for n_components in (-1, 7):
        with pytest.raises(ConfigError, match=rf"remove {n_components} components.*Expected: 0 to 6"):
            all_but_the_top(vectors, n_components)
    for exponent in (0.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="above 0, at most 1"):
            power_normalise(vectors, exponent)
    for epsilon in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="a number of 0 or more"):
            whiten(vectors, epsilon=epsilon)
    with pytest.raises(ConfigError, match=r"'cholesky'.*zca or pca"):
        whiten(vectors, "cholesky")  # type: ignore[arg-type]
    few = WordVectors(["a", "b", "c"], model().vectors[:3])
    with pytest.raises(ConfigError, match=r"5 of 7 directions of these 3 vectors have no variance.*set epsilon"):
        whiten(few, epsilon=0.0)
    assert np.isfinite(whiten(few).vectors).all()
    with pytest.raises(ConfigError, match="7 of 7 directions"):
        whiten(WordVectors(["a", "b"], np.ones((2, 7))))
    with pytest.raises(FormatError, match=r"holds -?inf"):
        center(WordVectors(["a", "b", "c"], np.array([[3.4e38], [-3.4e38], [-3.4e38]], np.float32)))


def test_one_word_and_one_dimension() -> None:
    one = WordVectors(["a"], np.array([[2.0]], np.float32))
    assert center(one).vectors.tolist() == all_but_the_top(one).vectors.tolist() == [[0.0]]
    assert power_normalise(one).vectors.tolist() == [[np.float32(np.sqrt(2))]]


# --- steps as text ---------------------------------------------------------------------------------------------------


def test_steps_in_their_order() -> None:
    vectors = model()
    text = "average_with_context, center,all_but_the_top:2,whiten_pca:0.1,power_normalise:0.6,l2_normalise"
    context = model(seed=2).vectors
    expected = average_with_context(vectors, context)
    for function in (center, lambda v: all_but_the_top(v, 2), lambda v: whiten(v, "pca", 0.1)):
        expected = function(expected)
    expected = l2_normalise(power_normalise(expected, 0.6))
    done = postprocess(vectors, parse_steps(text), context)
    assert done.vectors.tobytes() == expected.vectors.tobytes()


def test_every_step_has_a_default() -> None:
    for name in STEP_NAMES:
        done = postprocess(model(), parse_steps(name), model(seed=4).vectors)
        assert len(done) == 60
    assert parse_steps("whiten_zca") == [Step("whiten_zca")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no post-processing step is named ''.*all_but_the_top\[:components\]"),
        ("centre", r"named 'centre'.*did you mean 'center'\?"),
        ("center,", "named ''"),
        ("center:2", "center has the argument '2'.*Expected: none"),
        ("all_but_the_top:2.5", "'2.5'.*components, a whole number"),
        ("power_normalise:", "argument ''.*exponent, a number"),
    ],
)
def test_steps_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_steps(text)


def test_averaging_needs_its_context_first() -> None:
    with pytest.raises(ConfigError, match=r"no context vectors.*name the file"):
        postprocess(model(), [Step("average_with_context")])
    with pytest.raises(ConfigError, match=r"is step 2.*the first step"):
        postprocess(model(), parse_steps("center,average_with_context"), model().vectors)
