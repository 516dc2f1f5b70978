"""Exact word counts of any corpus in bounded memory: count, spill sorted runs to disk, merge them out of core.

External merge sort with aggregation. Each thread counts into a table of its own, which is written, sorted, as a run
when it is full. Sums of integers do not depend on the order of summing, and the merged table comes out sorted by word,
so the result is the same bits for any order and grouping of the texts, and for any memory budget.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from vecmill.errors import StorageFull
from vecmill.text.arrow_columns import number_column, numbers_of
from vecmill.text.rules import TokenRules
from vecmill.text.word_index import WORD_BYTES, Reading, WordIndex
from vecmill.vocabulary.tallies import TALLY_BYTES, Tallies

# Merging costs memory and an open file for each run, so that beyond this many the oldest are merged into one first.
MAX_RUNS = 64

RUN_SCHEMA = pa.schema([("word", pa.large_string()), ("count", pa.int64()), ("n_documents", pa.int64())])
_SUMS = (pl.col("count").sum(), pl.col("n_documents").sum())
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")

# Of a run that others read, whatever their budget.
_KEPT_ROWS = 4096

# Of a run, in memory while merging: rows, and what they take (up to twice as many) with the hash table that sums them.
_MAX_HEAD_ROWS, _MIN_HEAD_ROWS, _HEAD_ROW_BYTES = 16_384, 256, 512

# A word's place in the order in which a run is written (sorting needs as much again).
_ORDER_BYTES = 16
_MEAN_LETTERS = 12


class SortedRuns:
    """Tables of counts, sorted by word, on disk; safe to add to from several threads.

    Parameters
    ----------
    folder : an existing folder, empty; the caller removes it
    memory_bytes : budget for merging
    disk_bytes : largest size of all runs together; None for no limit

    Attributes
    ----------
    n_bytes : size of the runs that stand now
    """

    def __init__(self, folder: Path, memory_bytes: int, disk_bytes: int | None = None) -> None:
        self.head_rows = max(_MIN_HEAD_ROWS, min(_MAX_HEAD_ROWS, memory_bytes // (_HEAD_ROW_BYTES * MAX_RUNS)))
        self.n_bytes = 0
        self._folder = folder
        self._disk_bytes = disk_bytes
        self._runs: list[Path] = []
        self._adopted: set[Path] = set()
        self._file_numbers = itertools.count()  # the next one is taken in one step, by whatever thread
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, rows: Iterable[pa.RecordBatch]) -> None:
        """Write a run: batches of :data:`RUN_SCHEMA` that follow on each other by word, each word once.

        Raises
        ------
        StorageFull : the runs outgrow ``disk_bytes``
        """
        path = self._write(rows)
        with self._lock:
            self._runs.append(path)
            self.n_bytes += path.stat().st_size
            self._make_room()

    def adopt(self, path: Path) -> None:
        """Take a run that :func:`write_counts` has written; its file is somebody else's and stays."""
        with self._lock:
            self._adopted.add(path)
            self._runs.append(path)
            self._make_room()

    def _make_room(self) -> None:
        """Merge the runs when there are many; under the lock, so that no two threads do: it takes memory."""
        if len(self._runs) < MAX_RUNS:
            return
        merged, self._runs = self._runs, []
        self._runs.append(self._write(_merge_runs(merged, self.head_rows)))
        for old in merged:
            if old not in self._adopted:
                old.unlink()
        self.n_bytes = self._runs[0].stat().st_size

    def merged(self) -> Iterator[pl.DataFrame]:
        """Every word once with its sums, in tables sorted by word (code point order) that follow on each other."""
        for batch in _merge_runs(self._runs, self.head_rows):
            yield pl.DataFrame(pa.Table.from_batches([batch]))

    def write_merged(self, path: Path) -> int:
        """Write all runs as one, the same bytes for the same counts; returns the number of rows."""
        return write_counts(_merge_runs(self._runs, self.head_rows), path)

    def _write(self, rows: Iterable[pa.RecordBatch]) -> Path:
        path = self._folder / f"run-{next(self._file_numbers):06d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, RUN_SCHEMA, options=_OPTIONS) as writer:
            for batch in rows:
                for start in range(0, batch.num_rows, self.head_rows):
                    writer.write_batch(batch.slice(start, self.head_rows))
                self._check_room(sink.tell())
        return path

    def _check_room(self, more: int) -> None:
        if self._disk_bytes is not None and self.n_bytes + more > self._disk_bytes:
            raise StorageFull(
                f"the word counts take more than vocabulary.disk, {self._disk_bytes:,} bytes, of disk",
                expected="room for the table of all distinct words, once or twice",
                todo="raise vocabulary.disk or vocabulary.memory, or set vocabulary.max_entries for a table that drops "
                "the rarest words on the way",
            )


def write_counts(rows: Iterable[pa.RecordBatch], path: Path) -> int:
    """Write a run that is kept: the same bytes for the same counts, however ``rows`` cuts them; returns their number.

    Parameters
    ----------
    rows : batches of :data:`RUN_SCHEMA` that follow on each other by word, each word once
    """
    n_rows = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, RUN_SCHEMA, options=_OPTIONS) as writer:
        waiting = pa.Table.from_batches([], schema=RUN_SCHEMA)
        for batch in rows:
            n_rows += batch.num_rows
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
            n_whole = len(waiting) - len(waiting) % _KEPT_ROWS
            for start in range(0, n_whole, _KEPT_ROWS):
                writer.write_batch(_one_batch(waiting.slice(start, _KEPT_ROWS)))
            waiting = waiting.slice(n_whole)
        if len(waiting):
            writer.write_batch(_one_batch(waiting))
    return n_rows


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    # Copied, so that nothing of the arrays it is cut from shows in the file.
    columns = [pa.concat_arrays([*column.chunks, pa.nulls(0, column.type)]) for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=RUN_SCHEMA)


