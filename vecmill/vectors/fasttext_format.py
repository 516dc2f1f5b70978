"""fastText's own files: ``.vec``, which is word2vec's text format, and ``.bin``, the whole model with its n-grams.

``.bin``, format version 12, little-endian: magic number and version; the training settings; the words with their
counts; whether the input matrix is quantised, and its rows, words first, then every bucket; the same of the output
matrix (one row a word). gensim reads and writes the same files.

- Only models of words are read: no labels (``supervised``), no pruned buckets, nothing quantised.
- Buckets without a row are written as zeros, and rows of zeros are not kept when reading; a vector stays the same.
- Words that are not UTF-8 are refused. A word cannot hold the byte 0, which ends it.

Every size in the file is compared with the file's own before anything is allocated for it.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word2vec_format import NonUtf8, load_word2vec, save_word2vec
from vecmill.vectors.word_vectors import WordVectors

_MAGIC, _VERSION = 793712314, 12
_HEAD = struct.Struct("<2i")
_SETTINGS = struct.Struct("<12id")
_SIZES = struct.Struct("<3i2q")
_COUNT = struct.Struct("<qb")
_MATRIX = struct.Struct("<?2q")

_MODELS: dict[str, int] = {"cbow": 1, "skipgram": 2}
_LOSSES: dict[str, int] = {"hierarchical_softmax": 1, "negative_sampling": 2, "softmax": 3}
# Settings that mean nothing here, as fastText writes them when nobody asked: word n-grams, updates of the rate.
_WORD_NGRAMS, _RATE_UPDATES = 1, 100

_SMALLEST_WORD = 1 + 1 + _COUNT.size


@dataclass(frozen=True)
class FasttextModel:
    """What a ``.bin`` file holds.

    Attributes
    ----------
    vectors : rows of words and n-grams, with the words' counts
    context_vectors : float32[n_words, dim], the output matrix; None writes zeros
    kind, loss : how it was trained
    window, epochs, min_count, negative_samples, sample : settings of the training
    n_tokens : words of the corpus; 0 writes the sum of the counts
    """

    vectors: SubwordVectors
    context_vectors: npt.NDArray[np.float32] | None = None
    kind: Literal["skipgram", "cbow"] = "skipgram"
    loss: Literal["negative_sampling", "hierarchical_softmax", "softmax"] = "negative_sampling"
    window: int = 5
    epochs: int = 5
    min_count: int = 5
    negative_samples: int = 5
    sample: float = 1e-3
    n_tokens: int = 0


def save_fasttext_vec(vectors: SubwordVectors | WordVectors, path: str | Path) -> None:
    """Write ``.vec``: the vectors of the vocabulary as text, n-grams already added in. Raises as ``save_word2vec``."""
    save_word2vec(vectors.word_vectors() if isinstance(vectors, SubwordVectors) else vectors, path, binary=False)


def load_fasttext_vec(path: str | Path, *, non_utf8: NonUtf8 = "refuse") -> WordVectors:
    """Read ``.vec``; it holds no n-grams, so unseen words have no vector. Raises as ``load_word2vec``."""
    return load_word2vec(path, binary=False, non_utf8=non_utf8)


def save_fasttext_bin(model: FasttextModel, path: str | Path) -> None:
    """Write ``path`` as fastText's ``.bin``.

    Words without known counts get a count of 1. The file holds a row for every bucket: 2,000,000 of 100 dimensions
    are 800 MB.

    Raises
    ------
    FormatError : a word holds white space or the byte 0, counts rise (readers take words for sorted by falling count),
        or the context vectors have another shape than the words' rows; nothing is written then
    """
    vectors = model.vectors
    counts = vectors.word_rows.counts
    _check_writable(model)
    n_words, dim = len(vectors), vectors.dim
    n_tokens = model.n_tokens or (n_words if counts is None else int(counts.sum()))
    path = Path(path)
    partial = path.with_name(f"{path.name}.tmp")
    with partial.open("wb") as stream:
        stream.write(_HEAD.pack(_MAGIC, _VERSION))
        stream.write(
            _SETTINGS.pack(
                *(dim, model.window, model.epochs, model.min_count, model.negative_samples, _WORD_NGRAMS),
                *(_LOSSES[model.loss], _MODELS[model.kind], vectors.subword_buckets, vectors.min_n, vectors.max_n),
                *(_RATE_UPDATES, model.sample),
            )
        )
        stream.write(_SIZES.pack(n_words, n_words, 0, n_tokens, -1))
        for word_id, word in enumerate(vectors.words):
            stream.write(word.encode() + b"\0" + _COUNT.pack(1 if counts is None else int(counts[word_id]), 0))
        stream.write(_MATRIX.pack(False, n_words + vectors.subword_buckets, dim))
        _write_rows(stream, vectors.word_rows.vectors)
        for buckets in row_blocks(vectors.subword_buckets, dim):
            first, last = np.searchsorted(vectors.bucket_ids, [buckets.start, buckets.stop])
            block = np.zeros((buckets.stop - buckets.start, dim), np.float32)
            block[vectors.bucket_ids[first:last] - buckets.start] = vectors.bucket_rows[first:last]
            _write_rows(stream, block)
        stream.write(_MATRIX.pack(False, n_words, dim))
        if model.context_vectors is not None:
            _write_rows(stream, model.context_vectors)
        else:
            for words in row_blocks(n_words, dim):
                _write_rows(stream, np.zeros((words.stop - words.start, dim), np.float32))
    partial.replace(path)


def load_fasttext_bin(path: str | Path) -> FasttextModel:
    """Read fastText's ``.bin``.

    Raises
    ------
    FormatError : the file is missing, is no such file or one of another version, quantised or supervised, is shorter
        or longer than its sizes say, or holds a word or number that the vectors refuse
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            if path.stat().st_size == 0:  # which cannot be mapped
                raise FormatError(
                    f"{path} is empty", expected="a fastText model", todo="fetch the file again; it is cut off"
                )
            # Not closed by hand: the matrices are views of it, and it goes with the last of them.
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror})", todo="check the path and its permissions"
        ) from None
    return _Reader(path, data).model()


