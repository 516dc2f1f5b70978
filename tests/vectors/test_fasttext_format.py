"""fastText's .bin and .vec: what comes back, and what is refused. Interchange with gensim stands in tests/peers."""

import contextlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.errors import FormatError
from vecmill.vectors.fasttext_format import (
    FasttextModel,
    load_fasttext_bin,
    load_fasttext_vec,
    save_fasttext_bin,
    save_fasttext_vec,
)
from vecmill.vectors.subword_ngrams import ngram_table
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word_vectors import WordVectors

WORDS = ["walk", "straße", "東京", "no\u00a0break", "\\n", "'"]


def model(words=WORDS, counts=(9, 7, 7, 7, 2, 1), min_n=3, max_n=6, subword_buckets=300):
    rng = np.random.default_rng(6)
    used = np.unique(ngram_table(words, min_n=min_n, max_n=max_n, subword_buckets=subword_buckets).buckets)
    rows = WordVectors(words, rng.normal(size=(len(words), 4)).astype(np.float32), counts)
    bucket_rows = rng.normal(size=(used.size, 4)).astype(np.float32)
    vectors = SubwordVectors(rows, used, bucket_rows, min_n=min_n, max_n=max_n, subword_buckets=subword_buckets)
    return FasttextModel(vectors, rng.normal(size=(len(words), 4)).astype(np.float32), window=3, loss="softmax")


# Where things stand in the file that `whole` gives: the settings are 12 int32 and a double after two int32.
DIM, MIN_COUNT, LOSS, KIND, BUCKETS, MIN_N, MAX_N = (8 + 4 * place for place in (0, 3, 6, 7, 8, 9, 10))
N_ENTRIES = 8 + 48 + 8
N_WORDS, N_LABELS, N_PRUNED = N_ENTRIES + 4, N_ENTRIES + 8, N_ENTRIES + 20
FIRST_WORD = N_ENTRIES + 28
QUANTISED = FIRST_WORD + sum(len(word.encode()) + 10 for word in WORDS)


@pytest.fixture
def whole(tmp_path):
    save_fasttext_bin(model(), tmp_path / "whole.bin")
    return (tmp_path / "whole.bin").read_bytes()


def test_bin_gives_back_every_bit(tmp_path):
    ours = model()
    save_fasttext_bin(ours, tmp_path / "m.bin")
    back = load_fasttext_bin(tmp_path / "m.bin")
    assert back.vectors.words == ours.vectors.words
    for left, right in (
        (back.vectors.word_rows.vectors, ours.vectors.word_rows.vectors),
        (back.vectors.word_rows.counts, ours.vectors.word_rows.counts),
        (back.vectors.bucket_ids, ours.vectors.bucket_ids),
        (back.vectors.bucket_rows, ours.vectors.bucket_rows),
        (back.context_vectors, ours.context_vectors),
    ):
        np.testing.assert_array_equal(left, right)
    for name in ("kind", "loss", "window", "epochs", "min_count", "negative_samples", "sample"):
        assert getattr(back, name) == getattr(ours, name)
    assert back.n_tokens == 33
    save_fasttext_bin(back, tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "m.bin").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.bin", "m.bin"]


def test_bin_without_counts_context_and_ngrams(tmp_path):
    save_fasttext_bin(FasttextModel(model(counts=None, min_n=0, max_n=0, subword_buckets=0).vectors), tmp_path / "m")
    back = load_fasttext_bin(tmp_path / "m")
    assert back.vectors.word_rows.counts.tolist() == [1] * 6
    assert not back.context_vectors.any()
    np.testing.assert_array_equal(back.vectors["walk"], back.vectors.word_rows["walk"])


def test_vec_has_the_composed_vectors(tmp_path):
    save_fasttext_vec(model().vectors, tmp_path / "m.vec")
    back = load_fasttext_vec(tmp_path / "m.vec")
    assert back.words == tuple(WORDS)
    np.testing.assert_array_equal(back.vectors, model().vectors.word_vectors().vectors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": ["a b", *WORDS[1:]]}, "word 0 is 'a b'.*without white space.*join the parts"),
        ({"words": ["fine", "nu\0l", *WORDS[2:]]}, "word 1 is .*the character 0"),
        ({"counts": (1, 2, 3, 3, 3, 3)}, "word 1 has the count 2, after a word with 1.*sort the words"),
    ],
)
def test_what_the_format_cannot_say_is_not_written(tmp_path, change, message):
    with pytest.raises(FormatError, match=message):
        save_fasttext_bin(model(**change), tmp_path / "m.bin")
    assert list(tmp_path.iterdir()) == []


