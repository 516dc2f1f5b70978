"""A model's folder: what is written, and that damage is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_vectors import words_and_vectors

from vecmill.errors import FormatError
from vecmill.vectors.word_vectors import WordVectors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    WordVectors(["the", "of", "ende\n", "mill"], rows, counts=[40, 30, 20, 10]).save(tmp_path / "vectors")
    return tmp_path / "vectors"


@settings(deadline=None)  # the first example imports pyarrow
@given(
    content=words_and_vectors(),
    count=st.none() | st.integers(0, 2**63 - 1),
    space_id=st.none() | st.text("abc", min_size=1),
)
def test_saved_vectors_load_bit_identical(
    content: tuple[list[str], np.ndarray],
    count: int | None,
    space_id: str | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    words, rows = content
    folder = tmp_path_factory.mktemp("model")
    saved = WordVectors(words, rows, None if count is None else np.full(len(words), count), space_id)
    saved.save(folder)
    for mmap in (True, False):
        loaded = WordVectors.load(folder, mmap=mmap)
        assert loaded.words == tuple(words)
        assert loaded.vectors.tobytes() == rows.tobytes()
        assert loaded.space_id == saved.space_id
        assert (loaded.counts is None) == (count is None)
        assert loaded.counts is None or loaded.counts.tolist() == [count] * len(words)


def test_what_stands_in_the_folder(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["meta.json", "vectors.npy", "words.parquet"]
    meta = json.loads((folder / "meta.json").read_text())
    space_id = meta.pop("space_id")
    assert meta == {"format": "vecmill-word-vectors", "version": 1, "n_words": 4, "dim": 3}
    assert len(space_id) == 64
    schema = pq.read_schema(folder / "words.parquet")
    assert [(field.name, field.type, field.nullable) for field in schema] == [
        ("word", pa.string(), False),
        ("count", pa.int64(), True),
    ]
    assert np.load(folder / "vectors.npy").dtype == np.float32


def owner(array: np.ndarray) -> object:
    """What holds the memory of an array that is a view."""
    while isinstance(array.base, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return array


def test_loaded_vectors_are_mapped_unless_asked_otherwise(folder: Path) -> None:
    assert isinstance(owner(WordVectors.load(folder).vectors), np.memmap)
    assert not isinstance(owner(WordVectors.load(folder, mmap=False).vectors), np.memmap)


def test_the_same_model_is_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    WordVectors.load(folder).save(tmp_path / "again")
    for name in ("meta.json", "vectors.npy", "words.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_saving_over_the_folder_that_is_mapped(folder: Path) -> None:
    mapped = WordVectors.load(folder)
    before = mapped.vectors.copy()
    mapped.save(folder)
    WordVectors(["other"], np.ones((1, 2), dtype=np.float32)).save(folder)
    assert (mapped.vectors == before).all()
    assert WordVectors.load(folder).words == ("other",)


def test_without_meta_there_is_no_model(folder: Path) -> None:
    (folder / "meta.json").unlink()
    with pytest.raises(FormatError, match=r"holds no meta\.json.*written to the end.*save again"):
        WordVectors.load(folder)


def test_interrupted_saving_leaves_no_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    model = WordVectors.load(folder, mmap=False)
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        model.save(folder)
    with pytest.raises(FormatError, match=r"holds no meta\.json"):
        WordVectors.load(folder)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "does not say that this is a vecmill-word-vectors"),
        ('{"format": "other"}', "does not say that this is a vecmill-word-vectors"),
        ('{"format": "vecmill-word-vectors", "version": 99}', "version 99.*version 1.*newer"),
        ('{"format": "vecmill-word-vectors", "version": 1, "n_words": "4", "dim": 3, "space_id": "x"}', "wrong type"),
        ('{"format": "vecmill-word-vectors", "version": 1, "n_words": 4, "dim": 3}', "space_id is missing"),
        (
            '{"format": "vecmill-word-vectors", "version": 1, "n_words": 5, "dim": 3, "space_id": "x"}',
            r"has 4 words and vectors.npy the shape \(4, 3\).*5 words.*not from one model",
        ),
    ],
)
def test_meta_that_does_not_fit(folder: Path, meta: str, message: str) -> None:
    (folder / "meta.json").write_text(meta)
    with pytest.raises(FormatError, match=message):
        WordVectors.load(folder)


def test_words_of_another_model(folder: Path) -> None:
    pq.write_table(pa.table({"word": ["a"], "count": [1]}), folder / "words.parquet")
    with pytest.raises(FormatError, match=r"has 1 words and vectors\.npy the shape \(4, 3\).*not from one model"):
        WordVectors.load(folder)


def test_truncated_vectors(folder: Path) -> None:
    whole = (folder / "vectors.npy").read_bytes()
    for n_bytes in (0, 5, 100, len(whole) - 1):
        (folder / "vectors.npy").write_bytes(whole[:n_bytes])
        for mmap in (True, False):
            with pytest.raises(FormatError, match=r"vectors\.npy cannot be read as vectors.*whole \.npy"):
                WordVectors.load(folder, mmap=mmap)


def test_a_header_that_claims_a_thousand_million_rows(folder: Path) -> None:
    whole = (folder / "vectors.npy").read_bytes()
    hostile = whole.replace(b"(4, 3), }         ", b"(1000000000, 300)}")
    assert len(hostile) == len(whole) and hostile != whole
    (folder / "vectors.npy").write_bytes(hostile)
    with pytest.raises(FormatError, match=r"vectors\.npy cannot be read as vectors"):
        WordVectors.load(folder, mmap=False)


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((4, 3)),
        np.ones((4, 3), dtype=np.float32, order="F"),
        np.ones(12, dtype=np.float32),
        np.ones((4, 3), ">f4"),
    ],
)
def test_vectors_of_another_kind(folder: Path, rows: np.ndarray) -> None:
    np.save(folder / "vectors.npy", rows)
    with pytest.raises(FormatError, match=r"vectors\.npy holds .*float32\[n_words, dim\] in C order"):
        WordVectors.load(folder)


def test_pickled_objects_are_not_loaded(folder: Path) -> None:
    np.save(folder / "vectors.npy", np.array([["a"]], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match=r"vectors\.npy cannot be read as vectors"):
        WordVectors.load(folder)


def test_nan_in_a_stored_file_is_found(folder: Path) -> None:
    rows = np.ones((4, 3), dtype=np.float32)
    rows[2, 1] = np.nan
    np.save(folder / "vectors.npy", rows)
    with pytest.raises(FormatError, match=r"vector 2 \(word 'ende\\n'\) holds nan"):
        WordVectors.load(folder)


def test_words_that_cannot_be_read(folder: Path) -> None:
    (folder / "words.parquet").write_bytes(b"PAR1")
    with pytest.raises(FormatError, match=r"words\.parquet cannot be read as words"):
        WordVectors.load(folder)
    pq.write_table(pa.table({"token": ["a"]}), folder / "words.parquet")
    with pytest.raises(FormatError, match=r"words\.parquet cannot be read as words.*columns word and count"):
        WordVectors.load(folder)
    (folder / "words.parquet").unlink()
    with pytest.raises(FormatError, match=r"words\.parquet cannot be read as words"):
        WordVectors.load(folder)