# --- writing ---------------------------------------------------------------------------------------------------------


def _check_writable(model: FasttextModel) -> None:
    vectors, counts = model.vectors, model.vectors.word_rows.counts
    for word_id, word in enumerate(vectors.words):
        if "\0" in word or any(blank in word for blank in " \t\n\v\f\r"):
            raise FormatError(
                f"word {word_id} is {word!r}",
                expected="words without white space and the character 0, which end a word in fastText",
                todo="join the parts with another character, such as _, or save in vecmill's own format",
            )
    if counts is not None and bool((np.diff(counts) > 0).any()):
        at = int(np.argmax(np.diff(counts) > 0)) + 1
        raise FormatError(
            f"word {at} has the count {counts[at]}, after a word with {counts[at - 1]}",
            expected="words by falling count, as fastText and gensim read them",
            todo="sort the words by falling count",
        )
    shape = (len(vectors), vectors.dim)
    if model.context_vectors is not None and model.context_vectors.shape != shape:
        raise FormatError(
            f"the context vectors have the shape {model.context_vectors.shape}", expected=f"{shape}, a row a word"
        )


def _write_rows(stream: BinaryIO, rows: npt.NDArray[np.float32]) -> None:
    for block in row_blocks(*rows.shape):
        stream.write(rows[block].astype("<f4", copy=False).tobytes())


# --- reading ---------------------------------------------------------------------------------------------------------