def test_context_vectors_of_another_shape_are_not_written(tmp_path):
    with pytest.raises(FormatError, match=r"shape \(2, 4\)\. Expected: \(6, 4\)"):
        save_fasttext_bin(FasttextModel(model().vectors, np.zeros((2, 4), np.float32)), tmp_path / "m.bin")


def test_every_cut_is_noticed(tmp_path, whole):
    for n_bytes in [*range(QUANTISED + 20), *range(QUANTISED + 20, len(whole), 37), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:n_bytes])
        with pytest.raises(FormatError, match="cut off"):
            load_fasttext_bin(tmp_path / "cut")


@pytest.mark.parametrize(
    ("place", "form", "value", "message"),
    [
        (0, "i", 7, "starts with the numbers 7 and 12.*not compressed"),
        (4, "i", 11, "793712314 and 11. Expected: .*version 12"),
        (KIND, "i", 3, "of model 3 with loss 3.*supervised"),
        (LOSS, "i", 9, "with loss 9"),
        (DIM, "i", 0, "dimension 0"),
        (DIM, "i", -4, "dimension -4"),
        (DIM, "i", 5, "input matrix is of 306 rows and 4 columns. Expected: 306 rows and 5"),
        (BUCKETS, "i", -1, "-1 buckets"),
        (BUCKETS, "i", 2_000_000_000, "input matrix is of 306 rows .*2000000006 rows"),
        (MAX_N, "i", 2_000_000_000, "n-grams of 3 to 2000000000"),
        (MIN_N, "i", -2, "n-grams of -2 to 6"),
        (N_LABELS, "i", 1, "6 words and 1 labels"),
        (N_WORDS, "i", -6, "-6 words"),
        (N_PRUNED, "q", 5, "keeps 5 of its buckets.*before `fasttext quantize`"),
        (FIRST_WORD, "b", -1, r"word 0 is b'\\xffalk', which is not UTF-8"),
        (FIRST_WORD, "b", 0, "entry 1 is of type -97"),
        (FIRST_WORD + 13, "b", 1, "entry 0 is of type 1"),
        (FIRST_WORD + 5, "q", -5, "count of word 0 is -5"),
        (QUANTISED, "b", 1, "input matrix is quantised.*not .ftz"),
        (QUANTISED + 1, "q", 2**62, "input matrix is of 4611686018427387904 rows"),
        (QUANTISED + 17, "f", float("nan"), r"vector 0 \(word 'walk'\) holds nan"),
    ],
)
def test_hostile_numbers_are_refused(tmp_path, whole, place, form, value, message):
    changed = bytearray(whole)
    struct.pack_into(f"<{form}", changed, place, value)
    (tmp_path / "bad.bin").write_bytes(changed)
    with pytest.raises(FormatError, match=message):
        load_fasttext_bin(tmp_path / "bad.bin")


def test_sizes_that_agree_with_each_other_allocate_nothing(tmp_path, whole):
    changed = bytearray(whole)
    struct.pack_into("<i", changed, BUCKETS, 2_000_000_000)
    struct.pack_into("<q", changed, QUANTISED + 1, 2_000_000_006)
    (tmp_path / "rows").write_bytes(changed)
    words = bytearray(whole)
    struct.pack_into("<2i", words, N_ENTRIES, 2_000_000_000, 2_000_000_000)
    (tmp_path / "words").write_bytes(words)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"in its input matrix of 32,000,000,096 bytes.*cut off"):
            load_fasttext_bin(tmp_path / "rows")
        with pytest.raises(FormatError, match=r"before its 2,000,000,000 words"):
            load_fasttext_bin(tmp_path / "words")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_quantised_output_and_more_than_the_model(tmp_path, whole):
    output = QUANTISED + 17 + 4 * 4 * 306
    (tmp_path / "bad").write_bytes(whole[:output] + b"\1" + whole[output + 1 :])
    with pytest.raises(FormatError, match="output matrix is quantised"):
        load_fasttext_bin(tmp_path / "bad")
    (tmp_path / "bad").write_bytes(whole + b"more")
    with pytest.raises(FormatError, match="4 bytes follow after the model"):
        load_fasttext_bin(tmp_path / "bad")


def test_missing_and_empty_files_and_folders(tmp_path):
    with pytest.raises(FormatError, match=r"nowhere cannot be read \(No such file"):
        load_fasttext_bin(tmp_path / "nowhere")
    with pytest.raises(FormatError, match=r"cannot be read \(Is a directory"):
        load_fasttext_bin(tmp_path)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, QUANTISED + 20), byte=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(tmp_path_factory, place, byte):
    path = tmp_path_factory.mktemp("changed") / "m.bin"
    save_fasttext_bin(model(), path)
    changed = bytearray(path.read_bytes())
    changed[place] = byte
    path.write_bytes(changed)
    with contextlib.suppress(FormatError):
        load_fasttext_bin(path)
