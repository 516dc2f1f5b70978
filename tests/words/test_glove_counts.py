import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vecmill.words.glove_counts as glove_counts
import vecmill.words.glove_pairs as glove_pairs
from reference.glove import cooccurrence
from vecmill.kernels.cooccurrence import PAIR
from vecmill.words.glove_counts import PairCounting
from vecmill.words.glove_pairs import shuffle_pairs


def zipf(n_tokens=30_000, n_words=300, n_sentences=900, seed=1):
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, n_words + 1)
    token_ids = rng.choice(n_words, n_tokens, p=weights / weights.sum()).astype(np.int32)
    cuts = np.sort(rng.integers(0, n_tokens + 1, n_sentences - 1))  # some sentences are empty
    return token_ids, np.concatenate([[0], cuts, [n_tokens]])


def counting(corpus, folder, *, n_words=300, window=10, symmetric=True, threads=1, memory_bytes=1 << 28):
    return PairCounting(*corpus, n_words, window, symmetric, threads, memory_bytes, folder)


def collected(made):
    blocks = [block.copy() for block in made.pairs()]
    return np.concatenate([np.empty(0, PAIR), *blocks])


@pytest.mark.parametrize("symmetric", [True, False])
def test_counts_are_the_exact_sums_rounded_once(tmp_path, symmetric):
    corpus = zipf(n_tokens=1_500, n_words=40, n_sentences=60)
    expected = cooccurrence(*corpus, window=10, symmetric=symmetric)
    pairs = collected(counting(corpus, tmp_path, n_words=40, symmetric=symmetric))
    assert {(int(row), int(col)): value for row, col, value in pairs} == {
        (i, j): np.float32(x.numerator / x.denominator) for (i, j), x in expected.items() if j <= i or not symmetric
    }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("symmetric", [True, False])
def test_spilled_counts_are_those_of_memory(tmp_path, monkeypatch, symmetric):
    corpus = zipf()
    whole = collected(counting(corpus, tmp_path, symmetric=symmetric))
    assert whole.size > 10_000
    # blocks of a few rows, about fifteen runs, at first four of them added up at once
    monkeypatch.setattr(glove_counts, "_SMALLEST_SEGMENT", 2_000)
    monkeypatch.setattr(glove_counts, "_BLOCK_RECORDS", 512)
    monkeypatch.setattr(glove_counts, "_MAX_RUNS", 4)
    written = []
    write = PairCounting._write
    monkeypatch.setattr(PairCounting, "_write", lambda self, *a: written.append(a[0]) or write(self, *a))
    for threads in (1, 3):
        written.clear()
        made = counting(corpus, tmp_path, symmetric=symmetric, threads=threads, memory_bytes=1)
        np.testing.assert_array_equal(collected(made), whole)
        assert written == list(range(15 + 4))
        assert list(tmp_path.iterdir()) == []


@settings(max_examples=25, deadline=None)
@given(segment=st.integers(1, 400), block=st.integers(1, 400), threads=st.integers(1, 3), symmetric=st.booleans())
def test_result_depends_on_the_corpus_alone(tmp_path_factory, segment, block, threads, symmetric):
    corpus = zipf(n_tokens=400, n_words=30, n_sentences=20, seed=5)
    folder = tmp_path_factory.mktemp("runs")
    whole = collected(counting(corpus, folder, n_words=30, window=4, symmetric=symmetric))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glove_counts, "_SMALLEST_SEGMENT", segment)
        patch.setattr(glove_counts, "_BLOCK_RECORDS", block)
        made = counting(corpus, folder, n_words=30, window=4, symmetric=symmetric, threads=threads, memory_bytes=1)
        np.testing.assert_array_equal(collected(made), whole)