class _Reader:
    """A place in the bytes of a file; every step forward is checked against its end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def model(self) -> FasttextModel:
        magic, version = self.take(_HEAD, "its first numbers")
        if magic != _MAGIC or version != _VERSION:
            raise FormatError(
                f"{self.path} starts with the numbers {magic} and {version}",
                expected=f"{_MAGIC} and {_VERSION}: fastText's .bin, format version {_VERSION}",
                todo="check that this is a .bin file, not .vec text and not compressed; convert an older one with "
                "fastText",
            )
        settings = self.take(_SETTINGS, "its settings")
        dim, window, epochs, min_count, negatives, _, loss, kind, n_buckets, min_n, max_n, _, sample = settings
        kinds = {number: name for name, number in _MODELS.items()}
        losses = {number: name for name, number in _LOSSES.items()}
        if kind not in kinds or loss not in losses:
            raise FormatError(
                f"{self.path} is of model {kind} with loss {loss}",
                expected="a model of words: cbow (1) or skipgram (2), with a loss of 1, 2 or 3",
                todo="vectors of a supervised model can be exported with fastText as .vec",
            )
        words, counts, n_tokens = self.words()
        if min(dim, 1) < 1 or n_buckets < 0:
            raise FormatError(f"{self.path}: dimension {dim}, {n_buckets} buckets", expected="a dimension of 1 or more")
        input_rows = self.matrix("input", len(words) + n_buckets, dim)
        context_vectors = np.array(self.matrix("output", len(words), dim), np.float32)
        if self.at != len(self.data):
            raise FormatError(
                f"{self.path}: {len(self.data) - self.at} bytes follow after the model",
                expected="the end of the file",
                todo="fetch the file again; it is damaged",
            )
        bucket_ids = _used_rows(input_rows[len(words) :])
        bucket_rows = np.empty((bucket_ids.size, dim), np.float32)
        for block in row_blocks(bucket_ids.size, dim):
            bucket_rows[block] = input_rows[len(words) + bucket_ids[block].astype(np.int64)]
        try:
            vectors = SubwordVectors(
                WordVectors(words, np.array(input_rows[: len(words)], np.float32), counts),
                bucket_ids,
                bucket_rows,
                min_n=min_n,
                max_n=max_n,
                subword_buckets=n_buckets,
            )
        except FormatError as error:
            raise FormatError(f"{self.path}: {error.found}", expected=error.expected, todo=error.todo) from None
        return FasttextModel(
            vectors=vectors,
            context_vectors=context_vectors,
            kind=kinds[kind],  # type: ignore[arg-type]
            loss=losses[loss],  # type: ignore[arg-type]
            window=window,
            epochs=epochs,
            min_count=min_count,
            negative_samples=negatives,
            sample=sample,
            n_tokens=n_tokens,
        )

    def take(self, form: struct.Struct, what: str) -> tuple[int, ...]:
        if self.at + form.size > len(self.data):
            raise self.cut_off(f"in {what}")
        values = form.unpack_from(self.data, self.at)
        self.at += form.size
        return values

    def words(self) -> tuple[list[str], npt.NDArray[np.int64], int]:
        n_entries, n_words, n_labels, n_tokens, n_pruned = self.take(_SIZES, "the sizes of its dictionary")
        if n_labels != 0 or n_entries != n_words or n_words < 1:
            raise FormatError(
                f"{self.path} has {n_words} words and {n_labels} labels in {n_entries} entries",
                expected="at least one word and no labels",
                todo="vectors of a supervised model can be exported with fastText as .vec",
            )
        if n_pruned != -1:
            raise FormatError(
                f"{self.path} keeps {n_pruned} of its buckets",
                expected="a model that was not pruned",
                todo="use the model from before `fasttext quantize`",
            )
        if n_words * _SMALLEST_WORD > len(self.data) - self.at:
            raise self.cut_off(f"before its {n_words:,} words")
        words, counts = [], np.empty(n_words, np.int64)
        for word_id in range(n_words):
            end = self.data.find(b"\0", self.at)
            if end < 0:
                raise self.cut_off(f"in word {word_id} of {n_words}")
            encoded, self.at = self.data[self.at : end], end + 1
            counts[word_id], entry_type = self.take(_COUNT, f"word {word_id} of {n_words}")
            if entry_type != 0:
                raise FormatError(f"{self.path}: entry {word_id} is of type {entry_type}", expected="0, a word")
            try:
                words.append(encoded.decode())
            except UnicodeDecodeError as error:
                raise FormatError(
                    f"{self.path}: word {word_id} is {encoded[:40]!r}, which is not UTF-8 ({error.reason})",
                    expected="words in UTF-8",
                    todo="train on text in UTF-8, or export .vec and load it with non_utf8='escape'",
                ) from None
        return words, counts, n_tokens

    def matrix(self, name: str, n_rows: int, dim: int) -> npt.NDArray[np.float32]:
        """The next matrix, as a view of the file."""
        quantised, *found = self.take(_MATRIX, f"the size of its {name} matrix")
        if quantised:
            raise FormatError(
                f"{self.path}: its {name} matrix is quantised",
                expected="a model with whole numbers (.bin, not .ftz)",
                todo="use the model from before `fasttext quantize`",
            )
        if found != [n_rows, dim]:
            raise FormatError(
                f"{self.path}: its {name} matrix is of {found[0]} rows and {found[1]} columns",
                expected=f"{n_rows} rows and {dim} columns, by its settings and words",
                todo="fetch the file again; it is damaged",
            )
        n_bytes = 4 * n_rows * dim
        if n_bytes > len(self.data) - self.at:
            raise self.cut_off(f"in its {name} matrix of {n_bytes:,} bytes")
        view = np.frombuffer(self.data, "<f4", n_rows * dim, self.at).reshape(n_rows, dim)
        self.at += n_bytes
        return view

    def cut_off(self, place: str) -> FormatError:
        return FormatError(
            f"{self.path} ends after {len(self.data):,} bytes, {place}",
            expected="a whole model, as its sizes say",
            todo="fetch the file again; it is cut off or damaged",
        )


def _used_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Numbers of the rows that are not all zeros."""
    used = [np.empty(0, np.int32)]
    for block in row_blocks(*rows.shape):
        used.append((block.start + np.flatnonzero(rows[block].any(axis=1))).astype(np.int32))
    return np.concatenate(used)
