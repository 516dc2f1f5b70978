"""GloVe text, .npy and Arrow files, and the choice between formats: what comes back, and what is refused.

Interchange with other programs stands in tests/peers.
"""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import given, settings
from strategies_vectors import any_word, unbroken_word, words_and_vectors

from vecmill.errors import FormatError
from vecmill.vectors import glove_format, neighbours
from vecmill.vectors.arrow_format import load_arrow, save_arrow
from vecmill.vectors.glove_format import load_glove, save_glove
from vecmill.vectors.npy_format import load_npy, save_npy
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.vector_files import (
    FORMATS,
    convert,
    format_to_write,
    load_context_vectors,
    load_vectors,
    save_vectors,
)
from vecmill.vectors.word_vectors import WordVectors

WRITABLE = [name for name in FORMATS if name != "fasttext-binary"]
ENDING = {
    **{"folder": "", "word2vec-text": ".vec", "word2vec-binary": ".bin"},
    **{"glove": ".txt", "npy": ".npy", "arrow": ".arrow"},
}
Rows = tuple[list[str], np.ndarray]


def small(seed: int = 0) -> WordVectors:
    rows = np.random.default_rng(seed).normal(size=(5, 3)).astype(np.float32)
    return WordVectors(["the", "Straße", "東京", "no\u00a0break", "'"], rows, np.array([9, 7, 5, 3, 1]))


