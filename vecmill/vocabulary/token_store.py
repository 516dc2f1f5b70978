"""A corpus as token ids on disk: two plain ``.npy`` files that any number of trainers map into memory.

``token_ids.npy``         int32[n_tokens]
``sentence_offsets.npy``  int64[n_sentences + 1], rising; sentence s is token_ids[offsets[s]:offsets[s + 1]]
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError

TOKEN_IDS_NAME = "token_ids.npy"
SENTENCE_OFFSETS_NAME = "sentence_offsets.npy"

_TOKEN_ID = np.dtype("<i4")
_OFFSET = np.dtype("<i8")

# Elements looked at in one go while checking.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class TokenStore:
    """Sentences of token ids, mapped read-only into memory.

    Attributes
    ----------
    token_ids : int32[n_tokens]
    sentence_offsets : int64[n_sentences + 1], from 0 to n_tokens, strictly rising
    """

    token_ids: npt.NDArray[np.int32]
    sentence_offsets: npt.NDArray[np.int64]

    @property
    def n_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def n_sentences(self) -> int:
        return len(self.sentence_offsets) - 1

    @classmethod
    def open(cls, folder: Path, *, n_words: int | None = None) -> TokenStore:
        """Map the two files of a folder.

        Header, size and offsets are always checked (8 bytes are read for each sentence).

        Parameters
        ----------
        n_words : size of the vocabulary; if given, every token id is read and must be in [0, n_words)

        Raises
        ------
        FormatError : a file is missing, truncated, of another type or shape, offsets do not rise from 0 to the number
            of tokens, or an id is outside the vocabulary
        """
        token_ids = _map(folder / TOKEN_IDS_NAME, _TOKEN_ID)
        sentence_offsets = _map(folder / SENTENCE_OFFSETS_NAME, _OFFSET)
        _check_offsets(sentence_offsets, len(token_ids), folder / SENTENCE_OFFSETS_NAME)
        if n_words is not None:
            _check_ids(token_ids, n_words, folder / TOKEN_IDS_NAME)
        return cls(token_ids, sentence_offsets)


class TokenStoreWriter:
    """Writes a token store sentence by sentence, without knowing beforehand how many there will be.

    A context manager. The headers state zero elements until the block ends without an exception, so that what an
    interrupted writer leaves is refused by :meth:`TokenStore.open`.

    Parameters
    ----------
    folder : an existing one
    n_tokens, n_sentences : go on with files that hold at least so many, and forget what they hold beyond

    Attributes
    ----------
    n_tokens, n_sentences : what has been written so far
    """

    def __init__(self, folder: Path, n_tokens: int = 0, n_sentences: int = 0) -> None:
        self._folder = folder
        self.n_tokens = n_tokens
        self.n_sentences = n_sentences

    def __enter__(self) -> TokenStoreWriter:
        mode = "r+b" if self.n_sentences else "w+b"
        self._token_ids = cast(BinaryIO, (self._folder / TOKEN_IDS_NAME).open(mode))
        self._offsets = cast(BinaryIO, (self._folder / SENTENCE_OFFSETS_NAME).open(mode))
        self._header_bytes = [_write_header(file, kind, 0) for file, kind in self._files()]
        if not self.n_sentences:
            self._offsets.write(np.zeros(1, dtype=_OFFSET).tobytes())
        lengths = (self.n_tokens, self.n_sentences + 1)
        for (file, dtype), length, n_bytes in zip(self._files(), lengths, self._header_bytes, strict=True):
            file.truncate(n_bytes + length * dtype.itemsize)
            file.seek(0, os.SEEK_END)
        return self

    def to_disk(self) -> None:
        """Wait until what was written is on the disk."""
        for file, _ in self._files():
            file.flush()
            os.fsync(file.fileno())

    def append(self, token_ids: npt.NDArray[np.int32], sentence_offsets: npt.NDArray[np.int64]) -> None:
        """Append sentences.

        Parameters
        ----------
        token_ids : int32[n]
        sentence_offsets : int64[m + 1], strictly rising from 0 to n

        Raises
        ------
        ValueError : offsets that do not fit the ids; nothing is written then
        """
        if sentence_offsets[0] != 0 or sentence_offsets[-1] != len(token_ids) or (np.diff(sentence_offsets) < 1).any():
            raise ValueError(f"sentence_offsets must rise strictly from 0 to the {len(token_ids)} token ids given")
        # `write` of the array's own memory rather than `tofile`, which goes past Python's file object and its position.
        self._token_ids.write(np.ascontiguousarray(token_ids, dtype=_TOKEN_ID).data)
        self._offsets.write(np.ascontiguousarray(sentence_offsets[1:] + self.n_tokens, dtype=_OFFSET).data)
        self.n_tokens += len(token_ids)
        self.n_sentences += len(sentence_offsets) - 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                lengths = (self.n_tokens, self.n_sentences + 1)
                for (file, dtype), length, n_bytes in zip(self._files(), lengths, self._header_bytes, strict=True):
                    file.seek(0)
                    if _write_header(file, dtype, length) != n_bytes:
                        raise AssertionError("NumPy no longer leaves room in the header for a growing array")
        finally:
            self._token_ids.close()
            self._offsets.close()

    def _files(self) -> list[tuple[BinaryIO, np.dtype[np.signedinteger]]]:
        return [(self._token_ids, _TOKEN_ID), (self._offsets, _OFFSET)]


def _write_header(file: BinaryIO, dtype: np.dtype[np.signedinteger], length: int) -> int:
    """Write an ``.npy`` header at the file's position and return the position after it.

    NumPy pads the header of a one-dimensional array so that any length fits in the same number of bytes.
    """
    np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": (length,)})
    return file.tell()


def _map(path: Path, dtype: np.dtype[np.signedinteger]) -> npt.NDArray[np.signedinteger]:
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("the version of the npy format is not 1.0")
            shape, fortran_order, found = np.lib.format.read_array_header_1_0(file)
            header_bytes = file.tell()
    except FileNotFoundError as error:
        raise _not_tokens(path, "there is no such file", dtype) from error
    except ValueError as error:
        raise _not_tokens(path, f"it has no usable npy header ({error})", dtype) from error
    if found != dtype or len(shape) != 1 or fortran_order:
        raise _not_tokens(path, f"it holds {found.name} of shape {shape}", dtype)
    expected_bytes = header_bytes + shape[0] * dtype.itemsize
    n_bytes = path.stat().st_size
    if n_bytes != expected_bytes:
        raise _not_tokens(
            path,
            f"it has {n_bytes:,} bytes; the {shape[0]:,} elements that its header states take {expected_bytes:,}",
            dtype,
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _check_offsets(offsets: npt.NDArray[np.int64], n_tokens: int, path: Path) -> None:
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != n_tokens:
        found = f"{offsets[0]} to {offsets[-1]}" if len(offsets) else "nothing"
        raise _not_tokens(path, f"its offsets run from {found}, while there are {n_tokens:,} tokens", _OFFSET)
    for start in range(0, len(offsets) - 1, _BLOCK):
        falls = np.flatnonzero(np.diff(offsets[start : start + _BLOCK + 1]) < 1)
        if len(falls):
            raise _not_tokens(path, f"its offsets do not rise at sentence {start + int(falls[0]):,}", _OFFSET)


def _check_ids(token_ids: npt.NDArray[np.int32], n_words: int, path: Path) -> None:
    for start in range(0, len(token_ids), _BLOCK):
        block = token_ids[start : start + _BLOCK]
        outside = np.flatnonzero((block < 0) | (block >= n_words))
        if len(outside):
            token_pos = start + int(outside[0])
            raise _not_tokens(
                path,
                f"token {token_pos:,} has id {int(block[outside[0]])}, outside the vocabulary of {n_words:,} words",
                _TOKEN_ID,
            )


def _not_tokens(path: Path, why: str, dtype: np.dtype[np.signedinteger]) -> FormatError:
    return FormatError(
        f"{path} is not part of a token store: {why}",
        expected=f"a one-dimensional .npy file of {dtype.name}, as the encode stage writes it",
        todo="run the encode stage again with --refresh encode",
    )
