"""Cleaning a column gives what cleaning each text gives."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vecmill.text.cleaning import STEPS, CleaningStep, clean
from vecmill.text.cleaning_column import SAFE_IN_NFC, SIGNS, WIDE_SIGNS, clean_column

DEFAULT: tuple[CleaningStep, ...] = ("nfc", "html", "wiki", "urls", "emails", "whitespace")

_PIECES = st.sampled_from(
    [
        *"aAzé1٣ſK \n\t\r'’[]{}|<>=*#:;!-_@./&()\x00\x0b\x85\u00ad\u200b\u0301\u0323\u1100\u1161\u2028\u3000\ufeff\xa0",
        *"각漢है",
        *("<b>", "<BR />", "</p>", "<br", "<1>", "<!-- ", "-->", "<script>", "</script>", "<style", "<a href='x'>"),
        *("&amp;", "&lt;", "&#8;", "amp;", "lt;b>", "http://", "WWW.", "x.org", "a@b.c", "@", "don't", "I'd"),
        *("''", "[[", "]]", "{{", "{|", "==", "----", "thumb|", "__TOC__", "Category:", "fr:X", "en-us:", "REDIRECT "),
        *("( ,)", "\n\n", "  ", " \n", "word", "the end. "),
    ]
)
_COLUMNS = st.lists(st.one_of(st.lists(_PIECES, max_size=12).map("".join), st.text(max_size=20)), max_size=6)


def cleaned(texts: list[str], steps: Sequence[CleaningStep]) -> list[str]:
    column = pl.Series("anything", texts, dtype=pl.String)
    found = clean_column(column, steps)
    assert column.to_list() == texts
    return found.to_list()


@settings(deadline=None)  # a busy machine takes its time
@given(
    texts=_COLUMNS, steps=st.one_of(st.just(DEFAULT), st.permutations(list(STEPS)), st.sampled_from([(), ("html",)]))
)
@example(texts=["<p>One<br />\n<i>two</i></p>", "<<b>i>", "a < b <br>", "", "<ſ>", "plain"], steps=DEFAULT)
@example(texts=["&amp;" * 50 + "lt;b>", "{" * 40, "e\u0301", "\u1100\u1161\u11a8"], steps=DEFAULT)
def test_a_column_is_cleaned_as_its_texts_are(texts: list[str], steps: tuple[CleaningStep, ...]) -> None:
    assert cleaned(texts, steps) == [clean(text, steps) for text in texts]


@settings(deadline=None)
@pytest.mark.parametrize("step", SIGNS)
@given(texts=_COLUMNS)
def test_each_step_alone(step: CleaningStep, texts: list[str]) -> None:
    assert cleaned(texts, [step]) == [clean(text, [step]) for text in texts]


def test_characters_called_safe_come_out_of_nfc_as_they_are() -> None:
    spans = [[int(code, 16) for code in span.split("-")] for span in SAFE_IN_NFC.split()]
    safe = {chr(code) for span in spans for code in range(span[0], span[-1] + 1)}
    seconds = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for code in range(0x20000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    assert not safe & seconds
    assert not any(unicodedata.combining(character) for character in safe)
    text = "".join(sorted(safe))
    assert clean(text, ["nfc"]) == text
    assert all(last < first for (*_, last), (first, *_) in pairwise(spans))


def test_most_plain_text_bears_no_sign() -> None:
    text = "It was a film, I think (1999), of “some” length: not bad!\n\nRésumé: наука, 漢字。"
    signs = [(step, sign) for step, several in SIGNS.items() for sign in several]
    assert [(step, sign) for step, sign in signs if re.search(_for_python(sign), text)] == []
    assert not re.search(_for_python(WIDE_SIGNS["whitespace"]), text)


def _for_python(sign: str) -> str:
    sign = re.sub(r"\\x\{([0-9A-F]+)\}", lambda code: f"\\U{int(code[1], 16):08X}", sign).replace(r"\z", r"\Z")
    return f"(?m){sign.replace('(?m)', '')}" if "(?m)" in sign else sign
