"""Counting by piece: what a shard of the corpus adds to the vocabulary, kept so that tomorrow's run takes it over.

A piece depends on its shard, on the documents of it in quarantine, on the token rules and on the settings of the
sample; not on what other shards hold, nor on which words the vocabulary keeps in the end.

| file | holds |
| --- | --- |
| ``counts.arrow`` | every word with its counts, sorted by word (:mod:`vecmill.vocabulary.counting`) |
| ``sample.parquet`` | the sample of these documents (:mod:`vecmill.vocabulary.reservoir`) |
| ``coded_…`` | the documents as coded text (:mod:`vecmill.vocabulary.coded`), where the piece is kept |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.corpus.documents import read_row_groups
from vecmill.corpus.shard_shares import ShardShare, shares_let_through
from vecmill.store.stage import Piece, StageIO, StageReport
from vecmill.text.arrow_columns import string_column
from vecmill.text.rules import TokenRules
from vecmill.vocabulary.coded import CodedBlock, CodedWriter, CodingTable, in_order
from vecmill.vocabulary.counting import CountingTable, SortedRuns, write_counts
from vecmill.vocabulary.reservoir import Reservoir, Unit, Weighting
from vecmill.vocabulary.token_batches import THREAD_BYTES, Tools, available_cores, cut_batch

COUNTS_NAME = "counts.arrow"
SAMPLE_NAME = "sample.parquet"
KIND = "count"

# A second piece takes so much beside its tables, whatever their budget: row groups at work and their text, the sample.
_PIECE_BYTES = 80_000_000

_NO_STRING = pa.nulls(0, pa.string())
_NO_DOCUMENTS = pa.RecordBatch.from_arrays([_NO_STRING, _NO_STRING], names=["doc_id", "text"])
_EMPTY_STRING = pa.StringArray.from_buffers(1, pa.py_buffer(bytes(8)), pa.py_buffer(b""))
_EMPTY_DOCUMENT = pa.RecordBatch.from_arrays([_EMPTY_STRING, _EMPTY_STRING], names=["doc_id", "text"])


@dataclass(frozen=True)
class SampleSettings:
    """Arguments of a :class:`~vecmill.vocabulary.reservoir.Reservoir`."""

    size: int
    seed: int
    max_text_chars: int
    unit: Unit
    weighting: Weighting

    def empty(self) -> Reservoir:
        """A reservoir with nothing in it."""
        return Reservoir(self.size, self.seed, self.max_text_chars, self.unit, self.weighting)


@dataclass(frozen=True)
class Means:
    """What counting may take, which changes nothing about its result: threads (0: one a core), bytes of memory and of
    disk (None: as much as there is)."""

    threads: int
    memory: int
    disk: int | None

    @property
    def n_threads(self) -> int:
        return self.threads or available_cores()

    @property
    def table_bytes(self) -> int:
        """For the tables of all threads, and for merging them."""
        return max(self.memory - self.n_threads * THREAD_BYTES, self.memory // 2)


@dataclass(frozen=True)
class Counting:
    """What it takes to count the words of some shards.

    Attributes
    ----------
    share : which shards; without the documents of them in quarantine
    coded : whether the texts are kept as coded text
    """

    share: ShardShare
    rules: TokenRules
    sample: SampleSettings
    means: Means
    coded: bool


def counting_pieces(io: StageIO, rules: TokenRules, sample: SampleSettings, means: Means) -> tuple[list[Piece], int]:
    """The pieces that count a corpus, in its order: one a shard, or one for all where nothing is kept.

    And how many of them ``means`` allow at once: two where half the memory is enough for the threads of one. A limit on
    disk is one for all that is spilled, so that pieces that share it are counted one by one.
    """
    shares = shares_let_through(io)
    allowed = means.disk is None and means.memory >= 2 * max(_PIECE_BYTES, 2 * means.n_threads * THREAD_BYTES)
    at_once = 2 if allowed and len(shares) > 1 else 1
    means = replace(means, memory=means.memory // at_once)
    wanted = [
        Piece(
            config={
                "shards": list(share.names),
                "quarantined": share.quarantine_digest,
                "rules": asdict(rules),
                "sample": asdict(sample),
            },
            argument=Counting(share, rules, sample, means, coded=io.pieces is not None),
            inputs=share.inputs,
            n_bytes=share.n_bytes,
            memory_bytes=means.memory,
        )
        for share in shares
    ]
    return wanted, at_once


def compile_counting(rules: TokenRules, n_threads: int, *, coded: bool) -> None:
    """Compile what counts, in the caller's thread.

    What compiling leaves in a thread's part of the heap would come to lie between the tables of that thread, which
    could then not be given back.
    """
    table = CodingTable(rules, None)
    if coded:
        table.code(_EMPTY_DOCUMENT)
    else:
        table.count(_EMPTY_DOCUMENT.column("text"))
    if n_threads > 1:
        table.take_over(CodingTable(rules, None))


def count_piece(counting: Counting, io: StageIO) -> StageReport:
    """Count the words of some shards and sample their documents, in one pass and bounded memory.

    The files are the same bytes for any number of threads and any budget.

    Raises
    ------
    StorageFull : spilled tables outgrow the disk that ``counting.means`` allows
    """
    means = counting.means
    paths = counting.share.paths(io)
    sample = counting.sample.empty()
    n_documents = n_tokens = n_text_bytes = 0
    with TemporaryDirectory(prefix="vecmill-counts-") as scratch:
        runs = SortedRuns(Path(scratch), means.table_bytes // 4, means.disk)
        memory = 3 * means.table_bytes // 4 // means.n_threads
        tools = Tools(lambda: CodingTable(counting.rules, runs, memory), means.n_threads)
        compile_counting(counting.rules, means.n_threads, coded=counting.coded)

        def count(documents: pa.RecordBatch) -> CodedBlock | int:
            with tools.one() as table:
                return table.code(documents) if counting.coded else table.count(documents.column("text"))

        with CodedWriter(io.output) if counting.coded else nullcontext() as coded:
            batches = _documents(paths, counting.share.quarantined, io, whole=counting.coded)
            for documents, counted in in_order(count, batches, means.n_threads):
                sample.add(documents.column("doc_id").to_pylist(), documents.column("text"))
                n_documents += documents.num_rows
                n_text_bytes += pc.sum(pc.binary_length(documents.column("text"))).as_py() or 0
                if isinstance(counted, CodedBlock):
                    n_tokens += counted.n_tokens
                    if coded is not None:
                        coded.append(counted)
                else:
                    n_tokens += counted
        n_spills = sum(table.n_spills for table in tools.all)
        n_types = _write_counts(tools.all, runs, io.output / COUNTS_NAME)
    sample.save(io.output / SAMPLE_NAME, quickly=True)
    return StageReport(
        metrics={
            "n_documents": n_documents,
            "n_tokens": n_tokens,
            "n_text_bytes": n_text_bytes,
            "n_types": n_types,
            "n_spills": n_spills,
        },
        rows={SAMPLE_NAME: len(sample)},
    )


def _documents(
    paths: Sequence[Path], quarantined: Sequence[str], io: StageIO, *, whole: bool
) -> Iterator[pa.RecordBatch]:
    """Each row group of some shards, be it empty, as a batch; or in smaller batches where it need not be ``whole``."""
    left_out = string_column(quarantined).cast(pa.string()) if quarantined else None
    for path in paths:
        n_groups = pq.read_metadata(path).num_row_groups
        n_bytes = path.stat().st_size / max(1, n_groups)
        groups = read_row_groups([path], left_out)
        ahead = next(groups, None)
        for number in range(n_groups):
            parts: list[pa.RecordBatch] = []  # one at most: a row group is a few MiB, or one document
            while ahead is not None and ahead[0] == number:
                parts.append(ahead[1])
                ahead = next(groups, None)
            if not whole:
                for part in parts:
                    yield from cut_batch(part)
            else:
                yield parts[0] if parts else _NO_DOCUMENTS
            io.advance(n_bytes)


def _write_counts(tables: list[CodingTable], runs: SortedRuns, path: Path) -> int:
    """Write what all threads have counted as one run; returns the number of different words."""
    largest = max(tables, key=len)
    others = [table for table in tables if table is not largest]
    if not len(runs) and all(largest.take_over(table) for table in others):
        n_rows = write_counts(largest.drain(), path)
    else:
        # Each sorts its own words, without the interpreter's lock.
        with ThreadPoolExecutor(len(tables)) as pool:
            list(pool.map(CountingTable.write, tables))
        n_rows = runs.write_merged(path)
    tables.clear()
    return n_rows
