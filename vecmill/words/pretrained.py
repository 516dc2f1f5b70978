"""Starting from vectors that stand already, and how far training moved them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.word2vec_format import load_word2vec
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.config import WordTrainerConfig, pretrained_files

if TYPE_CHECKING:  # it brings polars along, some 50 MB that a training has no use for
    from vecmill.vocabulary.vocabulary import Vocabulary

_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Pretrained:
    """Vectors to start from.

    Attributes
    ----------
    vectors : the words and their center vectors
    context_vectors : float32[n_words, dim] of the same rows; None where they are not known, then training starts
        with zeros, as it does with random vectors
    """

    vectors: WordVectors
    context_vectors: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class StartVectors:
    """Pretrained rows for the words of a vocabulary that have one.

    Attributes
    ----------
    word_ids : int64[n], in the vocabulary;  pretrained_ids : int64[n], the same words in ``pretrained``
    """

    pretrained: Pretrained
    word_ids: npt.NDArray[np.int64]
    pretrained_ids: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Movement:
    """How far training moved the pretrained words that it met.

    Attributes
    ----------
    words, distances : by falling distance, then row: 1 - cosine of a word's vector before and after, in [0, 2];
        0 where one of the two is all zeros
    """

    words: list[str]
    distances: npt.NDArray[np.float64]


def load_pretrained(config: WordTrainerConfig) -> Pretrained | None:
    """Load what ``pretrained`` names; None where it is empty.

    Raises
    ------
    ConfigError : there is nothing at the path
    FormatError : the files are not what they should be, or have not ``dim`` numbers a word
    """
    if not pretrained_files(config):
        return None
    path = Path(config.pretrained)
    context_vectors = None
    if path.is_file():
        vectors = load_word2vec(path, binary=path.suffix == ".bin")
    elif (path / "vectors").is_dir():
        vectors = WordVectors.load(path / "vectors")
        if (path / "context_vectors.npy").is_file():
            context_vectors = np.load(path / "context_vectors.npy", mmap_mode="r", allow_pickle=False)
            if context_vectors.shape != vectors.vectors.shape or context_vectors.dtype != np.float32:
                raise FormatError(
                    f"{path / 'context_vectors.npy'} is {context_vectors.dtype}{list(context_vectors.shape)}",
                    expected=f"float32{list(vectors.vectors.shape)}, a row for each of the vectors beside it",
                    todo="train again, or name the vectors folder alone",
                )
    else:
        vectors = WordVectors.load(path)
    if vectors.dim != config.dim:
        raise FormatError(
            f"the vectors of train.pretrained = {config.pretrained!r} have {vectors.dim} numbers",
            expected=f"train.dim = {config.dim}",
            todo=f"set train.dim to {vectors.dim}, or start from other vectors",
        )
    return Pretrained(vectors, context_vectors)


def match_words(pretrained: Pretrained, vocabulary: Vocabulary) -> StartVectors:
    """Find the words of a vocabulary among the pretrained ones."""
    pairs = [
        (i, pretrained.vectors.id_of(word)) for i, word in enumerate(vocabulary.words) if word in pretrained.vectors
    ]
    ids = np.array(pairs, np.int64).reshape(-1, 2)
    return StartVectors(pretrained, ids[:, 0].copy(), ids[:, 1].copy())


def measure_movement(start: StartVectors, center_vectors: npt.NDArray[np.float32]) -> Movement:
    """Compare ``center_vectors`` (float32[n_words, dim], by the vocabulary) with what training started from."""
    distances = np.zeros(start.word_ids.size)
    for at in range(0, distances.size, _BLOCK_ROWS):
        block = slice(at, at + _BLOCK_ROWS)
        before = start.pretrained.vectors.vectors[start.pretrained_ids[block]].astype(np.float64)
        after = center_vectors[start.word_ids[block]].astype(np.float64)
        norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        cosines = np.einsum("ij,ij->i", before, after) / np.where(norms > 0, norms, 1)
        # a row that did not move is at 0 exactly, not at the rounding error of its cosine
        at_rest = (norms == 0) | (before == after).all(axis=1)
        distances[block] = np.where(at_rest, 0.0, np.clip(1 - cosines, 0.0, 2.0))
    order = np.lexsort((start.pretrained_ids, -distances))
    words = start.pretrained.vectors.words
    return Movement([words[start.pretrained_ids[i]] for i in order], distances[order])


def extend_pretrained(
    start: StartVectors,
    vocabulary: Vocabulary,
    center_vectors: npt.NDArray[np.float32],
    context_vectors: npt.NDArray[np.float32],
) -> tuple[WordVectors, npt.NDArray[np.float32]]:
    """The pretrained words in their rows, then the new ones by falling count.

    A pretrained word that the new text has not keeps its vector (and, where they are known, its context vector).
    Counts are those of both texts together, or of the new one alone where the old ones are not known.

    Returns
    -------
    vectors, context_vectors : the second float32[n, dim], row by row those of the first
    """
    old = start.pretrained.vectors
    is_new = np.ones(len(vocabulary), np.bool_)
    is_new[start.word_ids] = False
    n_old = len(old)
    center = np.empty((n_old + int(is_new.sum()), old.dim), np.float32)
    context = np.zeros_like(center)
    center[:n_old] = old.vectors
    if start.pretrained.context_vectors is not None:
        context[:n_old] = start.pretrained.context_vectors
    counts = np.zeros(len(center), np.int64)
    if old.counts is not None:
        counts[:n_old] = old.counts
    for whole, trained in ((center, center_vectors), (context, context_vectors)):
        whole[start.pretrained_ids] = trained[start.word_ids]
        whole[n_old:] = trained[is_new]
    counts[start.pretrained_ids] += vocabulary.counts[start.word_ids]
    counts[n_old:] = vocabulary.counts[is_new]
    words = [*old.words, *(vocabulary.words[i] for i in np.flatnonzero(is_new))]
    return WordVectors(words, center, counts), context