@settings(max_examples=40, deadline=None)
@given(
    sentences=st.lists(st.lists(st.integers(0, 7), max_size=15), max_size=12),
    window=st.integers(1, 25),
    symmetric=st.booleans(),
    segment=st.integers(1, 60),
    block=st.integers(1, 60),
    max_runs=st.integers(2, 4),
    threads=st.integers(1, 3),
)
def test_any_corpus_in_any_cut_is_counted_exactly(
    tmp_path_factory, sentences, window, symmetric, segment, block, max_runs, threads
):
    corpus = (
        np.array([word for sentence in sentences for word in sentence], np.int32),
        np.cumsum([0, *map(len, sentences)]).astype(np.int64),
    )
    expected = cooccurrence(*corpus, window=window, symmetric=symmetric)
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glove_counts, "_SMALLEST_SEGMENT", segment)
        patch.setattr(glove_counts, "_BLOCK_RECORDS", block)
        patch.setattr(glove_counts, "_MAX_RUNS", max_runs)
        made = counting(corpus, folder, n_words=8, window=window, symmetric=symmetric, threads=threads, memory_bytes=1)
        pairs = collected(made)
    assert len({(row, col) for row, col, _ in pairs.tolist()}) == pairs.size
    found = {(row, col): value for row, col, value in pairs.tolist()}
    wanted = {(i, j): float(np.float32(x)) for (i, j), x in expected.items() if j <= i or not symmetric}
    if window <= 22:
        assert found == wanted
    else:  # larger windows count in units of 2**-30
        assert found == pytest.approx(wanted, rel=1e-6)
    assert list(folder.iterdir()) == []


def test_memory_is_kept_to(tmp_path):
    n_words, memory = 1_000_000, 1 << 28
    made = counting(zipf(), tmp_path, n_words=n_words, threads=64, memory_bytes=memory)
    segment, threads, block = made._room()
    assert threads >= 1
    assert block >= n_words
    assert 8 * segment + 16 * n_words + (threads + 1) * (12 * n_words + 28 * block) <= memory
    assert segment > 1 << 23


def test_one_endless_sentence_is_cut_into_segments(tmp_path, monkeypatch):
    token_ids, _ = zipf(n_tokens=9_000)
    corpus = token_ids, np.array([0, token_ids.size])
    whole = collected(counting(corpus, tmp_path))
    monkeypatch.setattr(glove_counts, "_SMALLEST_SEGMENT", 1_000)
    np.testing.assert_array_equal(collected(counting(corpus, tmp_path, memory_bytes=1)), whole)
    harmonic = sum((9_000 - d) / d for d in range(1, 11))
    twice_below = 2 * whole["value"][whole["row"] != whole["col"]].sum(dtype=np.float64)
    assert twice_below + whole["value"][whole["row"] == whole["col"]].sum() == pytest.approx(2 * harmonic, rel=1e-6)


# --- shuffling --------------------------------------------------------------------------------------------------------


def shuffled(folder, key, memory_bytes=1 << 28, block=1_000):
    pairs = np.zeros(20_000, PAIR)
    pairs["row"], pairs["col"], pairs["value"] = np.arange(20_000) // 7, np.arange(20_000) % 7, np.arange(20_000)
    folder.mkdir()
    blocks = (pairs[first : first + block] for first in range(0, pairs.size, block))
    return pairs, shuffle_pairs(blocks, folder, key=np.uint64(key), memory_bytes=memory_bytes)


def test_every_pair_is_in_one_chunk_and_chunks_are_random_parts(tmp_path):
    pairs, made = shuffled(tmp_path / "a", 5)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["pairs"]
    assert made.n_pairs == 20_000
    assert made.n_chunks == glove_pairs.MIN_CHUNKS == 32
    chunks = [made.read(chunk) for chunk in range(made.n_chunks)]
    assert sorted(np.concatenate(chunks).tolist()) == pairs.tolist()
    for chunk in chunks:
        assert 500 < chunk.size < 750
        assert (np.diff(chunk["row"]) >= 0).all()
        assert abs(chunk["value"].mean() - 10_000) < 1_500


def test_chunks_depend_on_the_key_and_not_on_memory(tmp_path):
    bytes_of = {
        name: hashlib.sha256(shuffled(tmp_path / name, key, memory, block)[1].path.read_bytes()).hexdigest()
        for name, key, memory, block in [("a", 5, 1 << 28, 1_000), ("b", 5, 1, 77), ("c", 6, 1 << 28, 1_000)]
    }
    assert bytes_of["a"] == bytes_of["b"] != bytes_of["c"]


def test_many_pairs_make_chunks_of_the_usual_size(tmp_path, monkeypatch):
    monkeypatch.setattr(glove_pairs, "CHUNK_PAIRS", 300)
    assert shuffled(tmp_path / "a", 5)[1].n_chunks == 67


def test_nothing_to_shuffle(tmp_path):
    made = shuffle_pairs(iter([]), tmp_path, key=np.uint64(1), memory_bytes=1 << 20)
    assert made.n_pairs == 0
    assert made.read(3).size == 0
