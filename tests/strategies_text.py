"""Hypothesis strategies for text: mixtures of what tokenizers trip over, weighted towards it."""

from __future__ import annotations

from hypothesis import strategies as st

_WORDS = [
    "a",
    "I",
    "don't",
    "Don’t",
    "l'homme",
    "O''Neill",
    "naïve",
    "STRASSE",
    "ẞ",
    "İstanbul",
    "ΣΊΣΥΦΟΣ",
    "Σ",
    "м’яч",
    "col·legi",
    "हिन्दी",
    "می\u200cخواهم",
    "צה״ל",
    "漢字",
    "ひらがな",
    "カタカナ",
    "ภาษาไทย",
    "한국어",
    "3.5",
    "x2",
    "½",
    "²",
    "_",
    "-",
    "\u0301",
    "e\u0301",
    "\ufe0f",
    "\u200d",
    "\u200b",
    "'",
    "’",
    "\U00020000",
    "😀",
    "🏳️\u200d🌈",
]
_SPACES = [" ", "\n", "\r\n", "\t", "\v", "\f", "\x1c", "\x85", "\xa0", "\u2028", "\u3000"]
_ENDS = [".", ". ", "! ", "?! ", "… ", "。", "！」", "। ", "؟ ", '." ', ".) ", "”", "» ", "...\n"]

# Unassigned characters are left out: what they are in lower case depends on the Unicode version of each library.
_characters = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=3)

texts = st.lists(
    st.one_of(st.sampled_from(_WORDS), st.sampled_from(_SPACES), st.sampled_from(_ENDS), _characters), max_size=30
).map("".join)
