"""Word vectors made of a word's own row and the rows of its character n-grams, so that unseen words have one too.

v(w) = 1/(1 + n) * (z_w + sum over its n n-grams of z_g)    for a word of the vocabulary
v(w) = 1/n * sum over its n n-grams of z_g                  for any other

Source: Bojanowski et al. 2017, sec. 3.2, and fastText, which takes means. Difference: only buckets that some word of
the vocabulary uses need a row. A bucket without one counts as a row of zeros; fastText keeps the random numbers that
it started from there, which say nothing.

=====================  ================================================================================================
``words/``             a saved ``WordVectors``: the words' own rows
``bucket_ids.npy``     int32[n_rows], rising: the buckets that have a row
``bucket_rows.npy``    float32[n_rows, dim], C order; memory-mapped when read
``subwords.json``      format, version, ``min_n``, ``max_n``, ``subword_buckets``; written last
=====================  ================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.subword_ngrams import MOST_BUCKETS, NgramTable, ngram_table
from vecmill.vectors.word_vectors import UnknownWord, WordVectors

_FORMAT, _VERSION = "vecmill-subword-vectors", 1
_WORDS_FOLDER, _IDS_FILE, _ROWS_FILE, _META_FILE = "words", "bucket_ids.npy", "bucket_rows.npy", "subwords.json"
_NUMBERS = ("min_n", "max_n", "subword_buckets")

# Longer n-grams than this are no n-grams; a bound for what a damaged file can ask for.
_LONGEST_NGRAM = 1_000


class SubwordVectors:
    """Words, their own rows, and the rows of their n-grams' buckets; immutable.

    Parameters
    ----------
    word_rows : the words with the rows that are theirs alone, z_w
    bucket_ids : int32[n_rows], rising, each in [0, subword_buckets)
    bucket_rows : float32[n_rows, dim], finite, z of these buckets; kept without a copy if C-contiguous
    min_n, max_n, subword_buckets : see :func:`~vecmill.vectors.subword_ngrams.ngram_table`

    Raises
    ------
    FormatError : a number, shape or type is not as stated above
    """

    def __init__(
        self,
        word_rows: WordVectors,
        bucket_ids: npt.NDArray[np.int32],
        bucket_rows: npt.NDArray[np.float32],
        *,
        min_n: int,
        max_n: int,
        subword_buckets: int,
    ) -> None:
        _check_numbers(min_n, max_n, subword_buckets)
        self.word_rows = word_rows
        self.min_n, self.max_n, self.subword_buckets = min_n, max_n, subword_buckets
        self.bucket_ids = _checked_ids(np.asarray(bucket_ids), subword_buckets)
        self.bucket_rows = _checked_rows(np.asarray(bucket_rows), (self.bucket_ids.size, word_rows.dim))

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary, by row."""
        return self.word_rows.words

    @property
    def dim(self) -> int:
        """Numbers in one vector."""
        return self.word_rows.dim

    def __len__(self) -> int:
        return len(self.word_rows)

    def __repr__(self) -> str:
        return f"SubwordVectors({len(self)} words, {self.bucket_ids.size} n-gram rows, dim {self.dim})"

    # --- lookup ------------------------------------------------------------------------------------------------------

    def __contains__(self, word: object) -> bool:
        """Whether the word is in the vocabulary; words that are not may have a vector all the same."""
        return word in self.word_rows

    def __getitem__(self, word: str) -> npt.NDArray[np.float32]:
        """The vector of any word, float32[dim].

        Raises
        ------
        UnknownWord : the word is not in the vocabulary and shares no n-gram with it
        """
        vectors, known = self.compose([word])
        if not known[0]:
            raise UnknownWord(
                f"the word {word!r} is none of the {len(self):,} words and has no n-gram in common with them",
                expected=f"a word with an n-gram of {self.min_n} to {self.max_n} characters that was trained",
                todo="train on text that has such words, or with a smaller min_n",
            )
        vector: npt.NDArray[np.float32] = vectors[0]
        return vector

    def compose(self, words: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Vectors of any words, in one go.

        Returns
        -------
        vectors : float32[n, dim], zeros where nothing is known of a word
        known : bool[n], the word is in the vocabulary or one of its n-grams has a row
        """
        own = [self.word_rows.id_of(word) if word in self.word_rows else -1 for word in words]
        vectors = np.empty((len(words), self.dim), np.float32)
        known = np.empty(len(words), np.bool_)
        # some twenty n-grams a word
        for block in row_blocks(len(words), 20 * self.dim):
            vectors[block], known[block] = self._compose(words[block], np.array(own[block], np.int64))
        return vectors, known

    def _compose(
        self, words: Sequence[str], own: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        table = self.ngrams_of(words)
        n_ngrams = np.diff(table.offsets)
        totals = np.zeros((len(words), self.dim))
        in_vocabulary = own >= 0
        totals[in_vocabulary] = self.word_rows.vectors[own[in_vocabulary]]
        known = in_vocabulary.copy()
        if self.bucket_ids.size and table.buckets.size:
            at = np.minimum(np.searchsorted(self.bucket_ids, table.buckets), self.bucket_ids.size - 1)
            has_row = self.bucket_ids[at] == table.buckets
            word_of = np.repeat(np.arange(len(words)), n_ngrams)[has_row]
            rows = self.bucket_rows[at[has_row]].astype(np.float64)
            found = np.bincount(word_of, minlength=len(words))
            some = found > 0
            starts = np.concatenate([[0], np.cumsum(found)])[:-1]
            totals[some] += np.add.reduceat(rows, starts[some], axis=0) if rows.size else 0.0
            known |= some
        return totals / np.maximum(n_ngrams + in_vocabulary, 1)[:, None], known

    def ngrams_of(self, words: Sequence[str]) -> NgramTable:
        """The buckets of the words' n-grams."""
        return ngram_table(words, min_n=self.min_n, max_n=self.max_n, subword_buckets=self.subword_buckets)

    def word_vectors(self) -> WordVectors:
        """The vectors of the vocabulary, composed."""
        return WordVectors(self.words, self.compose(self.words)[0], self.word_rows.counts)

    # --- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write the model into ``folder``, which is made if missing; a model that stands there is replaced."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _META_FILE).unlink(missing_ok=True)
        self.word_rows.save(folder / _WORDS_FOLDER)
        for name, array in ((_IDS_FILE, self.bucket_ids), (_ROWS_FILE, self.bucket_rows)):
            with (folder / f"{name}.tmp").open("wb") as stream:
                np.save(stream, array.astype(array.dtype.newbyteorder("<"), copy=False), allow_pickle=False)
            # moved into place, so that rows mapped from this very folder stay readable meanwhile
            (folder / f"{name}.tmp").replace(folder / name)
        meta = {"format": _FORMAT, "version": _VERSION, **{name: getattr(self, name) for name in _NUMBERS}}
        (folder / f"{_META_FILE}.tmp").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        (folder / f"{_META_FILE}.tmp").replace(folder / _META_FILE)

    @classmethod
    def load(cls, folder: str | Path, mmap: bool = True) -> Self:
        """Read a model that :meth:`save` wrote; where ``mmap``, rows are mapped instead of read into memory.

        Raises
        ------
        FormatError : a file is missing, damaged, or does not fit the others
        """
        folder = Path(folder)
        meta = _read_meta(folder / _META_FILE)
        ids, rows = _read_array(folder / _IDS_FILE), _read_array(folder / _ROWS_FILE)
        words = WordVectors.load(folder / _WORDS_FOLDER, mmap=mmap)
        try:
            return cls(words, np.array(ids), rows if mmap else np.array(rows), **meta)
        except FormatError as error:
            raise FormatError(f"{folder}: {error.found}", expected=error.expected, todo=error.todo) from None


def _read_meta(path: Path) -> dict[str, int]:
    todo = "check the path; if saving was interrupted, save again"
    try:
        meta: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(
            f"{path.parent} holds no {path.name}", expected="a folder that SubwordVectors.save has written", todo=todo
        ) from None
    except ValueError as error:
        raise FormatError(f"{path} is not JSON ({error})", todo=todo) from None
    if not isinstance(meta, dict) or (meta.get("format"), meta.get("version")) != (_FORMAT, _VERSION):
        raise FormatError(f"{path} does not say that this is a {_FORMAT} of version {_VERSION}", todo=todo)
    if not all(type(meta.get(name)) is int for name in _NUMBERS):
        raise FormatError(f"{path}: {', '.join(_NUMBERS)} are not all there", expected="three integers", todo=todo)
    return {name: meta[name] for name in _NUMBERS}


def _read_array(path: Path) -> npt.NDArray[Any]:
    try:
        # mapping compares the header's claim with the size of the file before anything is allocated
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(
            f"{path} cannot be read ({error})", expected="a whole .npy file", todo="save or copy the folder again"
        ) from None
    return mapped


def _check_numbers(min_n: int, max_n: int, subword_buckets: int) -> None:
    if not (0 <= min_n <= _LONGEST_NGRAM and 0 <= max_n <= _LONGEST_NGRAM and 0 <= subword_buckets <= MOST_BUCKETS):
        raise FormatError(
            f"n-grams of {min_n} to {max_n} characters in {subword_buckets} buckets",
            expected=f"lengths from 0 to {_LONGEST_NGRAM} and at most {MOST_BUCKETS} buckets",
        )


def _checked_ids(ids: npt.NDArray[Any], subword_buckets: int) -> npt.NDArray[np.int32]:
    if ids.dtype != np.dtype(np.int32) or ids.ndim != 1:
        raise FormatError(f"the bucket ids are {ids.dtype}{list(ids.shape)}", expected="int32, one dimension")
    if ids.size and (int(ids[0]) < 0 or int(ids[-1]) >= subword_buckets or bool((np.diff(ids) <= 0).any())):
        raise FormatError(
            f"the bucket ids run from {ids[0]} to {ids[-1]}",
            expected=f"rising from 0 or more to below {subword_buckets}, none twice",
        )
    view = ids.view()
    view.setflags(write=False)
    return view


def _checked_rows(rows: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    if rows.dtype != np.dtype(np.float32) or rows.shape != shape:
        raise FormatError(f"the bucket rows are {rows.dtype}{list(rows.shape)}", expected=f"float32{list(shape)}")
    for block in row_blocks(*shape):
        finite = np.isfinite(rows[block]).all(axis=1)
        if not finite.all():
            raise FormatError(
                f"bucket row {block.start + int(np.argmin(finite))} holds NaN or infinity", expected="finite numbers"
            )
    view = np.ascontiguousarray(rows).view(np.ndarray)
    view.setflags(write=False)
    return view