class CountingTable:
    """Counts the words of texts; a full table goes to the runs. Used by one thread at a time.

    Parameters
    ----------
    runs : where full tables go
    memory_bytes : budget for the table and for sorting it; a single text may exceed it, since a table is written
        between two texts only (its words' numbers of documents would be wrong otherwise)

    Attributes
    ----------
    n_spills : tables written because they were full
    """

    def __init__(self, rules: TokenRules, runs: SortedRuns | None, memory_bytes: int = 1 << 40) -> None:
        self._runs = runs
        per_word = WORD_BYTES + TALLY_BYTES + _ORDER_BYTES + _MEAN_LETTERS
        most = max(64, min(memory_bytes // per_word, 1 << 30))
        # An eighth is left for the words of the text that reaches the limit, and as much for letters.
        self._soft_words = most - most // 8
        self._soft_letters = _MEAN_LETTERS * self._soft_words
        start = min(most, 1 << 12)
        self._index = WordIndex(rules, max_words=start, max_letters=_MEAN_LETTERS * start)
        self._tallies = Tallies(start)
        self.n_spills = 0

    def __len__(self) -> int:
        return len(self._index)

    def memory_bytes(self) -> int:
        """Memory of the table as it stands."""
        return self._index.memory_bytes() + self._tallies.nbytes

    def count(self, texts: pa.Array) -> int:
        """Add the words of texts, each one a document; returns how many words there were."""
        reading = Reading(self._index, texts, with_breaks=False)
        n_tokens = 0
        at_end = False
        while not at_end:
            first_text = reading.n_texts_read
            at_end = reading.go_on(self._soft_words, self._soft_letters)
            found = reading.found(first_text)
            n_tokens += self._tallies.add(found)
            self.write_if_full()
        return n_tokens

    @property
    def is_full(self) -> bool:
        """Whether the table has come to its budget."""
        return len(self._index) >= self._soft_words or self._index.n_letters >= self._soft_letters

    def write_if_full(self) -> None:
        """Hand the table over to the runs, if there are any and it is full."""
        if self._runs is not None and self.is_full:
            self.write()
            self.n_spills += 1

    def take_over(self, other: CountingTable) -> bool:
        """Add what another table of the same rules has counted, and empty it, if there is room for both; else False."""
        both = len(self._index) + len(other._index), self._index.n_letters + other._index.n_letters
        if both[0] >= self._soft_words or both[1] >= self._soft_letters:
            return False
        counts, documents = other._tallies.counts, other._tallies.documents
        counted = np.flatnonzero(counts)
        numbers = self._index.number(other._index.words().take(number_column(counted)))
        self._tallies.add_counts(numbers, counts[counted], documents[counted])
        other._index.clear()
        other._tallies.clear()
        return True

    def write(self) -> None:
        """Hand the table over to the runs, if there is anything in it."""
        assert self._runs is not None
        if len(self._index):
            self._runs.add(self.drain(self._runs.head_rows))

    def drain(self, n_rows: int = _MAX_HEAD_ROWS) -> Iterator[pa.RecordBatch]:
        """Give out all counts sorted by word, in batches of ``n_rows``, and be empty after the last."""
        words = self._index.words()
        order = numbers_of(pc.array_sort_indices(words))
        counts, documents_of = self._tallies.counts, self._tallies.documents_of
        order = order[counts[order] > 0]
        for start in range(0, len(order), n_rows):
            chosen = order[start : start + n_rows]
            taken = words.take(number_column(chosen))
            columns = [taken, number_column(counts[chosen]), number_column(documents_of(chosen))]
            yield pa.RecordBatch.from_arrays(columns, schema=RUN_SCHEMA)
        self._index.clear()
        self._tallies.clear()


class _Head:
    """The rows of one sorted run that have been read but not merged yet."""

    def __init__(self, path: Path) -> None:
        self._source = pa.OSFile(str(path), "rb")
        self._reader = pa.ipc.open_stream(self._source)
        self.table = pl.DataFrame(schema={"word": pl.String, "count": pl.Int64, "n_documents": pl.Int64})
        self.at_end = False

    def refill(self, n_rows: int) -> None:
        """Read on until ``n_rows`` stand ready, if the run has as many; a block read is as large as that or smaller."""
        while not self.at_end and len(self.table) < n_rows:
            try:
                read = pl.DataFrame(pa.Table.from_batches([self._reader.read_next_batch()]))
                self.table = pl.concat([self.table, read], rechunk=False)
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


def _merge_runs(paths: list[Path], head_rows: int) -> Iterator[pa.RecordBatch]:
    """Merge sorted runs block by block, with up to ``2 * head_rows`` rows of each in memory.

    The smallest of the heads' last words is a bound: no run can still bring a smaller
    word than what its head holds, so all rows up to the bound can be summed and given out. The run that set the bound
    empties its head, hence every step moves on; the others are topped up as well, so that a step has about
    ``head_rows`` rows of each run.
    """
    if len(paths) == 1:
        with pa.OSFile(str(paths[0]), "rb") as source:
            yield from pa.ipc.open_stream(source)
        return
    heads = [_Head(path) for path in paths]
    try:
        while True:
            for head in heads:
                head.refill(head_rows)
            heads = [head for head in heads if len(head.table)]
            if not heads:
                return
            bound = min(str(head.table["word"][-1]) for head in heads)
            block = pl.concat([head.take_until(bound) for head in heads])
            yield from block.group_by("word").agg(*_SUMS).sort("word").to_arrow().cast(RUN_SCHEMA).to_batches()
    finally:
        for head in heads:
            head.close()
