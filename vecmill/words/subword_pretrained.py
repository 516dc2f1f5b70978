"""Starting from words and n-grams that were trained before, and what stands in the files afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vocabulary.vocabulary import Vocabulary
from vecmill.words.model import WordModel
from vecmill.words.pretrained import (
    Movement,
    Pretrained,
    StartVectors,
    extend_pretrained,
    match_words,
    measure_movement,
)
from vecmill.words.subword_config import SubwordConfig, pretrained_subword_files, subwords_folder


@dataclass(frozen=True)
class SubwordStart:
    """Rows to start from.

    Attributes
    ----------
    subwords : the words and n-grams trained before
    own_rows : the words' own rows and context vectors among them, and which of them the vocabulary has
    """

    subwords: SubwordVectors
    own_rows: StartVectors


def load_subword_start(config: SubwordConfig, vocabulary: Vocabulary) -> SubwordStart | None:
    """Load what ``pretrained`` names; None where it is empty.

    Raises
    ------
    ConfigError : there is no saved ``SubwordVectors``
    FormatError : its files are damaged, or its numbers a row, n-grams or buckets are not those of ``config``
    """
    if not pretrained_subword_files(config):
        return None
    subwords = SubwordVectors.load(subwords_folder(config))
    for name in ("dim", "min_n", "max_n", "subword_buckets"):
        if getattr(subwords, name) != getattr(config, name):
            raise FormatError(
                f"the n-grams of train.pretrained = {config.pretrained!r} have {name} {getattr(subwords, name)}",
                expected=f"train.{name} = {getattr(config, name)}",
                todo=f"set train.{name} to {getattr(subwords, name)}, or start from others",
            )
    context_vectors = None
    path = Path(config.pretrained) / "context_vectors.npy"
    if path.is_file():
        context_vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        if context_vectors.shape != subwords.word_rows.vectors.shape or context_vectors.dtype != np.float32:
            raise FormatError(
                f"{path} is {context_vectors.dtype}{list(context_vectors.shape)}",
                expected=f"float32{list(subwords.word_rows.vectors.shape)}, a row for each word of subwords/ beside it",
                todo="train again, or name the subwords folder alone",
            )
    return SubwordStart(subwords, match_words(Pretrained(subwords.word_rows, context_vectors), vocabulary))


def set_rows(model: WordModel, start: SubwordStart, bucket_ids: npt.NDArray[np.int32]) -> None:
    """Write the rows of words and buckets that were trained before over the random ones.

    ``bucket_ids``: of the rows of ``model.center_vectors`` that come after the words'.
    """
    old, own = start.subwords, start.own_rows
    model.center_vectors[own.word_ids, : model.dim] = old.word_rows.vectors[own.pretrained_ids]
    if own.pretrained.context_vectors is not None:
        model.context_vectors[own.word_ids, : model.dim] = own.pretrained.context_vectors[own.pretrained_ids]
    is_old = np.isin(bucket_ids, old.bucket_ids)
    places = np.searchsorted(old.bucket_ids, bucket_ids[is_old])
    n_words = model.context_vectors.shape[0]
    model.center_vectors[n_words + np.flatnonzero(is_old), : model.dim] = old.bucket_rows[places]


def subword_movement(start: SubwordStart, trained: SubwordVectors) -> Movement:
    """How far the vectors, n-grams included, of the pretrained words that occur in the text moved."""
    own = start.own_rows
    before = StartVectors(Pretrained(start.subwords.word_vectors(), None), own.word_ids, own.pretrained_ids)
    return measure_movement(before, trained.word_vectors().vectors)


def extend_subwords(
    start: SubwordStart,
    vocabulary: Vocabulary,
    trained: SubwordVectors,
    context_vectors: npt.NDArray[np.float32],
) -> tuple[SubwordVectors, npt.NDArray[np.float32]]:
    """The pretrained words in their rows, then the new ones by falling count; the buckets of both.

    A pretrained word that the new text has not keeps its own row, and so do buckets that no word of the text uses; its
    vector moves as far as its n-grams do.

    Returns
    -------
    subwords, context_vectors : the second float32[n, dim], row by row the words of the first
    """
    old = start.subwords
    own_rows, contexts = extend_pretrained(start.own_rows, vocabulary, trained.word_rows.vectors, context_vectors)
    bucket_ids = np.union1d(old.bucket_ids, trained.bucket_ids).astype(np.int32)
    bucket_rows = np.empty((bucket_ids.size, old.dim), np.float32)
    for each in (old, trained):
        bucket_rows[np.searchsorted(bucket_ids, each.bucket_ids)] = each.bucket_rows
    numbers = {"min_n": old.min_n, "max_n": old.max_n, "subword_buckets": old.subword_buckets}
    return SubwordVectors(own_rows, bucket_ids, bucket_rows, **numbers), contexts
