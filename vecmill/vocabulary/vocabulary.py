"""The vocabulary: which words have a vector, under which id, how often they occur."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.errors import FormatError
from vecmill.text.arrow_columns import number_column, numbers_of, read_table, string_column
from vecmill.text.tokenize import DEFAULT_RULES, TokenRules
from vecmill.vocabulary.schema import PARQUET_OPTIONS, VOCABULARY_SCHEMA

FILE_NAME = "vocabulary.parquet"

# A vocabulary of one word has no neighbours and no negatives, so nothing could be learned from it.
MIN_WORDS = 2
# As the contract has them.
_WITHOUT_BLANKS = r"^[^\s\p{Z}]+$"
_MAX_WORD_CHARS = 10_000

log = logging.getLogger("vecmill")

_RULES_KEY = b"vecmill.token_rules"
_CERTIFICATE_KEY = b"vecmill.certificate"


@dataclass(frozen=True)
class Certificate:
    """What is known about words that are missing. Counts of the words that are there are exact in any case.

    Attributes
    ----------
    min_count, min_documents : what was asked for
    n_tokens : words of the corpus
    delta : a word that counting let go occurred at most so often; 0 where all words were counted
    complete_from : (derived) each word that occurs at least so often, in ``min_documents`` documents, was considered
    n_cut_by_size : words that reached both thresholds and that ``max_size`` left out
    """

    min_count: int
    min_documents: int
    n_tokens: int
    delta: int
    n_cut_by_size: int = 0

    @property
    def complete_from(self) -> int:
        return max(self.min_count, self.delta + 1)

    @property
    def is_proven(self) -> bool:
        """Whether it is proven that counting lost no word that reaches ``min_count``."""
        return self.complete_from <= self.min_count


class Vocabulary:
    """Words by falling count; a word's id is its place in that order.

    Parameters
    ----------
    words : n different words, by falling count, then in code point order
    counts : int64[n], occurrences, each at least 1
    n_documents : int64[n], documents that the word occurs in
    rules : how text was cut into these words, and has to be cut to be encoded with them
    certificate : what is known about missing words, None for a vocabulary that was not counted from a corpus

    Raises
    ------
    ValueError : lengths differ, a word comes twice, or the order is another one
    """

    def __init__(
        self,
        words: list[str],
        counts: npt.NDArray[np.int64],
        n_documents: npt.NDArray[np.int64],
        rules: TokenRules = DEFAULT_RULES,
        certificate: Certificate | None = None,
    ) -> None:
        self.words = words
        self.counts = np.ascontiguousarray(counts, dtype=np.int64)
        self.n_documents = np.ascontiguousarray(n_documents, dtype=np.int64)
        self.rules = rules
        self.certificate = certificate
        if self.counts.shape != (len(words),) or self.n_documents.shape != (len(words),):
            raise ValueError(
                f"{len(words)} words with counts of shape {self.counts.shape} and "
                f"n_documents of shape {self.n_documents.shape}"
            )
        _check_order(words, self.counts)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.ids

    @cached_property
    def ids(self) -> dict[str, int]:
        """Word to id; built when first asked for."""
        return {word: word_id for word_id, word in enumerate(self.words)}

    def id_of(self, word: str) -> int | None:
        """The word's id, None for a word outside the vocabulary; it is looked up as it is, without lower-casing."""
        return self.ids.get(word)

    def save(self, folder: Path) -> None:
        """Write ``vocabulary.parquet`` into a folder: the same bytes for the same vocabulary."""
        metadata = {_RULES_KEY: json.dumps(asdict(self.rules), sort_keys=True)}
        if self.certificate is not None:
            metadata[_CERTIFICATE_KEY] = json.dumps(asdict(self.certificate), sort_keys=True)
        schema = VOCABULARY_SCHEMA.with_metadata(metadata)
        columns = [
            number_column(np.arange(len(self), dtype=np.int32)),
            string_column(self.words).cast(pa.string()),
            number_column(self.counts),
            number_column(self.n_documents),
        ]
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), folder / FILE_NAME, **PARQUET_OPTIONS)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Read ``vocabulary.parquet`` from a folder.

        Raises
        ------
        FormatError : there is none, or it is not what :meth:`save` writes
        """
        path = folder / FILE_NAME
        try:
            table = read_table(path)
        except FileNotFoundError as error:
            raise _not_a_vocabulary(path, "there is no such file") from error
        except (pa.ArrowException, OSError) as error:
            raise _not_a_vocabulary(path, f"it cannot be read as Parquet ({error})") from error
        if not table.schema.equals(VOCABULARY_SCHEMA):
            found = ", ".join(f"{field.name} {field.type}" for field in table.schema)
            raise _not_a_vocabulary(path, f"its columns are {found}")
        words = table.column("word")
        word_ids, counts, n_documents = (
            numbers_of(table.column(name).combine_chunks()).copy() for name in ("word_id", "count", "n_documents")
        )
        if not np.array_equal(word_ids, np.arange(len(table))):
            raise _not_a_vocabulary(path, "its word_id does not count 0, 1, 2, …")
        _check_rules(path, words, counts, n_documents)
        try:
            metadata = table.schema.metadata or {}
            rules = TokenRules(**json.loads(metadata[_RULES_KEY]))
            certificate = (
                Certificate(**json.loads(metadata[_CERTIFICATE_KEY])) if _CERTIFICATE_KEY in metadata else None
            )
            return cls(words.to_pylist(), counts, n_documents, rules, certificate)
        except KeyError as error:
            raise _not_a_vocabulary(path, "it does not say how text becomes words") from error
        except (TypeError, ValueError) as error:
            raise _not_a_vocabulary(path, str(error)) from error


def _check_rules(
    path: Path, words: pa.ChunkedArray, counts: npt.NDArray[np.int64], n_documents: npt.NDArray[np.int64]
) -> None:
    """Refuse what breaks a critical rule of ``data_contracts/vocabulary.json`` that the order does not tell.

    Great Expectations would judge the same, by importing 300 MB wherever a vocabulary is read.
    """
    if len(words) < MIN_WORDS:
        raise _not_a_vocabulary(path, f"it has {len(words)} words, and {MIN_WORDS} are the fewest to learn from")
    blank = pc.indices_nonzero(pc.invert(pc.match_substring_regex(words, _WITHOUT_BLANKS)))
    if len(blank):
        word_id = int(blank[0].as_py())
        raise _not_a_vocabulary(path, f"word {word_id} is {words[word_id].as_py()[:80]!r}, empty or with a blank in it")
    astray = np.flatnonzero((n_documents < 1) | (n_documents > np.maximum(counts, 1)))
    if len(astray):
        word_id = int(astray[0])
        raise _not_a_vocabulary(
            path,
            f"word {words[word_id].as_py()!r} occurs {counts[word_id]:,} times, in {n_documents[word_id]:,} documents",
        )
    longest = int(pc.max(pc.utf8_length(words)).as_py())
    if longest > _MAX_WORD_CHARS:
        log.warning("%s has a word of %s characters: text that was not cut into words?", path, f"{longest:,}")


def _check_order(words: list[str], counts: npt.NDArray[np.int64]) -> None:
    if len(words) and int(counts.min()) < 1:
        raise ValueError(f"word {words[int(counts.argmin())]!r} has count {int(counts.min())}, below 1")
    steps = np.diff(counts)
    rising = np.flatnonzero(steps > 0)
    if len(rising):
        raise ValueError(f"counts rise at word_id {int(rising[0]) + 1}")
    # Among equal counts words rise strictly, so no word comes twice there; across counts only a set can tell.
    for word_id in np.flatnonzero(steps == 0):
        if words[word_id] >= words[word_id + 1]:
            raise ValueError(f"words {words[word_id]!r} and {words[word_id + 1]!r} of equal count are out of order")
    if len(set(words)) != len(words):
        raise ValueError("a word comes twice")


def _not_a_vocabulary(path: Path, why: str) -> FormatError:
    return FormatError(
        f"{path} is not a vocabulary: {why}",
        expected=f"Parquet with columns {', '.join(VOCABULARY_SCHEMA.names)}, by falling count, then word",
        todo="run the vocabulary stage again with --refresh vocabulary",
    )
