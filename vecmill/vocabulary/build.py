"""The vocabulary stage: count every word of the corpus, keep those frequent enough, and sample documents on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from vecmill.errors import VocabularyError
from vecmill.store.loose_pieces import pieces_of
from vecmill.store.stage import StageIO, StageReport
from vecmill.text.rules import TokenRules
from vecmill.text.tokenize import tokenize
from vecmill.vocabulary.coded import CodedCorpus
from vecmill.vocabulary.config import PhrasesConfig, VocabularyConfig
from vecmill.vocabulary.count_piece import SAMPLE_NAME, Means, SampleSettings
from vecmill.vocabulary.passes import Corpus, CorpusCounts, corpus_of, count_bounded, count_exactly
from vecmill.vocabulary.phrase_counts import count_units, find_phrases
from vecmill.vocabulary.phrases import PHRASES_NAME, Phrases
from vecmill.vocabulary.vocabulary import FILE_NAME, MIN_WORDS, Certificate, Vocabulary

SAMPLE_FILE_NAME = SAMPLE_NAME

_TABLE_ROWS = 20
_N_PHRASES_SHOWN = 5


def build_vocabulary(config: VocabularyConfig, io: StageIO) -> StageReport:
    """Count the words of a corpus and sample its documents, in one pass and bounded memory.

    Reads the shards of ``ingest`` without the documents that ``contract`` put into quarantine, each as a piece that
    later runs take over (:mod:`vecmill.vocabulary.count_piece`). Writes ``vocabulary.parquet`` and ``sample.parquet``;
    both are the same bytes for any grouping of the documents into shards, any number of threads and any memory budget.
    Memory: ``config.memory``, the sample, and the words kept.

    With ``config.max_entries`` the corpus is read twice, and the words may depend on how it is cut into batches once
    more than twice that many different words have been seen; counts are exact, and the vocabulary's certificate says
    what may be missing; there are no pieces then. With ``config.phrases`` it is read once more for each round, and
    once to count what is left, as coded text where the pieces are kept; ``phrases.parquet`` then holds the phrases.

    Raises
    ------
    VocabularyError : no document, no word, fewer than two words that reach the thresholds, or a pinned word that the
        token rules would not leave as it is
    StorageFull : spilled tables outgrow ``config.disk``
    """
    rules = TokenRules(config.token_pattern, config.lowercase, config.casefold)
    pinned = _pinned_words(config, rules)
    sample = SampleSettings(
        config.reservoir_size, io.seed, config.reservoir_text_chars, config.reservoir_unit, config.reservoir_weighting
    )
    means = Means(config.threads, config.memory, config.disk)
    phrases = None
    with TemporaryDirectory(prefix="vecmill-counts-") as folder, pieces_of(io) as pieces:
        if config.max_entries is None:
            counts = count_exactly(io, pieces, rules, sample, means, Path(folder))
        else:
            counts = count_bounded(corpus_of(io, config.threads), rules, config, config.max_entries, pinned, sample)
        if config.phrases is None:
            kept = _select(counts.tables, config, pinned)
        else:
            again = CodedCorpus(counts.coded, config.threads) if counts.coded else corpus_of(io, config.threads)
            kept, phrases = _with_phrases(counts, again, rules, config, config.phrases, pinned, Path(folder))

    _refuse_unusable(kept, counts, config)
    certificate = Certificate(
        config.min_count, config.min_documents, counts.n_tokens, counts.delta, n_cut_by_size=kept.n_cut
    )
    vocabulary = Vocabulary(
        kept.words["word"].to_list(),
        kept.words["count"].to_numpy(),
        kept.words["n_documents"].to_numpy(),
        rules,
        certificate,
    )
    vocabulary.save(io.output)
    counts.sample.save(io.output / SAMPLE_FILE_NAME)
    rows = {FILE_NAME: len(vocabulary), SAMPLE_FILE_NAME: len(counts.sample)}
    if phrases is not None:
        phrases.save(io.output)
        rows[PHRASES_NAME] = len(phrases.table)
    n_tokens_kept = int(vocabulary.counts.sum())
    n_units = counts.n_tokens if kept.n_units is None else kept.n_units
    return StageReport(
        metrics={
            "n_documents": counts.n_documents,
            "n_tokens": counts.n_tokens,
            "n_text_bytes_read": counts.n_text_bytes_read,
            # With a cap on entries nobody knows how many different words there were.
            "n_types": kept.n_types if config.max_entries is None else None,
            "n_words": len(vocabulary),
            "n_tokens_kept": n_tokens_kept,
            "coverage_frac": n_tokens_kept / n_units,
            **({} if phrases is None else {"n_phrases": len(phrases.table)}),
            "n_spills": counts.n_spills,
            "n_pinned_missing": sum(word not in vocabulary for word in pinned),
            "certificate_delta": certificate.delta,
            "certificate_complete_from": certificate.complete_from,
            "certificate_proven": certificate.is_proven,
        },
        rows=rows,
        table=_most_frequent(vocabulary, counts.n_tokens),
        markdown=(
            f"{counts.n_tokens:,} words in {counts.n_documents:,} documents, "
            + ("" if config.max_entries is not None else f"{kept.n_types:,} of them different. ")
            + f"The vocabulary keeps {len(vocabulary):,}, which cover {n_tokens_kept / n_units:.2%} of the "
            f"text. {_in_words(certificate)}" + ("" if phrases is None else _phrases_in_words(phrases))
        ),
    )


def _in_words(certificate: Certificate) -> str:
    if certificate.is_proven:
        return f"Proven: no word that occurs {_times(certificate.min_count)} or more was lost in counting."
    return (
        f"Words that occur fewer than {certificate.complete_from:,} times may be missing (vocabulary.max_entries made "
        f"room by dropping words of up to {certificate.delta:,} occurrences); all counts are exact."
    )


def _phrases_in_words(phrases: Phrases) -> str:
    n = len(phrases.table)
    if n == 0:
        return " No two words are a phrase by vocabulary.phrases."
    best = ", ".join(phrases.names[:_N_PHRASES_SHOWN])
    return f" {n:,} phrases were joined, such as {best}."


def _pinned_words(config: VocabularyConfig, rules: TokenRules) -> list[str]:
    """The pinned words in the form in which they are counted."""
    pinned = []
    for word in config.pinned:
        found = tokenize(word, rules)
        if len(found) != 1:
            raise VocabularyError(
                f"vocabulary.pinned holds {word!r}, which the token rules cut into {len(found)} words"
                + (f": {', '.join(found)}" if found else ""),
                expected=f"single words as vocabulary.token_pattern {config.token_pattern!r} finds them in text",
                todo="pin its parts, or leave it out",
            )
        pinned.append(found[0])
    return sorted(set(pinned))


@dataclass
class _Selection:
    """What is kept of the counted words, and what there was.

    Attributes
    ----------
    words : ``word``, ``count``, ``n_documents`` by falling count, then word
    n_cut : words that reach the thresholds and that ``max_size`` cut off
    top_counts : the two largest counts of all words, fewer if there are fewer words
    n_units : words and phrases of the corpus, where phrases were joined
    """

    words: pl.DataFrame = field(default_factory=pl.DataFrame)
    n_types: int = 0
    n_cut: int = 0
    top_counts: list[int] = field(default_factory=list)
    n_units: int | None = None


def _select(tables: Iterator[pl.DataFrame], config: VocabularyConfig, pinned: list[str]) -> _Selection:
    """Keep the words that reach the thresholds, of them the ``max_size`` most frequent; let the others go at once."""
    selection = _Selection()
    reaches = (pl.col("count") >= config.min_count) & (pl.col("n_documents") >= config.min_documents)
    kept: list[pl.DataFrame] = []
    n_reached = n_kept = 0
    for table in tables:
        selection.n_types += len(table)
        selection.top_counts = sorted([*selection.top_counts, *table["count"].top_k(2).to_list()], reverse=True)[:2]
        table = table.with_columns(is_pinned=pl.col("word").is_in(pinned))
        kept.append(table.filter(reaches | pl.col("is_pinned")))
        n_reached += len(kept[-1])
        n_kept += len(kept[-1])
        if config.max_size is not None and n_kept > 2 * config.max_size + 100_000:
            kept = [_ranked(kept).head(config.max_size)]
            n_kept = config.max_size
    if kept:
        words = _ranked(kept).head(n_kept if config.max_size is None else config.max_size)
        selection.words = words.drop("is_pinned").sort("count", "word", descending=[True, False])
        selection.n_cut = n_reached - len(words)
    return selection


def _with_phrases(
    counts: CorpusCounts,
    corpus: Corpus | CodedCorpus,
    rules: TokenRules,
    config: VocabularyConfig,
    phrases_config: PhrasesConfig,
    pinned: list[str],
    folder: Path,
) -> tuple[_Selection, Phrases]:
    """Find phrases, count words and phrases anew as they are after joining, and keep those that reach the thresholds.

    All phrases are kept: one that text is cut by and that is no word would take its parts with it.
    """
    least = min(config.min_count, phrases_config.min_count)
    words = _select(
        counts.tables, config.model_copy(update={"min_count": least, "min_documents": 1, "max_size": None}), pinned
    )
    names = words.words["word"].to_list() if len(words.words) else []
    phrases = find_phrases(corpus, rules, names, phrases_config, folder, config.memory // 2)
    units, tallies, n_units = count_units(corpus, rules, names, phrases)
    table = pl.DataFrame(
        {"word": pl.Series(units, dtype=pl.String), "count": tallies[:, 0], "n_documents": tallies[:, 1]}
    ).filter(pl.col("count") > 0)
    room = None if config.max_size is None else max(config.max_size, len(pinned) + len(phrases.table))
    kept = _select(iter([table]), config.model_copy(update={"max_size": room}), [*pinned, *phrases.names])
    kept.n_types, kept.top_counts, kept.n_units = words.n_types, words.top_counts, n_units
    return kept, phrases


def _ranked(tables: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(tables).sort("is_pinned", "count", "word", descending=[True, True, False])


def _refuse_unusable(selection: _Selection, counts: CorpusCounts, config: VocabularyConfig) -> None:
    n_documents = counts.n_documents
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
            f"the corpus has a single distinct word, {counts.n_tokens:,} times in {n_documents:,} documents",
            expected=f"at least {MIN_WORDS} distinct words, since a word is learned from its neighbours",
            todo="add text to corpus.sources",
        )
    if len(selection.words) < MIN_WORDS:
        largest, second = selection.top_counts
        left = "no word" if len(selection.words) == 0 else "a single word"
        if second >= config.min_count:
            raise VocabularyError(
                f"vocabulary.min_documents is {config.min_documents}, and {left} occurs in that many documents of "
                f"{n_documents:,} and {_times(config.min_count)} or more",
                expected=f"at least {MIN_WORDS} words that reach min_documents and min_count",
                todo="set vocabulary.min_documents lower, or add text to corpus.sources",
            )
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
