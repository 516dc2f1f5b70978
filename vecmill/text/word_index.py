"""Distinct words of texts under running numbers: the compiled word table with what surrounds it.

An index either takes up every word that it meets, or knows a fixed list and answers OUTSIDE for the rest. In both it
remembers how words beyond ASCII fold, so that each is folded once and not each time it occurs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vecmill.kernels.byte_bits import SLACK, mark_bytes
from vecmill.kernels.token_counts import compact
from vecmill.kernels.tokens import (
    AT_LIMIT,
    CURSOR_FIELDS,
    DONE,
    FULL,
    LINE_BREAK,
    SENTENCE_BREAK,
    TEXT_BREAK,
    ByteBits,
    find_tokens,
)
from vecmill.kernels.word_table import OUTSIDE, PENDING, WordTable, number_words, rehash
from vecmill.text.arrow_columns import number_column
from vecmill.text.automaton import automaton_of
from vecmill.text.rules import TokenRules
from vecmill.text.sentences import SentenceUnit

# The smallest break that ends a sentence.
LEAST_BREAK: dict[SentenceUnit, int] = {"sentence": SENTENCE_BREAK, "line": LINE_BREAK, "document": TEXT_BREAK}

Scalar = TypeVar("Scalar", bound=np.generic)

# A fixed index remembers the forms that it has folded; beyond so many it forgets them and begins anew.
_MAX_FORMS = 1 << 18

_UNLIMITED = 1 << 62
_AS_THEY_ARE = np.arange(256, dtype=np.uint8)
_AS_THEY_ARE.flags.writeable = False

# Bytes of the index for a word, besides its letters: offset, target, and slots of 16 bytes, up to four for each word
# when the table has just grown and the old one still stands.
WORD_BYTES = 8 + 4 + 64


@dataclass(frozen=True)
class Sentences:
    """Sentences as word numbers: sentence s is ``token_ids[sentence_offsets[s]:sentence_offsets[s + 1]]``.

    Attributes
    ----------
    token_ids : int32[n], without words that are outside a fixed index
    sentence_offsets : int64[m + 1], strictly rising from 0 to n
    """

    token_ids: npt.NDArray[np.int32]
    sentence_offsets: npt.NDArray[np.int64]


@dataclass(frozen=True)
class FoundTokens:
    """Words found in a column of texts.

    Attributes
    ----------
    codes : int32[n_tokens], entries of the index (``targets[code]`` is the word it stands for), or OUTSIDE
    breaks : uint8[n_tokens], what parts each word from the one before; empty where it was not asked for
    text_offsets : int64[n_texts + 1]
    targets : int32[...], of the index when the words were found
    """

    codes: npt.NDArray[np.int32]
    breaks: npt.NDArray[np.uint8]
    text_offsets: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int32]

    def sentences(self, unit: SentenceUnit) -> Sentences:
        """The words as sentences of the given unit; a sentence without words is none."""
        token_ids = np.empty(len(self.codes), dtype=np.int32)
        offsets = np.empty(len(self.codes) + 1, dtype=np.int64)
        n_tokens, n_sentences = compact(self.codes, self.breaks, self.targets, LEAST_BREAK[unit], token_ids, offsets)
        return Sentences(token_ids[:n_tokens], offsets[: n_sentences + 1].copy())


class WordIndex:
    """Words by number, in order of entry; not to be used by two threads at a time.

    Parameters
    ----------
    rules : what words are
    fixed : large_string[n], different words that are all this index will ever know, numbered in their order; None
        takes up words as they come
    max_words, max_letters : room to begin with, in words and in bytes; it grows where it has to
    """

    def __init__(
        self,
        rules: TokenRules,
        fixed: pa.Array | None = None,
        *,
        max_words: int = 1 << 12,
        max_letters: int = 1 << 16,
    ) -> None:
        self.rules = rules
        self._automaton = automaton_of(rules)
        self._fixed = fixed
        if fixed is not None:
            max_words = max(max_words, len(fixed) + len(fixed) // 8 + 1)
        n_slots = 1 << 12
        self._table = WordTable(
            np.zeros((n_slots, 2), dtype=np.uint64),
            np.zeros(max_words + 1, dtype=np.int64),
            np.empty(max_letters, dtype=np.uint8),
            np.empty(max_words, dtype=np.int32),
            np.zeros(1, dtype=np.int64),
        )
        self._n_folded = 0
        self._codes = np.empty(0, dtype=np.int32)
        self._breaks = np.empty(0, dtype=np.uint8)
        self._bits = np.zeros((3, 0), dtype=np.uint64)
        if fixed is not None:
            self._enter_fixed(fixed)

    def __len__(self) -> int:
        return int(self._table.size[0])

    @property
    def n_letters(self) -> int:
        """Bytes of all words."""
        return int(self._table.offsets[len(self)])

    @property
    def targets(self) -> npt.NDArray[np.int32]:
        """int32[room], the word that each entry counts as; replaced by a larger array when the index grows."""
        return self._table.targets

    def memory_bytes(self) -> int:
        """Memory of the table and of the buffers for found words."""
        return sum(array.nbytes for array in self._table) + sum(
            array.nbytes for array in (self._codes, self._breaks, self._bits)
        )

    def words(self) -> pa.Array:
        """large_string[len(self)], a view; read it before the index changes again."""
        table = self._table
        buffers = [None, pa.py_buffer(table.offsets), pa.py_buffer(table.letters)]
        return pa.LargeStringArray.from_buffers(len(self), *buffers[1:])

    def clear(self) -> None:
        """Forget all words, or all but the fixed ones; the memory stays."""
        self._table.slots.fill(0)
        self._table.size[0] = 0
        self._n_folded = 0
        if self._fixed is not None:
            self._enter_fixed(self._fixed)

    def number(self, words: pa.Array) -> npt.NDArray[np.int32]:
        """Numbers of words as they stand: taken up where they are new, OUTSIDE if the index is fixed."""
        if self._fixed is None:
            return self._number(words, enters=True)
        numbers = self._number(words, enters=False)
        numbers[numbers >= len(self._fixed)] = OUTSIDE  # forms that were folded are in the table, but no words
        return numbers

    def find(self, texts: pa.Array, *, with_breaks: bool = True) -> FoundTokens:
        """All words of a column of texts; the result is overwritten by the next call."""
        if self._fixed is not None and len(self) > len(self._fixed) + _MAX_FORMS:
            self.clear()
        reading = Reading(self, texts, with_breaks=with_breaks)
        reading.go_on()
        return reading.found()

    def _number(self, words: pa.Array, *, enters: bool) -> npt.NDArray[np.int32]:
        data, bounds = _buffers(words)
        numbers = np.empty(len(words), dtype=np.int32)
        n_done = 0
        while (n_done := number_words(data, bounds, self._table, enters, _AS_THEY_ARE, numbers, n_done)) < len(words):
            self._grow()
        return numbers

    def _enter_fixed(self, fixed: pa.Array) -> None:
        self._number(fixed, enters=True)
        if len(self) != len(fixed):
            raise ValueError(f"{len(fixed)} words, of which only {len(self)} are different")
        self._n_folded = len(self)

    def _fold_new(self) -> None:
        """Find what new words beyond ASCII stand for."""
        start, stop = self._n_folded, len(self)
        pending = start + np.flatnonzero(self._table.targets[start:stop] == PENDING)
        if len(pending):
            forms = pl.Series(self.words().take(number_column(pending)), dtype=pl.String)
            folded = fold(forms, self.rules).to_arrow(compat_level=pl.CompatLevel.oldest())
            self._table.targets[pending] = self.number(folded)
        self._n_folded = len(self)

    def _grow(self) -> None:
        """Double whatever is full."""
        table, n_words = self._table, len(self)
        slots, offsets, letters, targets = table.slots, table.offsets, table.letters, table.targets
        if 8 * (n_words + 2) > 5 * len(slots):
            slots = np.zeros((2 * len(slots), 2), dtype=np.uint64)
            rehash(table.slots, slots)
        elif n_words >= len(targets):
            offsets = _longer(offsets, 2 * len(targets) + 1, n_words + 1)
            targets = _longer(targets, 2 * len(targets), n_words)
        else:
            letters = _longer(letters, 2 * len(letters), self.n_letters)
        self._table = WordTable(slots, offsets, letters, targets, table.size)


class Reading:
    """Texts on their way through an index, which may stop between two of them.

    Attributes
    ----------
    n_texts_read : texts whose words have all been found
    """

    def __init__(self, index: WordIndex, texts: pa.Array, *, with_breaks: bool = True) -> None:
        self._index = index
        self._data, self._bounds = _buffers(texts)
        # A word takes two bytes at least, what parts it from the next included; the last of a text takes one.
        most = (int(self._bounds[-1] - self._bounds[0]) + len(texts)) // 2 + 1
        if len(index._codes) < most:
            index._codes = np.empty(most, dtype=np.int32)
        if with_breaks and len(index._breaks) < most:
            index._breaks = np.empty(most, dtype=np.uint8)
        self._breaks = index._breaks[: most if with_breaks else 0]
        self._bits = self._marked(with_breaks)
        self._text_offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        self._cursor = np.zeros(CURSOR_FIELDS, dtype=np.int64)
        self._cursor[1] = -1

    @property
    def n_texts_read(self) -> int:
        return int(self._cursor[0])

    def go_on(self, soft_words: int = _UNLIMITED, soft_letters: int = _UNLIMITED) -> bool:
        """Read on to the end, or to the end of the text with which the index holds so many words or letters.

        Returns
        -------
        at_end : whether all texts have been read
        """
        index = self._index
        while True:
            how = find_tokens(
                self._data, self._bounds, index._automaton, self._bits, index._table, index._fixed is None, soft_words,
                soft_letters, index._codes, self._breaks, self._text_offsets, self._cursor,
            )  # fmt: skip
            if how != FULL:
                break
            index._grow()
        index._fold_new()
        assert how in (DONE, AT_LIMIT)
        return bool(how == DONE)

    def found(self, first_text: int = 0) -> FoundTokens:
        """What was found from ``first_text`` up to where reading stands."""
        index = self._index
        offsets = self._text_offsets[first_text : self.n_texts_read + 1]
        start, stop = int(offsets[0]), int(offsets[-1])
        return FoundTokens(index._codes[start:stop], self._breaks[start:stop], offsets - start, index.targets)

    def _marked(self, with_breaks: bool) -> ByteBits:
        index, automaton = self._index, self._index._automaton
        start, stop = int(self._bounds[0]), int(self._bounds[-1])
        n_numbers = (stop - start + 63 + 8 * SLACK) // 64 + 1
        if index._bits.shape[1] < n_numbers:
            index._bits = np.zeros((3, n_numbers), dtype=np.uint64)
        runs, specials, ends = index._bits
        mark_bytes(self._data, start, stop, automaton.run_spans, runs)
        mark_bytes(self._data, start, stop, automaton.special_spans, specials)
        mark_bytes(self._data, start, stop, automaton.end_spans if with_breaks else automaton.end_spans[:0], ends)
        return ByteBits(runs.view(np.uint8), specials.view(np.uint8), ends.view(np.uint8))


def fold(words: pl.Series, rules: TokenRules) -> pl.Series:
    """Words in the form in which they are counted."""
    if rules.lowercase:
        words = words.str.to_lowercase()
    if rules.casefold:
        words = pl.Series([word.casefold() for word in words.to_list()], dtype=pl.String)
    if rules.pattern == "unicode":
        words = words.str.replace_all("’", "'", literal=True)
    return words


def _buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Bytes and bounds of a string column; the bytes are not copied."""
    if texts.type == pa.string_view():
        texts = texts.cast(pa.large_string())
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    _, offsets, data = texts.buffers()
    bounds = np.zeros(1, dtype=kind)
    if len(texts):
        bounds = np.frombuffer(offsets, dtype=kind)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else np.zeros(1, dtype=np.uint8)
    # Whether Arrow lets us write depends on where a column comes from, and kernels would be compiled for both.
    content.flags.writeable = False
    return content, bounds.astype(np.int64)


def _longer(array: npt.NDArray[Scalar], length: int, n_used: int) -> npt.NDArray[Scalar]:
    longer = np.empty(length, dtype=array.dtype)
    longer[:n_used] = array[:n_used]
    return longer
