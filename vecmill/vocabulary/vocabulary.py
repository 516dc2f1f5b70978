"""The vocabulary: which words have a vector, under which id, how often they occur."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.errors import FormatError
from vecmill.text.tokenize import DEFAULT_RULES, TokenRules
from vecmill.vocabulary.schema import PARQUET_OPTIONS, VOCABULARY_SCHEMA

FILE_NAME = "vocabulary.parquet"

_RULES_KEY = b"vecmill.token_rules"


class Vocabulary:
    """Words by falling count; a word's id is its place in that order.

    Parameters
    ----------
    words : n different words, by falling count, then in code point order
    counts : int64[n], occurrences, each at least 1
    n_documents : int64[n], documents that the word occurs in
    rules : how text was cut into these words, and has to be cut to be encoded with them

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
    ) -> None:
        self.words = words
        self.counts = np.ascontiguousarray(counts, dtype=np.int64)
        self.n_documents = np.ascontiguousarray(n_documents, dtype=np.int64)
        self.rules = rules
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
        schema = VOCABULARY_SCHEMA.with_metadata({_RULES_KEY: json.dumps(asdict(self.rules), sort_keys=True).encode()})
        columns = [
            pa.array(np.arange(len(self), dtype=np.int32)),
            pa.array(self.words, pa.string()),
            pa.array(self.counts),
            pa.array(self.n_documents),
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
            table = pq.read_table(path)
        except FileNotFoundError as error:
            raise _not_a_vocabulary(path, "there is no such file") from error
        except (pa.ArrowException, OSError) as error:
            raise _not_a_vocabulary(path, f"it cannot be read as Parquet ({error})") from error
        if not table.schema.equals(VOCABULARY_SCHEMA):
            found = ", ".join(f"{field.name} {field.type}" for field in table.schema)
            raise _not_a_vocabulary(path, f"its columns are {found}")
        word_ids, words, counts, n_documents = (table.column(name) for name in VOCABULARY_SCHEMA.names)
        if not np.array_equal(word_ids.to_numpy(), np.arange(len(table))):
            raise _not_a_vocabulary(path, "its word_id does not count 0, 1, 2, …")
        try:
            rules = TokenRules(**json.loads((table.schema.metadata or {})[_RULES_KEY]))
            return cls(words.to_pylist(), counts.to_numpy(), n_documents.to_numpy(), rules)
        except KeyError as error:
            raise _not_a_vocabulary(path, "it does not say how text becomes words") from error
        except (TypeError, ValueError) as error:
            raise _not_a_vocabulary(path, str(error)) from error


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
