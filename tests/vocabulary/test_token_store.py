"""The token store: what is appended comes back mapped, and nothing damaged is taken for whole."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.errors import FormatError
from vecmill.vocabulary.token_store import TokenStore, TokenStoreWriter

sentences = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5), max_size=6)


def append(store: TokenStoreWriter, batch: list[list[int]]) -> None:
    ids = np.array([token_id for sentence in batch for token_id in sentence], dtype=np.int32)
    store.append(ids, np.cumsum([0, *map(len, batch)], dtype=np.int64))


def write(folder: Path, *batches: list[list[int]]) -> None:
    with TokenStoreWriter(folder) as store:
        for batch in batches:
            append(store, batch)


@settings(deadline=None)
@given(st.lists(sentences, max_size=4))
def test_sentences_come_back(batches: list[list[list[int]]]) -> None:
    with TemporaryDirectory() as name:
        write(Path(name), *batches)
        store = TokenStore.open(Path(name), n_words=2**31)
        bounds = zip(store.sentence_offsets[:-1], store.sentence_offsets[1:], strict=True)
        found = [store.token_ids[start:stop].tolist() for start, stop in bounds]
    assert found == [sentence for batch in batches for sentence in batch]
    assert (store.n_tokens, store.n_sentences) == (sum(map(len, found)), len(found))


def test_files_are_plain_npy(tmp_path: Path) -> None:
    write(tmp_path, [[3, 1], [2]], [], [[7]])
    token_ids = np.load(tmp_path / "token_ids.npy", mmap_mode="r")
    offsets = np.load(tmp_path / "sentence_offsets.npy", mmap_mode="r")
    assert (token_ids.dtype, offsets.dtype) == (np.int32, np.int64)
    assert token_ids.tolist() == [3, 1, 2, 7]
    assert offsets.tolist() == [0, 2, 3, 4]
    assert not TokenStore.open(tmp_path).token_ids.flags.writeable


@pytest.mark.parametrize(
    "offsets", [[0, 2], [1, 3], [0, 0, 3], [0, 2, 1, 3], [0, 4]], ids=["short", "late", "empty", "falling", "long"]
)
def test_offsets_that_do_not_fit_are_not_written(tmp_path: Path, offsets: list[int]) -> None:
    with TokenStoreWriter(tmp_path) as store:
        with pytest.raises(ValueError, match="sentence_offsets must rise strictly from 0 to the 3 token ids given"):
            store.append(np.arange(3, dtype=np.int32), np.array(offsets, dtype=np.int64))
        append(store, [[5]])
    assert TokenStore.open(tmp_path).token_ids.tolist() == [5]


def test_what_an_interrupted_writer_leaves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), TokenStoreWriter(tmp_path) as store:
        append(store, [[1, 2, 3]])
        raise RuntimeError
    with pytest.raises(FormatError, match=r"it has 140 bytes; the 0 elements that its header states take 128"):
        TokenStore.open(tmp_path)


@pytest.mark.parametrize("name", ["token_ids.npy", "sentence_offsets.npy"])
@pytest.mark.parametrize("n_bytes", [0, 5, 100, 128, -1, -8])
def test_truncated_files_are_refused(tmp_path: Path, name: str, n_bytes: int) -> None:
    write(tmp_path, [[1, 2, 3], [4]])
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(FormatError, match=rf"{name} is not part of a token store: .*--refresh encode"):
        TokenStore.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("token_ids.npy", np.arange(4), r"it holds int64 of shape \(4,\)"),
        ("token_ids.npy", np.zeros((4, 1), dtype=np.int32), r"it holds int32 of shape \(4, 1\)"),
        ("token_ids.npy", np.arange(5, dtype=np.int32), "its offsets run from 0 to 4, while there are 5 tokens"),
        ("sentence_offsets.npy", np.array([0, 3, 2, 4]), "its offsets do not rise at sentence 1"),
        ("sentence_offsets.npy", np.array([0, 2, 2, 4]), "its offsets do not rise at sentence 1"),
        (
            "sentence_offsets.npy",
            np.array([], dtype=np.int64),
            "its offsets run from nothing, while there are 4 tokens",
        ),
        ("sentence_offsets.npy", np.array([1, 4]), "its offsets run from 1 to 4"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    write(tmp_path, [[1, 2, 3], [4]])
    np.save(tmp_path / name, array)
    with pytest.raises(FormatError, match=message):
        TokenStore.open(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"token_ids\.npy is not part of a token store: there is no such file"):
        TokenStore.open(tmp_path)


@pytest.mark.parametrize("token_id", [-1, 4])
def test_ids_outside_the_vocabulary_are_found_when_asked(tmp_path: Path, token_id: int) -> None:
    write(tmp_path, [[1, 2, 3], [token_id]])
    TokenStore.open(tmp_path)
    with pytest.raises(FormatError, match=f"token 3 has id {token_id}, outside the vocabulary of 4 words"):
        TokenStore.open(tmp_path, n_words=4)
