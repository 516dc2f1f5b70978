"""Phrases: neighbouring words that count as one unit, ``new york`` as ``new_york``, and how text is cut into units.

A list of phrases stands beside the vocabulary that they are part of (``phrases.parquet``), so that everything encoded
with it joins the same words. Joining goes from left to right, a word belongs to one phrase at most, and no phrase
crosses the end of a sentence or a word outside the vocabulary, as in word2phrase and gensim. A second round joins the
units of the first, so that phrases of up to 2^rounds words come about.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.errors import FormatError
from vecmill.kernels.phrase_pairs import enter_pairs, join_pairs
from vecmill.kernels.word_table import OUTSIDE
from vecmill.text.arrow_columns import read_table, string_column
from vecmill.text.rules import TokenRules
from vecmill.text.word_index import FoundTokens, WordIndex
from vecmill.vocabulary.coded import CodedBlock
from vecmill.vocabulary.schema import PARQUET_OPTIONS, PHRASES_SCHEMA

PHRASES_NAME = "phrases.parquet"
JOINED_BY = "_"

_NONE = pl.DataFrame(
    schema={"round": pl.Int32, "first": pl.String, "second": pl.String, "count": pl.Int64, "score": pl.Float64}
)


@dataclass(frozen=True)
class Phrases:
    """Phrases in the order of their rounds, by falling score in each.

    Attributes
    ----------
    table : columns of :data:`PHRASES_SCHEMA`
    """

    table: pl.DataFrame

    @property
    def names(self) -> list[str]:
        """What each phrase is called: its two units, joined."""
        return (self.table["first"] + JOINED_BY + self.table["second"]).to_list()

    def save(self, folder: Path) -> None:
        """Write ``phrases.parquet`` into a folder: the same bytes for the same phrases."""
        table = self.table.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(PHRASES_SCHEMA)
        pq.write_table(table, folder / PHRASES_NAME, **PARQUET_OPTIONS)

    @classmethod
    def none(cls) -> Phrases:
        """No phrases."""
        return cls(_NONE)

    @classmethod
    def load(cls, folder: Path) -> Phrases:
        """The phrases of a vocabulary's folder; none where it has no ``phrases.parquet``.

        Raises
        ------
        FormatError : the file is not what :meth:`save` writes
        """
        path = folder / PHRASES_NAME
        if not path.exists():
            return cls.none()
        try:
            table = read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise _not_phrases(path, f"it cannot be read as Parquet ({error})") from error
        if not table.schema.equals(PHRASES_SCHEMA):
            raise _not_phrases(path, f"its columns are {', '.join(table.schema.names)}")
        return cls(pl.DataFrame(table))


class UnitIndex:
    """Cuts texts into words and joins phrases; not to be used by two threads at a time.

    Parameters
    ----------
    rules : what words are
    words : n different words or names of phrases, which are units 0 to n - 1
    phrases : to join; units that are not among the words are numbered from n on

    Attributes
    ----------
    units : names of all units, words first
    """

    def __init__(self, rules: TokenRules, words: list[str], phrases: Phrases) -> None:
        ids = {word: unit for unit, word in enumerate(words)}
        table = phrases.table
        # Parts too, which may have become too rare for the vocabulary once they were joined.
        for name in (*table["first"].to_list(), *table["second"].to_list(), *phrases.names):
            ids.setdefault(name, len(ids))
        self.units = list(ids)
        self._index = WordIndex(rules, string_column(self.units))
        self._rounds: list[npt.NDArray[np.uint64]] = []
        numbers = table.with_columns(name=pl.Series(phrases.names, dtype=pl.String))
        for _, part in numbers.group_by("round", maintain_order=True):
            first, second, name = (
                np.array([ids[unit] for unit in part[column]], dtype=np.int64) for column in ("first", "second", "name")
            )
            slots = np.zeros((1 << (2 * len(part)).bit_length(), 2), dtype=np.uint64)
            enter_pairs((first << 32 | second).astype(np.uint64), name.astype(np.int32), slots)
            self._rounds.append(slots)

    @property
    def joins(self) -> bool:
        """Whether there are phrases."""
        return bool(self._rounds)

    def ids(self, words: pa.Array) -> npt.NDArray[np.int32]:
        """int32[len(words)], the units that single words are, OUTSIDE for other words."""
        return self._index.number(words)

    def find(self, texts: pa.Array | CodedBlock) -> tuple[FoundTokens, int]:
        """All units of a column of texts, or of texts coded by the same rules, and how many words there are in it.

        Returns
        -------
        found : whose codes are units, OUTSIDE for other words
        n_words : before joining
        """
        if isinstance(texts, CodedBlock):
            found = texts.found(self._index.number(texts.words))
        else:
            found = self._index.find(texts)
        n_words = len(found.codes)
        if not self._rounds:
            return found, n_words
        units = np.where(found.codes >= 0, found.targets[found.codes], OUTSIDE).astype(np.int32)
        breaks, offsets, n_units = found.breaks.copy(), found.text_offsets.copy(), n_words
        for slots in self._rounds:
            n_units = join_pairs(units[:n_units], breaks[:n_units], offsets, slots)
        every = np.arange(len(self.units), dtype=np.int32)
        return FoundTokens(units[:n_units], breaks[:n_units], offsets, every), n_words


def _not_phrases(path: Path, why: str) -> FormatError:
    return FormatError(
        f"{path} is not a list of phrases: {why}",
        expected=f"Parquet with columns {', '.join(PHRASES_SCHEMA.names)}",
        todo="run the vocabulary stage again with --refresh vocabulary",
    )
