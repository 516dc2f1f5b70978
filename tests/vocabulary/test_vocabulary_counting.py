"""Counting out of core: exact, and the same bits for any order, grouping and memory."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from strategies_vocabulary import Document, corpora, counted_by_hand

from vecmill.text.tokenize import tokenize_column
from vecmill.vocabulary.counting import MAX_RUNS, WordCounts, count_column

# (word, count, documents) rows of several tables; few different words, so that tables overlap.
tables = st.lists(
    st.dictionaries(st.sampled_from(["", "a", "b", "aa", "é", "z", "漢", "\U00020000", "\uffff"]), st.integers(1, 9)),
    max_size=12,
)


def as_frame(counts: dict[str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"word": list(counts), "count": list(counts.values()), "n_documents": [1] * len(counts)},
        schema={"word": pl.String, "count": pl.Int64, "n_documents": pl.Int64},
    )


def merged(frames: list[pl.DataFrame], memory_bytes: int, head_rows: int | None = None) -> tuple[pl.DataFrame, int]:
    with TemporaryDirectory() as folder:
        counts = WordCounts(Path(folder), memory_bytes, head_rows)
        for frame in frames:
            counts.add(frame)
        return pl.concat(counts.merged()), counts.n_spills


@settings(deadline=None)
@given(corpora)
def test_column_counts_are_those_of_a_counter(documents: list[Document]) -> None:
    counts, n_documents = counted_by_hand(documents)
    table = count_column(tokenize_column(pa.array([text for _, text in documents])))
    assert dict(table.select("word", "count").iter_rows()) == counts
    assert dict(table.select("word", "n_documents").iter_rows()) == n_documents


@settings(deadline=None, max_examples=60)
@given(tables, st.randoms(use_true_random=False), st.sampled_from([1, 200, 1 << 20]), st.integers(1, 4))
def test_merge_is_the_same_for_any_order_grouping_and_memory(
    drawn: list[dict[str, int]], shuffler: random.Random, memory_bytes: int, head_rows: int
) -> None:
    frames = [as_frame(counts) for counts in drawn]
    whole, _ = merged([pl.concat([as_frame({}), *frames]).group_by("word").sum()], 1 << 20)
    shuffler.shuffle(frames)
    found, _ = merged(frames, memory_bytes, head_rows)
    assert_frame_equal(found, whole)
    assert found["word"].to_list() == sorted({word for counts in drawn for word in counts})


def test_more_runs_than_are_merged_at_once() -> None:
    n_tables = 2 * MAX_RUNS + 5
    frames = [as_frame({f"w{number % 50}": 1, f"only{number}": 2}) for number in range(n_tables)]
    with TemporaryDirectory() as folder:
        counts = WordCounts(Path(folder), 1, head_rows=3)
        for frame in frames:
            counts.add(frame)
            assert len(list(Path(folder).iterdir())) <= MAX_RUNS
        found = pl.concat(counts.merged())
    assert counts.n_spills == n_tables
    assert found["count"].sum() == 3 * n_tables
    assert len(found) == 50 + n_tables


@pytest.mark.parametrize("memory_mb", [1, 64])
def test_many_words_keep_the_table_within_its_budget(tmp_path: Path, memory_mb: int) -> None:
    counts = WordCounts(tmp_path, memory_mb << 20)
    for start in range(0, 200_000, 10_000):
        words = [f"word{number * 7919 % 100_003}" for number in range(start, start + 10_000)]
        counts.add(
            pl.DataFrame(
                {"word": words, "count": 1, "n_documents": 1},
                schema_overrides={"count": pl.Int64, "n_documents": pl.Int64},
            )
        )
        assert 4 * counts.memory_bytes() <= 2 * memory_mb << 20
    blocks = list(counts.merged())
    assert (counts.n_spills > 0) == (memory_mb == 1)
    found = pl.concat(blocks)
    assert found["word"].is_sorted()
    assert len(found) == 100_003
    assert found["count"].sum() == 200_000
