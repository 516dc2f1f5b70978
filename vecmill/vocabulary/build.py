"""The vocabulary stage: count every word of the corpus, keep those frequent enough, and sample documents on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa

from vecmill.errors import VocabularyError
from vecmill.progress import track
from vecmill.store.stage import StageIO, StageReport
from vecmill.text.tokenize import TokenRules, tokenize_column
from vecmill.vocabulary.config import VocabularyConfig
from vecmill.vocabulary.counting import WordCounts, count_column
from vecmill.vocabulary.reservoir import Reservoir
from vecmill.vocabulary.token_batches import map_documents
from vecmill.vocabulary.vocabulary import FILE_NAME, Vocabulary

SAMPLE_FILE_NAME = "sample.parquet"

# A vocabulary of one word has no neighbours and no negatives, so nothing could be learned from it.
MIN_WORDS = 2

_TABLE_ROWS = 20


def build_vocabulary(config: VocabularyConfig, io: StageIO) -> StageReport:
    """Count the words of a corpus and sample its documents, in one pass and bounded memory.

    Reads the shards of ``ingest`` without the documents that ``contract`` put into quarantine. Writes
    ``vocabulary.parquet`` and ``sample.parquet``; both are the same bytes for any grouping of the documents into
    shards, any number of threads and any memory budget. Memory: ``config.memory_mb`` for counting, some 50 MB for each
    thread, the sample, and the words kept.

    Raises
    ------
    VocabularyError : no document, no word, or fewer than two words that occur ``config.min_count`` times
    """
    rules = TokenRules(config.token_pattern, config.lowercase)
    sample = Reservoir(config.reservoir_size, io.seed, config.reservoir_text_chars)
    corpus, quarantine = io.inputs["ingest"], io.inputs["contract"] / "quarantine.parquet"

    def count(batch: pa.RecordBatch) -> pl.DataFrame:
        return count_column(tokenize_column(batch.column("text"), rules))

    n_documents = 0
    with TemporaryDirectory(prefix="vecmill-counts-") as folder:
        counts = WordCounts(Path(folder), config.memory_mb << 20)
        with track("counting words", unit="documents") as bar:
            for batch, counted in map_documents(count, corpus, quarantine, config.threads):
                counts.add(counted)
                sample.add(batch.column("doc_id").to_pylist(), batch.column("text"))
                n_documents += batch.num_rows
                bar.advance(batch.num_rows)
        kept = _select(counts.merged(), config)

    _refuse_unusable(kept, n_documents, config)
    vocabulary = Vocabulary(
        kept.words["word"].to_list(), kept.words["count"].to_numpy(), kept.words["n_documents"].to_numpy(), rules
    )
    vocabulary.save(io.output)
    sample.save(io.output / SAMPLE_FILE_NAME)
    n_tokens_kept = int(vocabulary.counts.sum())
    return StageReport(
        metrics={
            "n_documents": n_documents,
            "n_tokens": kept.n_tokens,
            "n_types": kept.n_types,
            "n_words": len(vocabulary),
            "n_tokens_kept": n_tokens_kept,
            "coverage_frac": n_tokens_kept / kept.n_tokens,
            "n_spills": counts.n_spills,
        },
        rows={FILE_NAME: len(vocabulary), SAMPLE_FILE_NAME: len(sample)},
        table=_most_frequent(vocabulary, kept.n_tokens),
        markdown=(
            f"{kept.n_tokens:,} words in {n_documents:,} documents, {kept.n_types:,} of them different. "
            f"The vocabulary keeps {len(vocabulary):,}, which cover {n_tokens_kept / kept.n_tokens:.2%} of the text."
        ),
    )


@dataclass
class _Selection:
    """What is kept of the counted words, and what there was.

    Attributes
    ----------
    words : ``word``, ``count``, ``n_documents`` by falling count, then word
    top_counts : the two largest counts of all words, fewer if there are fewer words
    """

    words: pl.DataFrame = field(default_factory=pl.DataFrame)
    n_tokens: int = 0
    n_types: int = 0
    top_counts: list[int] = field(default_factory=list)


def _select(tables: Iterator[pl.DataFrame], config: VocabularyConfig) -> _Selection:
    """Keep the words that reach ``min_count``, of them the ``max_size`` most frequent; let the others go at once."""
    selection = _Selection()
    kept: list[pl.DataFrame] = []
    n_kept = 0
    for table in tables:
        selection.n_tokens += int(table["count"].sum())
        selection.n_types += len(table)
        selection.top_counts = sorted([*selection.top_counts, *table["count"].top_k(2).to_list()], reverse=True)[:2]
        kept.append(table.filter(pl.col("count") >= config.min_count))
        n_kept += len(kept[-1])
        if config.max_size is not None and n_kept > 2 * config.max_size + 100_000:
            kept = [_ranked(kept).head(config.max_size)]
            n_kept = config.max_size
    selection.words = _ranked(kept).head(n_kept if config.max_size is None else config.max_size)
    return selection


def _ranked(tables: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(tables).sort("count", "word", descending=[True, False])


def _refuse_unusable(selection: _Selection, n_documents: int, config: VocabularyConfig) -> None:
    if n_documents == 0:
        raise VocabularyError(
            "the corpus is empty: no document is left after ingest and contract",
            expected="at least one document with text",
            todo="check corpus.sources, and the quarantine of the contract stage",
        )
    if selection.n_types == 0:
        raise VocabularyError(
            f"no word in {n_documents:,} documents: vocabulary.token_pattern {config.token_pattern!r} matches nothing",
            expected="text with words",
            todo="check the text that corpus.sources and the cleaning steps give, or choose another "
            "vocabulary.token_pattern",
        )
    if selection.n_types < MIN_WORDS:
        raise VocabularyError(
            f"the corpus has a single distinct word, {selection.n_tokens:,} times in {n_documents:,} documents",
            expected=f"at least {MIN_WORDS} distinct words, since a word is learned from its neighbours",
            todo="add text to corpus.sources",
        )
    if len(selection.words) < MIN_WORDS:
        largest, second = selection.top_counts
        left = "no word" if len(selection.words) == 0 else "a single word"
        raise VocabularyError(
            f"vocabulary.min_count is {config.min_count}, and {left} occurs that often: of {selection.n_types:,} "
            f"distinct words the most frequent occurs {_times(largest)}, the next {_times(second)}",
            expected=f"at least {MIN_WORDS} words that reach min_count",
            todo=f"set vocabulary.min_count to {second} or less, or add text to corpus.sources",
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _most_frequent(vocabulary: Vocabulary, n_tokens: int) -> list[dict[str, object]]:
    n_rows = min(_TABLE_ROWS, len(vocabulary))
    return [
        {
            "word": vocabulary.words[word_id],
            "count": int(vocabulary.counts[word_id]),
            "n_documents": int(vocabulary.n_documents[word_id]),
            "frac": round(int(vocabulary.counts[word_id]) / n_tokens, 6),
        }
        for word_id in range(n_rows)
    ]
