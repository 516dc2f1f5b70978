"""What a word is: the patterns, and the choices that a vocabulary carries with it.

Three patterns:

``unicode``     A run of letters, marks and digits, joined inside by an apostrophe and its like: ``don't``, ``l'homme``,
                ``col·legi``, ``צה״ל``, and the zero-width joiners of Persian and Indic scripts. Hyphens, full stops and
                commas part words, so ``state-of-the-art`` is four and ``3.5`` is two. Where a script puts no spaces
                between words (ideographs, Hiragana, Thai, Lao, Khmer, Myanmar, Tai) each letter with its marks is a
                word, which is what the default rules of Unicode Standard Annex 29 give as well; text already segmented
                by a dictionary goes through ``whitespace``.
``ascii``       ``[a-z0-9]+(?:'[a-z]+)?`` in either case: for comparison with figures that were taken with it.
``whitespace``  Whatever stands between white space, as it is: for text that comes tokenised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vecmill.text.sentences import SPACES
from vecmill.text.word_characters import LONE_CHARACTERS, MARKS, RUN_CHARACTERS, character_class

TokenPattern = Literal["unicode", "ascii", "whitespace"]

# Apostrophes, Catalan middle dot, Hebrew geresh and gershayim, zero-width non-joiner and joiner.
JOINERS = r"'’·׳״\u200C\u200D"

_RUN = character_class(RUN_CHARACTERS)
_MARKS = character_class(MARKS)
_LONE = character_class(LONE_CHARACTERS)

PATTERNS: dict[TokenPattern, str] = {
    "unicode": f"[{_RUN}][{_RUN}{_MARKS}]*(?:[{JOINERS}][{_RUN}][{_RUN}{_MARKS}]*)*|[{_LONE}][{_MARKS}]*",
    "ascii": "[A-Za-z0-9]+(?:'[A-Za-z]+)?",
    "whitespace": f"[^{SPACES}]+",
}


@dataclass(frozen=True)
class TokenRules:
    """How a text becomes words; kept with a vocabulary, so that everything encoded with it follows the same rules.

    Attributes
    ----------
    lowercase : Unicode lower case (``str.lower``) of each word
    casefold : Unicode case folding (``str.casefold``) after that, which also makes ``straße`` and ``strasse`` one
    """

    pattern: TokenPattern = "unicode"
    lowercase: bool = True
    casefold: bool = False


DEFAULT_RULES = TokenRules()
