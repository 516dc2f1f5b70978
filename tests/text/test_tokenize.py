"""The tokenizer: what words are in many scripts, and that the column path agrees with the scalar one in every case."""

from __future__ import annotations

import re
import sys
import unicodedata

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_text import texts

from vecmill.text.sentences import END_MARKS_WITHOUT_SPACE, SentenceUnit, split_sentences
from vecmill.text.tokenize import PATTERNS, TokenColumn, TokenPattern, TokenRules, tokenize, tokenize_column
from vecmill.text.word_characters import LONE_CHARACTERS, MARKS, RUN_CHARACTERS

UNITS: tuple[SentenceUnit, ...] = ("sentence", "line", "document")
rules = st.builds(TokenRules, st.sampled_from(sorted(PATTERNS)), st.booleans())

# Blocks of scripts without spaces between words; planes 2 and 3 as a whole besides.
LONE_BLOCKS = [
    (0x0E00, 0x0E7F), (0x0E80, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x197F), (0x1980, 0x19DF),
    (0x1A20, 0x1AAF), (0x3000, 0x303F), (0x3040, 0x309F), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F), (0xAA80, 0xAADF), (0xF900, 0xFAFF),
]  # fmt: skip


def code_points(table: str) -> set[int]:
    spans = [[int(code, 16) for code in entry.split("-")] for entry in table.split()]
    return {code for span in spans for code in range(span[0], span[-1] + 1)}


def words_by_text(tokens: TokenColumn) -> list[list[str]]:
    words = tokens.words.to_pylist()
    bounds = zip(tokens.text_offsets[:-1], tokens.text_offsets[1:], strict=True)
    return [[words[code] for code in tokens.codes[start:stop]] for start, stop in bounds]


def words_by_sentence(tokens: TokenColumn) -> list[list[str]]:
    words = tokens.words.to_pylist()
    bounds = zip(tokens.sentence_offsets[:-1], tokens.sentence_offsets[1:], strict=True)
    return [[words[code] for code in tokens.codes[start:stop]] for start, stop in bounds]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t panic, it's o'clock", ["don't", "panic", "it's", "o'clock"]),
        ("'quoted' rock 'n' roll dogs' O''Neill", ["quoted", "rock", "n", "roll", "dogs", "o", "neill"]),
        ("state-of-the-art e-mail", ["state", "of", "the", "art", "e", "mail"]),
        ("3.5 mm, 1,000 m² and x2", ["3", "5", "mm", "1", "000", "m", "and", "x2"]),
        ("naïve ΣΊΣΥΦΟΣ STRAẞE İ", ["naïve", "σίσυφος", "straße", "i̇"]),
        ("Привет, м'яч Հայերեն ქართული", ["привет", "м'яч", "հայերեն", "ქართული"]),
        ("हिन्दी தமிழ் ਪੰਜਾਬੀ", ["हिन्दी", "தமிழ்", "ਪੰਜਾਬੀ"]),
        ("العربية می\u200cخواهم צה״ל", ["العربية", "می\u200cخواهم", "צה״ל"]),
        ("한국어 カタカナ", ["한국어", "カタカナ"]),
        ("abc漢字ひら", ["abc", "漢", "字", "ひ", "ら"]),
        # Without spaces and without a dictionary: each letter with its marks.
        ("สวัสดีครับ", ["ส", "วั", "ส", "ดี", "ค", "รั", "บ"]),
        ("ທີ່ນີ້", ["ທີ່", "ນີ້"]),
        ("ខ្មែរ ភាសា", ["ខ្", "មែ", "រ", "ភា", "សា"]),
        ("我爱コーヒー。", ["我", "爱", "コーヒー"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("snake_case 😀 🏳️‍🌈 ½ — …", ["snake", "case"]),
    ],
)
def test_unicode_words(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


def test_ascii_words_are_those_of_the_reference_pattern() -> None:
    text = "It's THE 90's; rock'n'roll, naïve café x_1 don't'"
    assert tokenize(text, TokenRules("ascii")) == re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower())


def test_whitespace_words_are_left_as_they_are() -> None:
    assert tokenize("New_York  didn’t\u2028rain.\u3000雨 東京", TokenRules("whitespace", lowercase=False)) == [
        "New_York", "didn’t", "rain.", "雨", "東京",
    ]  # fmt: skip


