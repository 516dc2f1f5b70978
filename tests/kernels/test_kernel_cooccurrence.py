import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.glove import cooccurrence
from vecmill.kernels.cooccurrence import (
    COUNT,
    LARGEST_WINDOW,
    PAIR,
    add_word_counts,
    count_chunks,
    count_rows,
    group_by_chunk,
    list_occurrences,
    merge_rows,
    pair_units,
    put_in_random_order,
)

TESTS = Path(__file__).parents[1]

CORPORA = {
    "a few sentences": ([[3, 1, 1, 0, 3], [2], [], [1, 3, 0, 2, 2, 2, 1], [4, 0]], 5),
    "no sentence": ([], 3),
    "empty sentences": ([[], [], []], 3),
    "one-word sentences": ([[2], [0], [2]], 3),
    "one-word vocabulary": ([[0, 0, 0, 0], [0]], 1),
    "ids at the limits": ([[6, 0, 6], [0, 0, 6]], 7),
    "words that do not occur": ([[5, 2, 5, 2]], 9),
}


def arrays(sentences):
    token_ids = np.array([word for sentence in sentences for word in sentence], np.int32)
    return token_ids, np.cumsum([0, *map(len, sentences)]).astype(np.int64)


def count(token_ids, sentence_offsets, n_words, window, symmetric, first=0, last=None):
    """Counts of the windows around the tokens [first, last), all rows in one call."""
    last = token_ids.size if last is None else last
    starts = np.zeros(n_words + 1, np.int64)
    add_word_counts(token_ids, first, last, starts[1:])
    room = int(np.minimum(2 * window * starts[1:], n_words).sum())
    starts = np.cumsum(starts)
    occurrences = np.full(last - first, -1, np.int64)
    sentence = int(np.searchsorted(sentence_offsets, first, side="right")) - 1
    cursors = starts[:-1].copy()
    list_occurrences(token_ids, sentence_offsets, sentence, first, last, window, symmetric, cursors, occurrences)
    np.testing.assert_array_equal(cursors, starts[1:])
    sums, touched, records = np.zeros(n_words, np.int64), np.empty(n_words + 1, np.int32), np.empty(room, COUNT)
    units, _ = pair_units(window)
    n = count_rows(token_ids, first, starts, occurrences, 0, n_words, units, symmetric, sums, touched, records)
    assert not sums.any()
    return records[:n]


def merge(runs, n_words, loaded_records, result_records):
    """Add up runs with so little memory that they are read and written in pieces."""
    loaded = np.empty((len(runs), loaded_records), COUNT)
    places, lengths, taken = (np.zeros(len(runs), np.int64) for _ in range(3))
    at_end, state = np.zeros(len(runs), np.bool_), np.array([-1, 0])
    sums, touched = np.zeros(n_words, np.int64), np.empty(n_words + 1, np.int32)
    records, parts, finished = np.empty(max(n_words, result_records), COUNT), [], False
    while not finished:
        for r, run in enumerate(runs):
            if places[r] == lengths[r] and not at_end[r]:
                part = run[taken[r] : taken[r] + loaded_records]
                loaded[r, : part.size] = part
                places[r], lengths[r], at_end[r] = 0, part.size, part.size == 0
                taken[r] += part.size
        n, finished = merge_rows(loaded, places, lengths, at_end, state, sums, touched, records)
        parts.append(records[:n].copy())
    return np.concatenate(parts)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("window", [1, 2, 10, 22])
@pytest.mark.parametrize("name", CORPORA)
def test_twin_counts_the_same_exactly(name, window, symmetric):
    sentences, n_words = CORPORA[name]
    corpus = arrays(sentences)
    expected = cooccurrence(*corpus, window=window, symmetric=symmetric)
    if symmetric:
        expected = {(i, j): x for (i, j), x in expected.items() if j <= i}
    _, scale = pair_units(window)
    counts = count(*corpus, n_words, window, symmetric)
    assert {(int(row), int(col)): int(units) for row, col, units in counts} == {
        pair: x * scale for pair, x in expected.items()
    }
    assert counts["row"].tolist() == sorted(counts["row"].tolist())
    assert bool(counts.size) == (name not in ("no sentence", "empty sentences", "one-word sentences"))


sentences_of = st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=6)


@settings(max_examples=60, deadline=None)
@given(sentences_of, st.integers(1, 30))
def test_symmetric_windows_give_symmetric_counts(sentences, window):
    """The left-only counts and their transpose make up the symmetric ones, which are kept as a triangle."""
    token_ids, sentence_offsets = arrays(sentences)
    dense = {}
    for symmetric in (True, False):
        dense[symmetric] = np.zeros((6, 6), np.int64)
        for row, col, units in count(token_ids, sentence_offsets, 6, window, symmetric):
            dense[symmetric][row, col] = units
    assert not np.triu(dense[True], 1).any()
    np.testing.assert_array_equal(np.tril(dense[False] + dense[False].T), dense[True])


