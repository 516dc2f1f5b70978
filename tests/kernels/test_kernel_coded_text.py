"""Coded text: what comes out is what went in, in the symbols that their definition asks for, and counted on the way."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.kernels.coded_text import (
    FIRST_LONG,
    TOKEN_SYMBOLS,
    tally_and_pack,
    unpack_sentences,
    unpack_tokens,
)
from vecmill.kernels.token_counts import compact, tally
from vecmill.kernels.tokens import LINE_BREAK, NO_BREAK, SENTENCE_BREAK, TEXT_BREAK
from vecmill.kernels.word_table import OUTSIDE

# Texts of tokens: code of the word, break before it (the first of a text has TEXT_BREAK).
_tokens = st.tuples(st.integers(0, 300), st.sampled_from([NO_BREAK, NO_BREAK, SENTENCE_BREAK, LINE_BREAK]))
_texts = st.lists(st.lists(_tokens, max_size=20), max_size=6)


def _arrays(
    texts: list[list[tuple[int, int]]],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    codes = np.array([code for text in texts for code, _ in text], dtype=np.int32)
    breaks = [TEXT_BREAK if k == 0 else level for text in texts for k, (_, level) in enumerate(text)]
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return codes, np.array(breaks, dtype=np.uint8), offsets


def _packed_by_hand(texts: list[list[tuple[int, int]]], targets: list[int], base: int) -> tuple[list[int], list[int]]:
    """Symbols, and the words by their number above ``base``."""
    packed, words = [], []
    for text in texts:
        for k, (code, level) in enumerate(text):
            word = targets[code]
            if word not in words:
                words.append(word)
            number = base + words.index(word)
            packed += [level] if k and level else []
            packed += [number + 3] if number <= 65_531 else [65_535, number % 65_536, number // 65_536]
        packed.append(0)
    return packed, words


@settings(deadline=None, max_examples=150)
@given(_texts, st.integers(1, 301), st.sampled_from([0, 65_525, 200_000]), st.data())
def test_packed_as_defined_and_unpacked_as_it_was(
    texts: list[list[tuple[int, int]]], n_targets: int, base: int, data: st.DataObject
) -> None:
    targets = np.arange(301, dtype=np.int32) % n_targets  # several forms of a word
    codes, breaks, offsets = _arrays(texts)
    numbers, entries = np.full(301, -1, dtype=np.int32), np.empty(base + 301, dtype=np.int32)
    tallies = np.zeros((301, 2), dtype=np.int64)
    room = np.empty(TOKEN_SYMBOLS * len(codes) + len(texts) + 1, dtype=np.uint16)
    # In two calls, as the batches of a row group come; `base` words have their numbers from texts before.
    cut = data.draw(st.integers(0, len(texts)))
    pos = int(offsets[cut])
    first, n_words = tally_and_pack(
        codes[:pos], breaks[:pos], offsets[: cut + 1], targets, tallies, 1, numbers, entries, base, room
    )
    rest, n_words = tally_and_pack(
        codes[pos:], breaks[pos:], offsets[cut:] - pos, targets, tallies, 1 + cut, numbers, entries, n_words,
        room[first:],
    )  # fmt: skip
    packed = room[: first + rest]
    expected, words = _packed_by_hand(texts, targets.tolist(), base)
    assert packed.tolist() == expected
    assert entries[base:n_words].tolist() == words
    counted = np.zeros_like(tallies)
    tally(codes, offsets, targets, counted, 1)
    assert tallies.tolist() == counted.tolist()

    keeps = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))), dtype=np.bool_)
    kept = np.repeat(keeps, np.diff(offsets))
    units = np.array([0] * base + [1000 + word for word in words], dtype=np.int32)
    out = np.empty(len(codes), dtype=np.int32), np.empty(len(codes), dtype=np.uint8), np.zeros_like(offsets)
    n = unpack_tokens(packed, units, keeps, *out)
    assert out[0][:n].tolist() == (1000 + targets[codes[kept]]).tolist()
    assert out[1][:n].tolist() == breaks[kept].tolist()
    assert np.diff(out[2]).tolist() == np.where(keeps, np.diff(offsets), 0).tolist()

    # Sentences in one go are those of the words unpacked, with some words dropped.
    ids = np.where(units % 3 == 0, OUTSIDE, units).astype(np.int32)
    every = np.arange(2000, dtype=np.int32)
    for least_break in (SENTENCE_BREAK, LINE_BREAK, TEXT_BREAK):
        n = unpack_tokens(packed, ids, keeps, *out)
        wanted = np.empty(n, dtype=np.int32), np.empty(n + 1, dtype=np.int64)
        sizes = compact(out[0][:n], out[1][:n], every, least_break, *wanted)
        found = np.empty(len(codes) + 1, dtype=np.int32), np.empty(len(codes) + 1, dtype=np.int64)
        assert unpack_sentences(packed, ids, keeps, least_break, *found) == (n, *sizes)
        assert found[0][: sizes[0]].tolist() == wanted[0][: sizes[0]].tolist()
        assert found[1][: sizes[1] + 1].tolist() == wanted[1][: sizes[1] + 1].tolist()


@pytest.mark.parametrize("number", [0, FIRST_LONG - 1, FIRST_LONG, 0xFFFF, 0x10000, 3_000_000])
def test_the_largest_numbers_come_back(number: int) -> None:
    room = np.empty(TOKEN_SYMBOLS + 2, dtype=np.uint16)
    codes, breaks, offsets = _arrays([[(0, 0)]])
    numbers, tallies = np.array([number], dtype=np.int32), np.zeros((1, 2), dtype=np.int64)
    n, _ = tally_and_pack(codes, breaks, offsets, codes, tallies, 1, numbers, numbers.copy(), 1, room)
    assert n == 1 + (1 if number + 3 < 0xFFFF else 3)
    units = np.arange(number + 1, dtype=np.int32)
    assert unpack_tokens(room[:n], units, np.ones(1, dtype=np.bool_), codes, breaks, offsets) == 1
    assert codes[0] == number


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is that run")
def test_uncompiled_it_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "packed_as or largest"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