def test_case_is_kept_when_asked() -> None:
    assert tokenize("NASA Don’t", TokenRules("unicode", lowercase=False)) == ["NASA", "Don't"]


def test_word_characters_are_those_of_the_unicode_database() -> None:
    def lone_block(code: int) -> bool:
        return any(first <= code <= last for first, last in LONE_BLOCKS)

    run, marks, lone = set(), set(), set()
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        if 0x20000 <= code <= 0x3FFFD or (lone_block(code) and (category[0] == "L" or category == "Nl")):
            lone.add(code)
        elif category[0] == "L" or category in ("Nd", "Nl"):
            run.add(code)
        elif category[0] == "M":
            marks.add(code)
    found = [code_points(RUN_CHARACTERS), code_points(MARKS), code_points(LONE_CHARACTERS)]
    for table, truth in zip(found, [run, marks, lone], strict=True):
        if unicodedata.unidata_version == "14.0.0":
            assert table == truth
        else:  # a later version adds characters; a few change their category
            assert len(table - truth) < 10


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, max_size=4), rules)
def test_column_gives_the_words_of_the_scalar_tokenizer(column: list[str], rules: TokenRules) -> None:
    tokens = tokenize_column(pa.array(column, pa.string()), rules)
    assert words_by_text(tokens) == [tokenize(text, rules) for text in column]
    assert len(set(tokens.words.to_pylist())) == len(tokens.words)
    assert tokens.codes.dtype == np.int32
    assert tokens.text_offsets.dtype == tokens.sentence_offsets.dtype == np.int64


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, max_size=4), rules, st.sampled_from(UNITS))
def test_column_gives_the_sentences_of_the_scalar_splitter(
    column: list[str], rules: TokenRules, unit: SentenceUnit
) -> None:
    if rules.pattern == "whitespace":  # there, end marks inside a word part no sentences
        column = [re.sub(f"[{END_MARKS_WITHOUT_SPACE}]", "", text) for text in column]
    tokens = tokenize_column(pa.array(column, pa.string()), rules, unit)
    sentences = [tokenize(sentence, rules) for text in column for sentence in split_sentences(text, unit)]
    assert words_by_sentence(tokens) == [sentence for sentence in sentences if sentence]
    assert words_by_text(tokens) == [tokenize(text, rules) for text in column]


def test_every_single_character_is_treated_alike_by_both_engines() -> None:
    # The large uniform blocks (Han, Hangul) stand for themselves with a few hundred characters each.
    codes = [*range(0x3500), *range(0x9F00, 0xAD00), *range(0xD700, 0x20100), *range(0xE0000, 0xE0200)]
    assigned = [chr(c) for c in codes if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co")]
    column = [f"a{character}b {character}Σ" for character in assigned]
    for pattern in ("unicode", "ascii", "whitespace"):
        rules = TokenRules(pattern)  # type: ignore[arg-type]
        tokens = tokenize_column(pl.Series(column), rules)
        for text, words in zip(column, words_by_text(tokens), strict=True):
            assert words == tokenize(text, rules), ascii(text)


@pytest.mark.parametrize("pattern", ["unicode", "ascii", "whitespace"])
def test_columns_without_words(pattern: TokenPattern) -> None:
    for column in ([], [""], ["", " \n", ""]):
        tokens = tokenize_column(pa.array(column, pa.string()), TokenRules(pattern), "sentence")
        assert len(tokens.codes) == 0
        assert tokens.text_offsets.tolist() == [0] * (len(column) + 1)
        assert tokens.sentence_offsets.tolist() == [0]


def test_sentences_of_text_that_comes_tokenised() -> None:
    tokens = tokenize_column(
        pa.array(["It rained . Mr. X said “ Go ! ”\nyes", "1.5 a.b"]), TokenRules("whitespace"), "sentence"
    )
    assert words_by_sentence(tokens) == [
        ["it", "rained", "."], ["mr."], ["x", "said", "“", "go", "!"], ["”"], ["yes"], ["1.5", "a.b"],
    ]  # fmt: skip


def test_a_slice_of_a_column_is_read_from_its_own_start() -> None:
    whole = pa.array(["one two", "three", "four five six"])
    assert words_by_text(tokenize_column(whole.slice(1, 2))) == [["three"], ["four", "five", "six"]]
