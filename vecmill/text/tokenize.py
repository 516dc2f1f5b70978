"""Words of a text, in every script: one definition, one function for a string, one for a whole column.

:func:`tokenize` runs Python's `re` over one text; :func:`tokenize_column` runs Rust's `regex` (through polars) over a
column of texts, at tens of millions of characters a second. Both follow the same patterns, which are written so that
the two engines read them alike: code points are listed, no class such as ``\\w`` is used, and there is no look-around.

Three patterns:

``unicode``     A run of letters, marks and digits, joined inside by an apostrophe and its like: ``don't``, ``l'homme``,
                ``col·legi``, ``צה״ל``, and the zero-width joiners of Persian and Indic scripts. Hyphens, full stops and
                commas part words, so ``state-of-the-art`` is four and ``3.5`` is two. Where a script puts no spaces
                between words (ideographs, Hiragana, Thai, Lao, Khmer, Myanmar, Tai) each letter with its marks is a
                word, which is what the default rules of Unicode Standard Annex 29 give as well; text already segmented
                by a dictionary goes through ``whitespace``.
``ascii``       ``[a-z0-9]+(?:'[a-z]+)?`` in either case: for comparison with figures that were taken with it.
``whitespace``  Whatever stands between white space, as it is: for text that comes tokenised.

Text is assumed to be in NFC, as the cleaning steps leave it. Lower-casing is that of Unicode (``str.lower``), done on
the words rather than on the text, so that the column path lower-cases each distinct word once. Under ``unicode`` a
typographic apostrophe becomes the plain one; otherwise "don’t" and "don't" would be two words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from vecmill.text.sentences import (
    BREAK_PATTERNS,
    CLOSERS,
    END_MARKS,
    END_MARKS_WITHOUT_SPACE,
    LINE_ENDS,
    SPACES,
    SentenceUnit,
)
from vecmill.text.word_characters import LONE_CHARACTERS, MARKS, RUN_CHARACTERS, character_class

TokenPattern = Literal["unicode", "ascii", "whitespace"]

_RUN = character_class(RUN_CHARACTERS)
_MARKS = character_class(MARKS)
_LONE = character_class(LONE_CHARACTERS)

# Apostrophes, Catalan middle dot, Hebrew geresh and gershayim, zero-width non-joiner and joiner.
_JOINERS = r"'’·׳״\u200C\u200D"

PATTERNS: dict[TokenPattern, str] = {
    "unicode": f"[{_RUN}][{_RUN}{_MARKS}]*(?:[{_JOINERS}][{_RUN}][{_RUN}{_MARKS}]*)*|[{_LONE}][{_MARKS}]*",
    "ascii": "[A-Za-z0-9]+(?:'[A-Za-z]+)?",
    "whitespace": f"[^{SPACES}]+",
}


@dataclass(frozen=True)
class TokenRules:
    """How a text becomes words; kept with a vocabulary, so that everything encoded with it follows the same rules."""

    pattern: TokenPattern = "unicode"
    lowercase: bool = True


DEFAULT_RULES = TokenRules()


def tokenize(text: str, rules: TokenRules = DEFAULT_RULES) -> list[str]:
    """The words of one text, in order.

    >>> tokenize("Don’t PANIC: 3.5 state-of-the-art naïve 漢字 हिन्दी")
    ["don't", 'panic', '3', '5', 'state', 'of', 'the', 'art', 'naïve', '漢', '字', 'हिन्दी']
    """
    words = [found.group() for found in re.finditer(PATTERNS[rules.pattern], text)]
    if rules.lowercase:
        words = [word.lower() for word in words]
    if rules.pattern == "unicode":
        words = [word.replace("’", "'") for word in words]
    return words


@dataclass(frozen=True)
class TokenColumn:
    """The tokens of a column of texts, dictionary-encoded.

    Attributes
    ----------
    words : string[n_words], the distinct words, in order of first occurrence
    codes : int32[n_tokens], each in [0, n_words): token i is ``words[codes[i]]``
    text_offsets : int64[n_texts + 1]; text t is ``codes[text_offsets[t]:text_offsets[t + 1]]``, possibly empty
    sentence_offsets : int64[n_sentences + 1]; no sentence is empty, none crosses the end of a text
    """

    words: pa.Array
    codes: npt.NDArray[np.int32]
    text_offsets: npt.NDArray[np.int64]
    sentence_offsets: npt.NDArray[np.int64]


def tokenize_column(
    texts: pa.Array | pl.Series, rules: TokenRules = DEFAULT_RULES, unit: SentenceUnit = "document"
) -> TokenColumn:
    """The words of every text of a column, with sentence boundaries.

    Gives for each text what ``[tokenize(piece, rules) for piece in split_sentences(text, unit)]`` gives, without empty
    sentences. Breaks between sentences are found by the same pass over the text: the regular expression matches a word
    *or* a break, and no character that a break can start with is part of a word. Under the ``whitespace`` pattern
    words do contain end marks; there a sentence ends after a word that ends in them.

    Parameters
    ----------
    texts : string[n_texts], no nulls
    unit : what counts as a sentence

    Returns
    -------
    tokens : memory in proportion to the column; callers pass a few megabytes of text at a time
    """
    column = texts if isinstance(texts, pl.Series) else pl.Series(texts, dtype=pl.String)
    lists = column.str.extract_all(_column_pattern(rules.pattern, unit)).to_arrow(compat_level=pl.CompatLevel.newest())
    found = pc.dictionary_encode(lists.values)  # the fresh array starts at offset 0, so `values` is exactly its content
    raw_codes = found.indices.to_numpy()
    raw_words = pl.Series(found.dictionary, dtype=pl.String)
    raw_offsets = np.asarray(lists.offsets.to_numpy(), dtype=np.int64)

    is_break, ends_sentence = _break_flags(raw_words, rules.pattern, unit)
    folded = pc.dictionary_encode(_fold(raw_words, rules).to_arrow(compat_level=pl.CompatLevel.newest()))
    # A string view keeps the buffers of the whole column alive; the copy holds the distinct words and nothing else.
    words = folded.dictionary.cast(pa.large_string())
    codes = folded.indices.to_numpy()[raw_codes]
    if not (is_break.any() or ends_sentence.any()):
        return TokenColumn(words, codes, raw_offsets, np.unique(raw_offsets))

    is_word = ~is_break[raw_codes]
    n_words_before = np.zeros(len(raw_codes) + 1, dtype=np.int64)
    np.cumsum(is_word, out=n_words_before[1:])
    text_offsets = n_words_before[raw_offsets]
    boundaries = n_words_before[1:][~is_word | ends_sentence[raw_codes]]
    # Breaks stay in `words`: no code points at them, and dropping them would cost a renumbering.
    return TokenColumn(words, codes[is_word], text_offsets, np.unique(np.concatenate([text_offsets, boundaries])))


def _column_pattern(pattern: TokenPattern, unit: SentenceUnit) -> str:
    if pattern == "whitespace":
        between = None if unit == "document" else f"[{LINE_ENDS}]+"
    else:
        between = BREAK_PATTERNS[unit]
    return PATTERNS[pattern] if between is None else f"{PATTERNS[pattern]}|{between}"


def _break_flags(
    words: pl.Series, pattern: TokenPattern, unit: SentenceUnit
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which distinct matches are breaks rather than words, and which words are followed by one."""
    nowhere: npt.NDArray[np.bool_] = np.zeros(len(words), dtype=np.bool_)
    if unit == "document":
        return nowhere, nowhere
    if pattern == "whitespace":
        is_break = _matches(words, f"^[{LINE_ENDS}]")
        if unit == "line":
            return is_break, nowhere
        return is_break, _matches(words, f"[{END_MARKS}{END_MARKS_WITHOUT_SPACE}][{CLOSERS}]*$")
    return _matches(words, f"^[{END_MARKS}{END_MARKS_WITHOUT_SPACE}{LINE_ENDS}]"), nowhere


def _matches(words: pl.Series, pattern: str) -> npt.NDArray[np.bool_]:
    flags: Any = words.str.contains(pattern).to_numpy()
    return np.asarray(flags, dtype=np.bool_)


def _fold(words: pl.Series, rules: TokenRules) -> pl.Series:
    if rules.lowercase:
        words = words.str.to_lowercase()
    if rules.pattern == "unicode":
        words = words.str.replace_all("’", "'", literal=True)
    return words
