"""Coded text: what comes out is what went in, in the bytes that the symbols' definition asks for."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.kernels.coded_text import TOKEN_BYTES, pack_tokens, unpack_tokens
from vecmill.kernels.tokens import LINE_BREAK, NO_BREAK, SENTENCE_BREAK, TEXT_BREAK

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


def _packed_by_hand(texts: list[list[tuple[int, int]]], targets: list[int]) -> tuple[bytes, list[int]]:
    packed, words = bytearray(), []
    for text in texts:
        for k, (code, level) in enumerate(text):
            word = targets[code]
            if word not in words:
                words.append(word)
            symbols = [level] if k and level else []
            for symbol in (*symbols, words.index(word) + 3):
                rest = symbol
                while rest >= 128:
                    packed.append(rest % 128 + 128)
                    rest //= 128
                packed.append(rest)
        packed.append(0)
    return bytes(packed), words


@settings(deadline=None, max_examples=150)
@given(_texts, st.integers(1, 301), st.data())
def test_packed_as_defined_and_unpacked_as_it_was(
    texts: list[list[tuple[int, int]]], n_targets: int, data: st.DataObject
) -> None:
    targets = np.arange(301, dtype=np.int32) % n_targets  # several forms of a word
    codes, breaks, offsets = _arrays(texts)
    numbers, entries = np.full(301, -1, dtype=np.int32), np.empty(301, dtype=np.int32)
    room = np.empty(TOKEN_BYTES * len(codes) + len(texts), dtype=np.uint8)
    # In two calls, as the batches of a row group come.
    cut = data.draw(st.integers(0, len(texts)))
    pos = int(offsets[cut])
    first, n_words = pack_tokens(codes[:pos], breaks[:pos], offsets[: cut + 1], targets, numbers, entries, 0, room)
    rest, n_words = pack_tokens(
        codes[pos:], breaks[pos:], offsets[cut:] - pos, targets, numbers, entries, n_words, room[first:]
    )
    packed = room[: first + rest]
    expected, words = _packed_by_hand(texts, targets.tolist())
    assert packed.tobytes() == expected
    assert entries[:n_words].tolist() == words

    keeps = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))), dtype=np.bool_)
    units = np.array([1000 + word for word in words], dtype=np.int32)
    out = np.empty(len(codes), dtype=np.int32), np.empty(len(codes), dtype=np.uint8), np.zeros_like(offsets)
    n = unpack_tokens(packed, units, keeps, *out)
    kept = np.repeat(keeps, np.diff(offsets))
    assert out[0][:n].tolist() == (1000 + targets[codes[kept]]).tolist()
    assert out[1][:n].tolist() == breaks[kept].tolist()
    assert np.diff(out[2]).tolist() == np.where(keeps, np.diff(offsets), 0).tolist()


def test_the_largest_numbers_come_back() -> None:
    for number in (124, 125, 16_380, 16_381, 2_097_148, 2_097_149):
        numbers = np.array([number], dtype=np.int32)
        room = np.empty(TOKEN_BYTES + 1, dtype=np.uint8)
        codes, breaks, offsets = _arrays([[(0, 0)]])
        n, _ = pack_tokens(codes, breaks, offsets, codes, numbers, numbers.copy(), 1, room)
        assert n == 1 + (1 if number + 3 < 128 else 2 if number + 3 < 1 << 14 else 3 if number + 3 < 1 << 21 else 4)
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
