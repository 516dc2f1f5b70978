"""The word2vec formats: what comes back, and what is refused. Interchange with gensim stands in tests/peers."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from strategies_vectors import unbroken_word, words_and_vectors

from vecmill.errors import FormatError
from vecmill.vectors import word2vec_format
from vecmill.vectors.word2vec_format import load_word2vec, save_word2vec
from vecmill.vectors.word_vectors import WordVectors

BOTH = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])

ODD_WORDS = ["Straße", "東京", "no\u00a0break", "\u2003", "emoji🙂", "'", "-1.5", "\\n", "\ufeff", "e\u0301"]


@BOTH
@settings(deadline=None)  # the first example imports pyarrow
@given(content=words_and_vectors(unbroken_word))
def test_files_give_back_every_bit(
    binary: bool, content: tuple[list[str], np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> None:
    words, rows = content
    path = tmp_path_factory.mktemp("w2v") / "vectors"
    save_word2vec(WordVectors(words, rows), path, binary=binary)
    loaded = load_word2vec(path, binary=binary)
    assert loaded.words == tuple(words)
    assert loaded.vectors.tobytes() == rows.tobytes()
    assert loaded.counts is None


@BOTH
def test_odd_words(binary: bool, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(len(ODD_WORDS), 3)).astype(np.float32)
    save_word2vec(WordVectors(ODD_WORDS, rows), tmp_path / "v", binary=binary)
    assert load_word2vec(tmp_path / "v", binary=binary).words == tuple(ODD_WORDS)


def test_text_by_hand(tmp_path: Path) -> None:
    rows = np.array([[0.1, -2.0], [1e-5, 3e38]], dtype=np.float32)
    save_word2vec(WordVectors(["one", "zwölf"], rows), tmp_path / "v.txt", binary=False)
    lines = (tmp_path / "v.txt").read_text(encoding="utf-8").split("\n")
    assert lines[:2] == ["2 2", "one 0.1 -2"] and lines[2].startswith("zwölf ") and lines[3] == ""


def test_binary_by_hand(tmp_path: Path) -> None:
    rows = np.array([[1.0], [2.0]], dtype=np.float32)
    save_word2vec(WordVectors(["a", "b"], rows), tmp_path / "v.bin", binary=True)
    assert (tmp_path / "v.bin").read_bytes() == b"2 1\na \x00\x00\x80?b \x00\x00\x00@"


def test_files_as_word2vec_c_writes_them(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"2 2\n</s> 0.500000 -1.000000 \nthe 2.000000 0.000000 \n")
    (tmp_path / "v.bin").write_bytes(b"2 1\n</s> \x00\x00\x80?\nthe \x00\x00\x00@\n")
    text, binary = load_word2vec(tmp_path / "v.txt", binary=False), load_word2vec(tmp_path / "v.bin", binary=True)
    assert text.words == binary.words == ("</s>", "the")
    assert text.vectors.tolist() == [[0.5, -1.0], [2.0, 0.0]]
    assert binary.vectors.tolist() == [[1.0], [2.0]]


@BOTH
def test_many_rows_in_small_reads(binary: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(1).normal(size=(300, 7)).astype(np.float32)
    model = WordVectors([f"word{i}" for i in range(300)], rows)
    save_word2vec(model, tmp_path / "v", binary=binary)
    monkeypatch.setattr(word2vec_format, "_READ_BYTES", 11)
    loaded = load_word2vec(tmp_path / "v", binary=binary)
    assert loaded.words == model.words and loaded.vectors.tobytes() == rows.tobytes()


@BOTH
@pytest.mark.parametrize("word", ["two words", "tab\tbed", "line\nfeed", " ", "cr\r"])
def test_words_with_white_space_are_not_written(binary: bool, word: str, tmp_path: Path) -> None:
    model = WordVectors(["fine", word], np.ones((2, 1), dtype=np.float32))
    with pytest.raises(FormatError, match=r"word 1 is .*without white space.*join the parts"):
        save_word2vec(model, tmp_path / "v", binary=binary)
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_a_header_that_claims_a_thousand_million_rows_allocates_nothing(binary: bool, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"1000000000 300\na 1 2 3\n")
    tracemalloc.start()
    try:
        with pytest.raises(
            FormatError, match=r"says 1000000000 words of dimension 300, but only 8 bytes follow.*cut off"
        ):
            load_word2vec(tmp_path / "v", binary=binary)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@BOTH
@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n",
        b"2\n",
        b"2 2 2\n",
        b"-1 2\n",
        b"2.0 3\n",
        b"a b\n",
        b"2 2",
        b"\x1f\x8b\x08\x00gzip\n",
        b"9" * 500,
        b"\xff\xfe\n",
    ],
)
def test_a_first_line_that_is_no_header(binary: bool, head: bytes, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(head)
    with pytest.raises(FormatError, match=r"v starts with b.*header line.*not compressed"):
        load_word2vec(tmp_path / "v", binary=binary)


@BOTH
@pytest.mark.parametrize("header", [b"0 5\n", b"5 0\n"])
def test_nothing_in_the_file(binary: bool, header: bytes, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(header)
    with pytest.raises(FormatError, match="at least one of both"):
        load_word2vec(tmp_path / "v", binary=binary)


@BOTH
def test_a_missing_file_and_a_folder(binary: bool, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"nowhere cannot be read \(No such file"):
        load_word2vec(tmp_path / "nowhere", binary=binary)
    with pytest.raises(FormatError, match=r"cannot be read \(Is a directory"):
        load_word2vec(tmp_path, binary=binary)


@BOTH
def test_every_cut_is_noticed(binary: bool, tmp_path: Path) -> None:
    rows = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
    save_word2vec(WordVectors([f"longer_word_{i}" for i in range(5)], rows), tmp_path / "whole", binary=binary)
    whole = (tmp_path / "whole").read_bytes()
    # In text the last line feed may be missing, and a cut inside the last number cannot be told from a shorter number.
    last_number = 0 if binary else len(whole) - whole.rindex(b" ") - 1
    for n_bytes in range(len(whole) - max(1, last_number)):
        (tmp_path / "cut").write_bytes(whole[:n_bytes])
        with pytest.raises(FormatError, match=r"cut off|starts with|could not convert"):
            load_word2vec(tmp_path / "cut", binary=binary)


@BOTH
def test_more_than_the_header_says(binary: bool, tmp_path: Path) -> None:
    save_word2vec(WordVectors(["a", "b"], np.ones((2, 2), dtype=np.float32)), tmp_path / "v", binary=binary)
    whole = (tmp_path / "v").read_bytes()
    (tmp_path / "v").write_bytes(whole.replace(b"2 2\n", b"1 2\n"))
    with pytest.raises(FormatError, match="more follows after the 1 words"):
        load_word2vec(tmp_path / "v", binary=binary)
    (tmp_path / "v").write_bytes(whole + b"\n\n")
    assert load_word2vec(tmp_path / "v", binary=binary).words == ("a", "b")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"a 1 2 3", r"line 2: 3 numbers after the word b'a'.*2, as the header says"),
        (b"a 1", r"line 2: 1 numbers"),
        (b"new york 1 2", r"line 2: 3 numbers after the word b'new'.*no blank inside a word"),
        (b"a 1 x", r"line 2: .*could not convert.*a word and 2 numbers"),
        (b"a 1  2", r"line 2: 3 numbers"),
        (b"a 1 nan", r"v: vector 0 \(word 'a'\) holds nan"),
        (b"a 1 1e39", r"v: vector 0 \(word 'a'\) holds inf"),
        (b" 1.00 2", "word of row 0 .* is empty"),
        (b"b 1 2", r"v: the word 'b' stands in rows 0 and 1"),
        (b"caf\xe9 1 2", r"word of row 0 .*caf\\xe9.*not UTF-8.*non_utf8"),
    ],
)
def test_malformed_text_rows(row: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"2 2\n" + row + b"\nb 1.5 2.5\n")
    with pytest.raises(FormatError, match=message):
        load_word2vec(tmp_path / "v", binary=False)


def test_binary_rows_without_end(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"2 1\n" + b"x" * (1 << 18))
    with pytest.raises(FormatError, match="word 0 does not end within"):
        load_word2vec(tmp_path / "v", binary=True)
    (tmp_path / "v").write_bytes(b"1 1\n \x00\x00\x80?.")
    with pytest.raises(FormatError, match=r"word of row 0 .* is empty"):
        load_word2vec(tmp_path / "v", binary=True)


@BOTH
def test_words_that_are_not_utf8_can_be_kept_apart(binary: bool, tmp_path: Path) -> None:
    save_word2vec(WordVectors(["cafX", "cafY"], np.ones((2, 1), dtype=np.float32)), tmp_path / "v", binary=binary)
    latin = (tmp_path / "v").read_bytes().replace(b"cafX", b"caf\xe9").replace(b"cafY", b"caf\xe8")
    (tmp_path / "v").write_bytes(latin)
    with pytest.raises(FormatError, match="not UTF-8"):
        load_word2vec(tmp_path / "v", binary=binary)
    assert load_word2vec(tmp_path / "v", binary=binary, non_utf8="escape").words == ("caf\\xe9", "caf\\xe8")


def test_the_wrong_format_is_noticed(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(50, 20)).astype(np.float32)
    model = WordVectors([f"w{i}" for i in range(50)], rows)
    for binary in (True, False):
        save_word2vec(model, tmp_path / "v", binary=binary)
        with pytest.raises(FormatError):
            load_word2vec(tmp_path / "v", binary=not binary)
