"""Every cleaning step: its examples, idempotence on text made to break it, and what must survive."""

import doctest
import sys
import typing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vecmill.text import cleaning
from vecmill.text.cleaning import STEPS, CleaningStep, clean

# Pieces of everything the steps look for, so that random joins form and break markup.
_PIECES = st.sampled_from(
    [
        *"aAé1٣ \n\t\r'’[]{}|<>=*#:;!-_@./&()\x00\x0b\u00ad\u200b\u0301\u2028\ufeff\xa0",
        "&amp;",
        "&#38;",
        "&lt;",
        "&gt;",
        "&nbsp;",
        "&#x301;",
        "&#8;",
        "amp;",
        "lt;",
        "<b>",
        "</p>",
        "<!--",
        "-->",
        "<script>",
        "</script>",
        "<style",
        "http://",
        "www.",
        "x.org",
        "a@b.c",
        "@",
        "don't",
        "I'd",
        "'ve",
        "n't",
        "it’s",
        "y'all",
        "'tis",
        "12,345.6",
        ",",
        "''",
        "[[",
        "]]",
        "{{",
        "{|",
        "|}",
        "==",
        "thumb|",
        "alt=",
        "__TOC__",
        "__",
        "TOC",
        "Category:",
        "fr:X",
        "REDIRECT ",
        "( )",
    ]
)
_TEXTS = st.one_of(st.lists(_PIECES, max_size=25).map("".join), st.text(max_size=40))


def test_examples_in_docstrings():
    assert doctest.testmod(cleaning).failed == 0
    assert doctest.testmod(cleaning).attempted >= len(STEPS)


def test_table_holds_every_step_a_configuration_can_name():
    assert set(STEPS) == set(typing.get_args(CleaningStep))


@pytest.mark.parametrize("step", STEPS)
@given(text=_TEXTS)
@example(text="&amp;" * 50 + "lt;b>")
@example(text="[''[" * 30)
@example(text="<" * 40 + "<b>" + "b>" * 40)
@example(text="(" * 40 + ")" * 40)
def test_each_step_changes_clean_text_no_more(step, text):
    once = STEPS[step](text)
    assert STEPS[step](once) == once


@given(text=_TEXTS, steps=st.lists(st.sampled_from(list(STEPS)), max_size=8))
def test_every_pipeline_changes_clean_text_no_more(text, steps):
    once = clean(text, steps)
    assert clean(once, steps) == once


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("e\u0301", "é"),
        ("e\u200b\u0301", "é"),
        ("a\r\nb\rc\x0bd\u2028e", "a\nb\nc\nd\ne"),
        ("one\u2029two", "one\n\ntwo"),
        ("tab\tstays\x00\x1b[0m", "tab\tstays[0m"),
        ("soft\u00adhyphen\ufeff", "softhyphen"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_nfc(before, after):
    assert cleaning.nfc(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("AT&T & 5 < 6 > 4, I <3 you", "AT&T & 5 < 6 > 4, I <3 you"),
        ("Great film.<br /><br />Really.", "Great film.\n\nReally."),
        ("un<i>believ</i>able", "unbelievable"),
        ("<td>a</td><td>b</td>", " a  b "),
        ("&amp;lt;b&amp;gt;bold&lt;/b&gt;", "bold"),
        ("caf&eacute; &#233; &#xE9;", "café é é"),
        ("?a=1&copy=2&unknown;", "?a=1&copy=2&unknown;"),
        ("a<!-- x <b> -->b<STYLE media='all'>p{}</style >c", "a b c"),
        ("<script src='x'>if (a<b) {}</script>text", " text"),
        ("<!DOCTYPE html><p>x", " \nx"),
        ("unclosed <!-- comment", "unclosed <!-- comment"),
    ],
)
def test_html(before, after):
    assert cleaning.html(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("''Moby-Dick'' is '''long'''.", "Moby-Dick is long."),
        ("=== Early life ===\nBorn.", "Early life\nBorn."),
        ("** first\n#: second", "first\nsecond"),
        ("Latin ( ) albedo (, ) is", "Latin  albedo  is"),
        ("Category:Cats\nText.\nfr:Chat\nde-at:Katze\n#REDIRECT Dogs\n.", "\nText.\n\n\n\n"),
        ("thumb|right|220px|A cat.", "A cat."),
        ("__NOTOC__\nText", "\nText"),
        ("Time: 12:30. See re: that", "Time: 12:30. See re: that"),
        ("the dogs' bowl and don't", "the dogs' bowl and don't"),
        ("well-known - 5 = 5 [1]", "well-known - 5 = 5 [1]"),
    ],
)
def test_wiki(before, after):
    assert cleaning.wiki(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("at http://a.b/c_(d)?e=f&g#h.", "at  ."),
        ("(see HTTPS://A.ORG/x)", "(see  )"),
        ("ftp://x.y/z; git://h/i", " ;  "),
        ("awww. www. :// http://", "awww. www. :// http://"),
        ("café.com and e.g. this", "café.com and e.g. this"),
    ],
)
def test_urls(before, after):
    assert cleaning.urls(before) == after


def test_emails():
    assert cleaning.emails("a.b+c@d-e.co.uk, @handle, x@y and me@here.org.") == " , @handle, x@y and  ."


def test_numbers_join_separators_but_not_sentences():
    assert cleaning.numbers("1,234.56 in 1999. 5 more; ٣٤, 7th, v2.0.1, 1/2") == "0 in 0. 0 more; 0, 0th, v0, 0/0"


def test_whitespace_keeps_lines_and_paragraphs():
    assert cleaning.whitespace(" one \xa0 two\t\n three\r\n \n\n\n four ") == "one two\nthree\n\nfour"


def test_whitespace_knows_every_blank_that_python_knows():
    blanks = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace() and chr(code) != "\n"]
    assert len(blanks) > 20
    assert all(cleaning.whitespace(f"a{blank}b") == "a b" for blank in blanks)


@given(text=st.lists(st.sampled_from(["One.", "Two!", "three", "\n", "\n\n", " "]), max_size=30).map("".join))
def test_plain_sentences_pass_through_every_step(text):
    steps = [step for step in STEPS if step != "whitespace"]
    # Only blanks at the start and end of lines are anybody's business here.
    assert clean(text, ["whitespace"]) == clean(clean(text, steps), ["whitespace"])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "<",
        "<a",
        "<!--",
        "<script>",
        "&amp;",
        "&",
        "[[",
        "''[",
        "= ",
        "(",
        "a@",
        "www.",
        "http://)",
        "|",
        "1.",
        "n't",
    ],
)
def test_hostile_repetition_takes_linear_time(step, piece):
    # Quadratic behaviour would take minutes here, beyond the suite's time limit; linear takes milliseconds.
    for hostile in (piece * 100_000, "<" + piece * 100_000, "&" + piece * 100_000, piece + " " * 100_000 + piece):
        STEPS[step](hostile)
