"""Plain words are found eight bytes at a time: the same words and breaks as one byte after the other."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_text import texts

from vecmill.kernels import byte_bits, word_table
from vecmill.kernels.byte_bits import LEAVES, LOWERS, mark_bytes
from vecmill.kernels.jit import COMPILES, kernel
from vecmill.kernels.tokens import find_tokens
from vecmill.text.rules import PATTERNS, TokenRules
from vecmill.text.sentences import SentenceUnit, split_sentences
from vecmill.text.tokenize import tokenize, tokenize_column

# Plain words are looked for only where so much text follows; by itself no short text would get there.
FILLER = "filler, " * 16

ASCII_WORDS = st.sampled_from(
    [
        *("a", "I", "don't", "'tis", "dogs'", "x2", "42", "ABCDEFG", "abcdefgh", "abcdefghi", "ABCDEFGHIJKLMNOP"),
        *("é", "naïve", "z" * 40, "Z" * 56, "y" * 57, "w" * 70, "@[`{", "U.S.A"),
    ]
)
GAPS = st.sampled_from(
    [
        *(" ", ", ", ". ", '." ', "...", ".\n", "\n\n", "\t", " - ", "\x00", "。", "\u2028", " " * 60, "'"),
        *("!) ", ".' ", ".’ "),
    ]
)
ascii_texts = st.lists(st.tuples(ASCII_WORDS, GAPS), max_size=30).map(lambda parts: "".join(a + b for a, b in parts))
rules = st.builds(TokenRules, st.sampled_from(sorted(PATTERNS)), st.booleans())


@kernel
def _key_of_plain(data: np.ndarray, start: int, n_bytes: int, letters: np.uint64) -> np.uint64:
    return word_table.key_of_plain(data, start, n_bytes, letters)


@kernel
def _lower_eight(eight: np.uint64, letters: np.uint64) -> np.uint64:
    return byte_bits.lower_eight(eight, letters)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(ascii_texts, texts), max_size=5),
    rules,
    st.sampled_from(["sentence", "line", "document"]),
    st.integers(0, 2),
)
def test_texts_with_text_behind_give_the_words_of_the_scalar_tokenizer(
    column: list[str], rules: TokenRules, unit: SentenceUnit, n_before: int
) -> None:
    # A slice, so that the first text need not begin where the buffer does.
    array = pa.array([*["before it"] * n_before, *column, FILLER], pa.string()).slice(n_before, len(column))
    tokens = tokenize_column(array, rules, unit)
    words = tokens.words.to_pylist()
    bounds = zip(tokens.text_offsets[:-1], tokens.text_offsets[1:], strict=True)
    found = [[words[code] for code in tokens.codes[start:stop]] for start, stop in bounds]
    assert found == [tokenize(text, rules) for text in column]
    if rules.pattern != "whitespace":
        cut = zip(tokens.sentence_offsets[:-1], tokens.sentence_offsets[1:], strict=True)
        sentences = [[words[code] for code in tokens.codes[start:stop]] for start, stop in cut]
        pieces = [tokenize(piece, rules) for text in column for piece in split_sentences(text, unit)]
        assert sentences == [piece for piece in pieces if piece]


def test_words_of_one_key_are_told_apart() -> None:
    """Two words made to have the same 64-bit key."""
    same_key = ["abcdefghbaatpaav", "yfdisrdn8gw82iv8"]
    keys = {int(_key_of_plain(np.frombuffer(word.encode() + bytes(8), np.uint8), 0, 16, LOWERS)) for word in same_key}
    assert len(keys) == 1, "the keys are computed in another way now: find another pair"
    text = " ".join([same_key[0], same_key[1].upper(), "other", *reversed(same_key)])
    tokens = tokenize_column(pa.array([text, FILLER], pa.string()))
    words = tokens.words.to_pylist()
    assert [words[code] for code in tokens.codes[:5]] == text.lower().split()
    assert [words[code] for code in tokenize_column(pa.array([text])).codes] != []


@settings(deadline=None)
@given(st.binary(min_size=64, max_size=200), st.integers(0, 8), st.sampled_from([LOWERS, LEAVES]))
def test_bits_are_those_of_each_byte(content: bytes, start: int, letters: np.uint64) -> None:
    data = np.frombuffer(content, np.uint8)
    spans = np.array([[48, 10], [65, 26], [128, 128]], dtype=np.int64)
    bits = np.zeros(len(data) // 64 + 1, dtype=np.uint64)
    mark_bytes(data, start, len(data), spans, bits)
    member = np.unpackbits(bits.view(np.uint8), bitorder="little")[: len(data) - start]
    expected = [chr(byte) in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" or byte >= 128 for byte in content[start:]]
    assert member.astype(bool).tolist() == expected
    eight = byte_bits._eight_bytes_twin(data, start)
    lowered = int(_lower_eight(eight, letters)).to_bytes(8, "little")
    assert lowered == (content[start : start + 8].lower() if letters == LOWERS else content[start : start + 8])


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is that run")
def test_plain_python_gives_the_same_words() -> None:
    """Without compilation every index is checked."""
    program = f"""
import pyarrow as pa
from vecmill.text.tokenize import TokenRules, tokenize, tokenize_column
column = ["Don't PANIC. It's a longerwordthanothers, naïve 漢字!", "", "U.S.A. and dogs' ABCDEFGHIJKLMNOP", {FILLER!r}]
for pattern in ("unicode", "ascii", "whitespace"):
    rules = TokenRules(pattern)
    tokens = tokenize_column(pa.array(column), rules)
    words = tokens.words.to_pylist()
    assert [words[code] for code in tokens.codes] == [word for text in column for word in tokenize(text, rules)]
print("same")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True
    )
    assert done.stdout == "same\n", done.stderr


def test_an_end_mark_waits_behind_an_apostrophe() -> None:
    text = "He said 'go on.' She did! 'Why?' “Well.” So it ends."
    tokens = tokenize_column(pa.array([text, FILLER], pa.string()), unit="sentence")
    lengths = np.diff(tokens.sentence_offsets).tolist()
    assert lengths[:-1] == [len(tokenize(piece)) for piece in split_sentences(text)]


@pytest.mark.skipif(not COMPILES, reason="nothing is compiled")
def test_the_scanner_is_compiled_once_whatever_column_it_reads() -> None:
    texts = pa.array(["Some words, and ünicode"])
    written = pa.StringArray.from_buffers(1, texts.buffers()[1], pa.py_buffer(texts.buffers()[2].to_pybytes()))
    for column in (texts, written, texts.slice(1), pa.array([], pa.string())):
        tokenize_column(column, TokenRules(), "sentence")
    assert len(find_tokens.signatures) == len(word_table.number_words.signatures) == 1  # type: ignore[attr-defined]
    # None where the kernel that it is a part of came compiled, from the cache on disk.
    assert len(word_table._number_of.signatures) <= 1  # type: ignore[attr-defined]
