"""Counting out of core: exact, and the same bits for any order, grouping, memory and number of threads."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_vocabulary import Document, corpora, counted_by_hand

from vecmill.errors import StorageFull
from vecmill.text.rules import TokenRules
from vecmill.vocabulary.counting import MAX_RUNS, RUN_SCHEMA, CountingTable, SortedRuns

WORDS = ["", "a", "b", "aa", "é", "z", "漢", "\U00020000", "\uffff"]
tables = st.lists(st.dictionaries(st.sampled_from(WORDS), st.integers(1, 9)), max_size=12)


def as_run(counts: dict[str, int]) -> pa.RecordBatch:
    words = sorted(counts)
    columns = [pa.array(words, pa.large_string()), *[pa.array([counts[word] for word in words], pa.int64())] * 2]
    return pa.RecordBatch.from_arrays(columns, schema=RUN_SCHEMA)


def rows_of(frames: Iterator[pl.DataFrame]) -> list[tuple[str, int, int]]:
    return [row for frame in frames for row in frame.iter_rows()]


def counted(
    shards: list[list[Document]], memory_bytes: int = 1 << 30, rules: TokenRules | None = None, n_tables: int = 2
) -> list[tuple[str, int, int]]:
    """Rows of the merged table; the shards go to the tables in turn."""
    with TemporaryDirectory() as folder:
        runs = SortedRuns(Path(folder), memory_bytes)
        made = [CountingTable(rules or TokenRules(), runs, memory_bytes) for _ in range(n_tables)]
        for number, shard in enumerate(shards):
            made[number % n_tables].count(pa.array([text for _, text in shard], pa.string()))
        for table in made:
            table.write()
        return rows_of(runs.merged())


@settings(deadline=None)
@given(corpora, st.sampled_from(["unicode", "ascii", "whitespace"]), st.booleans(), st.booleans())
def test_counts_are_those_of_a_counter(
    documents: list[Document], pattern: str, lowercase: bool, casefold: bool
) -> None:
    rules = TokenRules(pattern, lowercase, casefold)  # type: ignore[arg-type]
    counts, n_documents = counted_by_hand(documents, rules)
    assert counted([documents], rules=rules) == [(word, counts[word], n_documents[word]) for word in sorted(counts)]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 3), st.sampled_from([1, 20_000, 1 << 30]))
def test_counts_are_the_same_for_any_order_grouping_memory_and_tables(
    seed: int, n_shards: int, n_tables: int, memory_bytes: int
) -> None:
    source = random.Random(seed)
    documents = [
        (str(number), " ".join(f"W{int(400 * source.random() ** 2)}é" for _ in range(60))) for number in range(20)
    ]
    whole = counted([documents], n_tables=1)
    source.shuffle(documents)
    cuts = sorted(source.choices(range(len(documents)), k=n_shards - 1))
    shards = [documents[start:stop] for start, stop in zip([0, *cuts], [*cuts, None], strict=True)]
    assert counted(shards, memory_bytes, n_tables=n_tables) == whole


@settings(deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_merge_is_associative_and_commutative(drawn: list[dict[str, int]], shuffler: random.Random) -> None:
    expected: dict[str, int] = {}
    for counts in drawn:
        for word, count in counts.items():
            expected[word] = expected.get(word, 0) + count
    shuffler.shuffle(drawn)
    # Some runs are merged beforehand, and their sum goes in as a run.
    cut = shuffler.randint(0, len(drawn))
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        inner = SortedRuns(Path(first), 1)
        for counts in drawn[:cut]:
            inner.add([as_run(counts)])
        outer = SortedRuns(Path(second), 1)
        outer.add(batch for frame in inner.merged() for batch in frame.to_arrow().cast(RUN_SCHEMA).to_batches())
        for counts in drawn[cut:]:
            outer.add([as_run(counts)])
        assert rows_of(outer.merged()) == [(word, expected[word], expected[word]) for word in sorted(expected)]


def test_more_runs_than_are_merged_at_once(tmp_path: Path) -> None:
    runs = SortedRuns(tmp_path, 1)
    n_runs = 2 * MAX_RUNS + 5
    for number in range(n_runs):
        runs.add([as_run({f"w{number % 50}": 1, f"only{number}": 2})])
        assert len(list(tmp_path.iterdir())) == len(runs) < MAX_RUNS
        assert runs.n_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    rows = rows_of(runs.merged())
    assert sum(count for _, count, _ in rows) == 3 * n_runs
    assert len(rows) == 50 + n_runs


@pytest.mark.parametrize("memory_mb", [1, 64])
def test_many_words_keep_the_table_within_its_budget(tmp_path: Path, memory_mb: int) -> None:
    table = CountingTable(TokenRules(), SortedRuns(tmp_path, 1 << 20), memory_mb << 20)
    largest = 0
    for start in range(0, 200_000, 1_000):
        words = " ".join(f"word{number * 7919 % 100_003}" for number in range(start, start + 1_000))
        assert table.count(pa.array([words])) == 1_000
        largest = max(largest, table.memory_bytes())
    assert (table.n_spills > 0) == (memory_mb == 1)
    # Room comes in powers of two and is counted here whether it is used or not.
    assert largest < 2 * memory_mb << 20


def test_a_text_of_more_words_than_the_table_may_hold_is_counted_whole(tmp_path: Path) -> None:
    text = " ".join(f"w{number} again" for number in range(5_000))
    rows = counted([[("a", text)], [("b", text)]], memory_bytes=1, n_tables=1)
    assert len(rows) == 5_001
    assert rows[0] == ("again", 10_000, 2)
    assert set(rows[1:]) == {(f"w{number}", 2, 2) for number in range(5_000)}


def test_runs_that_outgrow_the_disk_budget_are_refused(tmp_path: Path) -> None:
    runs = SortedRuns(tmp_path, 1 << 20, disk_bytes=20_000)
    table = CountingTable(TokenRules(), runs, 1)
    texts = pa.array([" ".join(f"w{number}" for number in range(start, start + 100)) for start in range(0, 9_000, 100)])
    with pytest.raises(
        StorageFull,
        match=r"more than vocabulary\.disk, 20,000 bytes.*What to do: raise vocabulary\.disk or vocabulary\.memory, "
        r"or set vocabulary\.max_entries",
    ):
        table.count(texts)


def test_columns_of_any_string_type_and_slices_of_them_count_alike(tmp_path: Path) -> None:
    texts = ["not this", "a b", "", "É é b"]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        runs = SortedRuns(tmp_path / str(kind), 1 << 20)
        (tmp_path / str(kind)).mkdir()
        table = CountingTable(TokenRules(), runs)
        assert table.count(pa.array(texts, kind).slice(1)) == 5
        table.write()
        assert rows_of(runs.merged()) == [("a", 1, 1), ("b", 2, 2), ("é", 2, 1)]