# --- round trips -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(content=words_and_vectors(unbroken_word))
def test_glove_gives_back_every_bit(content: Rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    words, rows = content
    path = tmp_path_factory.mktemp("glove") / "v.txt"
    save_glove(WordVectors(words, rows), path)
    loaded = load_glove(path)
    assert loaded.words == tuple(words) and loaded.vectors.tobytes() == rows.tobytes()


@settings(deadline=None, max_examples=50)
@given(content=words_and_vectors(any_word))
def test_arrow_gives_back_every_bit(content: Rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    words, rows = content
    path = tmp_path_factory.mktemp("arrow") / "v.arrow"
    save_arrow(WordVectors(words, rows, np.arange(len(words)), "a space"), path)
    loaded = load_arrow(path)
    assert loaded.words == tuple(words) and loaded.vectors.tobytes() == rows.tobytes()
    assert loaded.counts is not None and loaded.counts.tolist() == list(range(len(words)))
    assert loaded.space_id == "a space"


@settings(deadline=None, max_examples=50)
@given(content=words_and_vectors(any_word.filter(lambda word: not {"\n", "\r"} & set(word))))
def test_npy_gives_back_every_bit(content: Rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    words, rows = content
    path = tmp_path_factory.mktemp("npy") / "v.npy"
    save_npy(WordVectors(words, rows), path)
    loaded = load_npy(path)
    assert loaded.words == tuple(words) and loaded.vectors.tobytes() == rows.tobytes()


@pytest.mark.parametrize("target", WRITABLE)
@pytest.mark.parametrize("source", WRITABLE)
def test_every_format_into_every_other(source: str, target: str, tmp_path: Path) -> None:
    """A space named after its content keeps its name through files that cannot hold one."""
    first, second = tmp_path / f"first{ENDING[source]}", tmp_path / f"second{ENDING[target]}"
    save_vectors(small(), first, source)
    assert convert(first, second, write_as=target) == target
    loaded = load_vectors(second)
    assert loaded.words == small().words and loaded.vectors.tobytes() == small().vectors.tobytes()
    assert loaded.space_id == small().space_id
    assert (loaded.counts is not None) == ({source, target} <= {"folder", "arrow"})
    assert not list(tmp_path.rglob("*.tmp"))


def test_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_FLOATS", 6)
    monkeypatch.setattr(glove_format, "_READ_BYTES", 7)
    for name in WRITABLE:
        path = tmp_path / f"v{ENDING[name]}"
        save_vectors(small(), path, name)
        assert load_vectors(path).vectors.tobytes() == small().vectors.tobytes()
    assert pa.ipc.open_file(tmp_path / "v.arrow").num_record_batches == 3


def test_loading_a_text_file_needs_little_more_than_its_vectors(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 300)).astype(np.float32)
    save_glove(WordVectors([str(i) for i in range(2000)], rows), tmp_path / "v.txt")
    tracemalloc.start()
    try:
        load_glove(tmp_path / "v.txt")
        assert tracemalloc.get_traced_memory()[1] < rows.nbytes + (2 << 20)
    finally:
        tracemalloc.stop()


# --- GloVe -----------------------------------------------------------------------------------------------------------


def test_glove_by_hand(tmp_path: Path) -> None:
    save_glove(WordVectors(["one", "zwölf"], np.array([[0.1, -2.0], [1e-5, 3.0]], np.float32)), tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_text(encoding="utf-8").splitlines()[0] == "one 0.1 -2"
    (tmp_path / "v.txt").write_text("the 0.5 1\nof -1 2e-3", encoding="utf-8")  # no line feed at the end
    loaded = load_glove(tmp_path / "v.txt")
    assert loaded.words == ("the", "of") and loaded.vectors.tolist() == [[0.5, 1.0], [-1.0, np.float32(2e-3)]]


def test_glove_words_with_blanks_on_demand(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("the 1 2\n. . . 3 4\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"line 2: 4 numbers after the word b'\.'.*glove\.840B.*blanks_in_words"):
        load_glove(tmp_path / "v.txt")
    loaded = load_glove(tmp_path / "v.txt", blanks_in_words=True)
    assert loaded.words == ("the", ". . .") and loaded.vectors.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(FormatError, match=r"word 1 is '\. \. \.'.*without white space"):
        save_glove(loaded, tmp_path / "again.txt")
    assert not (tmp_path / "again.txt").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "v.txt is empty"),
        (b"\n\n", r"starts with b'\\n'.*not compressed"),
        (b"word\n", r"starts with b'word\\n'"),
        (b"\x1f\x8b\x08\x00 \x00", "line 1: could not convert"),
        (b"2 3\na 1 2 3\nb 4 5 6\n", r"starts with a header, b'2 3'.*read it as word2vec text"),
        (b"a 1 2\nb 1\n", r"line 2: 1 numbers after the word b'b'.*Expected: 2, as in line 1"),
        (b"a 1 2\nb 1 2 3\n", r"line 2: 3 numbers"),
        (b"a 1 2\n\nb 1 2\n", r"line 2: 0 numbers after the word b''"),
        (b"a 1 2\nb 1 x\n", "line 2: could not convert.*a word and 2 numbers"),
        (b"a 1 2\nb nan 2\n", r"vector 1 \(word 'b'\) holds nan"),
        (b"a 1 2\nb 1 1e39\n", r"vector 1 \(word 'b'\) holds inf"),
        (b"a 1 2\na 1 2\n", "the word 'a' stands in rows 0 and 1"),
        (b" 1 2\nb 1 2\n", r"word of row 0 .* is empty"),
        (b"a 1 2\ncaf\xe9 1 2\n", r"row 1 .*caf\\xe9.*not UTF-8"),
    ],
)
def test_glove_refusals(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(FormatError, match=message):
        load_glove(tmp_path / "v.txt")


def test_line_feeds_ask_for_no_memory(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"a" + b" 1" * 500 + b"\n" * 500_000)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="line 2: 0 numbers"):
            load_glove(tmp_path / "v.txt")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# --- .npy ------------------------------------------------------------------------------------------------------------


def write_npy(path: Path, array: np.ndarray, words: bytes, *, allow_pickle: bool = False) -> None:
    np.save(path, array, allow_pickle=allow_pickle)
    path.with_suffix(".txt").write_bytes(words)


def test_npy_of_others(tmp_path: Path) -> None:
    rows = np.asfortranarray(np.random.default_rng(0).normal(size=(2, 3)))
    write_npy(tmp_path / "v.npy", rows, b"a b\r\n\xe2\x80\xa8\r\n")
    loaded = load_npy(tmp_path / "v.npy")
    assert loaded.words == ("a b", "\u2028")
    np.testing.assert_array_equal(loaded.vectors, rows.astype(np.float32))


def test_npy_stays_mapped(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 50)).astype(np.float32)
    write_npy(tmp_path / "v.npy", rows, b"".join(b"%d\n" % i for i in range(20_000)))
    tracemalloc.start()
    try:
        vectors = load_npy(tmp_path / "v.npy")
        assert tracemalloc.get_traced_memory()[0] < rows.nbytes
    finally:
        tracemalloc.stop()
    assert not vectors.vectors.flags.owndata


@pytest.mark.parametrize(
    ("array", "words", "message"),
    [
        (np.ones((2, 2), np.float32), b"a\n", r"v\.txt has 1 words, and .*v\.npy 2 rows.*not from one model"),
        (np.ones((2, 2), np.float32), b"a\n\nb\n", r"has 3 words"),
        (np.ones((2, 2), np.float32), b"a\n\n", r"word 1 is an empty text"),
        (np.ones((2, 2), np.float32), b"a\n\xff\n", r"v\.txt, line 2: not UTF-8"),
        (np.ones((2, 2), np.float32), b"a\na\n", "'a' stands in rows 0 and 1"),
        (np.ones((2, 2), np.int64), b"a\nb\n", r"holds int64\[2, 2\].*floating point"),
        (np.ones(2, np.float32), b"a\nb\n", r"holds float32\[2\]"),
        (np.full((2, 2), np.nan, np.float32), b"a\nb\n", "holds nan"),
        (np.full((2, 2), 1e300), b"a\nb\n", "holds inf"),
    ],
)
def test_npy_refusals(array: np.ndarray, words: bytes, message: str, tmp_path: Path) -> None:
    write_npy(tmp_path / "v.npy", array, words)
    with pytest.raises(FormatError, match=message):
        load_npy(tmp_path / "v.npy")


def test_npy_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    with pytest.raises(FormatError, match=r"v\.npy cannot be read as vectors \(No such file"):
        load_npy(path)
    write_npy(path, np.array([["pickled"]], dtype=object), b"a\n", allow_pickle=True)
    with pytest.raises(FormatError, match="objects"):
        load_npy(path)
    np.savez(tmp_path / "z.npz", a=np.ones(3))
    path.write_bytes((tmp_path / "z.npz").read_bytes())
    with pytest.raises(FormatError, match="cannot be read as vectors"):
        load_npy(path)
    with pytest.raises(FormatError, match=r"does not end in \.npy"):
        load_npy(tmp_path / "v.txt")
    write_npy(path, np.ones((2, 2), np.float32), b"a\nb\n")
    whole = path.read_bytes()
    path.with_suffix(".txt").unlink()
    with pytest.raises(FormatError, match=r"words .*v\.txt cannot be read.*list of words beside"):
        load_npy(path)
    path.with_suffix(".txt").write_bytes(b"a\nb\n")
    for n_bytes in range(len(whole)):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(FormatError, match="cannot be read as vectors"):
            load_npy(path)
    path.write_bytes(whole.replace(b"(2, 2), }         ", b"(1000000000, 300),}"[:18].ljust(18)))
    with pytest.raises(FormatError, match="cannot be read as vectors"):
        load_npy(path)


def test_npy_words_with_line_ends_are_not_written(tmp_path: Path) -> None:
    for word in ("a\nb", "a\r"):
        with pytest.raises(FormatError, match="without line ends"):
            save_npy(WordVectors(["x", word], np.ones((2, 1), np.float32)), tmp_path / "v.npy")
    assert list(tmp_path.iterdir()) == []


# --- Arrow -----------------------------------------------------------------------------------------------------------


def test_arrow_by_others_readers(tmp_path: Path) -> None:
    import polars

    save_arrow(small(), tmp_path / "v.feather")
    table = pa.feather.read_table(tmp_path / "v.feather")
    assert table["vector"].type == pa.list_(pa.field("item", pa.float32(), nullable=False), 3)
    assert table.schema.metadata[b"space_id"].decode() == small().space_id
    frame = polars.read_ipc(tmp_path / "v.feather")
    np.testing.assert_array_equal(frame["vector"].to_numpy(), small().vectors)
    assert frame["word"].to_list() == list(small().words) and frame["count"].to_list() == [9, 7, 5, 3, 1]


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_arrow_of_others(compression: str, kind: str, tmp_path: Path) -> None:
    rows = np.array([[1, 2], [3, 4], [5, 6]], kind)
    table = pa.table({"vector": [list(row) for row in rows], "word": pa.array(["a", "b", "c"], pa.large_string())})
    pa.feather.write_feather(table, tmp_path / "v.feather", compression=compression, chunksize=2)
    loaded = load_arrow(tmp_path / "v.feather")
    assert loaded.words == ("a", "b", "c") and loaded.counts is None and len(loaded.space_id) == 64
    np.testing.assert_array_equal(loaded.vectors, rows)


def test_arrow_of_polars(tmp_path: Path) -> None:
    import polars

    words, rows = ["a", "b"], [[1.0, 2.0], [3.0, 4.0]]
    for kind in (polars.List(polars.Float64), polars.Array(polars.Float32, 2)):
        frame = polars.DataFrame({"word": words, "vector": polars.Series(rows, dtype=kind), "count": [2, None]})
        frame.write_ipc(tmp_path / "v.arrow")
        loaded = load_arrow(tmp_path / "v.arrow")
        assert loaded.words == ("a", "b") and loaded.vectors.tolist() == rows and loaded.counts is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"word": ["a"]}, r"has the columns word: string.*vector \(list"),
        ({"vector": [[1.0]]}, "has the columns vector"),
        ({"word": [1], "vector": [[1.0]]}, "word: int64"),
        ({"word": ["a"], "vector": [[1]]}, "vector: list<.*int64"),
        ({"word": ["a"], "vector": [1.0]}, "vector: double"),
        ({"word": ["a"], "vector": [[1.0]], "count": ["many"]}, "count: string"),
        ({"word": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, r"vector of row 1 has 2 numbers.*1 numbers in every row"),
        ({"word": ["a", "b", "c"], "vector": [[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]]}, "row 1 has 1 numbers"),
        ({"word": ["a", "b"], "vector": [[1.0], None]}, "vector of row 1 is null"),
        ({"word": ["a", "b"], "vector": [[1.0, 2.0], [1.0, None]]}, "vector of row 1 holds null"),
        ({"word": ["a", None], "vector": [[1.0], [2.0]]}, "the word of row 1 is null"),
        ({"word": ["a", "a"], "vector": [[1.0], [2.0]]}, "'a' stands in rows 0 and 1"),
        ({"word": ["a", "b"], "vector": [[1.0], [float("nan")]]}, "word 'b'. holds nan"),
        ({"word": ["a"], "vector": [[1.0]], "count": [-1]}, "count of word 0 is -1"),
        ({"word": ["a"], "vector": pa.array([[]], pa.list_(pa.float32()))}, "1 vectors of dimension 0"),
        ({"word": pa.array([], pa.string()), "vector": pa.array([], pa.list_(pa.float32()))}, "holds 0 vectors"),
    ],
)
def test_arrow_refusals(columns: dict[str, object], message: str, tmp_path: Path) -> None:
    pa.feather.write_feather(pa.table(columns), tmp_path / "v.arrow")
    with pytest.raises(FormatError, match=message):
        load_arrow(tmp_path / "v.arrow")


