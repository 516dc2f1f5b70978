"""The difference between two sets of word vectors: vocabulary, neighbours, and the words that moved.

The older vectors are mapped onto the newer ones first (:mod:`vecmill.vectors.alignment`), so that a rotation, which
changes nothing, is no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.diff.noise import Noise, benjamini_hochberg, bulk_noise, p_values, replica_noise
from vecmill.errors import FormatError
from vecmill.progress import track
from vecmill.vectors.alignment import Alignment, SharedWords, align, distances, shared_words
from vecmill.vectors.neighbours import nearest_rows, row_norms
from vecmill.vectors.word_vectors import WordVectors

Ids = npt.NDArray[np.int64]
# A row this short beside the median row has kept what it was started with: its word stood in no context.
_UNLEARNED_NORM = 0.1
_N_QUERIES = 1_000
_N_INDEXED = 50_000  # most frequent shared words among which neighbours are looked for
_N_BEFORE_AND_AFTER = 5


@dataclass(frozen=True)
class MovedWord:
    """A word that moved further than training again moves it.

    Attributes
    ----------
    old_count, new_count : None where counts are not known
    distance : cosine distance between the mapped old vector and the new one, in [0, 2]
    expected : the median distance that noise alone gives a word like this
    p, q : of a distance as large from noise; false discovery rate at which the word is just reported
    overlap : share of its nearest words that stayed
    before, after : its nearest words
    """

    word: str
    old_count: int | None
    new_count: int | None
    distance: float
    expected: float
    p: float
    q: float
    overlap: float
    before: list[str]
    after: list[str]


@dataclass(frozen=True)
class Diff:
    """What differs.

    Attributes
    ----------
    gained, lost : words of one side only, frequent ones first
    n_shared : words that both have
    unlearned : shared words that stood in no context on a side, so that their vectors say nothing
    overlap : mean share of the ``n_neighbours`` nearest words that stayed, over frequent and rare words alike
    replica_overlap : the same between a side and its replicas; None without replicas
    alignment : how well the map fits
    noise : "replicas" or "bulk"
    n_replicas, rate : replicas used; false discovery rate asked for
    moved : by falling evidence
    """

    gained: list[str]
    lost: list[str]
    n_shared: int
    unlearned: list[str]
    n_neighbours: int
    overlap: float
    replica_overlap: float | None
    alignment: Alignment
    noise: str
    n_replicas: int
    rate: float
    moved: list[MovedWord]

    def as_json(self) -> dict[str, Any]:
        """As plain values; the map itself left out."""
        plain = {name: getattr(self, name) for name in ("n_shared", "n_neighbours", "overlap", "replica_overlap")}
        fit = {name: value for name, value in vars(self.alignment).items() if name != "map"}
        return {
            "gained": self.gained,
            "lost": self.lost,
            "unlearned": self.unlearned,
            **plain,
            "alignment": fit,
            "noise": self.noise,
            "n_replicas": self.n_replicas,
            "rate": self.rate,
            "moved": [asdict(each) for each in self.moved],
        }


def compare_vectors(
    old: WordVectors,
    new: WordVectors,
    replicas: Sequence[tuple[str, WordVectors]] = (),
    *,
    rate: float = 0.05,
    n_neighbours: int = 10,
) -> Diff:
    """Find what differs between two sets of vectors.

    Parameters
    ----------
    replicas : further trainings of the recipe of ``old`` or of ``new`` (it is found out of which: of the nearer one),
        each with what messages call it. Without any, the bulk of the words shows the noise
    rate : share of the reported words that may be noise, in (0, 1)
    n_neighbours : how many nearest words are compared

    Raises
    ------
    FormatError : the two cannot be mapped onto each other (dimensions, too few common words); a replica holds the very
        vectors of a side; ``rate`` or ``n_neighbours`` is out of range
    """
    if not 0 < rate < 1 or n_neighbours < 1:
        raise FormatError(
            f"a rate of {rate:g} and {n_neighbours} neighbours",
            expected="a rate between 0 and 1, one neighbour or more",
        )
    with track("comparing", 3 + len(replicas), "steps") as bar:
        every = shared_words(old, new)
        fit = align(old, new, every)
        learned = _learned(old)[every.old_ids] & _learned(new)[every.new_ids]
        shared = SharedWords(every.old_ids[learned], every.new_ids[learned])
        apart = distances(old, new, shared, fit.map)
        bar.advance()
        nulls, overlaps = [], []
        for name, replica in replicas:
            null, overlap = _replica(name, replica, old, new, shared, n_neighbours)
            nulls.append(null)
            overlaps.append(overlap)
            bar.advance()
        noise = replica_noise(nulls) if nulls else bulk_noise(apart)
        p = p_values(apart, noise)
        q = benjamini_hochberg(p)
        bar.advance()
        found = np.flatnonzero(q <= rate)
        found = found[np.lexsort((-apart[found], p[found]))]
        asked, near_old, near_new = _neighbours(old, new, shared, found, n_neighbours)
        bar.advance()
    shares = {
        int(at): len(np.intersect1d(a, b)) / n_neighbours for at, a, b in zip(asked, near_old, near_new, strict=True)
    }
    lists = {int(at): (a, b) for at, a, b in zip(asked, near_old, near_new, strict=True)}
    spread = _spread(len(shared))
    words = [new.words[row] for row in shared.new_ids]
    moved = [
        MovedWord(
            word=words[at],
            old_count=None if old.counts is None else int(old.counts[shared.old_ids[at]]),
            new_count=None if new.counts is None else int(new.counts[shared.new_ids[at]]),
            distance=float(apart[at]),
            expected=_expected(noise, int(at)),
            p=float(p[at]),
            q=float(q[at]),
            overlap=shares[int(at)],
            before=[words[row] for row in lists[int(at)][0][:_N_BEFORE_AND_AFTER]],
            after=[words[row] for row in lists[int(at)][1][:_N_BEFORE_AND_AFTER]],
        )
        for at in found
    ]
    return Diff(
        gained=[word for word in new.words if word not in old],
        lost=[word for word in old.words if word not in new],
        n_shared=sum(word in old for word in new.words),
        unlearned=[new.words[row] for row in every.new_ids[~learned]],
        n_neighbours=n_neighbours,
        overlap=float(np.mean([shares[int(at)] for at in spread])),
        replica_overlap=float(np.mean(overlaps)) if overlaps else None,
        alignment=fit,
        noise="replicas" if nulls else "bulk",
        n_replicas=len(nulls),
        rate=rate,
        moved=moved,
    )


def _learned(vectors: WordVectors) -> npt.NDArray[np.bool_]:
    """Rows that training has moved away from where they started, as far as their length tells."""
    return vectors.norms > _UNLEARNED_NORM * np.median(vectors.norms)


def _replica(
    name: str, replica: WordVectors, old: WordVectors, new: WordVectors, shared: SharedWords, n_neighbours: int
) -> tuple[npt.NDArray[np.float64], float]:
    """Distances of the shared words between a replica and its side (NaN where it lacks a word), and the overlap."""
    found = []
    for side, ids in ((old, shared.old_ids), (new, shared.new_ids)):
        if replica.space_id == side.space_id:
            raise FormatError(
                f"{name} holds the very vectors that are compared",
                expected="another training of the same recipe (another `replica` or seed)",
                todo="leave it out, or train the recipe again",
            )
        if replica.dim != side.dim:
            raise FormatError(f"{name} has {replica.dim} dimensions, the vectors compared have {side.dim}")
        both = shared_words(replica, side)
        fit = align(replica, side, both)
        apart = np.full(len(side), np.nan)
        apart[both.new_ids] = distances(replica, side, both, fit.map)
        found.append((float(np.nanmedian(apart[ids])), apart[ids], both, side))
    _, null, both, side = min(found, key=lambda each: each[0])
    _, near_replica, near_side = _neighbours(replica, side, both, np.empty(0, np.int64), n_neighbours)
    shares = [len(np.intersect1d(a, b)) / n_neighbours for a, b in zip(near_replica, near_side, strict=True)]
    return null, float(np.mean(shares))


def _spread(n: int) -> Ids:
    return np.unique(np.linspace(0, n - 1, min(n, _N_QUERIES)).round().astype(np.int64))


def _neighbours(
    old: WordVectors, new: WordVectors, shared: SharedWords, also: Ids, n: int
) -> tuple[Ids, list[Ids], list[Ids]]:
    """Nearest words on either side of words spread over all frequencies, and of those in ``also``.

    Everything is a position among the shared words.
    """
    asked = np.union1d(_spread(len(shared)), also)
    sides = []
    for vectors, ids in ((old, shared.old_ids), (new, shared.new_ids)):
        index = vectors.vectors[ids[:_N_INDEXED]]
        itself = [[int(each)] for each in asked]
        found = nearest_rows(index, row_norms(index), vectors.vectors[ids[asked]], n, itself)
        sides.append([rows for rows, _ in found])
    return asked, sides[0], sides[1]


def _expected(noise: Noise, at: int) -> float:
    return float(np.exp(noise.location[at]))
