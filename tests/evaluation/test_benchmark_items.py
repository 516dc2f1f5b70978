"""Items: the same score as the evaluation's, a file that holds them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.errors import FormatError
from vecmill.evaluation.benchmarks import Benchmark, load_benchmark
from vecmill.evaluation.items import (
    BenchmarkItems,
    all_pairs_score,
    benchmark_items,
    filled_cosines,
    read_items,
    rescored,
    write_items,
)
from vecmill.evaluation.similarity import word_similarity
from vecmill.vectors.word_vectors import WordVectors


@pytest.fixture(scope="module")
def model() -> WordVectors:
    """Two thirds of the words of SCWS, with random vectors; it has pairs of a word with itself."""
    pairs = load_benchmark("scws")
    words = sorted({word.lower() for word in (*pairs.words1, *pairs.words2)})
    kept = [word for at, word in enumerate(words) if at % 3]
    return WordVectors(kept, np.random.default_rng(3).normal(size=(len(kept), 10)).astype(np.float32))


@pytest.mark.parametrize("name", ["wordsim353", "scws", "rw"])
def test_the_same_score_as_the_evaluation_gives(model: WordVectors, name: str) -> None:
    benchmark = load_benchmark(name)
    items = benchmark_items(model, benchmark)
    score = word_similarity(model, benchmark, n_resamples=10)
    assert items.coverage == score.coverage and len(items) == score.n_pairs
    assert int((~items.different).sum()) == score.n_self_pairs
    assert all_pairs_score(items) == pytest.approx(score.spearman_all_pairs, abs=1e-12)


def test_a_model_that_ranks_nothing_scores_zero() -> None:
    pairs = load_benchmark("wordsim353")
    for words in (["qq", "zz"], [pairs.words1[0].lower(), pairs.words2[0].lower()]):
        items = benchmark_items(WordVectors(words, np.eye(2, dtype=np.float32)), pairs)
        assert items.covered.sum() < 3 and not filled_cosines(items).any()
        assert all_pairs_score(items) == 0.0


def test_files_give_back_what_they_were_given(model: WordVectors, tmp_path: Path) -> None:
    written = [benchmark_items(model, load_benchmark(name)) for name in ("scws", "rw")]
    assert write_items(tmp_path / "items.parquet", written) == sum(map(len, written))
    read = read_items(tmp_path / "items.parquet")
    assert list(read) == ["scws", "rw"]
    for before in written:
        after = read[before.benchmark]
        assert np.array_equal(before.cosines, after.cosines, equal_nan=True)
        assert np.array_equal(before.ratings, after.ratings)
        assert replace(after, ratings=before.ratings, cosines=before.cosines) == before
    table = pq.read_table(tmp_path / "items.parquet")
    assert set(table["stratum"].to_pylist()) == {"covered", "uncovered", "same word"}
    assert table["item"].to_pylist()[:2] == [0, 1] and table["cosine"].null_count > 0


def test_another_model_answers_the_same_items(model: WordVectors) -> None:
    benchmark = load_benchmark("wordsim353")
    other = WordVectors(["qq"], np.ones((1, 2), np.float32))
    mine = rescored(model, benchmark_items(other, benchmark))
    assert np.array_equal(mine.cosines, benchmark_items(model, benchmark).cosines, equal_nan=True)


def _nan_in_a_rating(path: Path) -> None:
    items = BenchmarkItems("b", "B", "d", ("x",), ("y",), np.array([np.nan]), np.array([0.5]))
    write_items(path, [items])


def _infinite_cosine(path: Path) -> None:
    write_items(path, [BenchmarkItems("b", "B", "d", ("x",), ("y",), np.array([1.0]), np.array([np.inf]))])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.write_bytes(b"PAR1"), "cannot be read: "),
        (lambda path: pq.write_table(pa.table({"x": [1]}), path), "it is no table of benchmark items"),
        (_nan_in_a_rating, "a rating or a cosine of b is no finite number"),
        (_infinite_cosine, "a rating or a cosine of b is no finite number"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, spoil: object, why: str) -> None:
    path = tmp_path / "items.parquet"
    spoil(path)  # type: ignore[operator]
    with pytest.raises(FormatError, match=why) as caught:
        read_items(path)
    assert str(path) in str(caught.value) and "--refresh evaluate" in str(caught.value)


def test_bytes_are_the_same_for_the_same_items(model: WordVectors, tmp_path: Path) -> None:
    benchmark: Benchmark = load_benchmark("wordsim353")
    for name in ("a", "b"):
        write_items(tmp_path / name, [benchmark_items(model, benchmark)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
