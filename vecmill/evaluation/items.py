"""What a model made of every single item of its benchmarks, so that two models can be compared item by item.

A score says how well a model did; the items behind it say whether another model did better on the same ones. They are
kept with the rated words, so that a model which was evaluated on other benchmarks can be scored on these very items.
Unseen words follow the policy of :mod:`vecmill.evaluation.similarity`, and :func:`all_pairs_score` is its
``spearman_all_pairs``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.evaluation.benchmarks import Benchmark
from vecmill.evaluation.similarity import find_word
from vecmill.evaluation.statistics import Floats, spearman
from vecmill.vectors.word_vectors import WordVectors

ITEMS_NAME = "items.parquet"
_META = b"vecmill.items"
_VERSION = 1
# As in the similarity score: fewer covered pairs than this have no correlation.
MIN_PAIRS = 3


@dataclass(frozen=True)
class BenchmarkItems:
    """The items of one benchmark, and one model's answers.

    Attributes
    ----------
    benchmark, title, digest : which benchmark, and sha256 of its file
    words1, words2 : the rated words as the benchmark spells them
    ratings : float64[n]
    cosines : float64[n], NaN where a word has no vector
    """

    benchmark: str
    title: str
    digest: str
    words1: tuple[str, ...]
    words2: tuple[str, ...]
    ratings: Floats
    cosines: Floats

    def __len__(self) -> int:
        return len(self.ratings)

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """bool[n], whether both words have a vector."""
        return ~np.isnan(self.cosines)

    @property
    def different(self) -> npt.NDArray[np.bool_]:
        """bool[n], False for pairs of a word with itself, which any vectors get right."""
        return np.array([a != b for a, b in zip(self.words1, self.words2, strict=True)], dtype=np.bool_)

    @property
    def coverage(self) -> float:
        """Share of the pairs that are covered, 0 to 1."""
        return float(self.covered.mean()) if len(self) else 0.0


# The items of every benchmark that a model was evaluated on, by the benchmark's name.
ModelItems = Mapping[str, BenchmarkItems]


def benchmark_items(vectors: WordVectors, benchmark: Benchmark) -> BenchmarkItems:
    """One model's answers to every item of a benchmark."""
    return BenchmarkItems(
        benchmark.name,
        benchmark.title,
        benchmark.digest,
        benchmark.words1,
        benchmark.words2,
        np.array(benchmark.scores, dtype=np.float64),
        _cosines(vectors, benchmark.words1, benchmark.words2),
    )


def rescored(vectors: WordVectors, items: BenchmarkItems) -> BenchmarkItems:
    """The same items, answered by another model."""
    return replace(items, cosines=_cosines(vectors, items.words1, items.words2))


def filled_cosines(items: BenchmarkItems) -> Floats:
    """Cosines of the pairs of two different words, uncovered ones at the median of the covered ones, in mid-rank.

    All are 0 where fewer than three pairs are covered: such a model ranks nothing.
    """
    cosines = items.cosines[items.different]
    known = cosines[~np.isnan(cosines)]
    if len(known) < MIN_PAIRS:
        return np.zeros(len(cosines))
    filled: Floats = np.where(np.isnan(cosines), np.median(known), cosines)
    return filled


def all_pairs_score(items: BenchmarkItems) -> float:
    """Spearman's coefficient on all pairs of two different words; 0 where there is none."""
    return spearman(filled_cosines(items), items.ratings[items.different]) or 0.0


def write_items(path: Path, benchmarks: Sequence[BenchmarkItems]) -> int:
    """Write the items of a model's benchmarks as Parquet; the number of rows.

    Columns: ``benchmark`` (string), ``item`` (int32, line of the benchmark's table from 0), ``word1``, ``word2``
    (string), ``rating`` (float64), ``cosine`` (float64, null where a word has no vector), ``stratum`` (string:
    "covered", "uncovered", or "same word" for pairs of a word with itself). Titles and digests of the benchmarks stand
    in the file's metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    meta = [{"name": each.benchmark, "title": each.title, "digest": each.digest} for each in benchmarks]
    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            pa.field("benchmark", text, nullable=False),
            pa.field("item", pa.int32(), nullable=False),
            pa.field("word1", pa.string(), nullable=False),
            pa.field("word2", pa.string(), nullable=False),
            pa.field("rating", pa.float64(), nullable=False),
            pa.field("cosine", pa.float64()),
            pa.field("stratum", text, nullable=False),
        ],
        metadata={_META: json.dumps({"version": _VERSION, "benchmarks": meta})},
    )
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for each in benchmarks:
        columns["benchmark"] += [each.benchmark] * len(each)
        columns["item"] += range(len(each))
        columns["word1"] += each.words1
        columns["word2"] += each.words2
        columns["rating"] += each.ratings.tolist()
        columns["cosine"] += [None if np.isnan(cosine) else cosine for cosine in each.cosines.tolist()]
        columns["stratum"] += np.where(
            each.different, np.where(each.covered, "covered", "uncovered"), "same word"
        ).tolist()
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    pq.write_table(pa.table(arrays, schema=schema), path, compression="zstd")
    return len(columns["item"])


def read_items(path: Path) -> dict[str, BenchmarkItems]:
    """Read what :func:`write_items` wrote, by the benchmark's name.

    Raises
    ------
    FormatError : the file is missing, damaged, or holds something else; or a rating or cosine that is no number
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise _refused(path, "there is no such file")
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise _refused(path, str(error).partition("\n")[0]) from None
    text = (table.schema.metadata or {}).get(_META)
    if text is None or json.loads(text).get("version") != _VERSION:
        raise _refused(path, "it is no table of benchmark items")
    found = {}
    names = table["benchmark"].cast(pa.string()).to_numpy(zero_copy_only=False)
    for meta in json.loads(text)["benchmarks"]:
        rows = table.take(np.flatnonzero(names == meta["name"]))
        ratings = rows["rating"].to_numpy()
        cosines = rows["cosine"].to_numpy()  # null becomes NaN
        n_null = rows["cosine"].null_count
        if not np.isfinite(ratings).all() or np.isfinite(cosines).sum() + n_null != len(cosines):
            raise _refused(path, f"a rating or a cosine of {meta['name']} is no finite number")
        found[meta["name"]] = BenchmarkItems(
            meta["name"],
            meta["title"],
            meta["digest"],
            tuple(rows["word1"].to_pylist()),
            tuple(rows["word2"].to_pylist()),
            np.array(ratings),
            np.array(cosines),
        )
    return found


def _refused(path: Path, why: str) -> FormatError:
    return FormatError(
        f"the benchmark items {path} cannot be read: {why}",
        expected="a table that the evaluate stage wrote",
        todo="evaluate the model again (--refresh evaluate)",
    )


def _cosines(vectors: WordVectors, words1: Sequence[str], words2: Sequence[str]) -> Floats:
    ids1, ids2 = _rows(vectors, words1), _rows(vectors, words2)
    covered = (ids1 >= 0) & (ids2 >= 0)
    cosines: Floats = np.full(len(words1), np.nan)
    cosines[covered] = vectors.similarities(ids1[covered], ids2[covered])
    return cosines


def _rows(vectors: WordVectors, words: Sequence[str]) -> npt.NDArray[np.int64]:
    """Each word's row, -1 where it has none."""
    spellings = [find_word(vectors, word) for word in words]
    return np.array([-1 if each is None else vectors.id_of(each) for each in spellings], dtype=np.int64)