def test_arrow_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "v.arrow"
    with pytest.raises(FormatError, match=r"cannot be read as an Arrow file \(.*No such file"):
        load_arrow(path)
    save_arrow(small(), path)
    whole = path.read_bytes()
    for n_bytes in range(0, len(whole), 7):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(FormatError, match="cannot be read as an Arrow file"):
            load_arrow(path)
    assert b"n_words" in whole
    path.write_bytes(whole.replace(b"\x01\x00\x00\x005\x00", b"\x01\x00\x00\x006\x00"))  # the stated number of words
    with pytest.raises(FormatError, match=r"holds 5 vectors of dimension 3.*6 of dimension 3, as its metadata say"):
        load_arrow(path)


def test_damaged_arrow_files_never_crash(tmp_path: Path) -> None:
    """One byte at a time is changed: the file is refused, or read as what it says then."""
    path = tmp_path / "v.arrow"
    save_arrow(small(), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), size=400):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(FormatError):
            load_arrow(path)


# --- the choice of a format ------------------------------------------------------------------------------------------


def test_formats_by_content_and_ending(tmp_path: Path) -> None:
    save_vectors(small(), tmp_path / "a.txt", "word2vec-text")
    save_vectors(small(), tmp_path / "b.txt", "glove")
    save_vectors(small(), tmp_path / "train" / "vectors")
    for name in ("a.txt", "b.txt", "train", "train/vectors"):
        assert load_vectors(tmp_path / name).words == small().words
    assert load_vectors(tmp_path / "a.txt", "word2vec-text").words == small().words
    written = [tmp_path / name for name in ("c.npy", "c.txt", "c.npy.space.json")]
    assert save_vectors(small(), tmp_path / "c.npy") == written


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            lambda path: load_vectors(path / "v.dat"),
            r"ending of .*v\.dat does not say.*name one of folder, word2vec-text",
        ),
        (lambda path: load_vectors(path / "gone.vec"), r"gone\.vec cannot be read \(No such file"),
        (lambda path: load_vectors(path / "v.dat", "glov"), "no format is named 'glov'.*glove"),
        (lambda path: load_vectors(path), r"holds no meta\.json"),
        (lambda path: save_vectors(small(), path / "v.txt"), r"ending of .*v\.txt does not say.*name one of"),
        (lambda path: save_vectors(small(), path / "v.bin", "fasttext-binary"), "rows of n-grams"),
        (lambda path: convert(path, path / "v.bin", write_as="fasttext-binary"), "holds no n-grams.*subword_skipgram"),
    ],
)
def test_formats_that_cannot_be_told(action: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    (tmp_path / "v.dat").write_bytes(b"a 1\n")
    with pytest.raises(FormatError, match=message):
        action(tmp_path)
    assert format_to_write(tmp_path, None) == "folder"


def test_fasttext_files(tmp_path: Path) -> None:
    """A train artifact with subwords into fastText's .bin and from there into anything."""
    rows = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    own = WordVectors(small().words, small().vectors, small().counts)
    subwords = SubwordVectors(own, np.array([0, 3, 5, 9], np.int32), rows, min_n=3, max_n=4, subword_buckets=10)
    subwords.save(tmp_path / "train" / "subwords")
    convert(tmp_path / "train", tmp_path / "v.bin", write_as="fasttext-binary")
    loaded = load_vectors(tmp_path / "v.bin")
    np.testing.assert_array_equal(loaded.vectors, subwords.word_vectors().vectors)
    assert loaded.words == small().words
    convert(tmp_path / "v.bin", tmp_path / "again.bin", write_as="fasttext-binary")
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "v.bin").read_bytes()
    assert convert(tmp_path / "v.bin", tmp_path / "plain.bin") == "word2vec-binary"
    np.testing.assert_array_equal(load_vectors(tmp_path / "plain.bin").vectors, loaded.vectors)


def test_context_vectors_of_a_train_artifact(tmp_path: Path) -> None:
    save_vectors(small(), tmp_path / "train" / "vectors")
    assert load_context_vectors(tmp_path / "train") is None
    np.save(tmp_path / "train" / "context_vectors.npy", small(1).vectors)
    for place in ("train", "train/vectors"):
        found = load_context_vectors(tmp_path / place)
        assert found is not None and found.tobytes() == small(1).vectors.tobytes()
    (tmp_path / "train" / "context_vectors.npy").write_bytes(b"short")
    with pytest.raises(FormatError, match=r"context_vectors\.npy cannot be read"):
        load_context_vectors(tmp_path / "train")
