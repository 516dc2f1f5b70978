"""Word vectors as a finished thing: words, one float32 row each, and what was counted; apart from any trainer's state.

Cosines are computed in float64; gensim's ``KeyedVectors`` computes them in float32 and agrees to 1e-6.
How a model looks on disk stands in :mod:`vecmill.vectors.model_folder`.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError, VocabularyError
from vecmill.vectors.model_folder import FORMAT, ModelParts, read_model_folder, write_model_folder
from vecmill.vectors.neighbours import nearest_rows, row_blocks, row_norms

# Spelling suggestions look at this many words from the top (the frequent ones), so that a miss costs milliseconds.
_N_SPELLING_CANDIDATES = 20_000


class UnknownWord(VocabularyError, KeyError):
    """A word that has no vector; also a ``KeyError``, so that code written for mappings can catch it."""


class WordVectors:
    """Words and their vectors; immutable.

    Parameters
    ----------
    words : n words, each a non-empty string, none twice; by convention frequent words first
    vectors : float16, float32 or float64 [n, dim], finite, n and dim at least 1. Kept without a copy if it is float32
        in C order (then do not write to it afterwards); anything else is converted
    counts : int64[n], how often each word was seen, none negative; None where that is not known
    space_id : names the vector space; vectors of two spaces must not be compared even if they have equally many
        dimensions. None: derived from the content when it is first needed

    Raises
    ------
    FormatError : a shape, type, word or number is not as stated above (the message names the first one)
    """

    def __init__(
        self,
        words: Sequence[str],
        vectors: npt.ArrayLike,
        counts: npt.ArrayLike | None = None,
        space_id: str | None = None,
    ) -> None:
        self._words = tuple(words)
        self._vectors = _checked_vectors(vectors, len(self._words))
        self._id_by_word = _checked_ids(self._words)
        self._counts = None if counts is None else _checked_counts(counts, len(self._words))
        if space_id == "":
            raise FormatError("space_id is an empty text", expected="a name, or None to derive one from the content")
        self._space_id = space_id
        self._norms: npt.NDArray[np.float64] | None = None
        _check_finite(self._vectors, self._words)

    # --- what it holds -----------------------------------------------------------------------------------------------

    @property
    def words(self) -> tuple[str, ...]:
        """The words, by row."""
        return self._words

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """float32[n_words, dim], read only."""
        return self._vectors

    @property
    def counts(self) -> npt.NDArray[np.int64] | None:
        """int64[n_words], read only; None where they are not known."""
        return self._counts

    @property
    def dim(self) -> int:
        """Numbers in one vector."""
        return int(self._vectors.shape[1])

    @property
    def norms(self) -> npt.NDArray[np.float64]:
        """float64[n_words], Euclidean norms of the rows; computed once.

        A normalised copy of the matrix would double the memory of the model; the norms alone are enough for cosines.
        """
        if self._norms is None:
            self._norms = row_norms(self._vectors)
            self._norms.setflags(write=False)
        return self._norms

    @property
    def space_id(self) -> str:
        """The name of the vector space; derived from the content (64 hex digits) unless one was given."""
        if self._space_id is None:
            self._space_id = content_digest(self._words, self._vectors)
        return self._space_id

    def with_space_id(self, space_id: str) -> Self:
        """The same words and vectors, in the same memory, under another space's name."""
        if not space_id:
            raise FormatError("space_id is an empty text", expected="the name of a space")
        other = copy.copy(self)
        other._space_id = space_id
        return other

    def __len__(self) -> int:
        return len(self._words)

    def __repr__(self) -> str:
        return f"WordVectors({len(self)} words, dim {self.dim})"

    # --- lookup ------------------------------------------------------------------------------------------------------

    def __contains__(self, word: object) -> bool:
        return word in self._id_by_word

    def __getitem__(self, word: str) -> npt.NDArray[np.float32]:
        """The word's vector, float32[dim], read only. Raises :class:`UnknownWord`."""
        vector: npt.NDArray[np.float32] = self._vectors[self.id_of(word)]
        return vector

    def id_of(self, word: str) -> int:
        """The word's row.

        Raises
        ------
        UnknownWord : the word has no vector; the message names words of similar spelling
        """
        word_id = self._id_by_word.get(word)
        if word_id is None:
            raise UnknownWord(
                f"the word {word!r} has no vector among {len(self):,} words",
                expected=self._similar_spellings(word),
                todo="ask for a word of the vocabulary (`word in vectors` tells), or train with a lower min_count",
            )
        return word_id

    def _similar_spellings(self, word: str) -> str:
        cases = [each for each in (word.lower(), word.capitalize(), word.upper()) if each in self._id_by_word]
        alike = [each for each in self._words[:_N_SPELLING_CANDIDATES] if abs(len(each) - len(word)) <= 2]
        spellings = list(dict.fromkeys(cases + difflib.get_close_matches(word, alike, n=3, cutoff=0.7)))[:3]
        return f"perhaps {' or '.join(repr(each) for each in spellings)}" if spellings else ""

    # --- comparing ---------------------------------------------------------------------------------------------------

    def similarity(self, word1: str, word2: str) -> float:
        """Cosine of two words, in [-1, 1]; 0.0 where one of the vectors is all zeros. Raises :class:`UnknownWord`."""
        ids1, ids2 = np.array([self.id_of(word1)]), np.array([self.id_of(word2)])
        return float(self.similarities(ids1, ids2)[0])

    def similarities(self, ids1: npt.NDArray[np.int64], ids2: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Cosine of row ``ids1[k]`` and row ``ids2[k]`` for every k.

        A row compared with itself gives exactly 1: left to rounding, pairs of a word with itself would come out in an
        arbitrary order instead of tied. Rows of zeros have no direction; their cosine is 0.0, with themselves too.
        """
        cosines = np.empty(len(ids1), dtype=np.float64)
        for pairs in row_blocks(len(ids1), self.dim):
            left, right = self._vectors[ids1[pairs]].astype(np.float64), self._vectors[ids2[pairs]].astype(np.float64)
            norms = self.norms[ids1[pairs]] * self.norms[ids2[pairs]]
            dots = np.einsum("ij,ij->i", left, right)
            cosines[pairs] = np.where(norms > 0, dots / np.where(norms > 0, norms, 1.0), 0.0)
        cosines[(ids1 == ids2) & (self.norms[ids1] > 0)] = 1.0
        return np.clip(cosines, -1.0, 1.0)

    def neighbours(
        self, query: str | npt.NDArray[np.floating[Any]], n: int = 10, exclude: Iterable[str] = ()
    ) -> list[tuple[str, float]]:
        """The ``n`` words of highest cosine to a word or a vector, by exact search in blocks.

        Parameters
        ----------
        query : a word, which is left out of its own neighbours; or a vector, float[dim], finite
        n : how many neighbours, at least 1; the list is shorter where the vocabulary is
        exclude : further words to leave out

        Returns
        -------
        (word, cosine) by falling cosine, ties by row. Words whose vector is all zeros never appear, and a query of
        zeros gets an empty list.

        Raises
        ------
        UnknownWord : ``query`` or a word of ``exclude`` has no vector
        FormatError : a vector of the wrong shape or with NaN or infinity; n below 1
        """
        left_out = [self.id_of(word) for word in exclude]
        if isinstance(query, str):
            word_id = self.id_of(query)
            return self._nearest(self._vectors[word_id : word_id + 1], n, [[word_id, *left_out]])[0]
        vector = np.asarray(query, dtype=np.float64)
        if vector.shape != (self.dim,):
            raise FormatError(
                f"the query vector has the shape {vector.shape}",
                expected=f"({self.dim},), as many numbers as the model's vectors have",
                todo="ask with a vector of the same model",
            )
        if not np.isfinite(vector).all():
            raise FormatError("the query vector holds NaN or infinity", expected=f"{self.dim} finite numbers")
        # Only the direction counts, and at this length float32 can hold any.
        scaled = vector / (np.abs(vector).max() or 1.0)
        return self._nearest(scaled.astype(np.float32)[None, :], n, [left_out])[0]

    def neighbours_of_words(self, words: Sequence[str], n: int = 10) -> list[list[tuple[str, float]]]:
        """:meth:`neighbours` of several words in one pass over the vectors. Raises as it does."""
        ids = np.array([self.id_of(word) for word in words], dtype=np.int64)
        return self._nearest(self._vectors[ids], n, [[int(word_id)] for word_id in ids])

    def _nearest(
        self, queries: npt.NDArray[np.float32], n: int, excluded: Sequence[Sequence[int]]
    ) -> list[list[tuple[str, float]]]:
        if n < 1:
            raise FormatError(f"{n} neighbours were asked for", expected="at least 1")
        found = nearest_rows(self._vectors, self.norms, queries, n, excluded)
        return [[(self._words[i], float(c)) for i, c in zip(ids, cosines, strict=True)] for ids, cosines in found]

    # --- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write the model into ``folder``, which is made if missing; a model that stands there is replaced."""
        parts = ModelParts(self._words, self._vectors, self._counts, self.space_id)
        write_model_folder(Path(folder), parts)

    @classmethod
    def load(cls, folder: str | Path, mmap: bool = True) -> Self:
        """Read a model that :meth:`save` wrote.

        Parameters
        ----------
        folder : a local folder
        mmap : map the vectors instead of reading them into memory. They are still read once, block by block, to
            refuse NaN and infinity; the pages stay the operating system's to drop

        Raises
        ------
        FormatError : a file is missing, damaged, or does not fit the others
        """
        parts = read_model_folder(Path(folder))
        vectors = parts.vectors if mmap else np.array(parts.vectors)
        return cls(parts.words, vectors, parts.counts, parts.space_id)


def content_digest(words: Sequence[str], vectors: npt.NDArray[np.float32]) -> str:
    """sha256 over words and vectors as 64 hex digits: equal for equal content, whatever the machine.

    Hashed in this order: a line with format, number of words and dim; the words' lengths in bytes (little-endian
    int64); the words in UTF-8, one after another; the vectors (little-endian float32, row by row).
    """
    encoded = [word.encode() for word in words]
    digest = hashlib.sha256(f"{FORMAT} {len(words)} {vectors.shape[1]}\n".encode())
    digest.update(np.array([len(each) for each in encoded], dtype="<i8").tobytes())
    digest.update(b"".join(encoded))
    for rows in row_blocks(len(vectors), vectors.shape[1]):
        digest.update(vectors[rows].astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


# --- what the constructor refuses ------------------------------------------------------------------------------------


def _checked_vectors(vectors: npt.ArrayLike, n_words: int) -> npt.NDArray[np.float32]:
    array = np.asarray(vectors)
    if array.dtype.kind != "f":
        raise FormatError(f"the vectors have the type {array.dtype}", expected="floating point numbers (float32)")
    if array.ndim != 2 or 0 in array.shape or len(array) != n_words:
        raise FormatError(
            f"the vectors have the shape {array.shape} for {n_words} words",
            expected="one row per word, at least one word and one dimension",
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and the finite check names it
        array = np.ascontiguousarray(array, dtype=np.float32)
    view = array.view(np.ndarray)
    view.setflags(write=False)
    return view


def _check_finite(vectors: npt.NDArray[np.float32], words: Sequence[str]) -> None:
    for rows in row_blocks(len(vectors), vectors.shape[1]):
        block = vectors[rows]
        # Extremes carry NaN and infinity along, and need no array of flags as large as the block.
        if np.isfinite(block.min()) and np.isfinite(block.max()):
            continue
        row_id, column = (int(each[0]) for each in np.nonzero(~np.isfinite(block)))
        raise FormatError(
            f"vector {rows.start + row_id} (word {words[rows.start + row_id]!r}) holds {block[row_id, column]} "
            f"at position {column}",
            expected="finite numbers within the range of float32",
            todo="train again with a lower learning rate, or repair the file that the vectors came from",
        )


def _checked_ids(words: tuple[str, ...]) -> dict[str, int]:
    try:
        # One call that notices anything but text, and text that has no UTF-8 form, in all words at once.
        "".join(words).encode()
    except (TypeError, UnicodeEncodeError):
        at, bad = next((at, word) for at, word in enumerate(words) if not _is_text(word))
        raise FormatError(f"word {at} is {bad!r}", expected="text that can be written as UTF-8") from None
    ids = {word: word_id for word_id, word in enumerate(words)}
    if len(ids) != len(words):
        # The dictionary kept the last row of each word, so the first row that disagrees is the first repetition.
        first = next(word_id for word_id, word in enumerate(words) if ids[word] != word_id)
        raise FormatError(
            f"the word {words[first]!r} stands in rows {first} and {ids[words[first]]}",
            expected="every word once",
            todo="decide which of the vectors is meant and leave out the others",
        )
    if "" in ids:
        raise FormatError(f"word {ids['']} is an empty text", expected="words of at least one character")
    return ids


def _is_text(word: object) -> bool:
    try:
        return isinstance(word, str) and bool(word.encode() or True)
    except UnicodeEncodeError:
        return False


def _checked_counts(counts: npt.ArrayLike, n_words: int) -> npt.NDArray[np.int64]:
    array = np.asarray(counts)
    if array.dtype.kind not in "iu" or array.shape != (n_words,):
        raise FormatError(
            f"the counts have the type {array.dtype} and the shape {array.shape}",
            expected=f"integers, one for each of the {n_words} words",
        )
    array = array.astype(np.int64)
    if array.min() < 0:
        at = int(array.argmin())
        raise FormatError(f"the count of word {at} is {array[at]}", expected="no negative counts")
    array.setflags(write=False)
    return array
