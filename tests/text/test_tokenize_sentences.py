"""Sentences: the cutting rules, and that no character is lost by them."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given, settings
from strategies_text import texts

from vecmill.text.sentences import LINE_ENDS, SPACES, SentenceUnit, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four…", ["One.", "Two!", "Three?", "Four…"]),
        ('He said "Go." Then (why?) he went.', ['He said "Go."', "Then (why?)", "he went."]),
        ("3.5 mm and example.org", ["3.5 mm and example.org"]),
        ("A title\n\nA paragraph\r\nAnother", ["A title", "A paragraph", "Another"]),
        ("Wait... what?!  Yes.", ["Wait...", "what?!", "Yes."]),
        ("一。二！「三。」四", ["一。", "二！", "「三。」", "四"]),
        ("पहला। दूसरा। هل؟ نعم.", ["पहला।", "दूसरा।", "هل؟", "نعم."]),
        ("Mr. Smith", ["Mr.", "Smith"]),
        (" \n ", []),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_other_units() -> None:
    text = "One. Two.\nThree.\u2028Four"
    assert split_sentences(text, "line") == ["One. Two.", "Three.", "Four"]
    assert split_sentences(text, "document") == [text]


@pytest.mark.parametrize("unit", ["sentence", "line", "document"])
@settings(deadline=None)
@given(text=texts)
def test_nothing_but_white_space_is_lost(unit: SentenceUnit, text: str) -> None:
    assert "".join("".join(split_sentences(text, unit)).split()) == "".join(text.split())


def test_white_space_is_what_python_calls_white_space() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert re.findall(f"[{SPACES}]", everything) == [character for character in everything if character.isspace()]
    assert all(f"a{end}b".splitlines() == ["a", "b"] for end in re.findall(f"[{LINE_ENDS}]", everything))
