"""An orthogonal map from one space of word vectors to another, and what it is worth.

Two trainings on the same text give spaces that differ by a rotation and by noise. The rotation is found on anchors,
words that both models have; the noise is what is left.

min over orthogonal R of  sum over anchors |x R - y|²,   x, y: an anchor's two vectors, divided by their norms
R = U Vᵀ,  where  U S Vᵀ = Xᵀ Y  is a singular value decomposition

Source: Schönemann 1966; for word vectors Xing et al. 2015 (rows of norm 1) and Hamilton et al. 2016. Difference:
anchors whose residual is large take no part (least trimmed squares with concentration steps, Rousseeuw and Van
Driessen 2006), so that words which really moved do not turn the map, and every fifth anchor is held out, so that the
residual is told on words that the map has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.neighbours import nearest_rows, row_blocks, row_norms
from vecmill.vectors.word_vectors import WordVectors

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

HELDOUT_EVERY = 5  # each fifth anchor, by frequency, is held out
_MOST_ROUNDS = 50  # the sum falls with every round, so that this only bounds the time


@dataclass(frozen=True)
class SharedWords:
    """Words that two models have, frequent ones first.

    Attributes
    ----------
    old_ids, new_ids : int64[n], rows of the same word in both; words that have a row of zeros in one are left out
    """

    old_ids: Ids
    new_ids: Ids

    def __len__(self) -> int:
        return len(self.old_ids)

    def first(self, n: int) -> SharedWords:
        """The ``n`` most frequent."""
        return SharedWords(self.old_ids[:n], self.new_ids[:n])


@dataclass(frozen=True)
class Alignment:
    """A map from an old space to a new one.

    Attributes
    ----------
    map : float64[dim, dim], orthogonal; an old row times it is comparable with new rows, and a new row times its
        transpose with old ones
    n_anchors : words that it was fitted on, those left out as moved not counted
    n_trimmed : words that were left out
    n_heldout : words held out
    residual : root of the mean of |x R - y|² over the anchors; 0: the same directions, 1.41: unrelated ones
    heldout_residual, heldout_cosine : the same of the words held out, moved ones included, and the mean of their cosine
    """

    map: Floats
    n_anchors: int
    n_trimmed: int
    n_heldout: int
    residual: float
    heldout_residual: float
    heldout_cosine: float


@dataclass(frozen=True)
class IndexRecall:
    """Share of the answers of a re-indexed service that one keeps with one half of it old; fractions.

    The answers are the ``n`` nearest words that a word's new vector has among new vectors. They are compared with

    Attributes
    ----------
    old_index : what its new vector, mapped back, finds among old vectors (the same as among old vectors that are
        mapped, since the map is orthogonal)
    old_queries : what its old vector, mapped, finds among new vectors
    old_index_unmapped, old_queries_unmapped : both without the map
    both_old : what its old vector finds among old vectors; the two models' own disagreement, map or no map
    n, n_queries, n_indexed : answers asked for, words asked for, words in the index
    """

    old_index: float
    old_queries: float
    old_index_unmapped: float
    old_queries_unmapped: float
    both_old: float
    n: int
    n_queries: int
    n_indexed: int


def shared_words(old: WordVectors, new: WordVectors) -> SharedWords:
    """The words of both models, by the rarer of their two ranks.

    A word ranks by its count; where counts are not known, by its row (frequent words stand first by convention).
    """
    ids = np.array([(old.id_of(word), row) for row, word in enumerate(new.words) if word in old], np.int64)
    old_ids, new_ids = ids.reshape(-1, 2).T
    directed = (old.norms[old_ids] > 0) & (new.norms[new_ids] > 0)
    old_ids, new_ids = old_ids[directed], new_ids[directed]
    rarer = np.maximum(_ranks(old)[old_ids], _ranks(new)[new_ids])
    order = np.lexsort((new_ids, rarer))
    return SharedWords(old_ids[order], new_ids[order])


def procrustes(x: Floats, y: Floats) -> Floats:
    """The orthogonal R, float64[dim, dim], that makes ``|x R - y|`` smallest; ``x``, ``y``: float64[n, dim]."""
    u, _, v = np.linalg.svd(x.T @ y)
    product: Floats = u @ v
    return product


def align(
    old: WordVectors, new: WordVectors, shared: SharedWords, *, n_anchors: int = 10_000, trim_frac: float = 0.2
) -> Alignment:
    """Fit the map from ``old`` to ``new``.

    Parameters
    ----------
    shared : as :func:`shared_words` gives them
    n_anchors : most frequent shared words that are looked at, a fifth of them to be held out. Frequent words are
        stable: noise falls with the count. Memory is two float64[n_anchors, dim]
    trim_frac : share of the anchors, those of the largest residuals, that does not take part in the fit

    Raises
    ------
    FormatError : the two have different dimensions, or too few words in common (the message says how many are needed)
    """
    if old.dim != new.dim:
        raise FormatError(
            f"the vectors have {old.dim} and {new.dim} dimensions", expected="as many on both sides; no map is lossless"
        )
    if len(shared) < least_shared(old.dim):
        raise FormatError(
            f"the two models have {len(shared):,} words in common",
            expected=f"at least {least_shared(old.dim):,}, for a map of {old.dim} dimensions",
        )
    chosen = shared.first(n_anchors if n_anchors > least_shared(old.dim) else least_shared(old.dim))
    x, y = _directions(old, chosen.old_ids), _directions(new, chosen.new_ids)
    held_out = np.arange(len(chosen)) % HELDOUT_EVERY == HELDOUT_EVERY - 1
    x_fit, y_fit = x[~held_out], y[~held_out]
    n_kept = max(old.dim, len(x_fit) - int(trim_frac * len(x_fit)))
    kept = np.arange(len(x_fit))
    for _ in range(_MOST_ROUNDS):
        found = procrustes(x_fit[kept], y_fit[kept])
        squares = _squares(x_fit, y_fit, found)
        nearest = np.sort(np.argsort(squares, kind="stable")[:n_kept])
        if np.array_equal(nearest, kept):
            break
        kept = nearest
    apart = _squares(x[held_out], y[held_out], found)
    return Alignment(
        map=found,
        n_anchors=len(kept),
        n_trimmed=len(x_fit) - len(kept),
        n_heldout=len(apart),
        residual=float(np.sqrt(squares[kept].mean())),
        heldout_residual=float(np.sqrt(apart.mean())),
        heldout_cosine=float(1 - apart.mean() / 2),
    )


def least_shared(dim: int) -> int:
    """Words that a map of ``dim`` dimensions needs: five a dimension, of which more than three are left to be fitted.

    >>> least_shared(100)
    500
    """
    return 5 * dim


def distances(old: WordVectors, new: WordVectors, shared: SharedWords, rotation: Floats) -> Floats:
    """1 - cosine of each shared word's old vector, mapped, and its new one; float64[n], in [0, 2].

    Taken from the difference of the directions, so that small distances keep their digits.
    """
    found = np.empty(len(shared))
    for block in row_blocks(len(shared), 4 * old.dim):
        x, y = _directions(old, shared.old_ids[block]), _directions(new, shared.new_ids[block])
        found[block] = np.minimum(_squares(x, y, rotation) / 2, 2.0)
    return found


def mapped(vectors: WordVectors, rotation: npt.NDArray[np.floating], space_id: str) -> WordVectors:
    """``vectors`` moved into the space ``space_id``; norms stay, and the memory of one model is taken.

    Parameters
    ----------
    rotation : float[dim, dim], orthogonal

    Raises
    ------
    FormatError : the map is of another dimension, or not orthogonal
    """
    if rotation.shape != (vectors.dim, vectors.dim):
        raise FormatError(
            f"the map is {rotation.dtype}{list(rotation.shape)}, the vectors have {vectors.dim} dimensions",
            expected=f"a map of {vectors.dim} by {vectors.dim} numbers",
            todo="name the map that was shipped for this space",
        )
    rotation = np.asarray(rotation, np.float64)
    if not np.allclose(rotation @ rotation.T, np.eye(vectors.dim), atol=1e-4):
        raise FormatError(
            "the map is not orthogonal, so cosines would change under it",
            expected="a matrix whose transpose is its inverse",
            todo="fetch map.npy of the version's run again",
        )
    rows = np.empty_like(vectors.vectors)
    for block in row_blocks(len(vectors), 2 * vectors.dim):
        rows[block] = vectors.vectors[block].astype(np.float64) @ rotation
    return WordVectors(vectors.words, rows, vectors.counts, space_id)


def index_recall(
    old: WordVectors,
    new: WordVectors,
    shared: SharedWords,
    rotation: Floats,
    *,
    n: int = 10,
    n_queries: int = 1_000,
    n_indexed: int = 50_000,
) -> IndexRecall:
    """What an index of old vectors is worth to queries of the new model, and the other way round.

    Parameters
    ----------
    n : answers a query
    n_queries : words asked for, spread evenly over the ranks of those indexed
    n_indexed : most frequent shared words that make up the index. Memory is two float32[n_indexed, dim]
    """
    chosen = shared.first(n_indexed)
    before, after = old.vectors[chosen.old_ids], new.vectors[chosen.new_ids]
    before_norms, after_norms = row_norms(before), row_norms(after)
    asked = np.unique(np.linspace(0, len(chosen) - 1, min(n_queries, len(chosen))).round().astype(np.int64))
    itself = [[int(each)] for each in asked]
    # Of norm 1, so that the float32 product of the map neither overflows nor vanishes.
    old_queries = _unit(before[asked], before_norms[asked])
    new_queries = _unit(after[asked], after_norms[asked])

    def answers(among_old: bool, queries: Floats) -> list[Ids]:
        rows, norms = (before, before_norms) if among_old else (after, after_norms)
        return [ids for ids, _ in nearest_rows(rows, norms, queries.astype(np.float32), n, itself)]

    truth = answers(False, new_queries)

    def recall(among_old: bool, queries: Floats) -> float:
        found = answers(among_old, queries)
        shares = [len(np.intersect1d(one, other)) / len(one) for one, other in zip(truth, found, strict=True)]
        return float(np.mean(shares))

    return IndexRecall(
        old_index=recall(True, new_queries @ rotation.T),
        old_queries=recall(False, old_queries @ rotation),
        old_index_unmapped=recall(True, new_queries),
        old_queries_unmapped=recall(False, old_queries),
        both_old=recall(True, old_queries),
        n=n,
        n_queries=len(asked),
        n_indexed=len(chosen),
    )


def _ranks(vectors: WordVectors) -> Ids:
    """Rank of each row by falling count, ties by row; by row alone where counts are not known."""
    if vectors.counts is None:
        return np.arange(len(vectors))
    ranks = np.empty(len(vectors), np.int64)
    ranks[np.argsort(-vectors.counts, kind="stable")] = np.arange(len(vectors))
    return ranks


def _directions(vectors: WordVectors, ids: Ids) -> Floats:
    return _unit(vectors.vectors[ids], vectors.norms[ids])


def _unit(rows: npt.NDArray[np.float32], norms: Floats) -> Floats:
    directions: Floats = rows / norms[:, None]
    return directions


def _squares(x: Floats, y: Floats, rotation: Floats) -> Floats:
    apart = x @ rotation - y
    squares: Floats = np.einsum("ij,ij->i", apart, apart)
    return squares
