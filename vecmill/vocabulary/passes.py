"""Passes over a corpus that count its words: exactly, or within a cap on distinct words and then exactly again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from vecmill.progress import track
from vecmill.text.rules import TokenRules
from vecmill.text.word_index import WordIndex
from vecmill.vocabulary.bounded import BoundedCounts
from vecmill.vocabulary.config import VocabularyConfig
from vecmill.vocabulary.counting import RUN_SCHEMA, CountingTable, SortedRuns
from vecmill.vocabulary.tallies import Tallies
from vecmill.vocabulary.token_batches import THREAD_BYTES, Result, Tools, available_cores, map_row_groups


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


@dataclass(frozen=True)
class CorpusCounts:
    """Counted words of a corpus.

    Attributes
    ----------
    tables : ``word``, ``count``, ``n_documents``, each word once; exact
    n_documents, n_tokens : of the corpus
    delta : no word outside the tables occurs more often than this
    n_spills : tables that went to disk because they were full
    """

    tables: Iterator[pl.DataFrame]
    n_documents: int
    n_tokens: int
    delta: int = 0
    n_spills: int = 0


def count_exactly(
    corpus: Corpus, rules: TokenRules, config: VocabularyConfig, folder: Path, watch: Callable[[pa.RecordBatch], None]
) -> CorpusCounts:
    """Count every word in one pass, spilling to ``folder``; the tables follow on each other in code point order.

    Parameters
    ----------
    watch : called with each batch of documents
    """
    n_threads = config.threads or available_cores()
    budget = max(config.memory - n_threads * THREAD_BYTES, config.memory // 2)
    runs = SortedRuns(folder, budget // 4, config.disk)
    tools = Tools(lambda: CountingTable(rules, runs, 3 * budget // 4 // n_threads), n_threads)

    def count(texts: pa.Array) -> int:
        with tools.one() as table:
            return table.count(texts)

    n_documents = n_tokens = 0
    for batch, n_found in corpus.map(count, "counting words"):
        watch(batch)
        n_documents += batch.num_rows
        n_tokens += n_found
    n_spills = sum(table.n_spills for table in tools.all)
    # Each sorts its own words, without the interpreter's lock.
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(CountingTable.write, tools.all))
    tools.all.clear()
    return CorpusCounts(runs.merged(), n_documents, n_tokens, n_spills=n_spills)


def count_bounded(
    corpus: Corpus,
    rules: TokenRules,
    config: VocabularyConfig,
    max_entries: int,
    pinned: list[str],
    watch: Callable[[pa.RecordBatch], None],
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
    n_documents = 0
    for batch, counted in corpus.map(count, "looking for frequent words"):
        watch(batch)
        n_documents += batch.num_rows
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
    return CorpusCounts(iter([table]), n_documents, summary.n_tokens, delta=summary.delta)


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