@settings(max_examples=60, deadline=None)
@given(sentences_of, st.lists(st.integers(0, 72), max_size=4), st.integers(1, 5), st.booleans(), st.integers(1, 9))
def test_segments_add_up_to_the_whole(sentences, cuts, window, symmetric, loaded_records):
    token_ids, sentence_offsets = arrays(sentences)
    bounds = [0, *sorted(min(cut, token_ids.size) for cut in cuts), token_ids.size]
    runs = [count(token_ids, sentence_offsets, 6, window, symmetric, first, last) for first, last in pairwise(bounds)]
    whole = count(token_ids, sentence_offsets, 6, window, symmetric)
    np.testing.assert_array_equal(merge(runs, 6, loaded_records, 1), whole)


def test_twin_adds_up_segments():
    token_ids, sentence_offsets = arrays(CORPORA["a few sentences"][0])
    runs = [count(token_ids, sentence_offsets, 5, 3, True, first, last) for first, last in pairwise([0, 3, 3, 9, 15])]
    whole = count(token_ids, sentence_offsets, 5, 3, True)
    assert whole.size > 8
    np.testing.assert_array_equal(merge(runs, 5, 2, 1), whole)


def test_units_are_exact_for_small_windows_and_close_for_large_ones():
    for window in (1, 10, 22, 23, LARGEST_WINDOW):
        units, scale = pair_units(window)
        distances = np.arange(1, window + 1)
        assert units.dtype == np.int64
        if window <= 22:
            np.testing.assert_array_equal(units[1:] * distances, scale)
        np.testing.assert_allclose(units[1:] * distances / scale, 1, rtol=5e-7)
    # the largest sum must leave room for long corpora: 2**63 units of one pair
    assert max(pair_units(window)[1] for window in range(1, LARGEST_WINDOW + 1)) <= 2**30


def test_largest_window_reaches_its_whole_length():
    token_ids = np.array([0] + [1] * (LARGEST_WINDOW - 1) + [2, 2], np.int32)
    counts = count(token_ids, np.array([0, token_ids.size]), 3, LARGEST_WINDOW, False)
    units, _ = pair_units(LARGEST_WINDOW)
    found = {(int(row), int(col)): int(value) for row, col, value in counts}
    assert found[2, 0] == units[LARGEST_WINDOW]
    assert found[2, 2] == units[1]


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_twin_groups_pairs_by_chunk_whatever_the_block(block):
    pairs = np.zeros(1000, PAIR)
    pairs["row"], pairs["value"] = np.arange(1000), np.arange(1000) / 8
    key, n_chunks = np.uint64(99), 6
    sizes = np.zeros(n_chunks, np.int64)
    count_chunks(pairs.size, key, sizes)
    assert sizes.sum() == 1000
    assert sizes.min() > 120
    chunks = [[] for _ in range(n_chunks)]
    memory, ends, grouped = np.empty(block, np.int32), np.empty(n_chunks, np.int64), np.empty(block, PAIR)
    for first in range(0, 1000, block):
        group_by_chunk(pairs[first : first + block], first, key, memory, ends, grouped)
        for chunk, (start, end) in enumerate(pairwise([0, *ends])):
            chunks[chunk].extend(grouped[start:end].tolist())
    assert [len(chunk) for chunk in chunks] == sizes.tolist()
    assert sorted(pair for chunk in chunks for pair in chunk) == pairs.tolist()
    assert all(chunk == sorted(chunk) for chunk in chunks)


@pytest.mark.parametrize("name", ["cooccurrence", "glove"])
def test_plain_python_gives_the_same_answers(name):
    """Without compilation every index is checked, and a negative one would show as a wrong row."""
    done = subprocess.run(
        # NumPy warns where an unsigned product wraps, which is what these products are for
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "twin"),
            *("-W", "ignore:overflow encountered:RuntimeWarning", f"kernels/test_kernel_{name}.py"),
        ],
        cwd=TESTS,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def numbered_pairs(n):
    pairs = np.empty(n, PAIR)
    pairs["row"], pairs["col"], pairs["value"] = np.arange(n), 7 * np.arange(n), 0.5 + np.arange(n)
    return pairs


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_shuffle_keeps_every_pair_whole_and_follows_its_key(n):
    shuffled, again, other = (numbered_pairs(n) for _ in range(3))
    for pairs, key in ((shuffled, 3), (again, 3), (other, 4)):
        put_in_random_order(pairs, np.uint64(key))
    np.testing.assert_array_equal(np.sort(shuffled), numbered_pairs(n))
    np.testing.assert_array_equal(shuffled, again)
    assert n < 1000 or not np.array_equal(shuffled, other)


def test_all_orders_are_equally_likely():
    n_shuffles = 24_000
    seen = Counter()
    for key in range(n_shuffles):
        pairs = numbered_pairs(4)
        put_in_random_order(pairs, np.uint64(key * 0x9E3779B97F4A7C15 & (1 << 64) - 1))
        seen[tuple(pairs["row"].tolist())] += 1
    assert len(seen) == 24
    assert scipy.stats.chisquare(list(seen.values())).pvalue > 1e-4
