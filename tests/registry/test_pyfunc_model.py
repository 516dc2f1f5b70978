"""The stored model's answers, without MLflow around them; ``test_register.py`` asks the same through MLflow."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.vectors.word_vectors import WordVectors

with warnings.catch_warnings():
    # MLflow warns at import about type hints of its own.
    warnings.filterwarnings("ignore", message="(?s).*Any type hint is inferred", category=UserWarning)
    from vecmill.registry.pyfunc_model import Answers


def loaded(folder: Path, words: list[str], vectors: npt.NDArray[np.float32]) -> Answers:
    WordVectors(words, vectors).save(folder)
    model = Answers()
    model.load_context(SimpleNamespace(artifacts={"vectors": str(folder)}))
    return model


@pytest.fixture
def model(tmp_path: Path) -> Answers:
    vectors = np.array([[1, 0], [2, 0.1], [0, 1], [0, 0], [-1, 0]], dtype=np.float32)
    return loaded(tmp_path, ["east", "eastward", "north", "nowhere", "west"], vectors)


def test_vectors_come_in_the_order_asked_for(model: Answers) -> None:
    answer = model.predict(None, pd.DataFrame({"any": ["west", "atlantis", "east", "west"]}))
    assert answer.columns.tolist() == ["word", "known", "vector"]
    assert answer["word"].tolist() == ["west", "atlantis", "east", "west"]
    assert answer["known"].tolist() == [True, False, True, True]
    assert answer["vector"].tolist() == [[-1.0, 0.0], None, [1.0, 0.0], [-1.0, 0.0]]


def test_neighbours_by_falling_cosine_without_the_word_itself_and_without_zero_vectors(model: Answers) -> None:
    answer = model.predict(None, ["east", "atlantis", "nowhere"], {"task": "neighbours", "n": 10})
    assert answer.columns.tolist() == ["word", "known", "neighbours", "cosines"]
    assert answer["neighbours"].tolist() == [["eastward", "north", "west"], None, []]
    assert answer["cosines"][0] == pytest.approx([2 / np.hypot(2, 0.1), 0.0, -1.0])
    assert answer["cosines"].tolist()[1:] == [None, []]


def test_a_known_word_without_a_direction_is_known(model: Answers) -> None:
    assert model.predict(None, ["nowhere"])["known"].tolist() == [True]


@pytest.mark.parametrize("word", [None, float("nan"), 7, ""])
def test_what_is_no_word_is_unknown(model: Answers, word: object) -> None:
    assert model.predict(None, pd.DataFrame({"word": pd.Series([word], dtype=object)}))["vector"].tolist() == [None]


def test_no_words_no_rows(model: Answers) -> None:
    assert len(model.predict(None, [])) == 0


def test_unknown_task_is_refused(model: Answers) -> None:
    with pytest.raises(ValueError, match=r"^params\['task'\] is 'analogy'\. Expected: one of vectors, neighbours\.$"):
        model.predict(None, ["east"], {"task": "analogy"})


def test_no_neighbours_are_refused(model: Answers) -> None:
    with pytest.raises(ValueError, match=r"^params\['n'\] is 0\. Expected: a number of neighbours of at least 1\.$"):
        model.predict(None, ["east"], {"task": "neighbours", "n": 0})


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    WordVectors(["a", "b"], np.eye(2, dtype=np.float32)).save(tmp_path)
    np.save(tmp_path / "vectors.npy", np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match=r"words\.parquet has 2 words, vectors\.npy 3 rows\. Expected: one row per"):
        Answers().load_context(SimpleNamespace(artifacts={"vectors": str(tmp_path)}))


@settings(deadline=None, max_examples=25)
@given(n_words=st.integers(2, 40), n=st.integers(1, 50), seed=st.integers(0, 2**32 - 1))
def test_agrees_with_word_vectors(tmp_path_factory: pytest.TempPathFactory, n_words: int, n: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n_words, 5)).astype(np.float32)
    words = [f"w{word_id}" for word_id in range(n_words)]
    folder = tmp_path_factory.mktemp("vectors")
    model = loaded(folder, words, vectors)
    expected = WordVectors.load(folder).neighbours("w0", n)
    answer = model.predict(None, ["w0"], {"task": "neighbours", "n": n})
    assert len(answer["neighbours"][0]) == min(n, n_words - 1)
    # Cosines rather than words: two words closer to each other than rounding may stand in either order.
    assert answer["cosines"][0] == pytest.approx([cosine for _, cosine in expected], abs=1e-6)
