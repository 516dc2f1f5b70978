"""Exact word counts of any corpus in bounded memory: count, spill sorted runs to disk, merge them out of core.

External merge sort with aggregation. Sums of integers do not depend on the order of summing, and the merged table
comes out sorted by word, so the result is the same bits for any order and grouping of what was added, and for any
memory budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from scipy.sparse import csr_matrix

from vecmill.text.tokenize import TokenColumn

# Merging costs memory and an open file for each run, so that beyond this many the oldest are merged into one first.
MAX_RUNS = 64

_RUN_SCHEMA = pa.schema([("word", pa.large_string()), ("count", pa.int64()), ("n_documents", pa.int64())])
_SUMS = (pl.col("count").sum(), pl.col("n_documents").sum())


def count_column(tokens: TokenColumn) -> pl.DataFrame:
    """Occurrences and documents of every word of a column of documents.

    The texts are the rows of a sparse matrix with a 1 for each token. Turned by columns (a counting sort, linear in the
    number of tokens), each word's occurrences stand together in document order: their number is the count, and the
    number of different rows among them the documents.

    Returns
    -------
    counts : columns ``word`` (string), ``count``, ``n_documents`` (int64), each word once
    """
    n_words = len(tokens.words)
    by_text = csr_matrix(
        (np.ones(len(tokens.codes), dtype=np.int8), tokens.codes, tokens.text_offsets),
        shape=(len(tokens.text_offsets) - 1, n_words),
    )
    by_word = by_text.tocsc()
    text_ids: npt.NDArray[np.int32] = by_word.indices
    is_first = np.ones(len(text_ids), dtype=np.int64)
    np.not_equal(text_ids[1:], text_ids[:-1], out=is_first[1:], casting="unsafe")
    is_first[by_word.indptr[:-1]] = 1
    return pl.DataFrame(
        {
            "word": pl.Series(tokens.words, dtype=pl.String),
            "count": np.diff(by_word.indptr).astype(np.int64),
            "n_documents": np.add.reduceat(is_first, by_word.indptr[:-1]) if n_words else np.empty(0, dtype=np.int64),
        }
    )


class WordCounts:
    """A table of words with exact counts that moves to disk when it outgrows its memory.

    Tables that are added wait in a list; when they amount to as much as the compacted table, all are summed into a new
    one, which keeps the work linear in what is added (up to a logarithm). A compacted table above its share of the
    budget is written, sorted, as a run.

    Parameters
    ----------
    folder : an existing folder for the runs, empty; the caller removes it
    memory_bytes : budget for the table and what summing it takes
    head_rows : rows of each run that are in memory while merging; None derives it from the budget, never below 1024,
        which is 4 MiB for 64 runs
    """

    def __init__(self, folder: Path, memory_bytes: int, head_rows: int | None = None) -> None:
        # Summing holds the waiting tables, their concatenation, a hash table and the result: about four times the rows.
        self._limit_bytes = memory_bytes // 4
        # Half the budget for the heads of all runs while merging; a row takes about 64 bytes, hash table included.
        self._head_rows = head_rows or max(1024, min(16_384, memory_bytes // (2 * 64 * MAX_RUNS)))
        self._folder = folder
        self._waiting: list[pl.DataFrame] = []
        self._waiting_bytes = 0
        self._table = _empty()
        self._table_bytes = 0
        self._runs: list[Path] = []
        self._n_files = 0
        self.n_spills = 0

    def add(self, counts: pl.DataFrame) -> None:
        """Add a table with columns ``word``, ``count``, ``n_documents``; a word may occur in many tables."""
        self._waiting.append(counts)
        self._waiting_bytes += _memory_bytes(counts)
        if self._waiting_bytes >= min(max(self._table_bytes, self._limit_bytes // 8), self._limit_bytes):
            self._compact()
            if self._table_bytes > self._limit_bytes // 2:
                self._spill()

    def memory_bytes(self) -> int:
        """Memory of the tables held now; summing them takes up to four times as much for a moment."""
        return self._waiting_bytes + self._table_bytes

    def merged(self) -> Iterator[pl.DataFrame]:
        """Every word once with its sums, in tables sorted by word (code point order) that follow on each other."""
        self._compact()
        if not self._runs:
            yield self._table.sort("word")
            return
        if len(self._table):
            self._spill()
        yield from _merge_runs(self._runs)

    def _compact(self) -> None:
        if self._waiting:
            summed = pl.concat([self._table, *self._waiting], rechunk=False).group_by("word").agg(*_SUMS)
            # A column of strings keeps the buffers it was taken from alive; only a copy gives them back.
            self._table = pl.DataFrame(summed.to_arrow().cast(_RUN_SCHEMA))
            self._table_bytes = _memory_bytes(self._table)
            self._waiting, self._waiting_bytes = [], 0

    def _spill(self) -> None:
        self._write_run(iter([self._table.sort("word")]))
        self._table, self._table_bytes = _empty(), 0
        self.n_spills += 1
        if len(self._runs) >= MAX_RUNS:
            merged, self._runs = self._runs, []
            self._write_run(_merge_runs(merged))
            for path in merged:
                path.unlink()

    def _write_run(self, tables: Iterator[pl.DataFrame]) -> None:
        path = self._folder / f"run-{self._n_files:06d}.arrow"
        self._n_files += 1
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, _RUN_SCHEMA, options=options) as writer:
            for table in tables:
                writer.write_table(table.to_arrow().cast(_RUN_SCHEMA), max_chunksize=self._head_rows)
        self._runs.append(path)


class _Head:
    """The rows of one sorted run that have been read but not merged yet."""

    def __init__(self, path: Path) -> None:
        self._source = pa.OSFile(str(path), "rb")
        self._reader = pa.ipc.open_stream(self._source)
        self.table = _empty()
        self.at_end = False

    def refill(self) -> None:
        while not (self.at_end or len(self.table)):
            try:
                self.table = pl.DataFrame(pa.Table.from_batches([self._reader.read_next_batch()]))
            except StopIteration:
                self.at_end = True
                self.close()

    def take_until(self, word: str) -> pl.DataFrame:
        """Remove and return the rows up to ``word``, itself included."""
        n_rows = int(self.table["word"].search_sorted(word, side="right"))
        taken, self.table = self.table.head(n_rows), self.table.slice(n_rows)
        return taken

    def close(self) -> None:
        self._source.close()


def _merge_runs(paths: list[Path]) -> Iterator[pl.DataFrame]:
    """Merge sorted runs block by block.

    The smallest of the heads' last words is a bound: no run can still bring a smaller word than what its head holds,
    so all rows up to the bound can be summed and given out. The run that set the bound empties its head, hence every
    step moves on.
    """
    heads = [_Head(path) for path in paths]
    try:
        while True:
            for head in heads:
                head.refill()
            heads = [head for head in heads if not head.at_end]
            if not heads:
                return
            bound = min(str(head.table["word"][-1]) for head in heads)
            block = pl.concat([head.take_until(bound) for head in heads])
            yield block.group_by("word").agg(*_SUMS).sort("word")
    finally:
        for head in heads:
            head.close()


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema={"word": pl.String, "count": pl.Int64, "n_documents": pl.Int64})


def _memory_bytes(table: pl.DataFrame) -> int:
    # Two integers and a string view a row, and the strings; polars' own estimate leaves out the views.
    return 32 * len(table) + int(table["word"].str.len_bytes().sum())
