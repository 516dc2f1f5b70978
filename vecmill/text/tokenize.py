"""Words of a text, in every script: one definition, one function for a string, one for a whole column.

:func:`tokenize` runs Python's `re` over one text, by the patterns of :mod:`vecmill.text.rules`; it is the definition.
:func:`tokenize_column` runs the compiled automaton of :mod:`vecmill.kernels.tokens` over a column of texts, at about a
hundred megabytes a second and core.

Text is assumed to be in NFC, as the cleaning steps leave it. Lower-casing is that of Unicode (``str.lower``), done on
the words rather than on the text, so that the column path folds each distinct word once. Under ``unicode`` a
typographic apostrophe becomes the plain one; otherwise "don’t" and "don't" would be two words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vecmill.text.rules import DEFAULT_RULES, PATTERNS, TokenPattern, TokenRules
from vecmill.text.sentences import SentenceUnit
from vecmill.text.word_index import WordIndex

__all__ = ["DEFAULT_RULES", "PATTERNS", "TokenColumn", "TokenPattern", "TokenRules", "tokenize", "tokenize_column"]


def tokenize(text: str, rules: TokenRules = DEFAULT_RULES) -> list[str]:
    """The words of one text, in order.

    >>> tokenize("Don’t PANIC: 3.5 state-of-the-art naïve 漢字 हिन्दी")
    ["don't", 'panic', '3', '5', 'state', 'of', 'the', 'art', 'naïve', '漢', '字', 'हिन्दी']
    """
    words = [found.group() for found in re.finditer(PATTERNS[rules.pattern], text)]
    if rules.lowercase:
        words = [word.lower() for word in words]
    if rules.casefold:
        words = [word.casefold() for word in words]
    if rules.pattern == "unicode":
        words = [word.replace("’", "'") for word in words]
    return words


@dataclass(frozen=True)
class TokenColumn:
    """The tokens of a column of texts, dictionary-encoded.

    Attributes
    ----------
    words : large_string[n_words], different words; each token's is among them, and so may be forms that were folded
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
    sentences. Under the ``whitespace`` pattern words contain end marks; there a sentence ends after a word that ends
    in them.

    Parameters
    ----------
    texts : string[n_texts], no nulls
    unit : what counts as a sentence

    Returns
    -------
    tokens : memory in proportion to the column; callers pass a few megabytes of text at a time
    """
    column = texts.to_arrow(compat_level=pl.CompatLevel.oldest()) if isinstance(texts, pl.Series) else texts
    index = WordIndex(rules)
    found = index.find(column)
    sentences = found.sentences(unit)
    return TokenColumn(index.words(), sentences.token_ids, found.text_offsets, sentences.sentence_offsets)
