"""Passes over a corpus that count its words: exactly, or within a cap on distinct words and then exactly again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from vecmill.progress import track
from vecmill.store.stage import Pieces, StageIO
from vecmill.text.rules import TokenRules
from vecmill.text.word_index import WordIndex
from vecmill.vocabulary.bounded import BoundedCounts
from vecmill.vocabulary.coded import CODED_NAMES
from vecmill.vocabulary.config import VocabularyConfig
from vecmill.vocabulary.count_piece import (
    COUNTS_NAME,
    KIND,
    SAMPLE_NAME,
    Means,
    SampleSettings,
    compile_counting,
    count_piece,
    counting_pieces,
)
from vecmill.vocabulary.counting import RUN_SCHEMA, CountingTable, SortedRuns
from vecmill.vocabulary.reservoir import Reservoir
from vecmill.vocabulary.tallies import Tallies
from vecmill.vocabulary.token_batches import Result, Tools, map_row_groups


@dataclass(frozen=True)
class Corpus:
    """The documents of a corpus, without those in quarantine.

    Attributes
    ----------
    shards : folder of the ingest artifact
    quarantine : ``quarantine.parquet`` of the contract artifact
    threads : that work on it, 0 for one a core
    keep : takes documents out of a batch, None keeps all
    """

    shards: Path
    quarantine: Path
    threads: int
    keep: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None

    def map(self, work: Callable[[pa.Array], Result], description: str) -> Iterator[tuple[pa.RecordBatch, Result]]:
        """Apply ``work`` to the texts of each batch of documents in threads; results come in corpus order."""
        for _, batch, result in self.map_row_groups(work, description):
            yield batch, result

    def map_row_groups(
        self, work: Callable[[pa.Array], Result], description: str, first: int = 0
    ) -> Iterator[tuple[int, pa.RecordBatch, Result]]:
        """Do what :meth:`map` does from row group ``first`` on, with the number of each batch's row group."""
        with track(description, unit="documents") as bar:
            for group, batch, result in map_row_groups(
                lambda batch: work(batch.column("text")), self.shards, self.quarantine, self.threads, self.keep, first
            ):
                yield group, batch, result
                bar.advance(batch.num_rows)


def corpus_of(io: StageIO, threads: int, keep: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None) -> Corpus:
    """The documents that a stage after ``contract`` reads."""
    return Corpus(io.inputs["ingest"], io.inputs["contract"] / "quarantine.parquet", threads, keep)


@dataclass(frozen=True)
class CorpusCounts:
    """Counted words of a corpus.

    Attributes
    ----------
    tables : ``word``, ``count``, ``n_documents``, each word once; exact
    n_documents, n_tokens : of the corpus
    sample : of its documents
    n_text_bytes_read : UTF-8 of the documents whose words were found; those of pieces that stood already are not among
        them
    delta : no word outside the tables occurs more often than this
    n_spills : tables that went to disk because they were full
    coded : folders of the pieces that hold the corpus as coded text; empty where it is not kept
    """

    tables: Iterator[pl.DataFrame]
    n_documents: int
    n_tokens: int
    sample: Reservoir
    n_text_bytes_read: int
    delta: int = 0
    n_spills: int = 0
    coded: Sequence[Path] = ()


def count_exactly(
    io: StageIO, pieces: Pieces, rules: TokenRules, sample: SampleSettings, means: Means, folder: Path
) -> CorpusCounts:
    """Count every word, piece by piece; the tables follow on each other in code point order.

    Parameters
    ----------
    folder : an existing one, where tables are merged when there are many
    """
    wanted, at_once = counting_pieces(io, rules, sample, means)
    counted = pieces.build(
        KIND,
        count_piece,
        wanted,
        description="counting words",
        at_once=at_once,
        warm_up=partial(compile_counting, rules, means.n_threads, coded=io.pieces is not None),
    )
    runs = SortedRuns(folder, means.table_bytes // 4, means.disk)
    reservoir = sample.empty()
    for piece in counted:
        runs.adopt(piece.open(COUNTS_NAME) / COUNTS_NAME)
        reservoir = reservoir.merge(Reservoir.load(piece.open(SAMPLE_NAME) / SAMPLE_NAME))
    return CorpusCounts(
        runs.merged(),
        sum(piece.metrics["n_documents"] for piece in counted),
        sum(piece.metrics["n_tokens"] for piece in counted),
        reservoir,
        sum(piece.metrics["n_text_bytes"] for piece in counted if not piece.taken_over),
        n_spills=sum(piece.metrics["n_spills"] for piece in counted),
        coded=[piece.open(*CODED_NAMES) for piece in counted if piece.ref is not None],
    )


def count_bounded(
    corpus: Corpus,
    rules: TokenRules,
    config: VocabularyConfig,
    max_entries: int,
    pinned: list[str],
    sample: SampleSettings,
) -> CorpusCounts:
    """Find the words that may be frequent in one pass, and count them exactly in a second.

    Batches are counted by threads and enter the summary in corpus order, so that the words found do not depend on the
    number of threads. They do depend on how the corpus is cut, which :class:`CorpusCounts` answers for by ``delta``.
    """
    tools = Tools(lambda: CountingTable(rules, None), config.threads)

    def count(texts: pa.Array) -> pa.Table:
        with tools.one() as table:
            table.count(texts)
            return pa.Table.from_batches(table.drain(), schema=RUN_SCHEMA)

    summary = BoundedCounts(max_entries)
    reservoir = sample.empty()
    n_documents = n_text_bytes = 0
    for batch, counted in corpus.map(count, "looking for frequent words"):
        reservoir.add(batch.column("doc_id").to_pylist(), batch.column("text"))
        n_documents += batch.num_rows
        n_text_bytes += pc.sum(pc.binary_length(batch.column("text"))).as_py()
        summary.add(counted["word"].combine_chunks(), counted["count"].to_numpy())
    summary.purge()
    may_reach = pa.array(summary.lower + summary.delta >= config.min_count)
    candidates = summary.words.filter(may_reach)
    wanted = pa.array(pinned, pa.large_string())
    candidates = pa.concat_arrays([candidates, wanted.filter(pc.invert(pc.is_in(wanted, candidates)))])
    tallies = _recount(corpus, rules, candidates)
    occurs = np.flatnonzero(tallies[:, 0])
    table = pl.DataFrame(
        {
            "word": pl.Series(candidates.take(pa.array(occurs)), dtype=pl.String),
            "count": tallies[occurs, 0],
            "n_documents": tallies[occurs, 1],
        }
    )
    return CorpusCounts(iter([table]), n_documents, summary.n_tokens, reservoir, n_text_bytes, delta=summary.delta)


def _recount(corpus: Corpus, rules: TokenRules, words: pa.Array) -> npt.NDArray[np.int64]:
    """Occurrences and documents of given words: int64[len(words), 2]."""
    tools = Tools(lambda: _Recount(rules, words), corpus.threads)

    def count(texts: pa.Array) -> None:
        with tools.one() as table:
            table.count(texts)

    for _ in corpus.map(count, "counting the words found"):
        pass
    return np.asarray(sum(table.tallies.table(len(words)) for table in tools.all))


class _Recount:
    def __init__(self, rules: TokenRules, words: pa.Array) -> None:
        self._index = WordIndex(rules, words)
        self.tallies = Tallies(len(words))

    def count(self, texts: pa.Array) -> None:
        self.tallies.add(self._index.find(texts, with_breaks=False))
