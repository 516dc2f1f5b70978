"""A random sample of documents or sentences that does not depend on who saw which of them when.

Every document gets a 64-bit priority, a hash of its id keyed with the seed; the sample is the ``size`` documents with
the smallest priorities. So the sample of a union is the sample of the samples' union: reservoirs of shards merge in
any order and grouping into exactly the reservoir of the whole ("bottom-k sampling", Cohen and Kaplan 2007). Algorithm
R (Vitter 1985), the usual choice for one stream, has none of these properties: its sample depends on the order of
arrival.

Weighted by length, the priority is exponential with the length for its rate, -ln(1 - u) / length, so that the next
document of the sample is drawn in proportion to length from those left (Efraimidis and Spirakis 2006). Its float64
stands in the table by its bits, which order positive numbers as they are.

The smallest priority outside the sample is kept with it: given that threshold each member was included independently,
with a probability that the threshold tells, and so totals can be estimated (:mod:`vecmill.vocabulary.estimate`).
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.errors import FormatError
from vecmill.text.arrow_columns import number_column, numbers_of, string_column
from vecmill.text.sentences import BREAK_PATTERNS, SPACES
from vecmill.vocabulary.schema import PARQUET_OPTIONS, SAMPLE_SCHEMA

Unit = Literal["document", "sentence"]
Weighting = Literal["uniform", "length"]

_QUICKLY = {"compression_level": 1, "use_dictionary": False}
_NUMBERS = ("size", "seed", "max_text_chars")
_NAMES: dict[str, tuple[str, ...]] = {"unit": get_args(Unit), "weighting": get_args(Weighting)}
_TOTALS = ("n_offered", "n_bytes_offered", "threshold")

# Above every priority: nothing has been left out.
NO_THRESHOLD = 1 << 64

# Between sentences while they are cut apart; cleaning leaves none in a text.
_CUT = "\x00"


class Reservoir:
    """The ``size`` documents of smallest priority among those added.

    Adding is idempotent: a document that comes again under the same ``doc_id`` is the same member of the set. Should
    its text differ, the lesser text (code point order) stays, so that the result remains independent of order. (The two
    totals below count it again.)

    Texts are cut to ``max_text_chars`` characters, which bounds the sample at ``size * max_text_chars`` characters. A
    cut text can no longer speak for the end of its document; estimates of word frequencies from a sample with cut
    texts weigh long documents too lightly.

    Parameters
    ----------
    size : documents in the sample, at least 1
    seed : integer; other seeds give independent samples
    max_text_chars : characters kept of each text, at least 1
    unit : "sentence" samples sentences in place of documents; that of document d with number s (from 0) is named d#s
    weighting : "length" draws in proportion to bytes of UTF-8, "uniform" gives all the same chance

    Attributes
    ----------
    n_offered, n_bytes_offered : what was added altogether, sampled or not
    threshold : smallest priority outside the sample, NO_THRESHOLD where all that was added is in it
    """

    def __init__(
        self,
        size: int,
        seed: int,
        max_text_chars: int = 20_000,
        unit: Unit = "document",
        weighting: Weighting = "uniform",
    ) -> None:
        if size < 1 or max_text_chars < 1:
            raise ValueError(f"size {size} and max_text_chars {max_text_chars} must both be at least 1")
        self.size = size
        self.seed = seed
        self.max_text_chars = max_text_chars
        self.unit = unit
        self.weighting = weighting
        self.n_offered = 0
        self.n_bytes_offered = 0
        # Copied for each document: to begin with the key costs as much as to hash an id.
        self._keyed = blake2b(digest_size=8, key=blake2b(f"vecmill.reservoir.{seed}".encode()).digest())
        self._texts: dict[tuple[int, str], tuple[str, int]] = {}
        self._threshold = NO_THRESHOLD
        # No document with a priority above this can be in the sample any more.
        self._limit = NO_THRESHOLD - 1

    def __len__(self) -> int:
        self._trim()
        return len(self._texts)

    @property
    def threshold(self) -> int:
        self._trim()
        return self._threshold

    @property
    def n_cut(self) -> int:
        """Members whose text was cut to ``max_text_chars``."""
        self._trim()
        return sum(len(text.encode()) < n_bytes for text, n_bytes in self._texts.values())

    def priority(self, doc_id: str) -> int:
        """The document's hash, uniform in [0, 2**64): its priority in a uniform sample of documents."""
        return int.from_bytes(self._hash(doc_id), "little")

    def _hash(self, doc_id: str) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(doc_id.encode())
        return keyed.digest()

    def add(self, doc_ids: Iterable[str], texts: pa.Array) -> None:
        """Offer documents; only the texts of those that may stay are turned into Python strings.

        Parameters
        ----------
        doc_ids : n ids
        texts : string[n], no nulls
        """
        ids = list(doc_ids)
        hashes = np.frombuffer(b"".join(map(self._hash, ids)), dtype="<u8").astype(np.uint64)
        rows = np.arange(len(ids))
        numbers: npt.NDArray[np.int64] | None = None
        if self.unit == "sentence":
            texts, rows, numbers = _sentences(texts)
            hashes = _mixed(hashes[rows] + numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        n_bytes = numbers_of(pc.binary_length(texts)).astype(np.int64)
        priorities = hashes if self.weighting == "uniform" else _exponential(hashes, n_bytes)
        self.n_offered += len(priorities)
        self.n_bytes_offered += int(n_bytes.sum())
        different = np.unique(priorities)
        if len(different) > self.size:
            # So many have smaller ones that no other of these can stay.
            self._limit = min(self._limit, int(different[self.size - 1]))
        stays = priorities <= np.uint64(self._limit)
        if not stays.all():
            self._threshold = min(self._threshold, int(priorities[~stays].min()))
        chosen = np.flatnonzero(stays)
        for k, text in zip(chosen, texts.take(number_column(chosen)).to_pylist(), strict=True):
            name = ids[rows[k]] if numbers is None else f"{ids[rows[k]]}#{numbers[k]}"
            self._put(int(priorities[k]), name, text, int(n_bytes[k]))

    def merge(self, other: Reservoir) -> Reservoir:
        """The reservoir of everything that was added to either; both stay as they are.

        Raises
        ------
        ValueError : the two were made with different settings, so their priorities cannot be compared
        """
        for name in (*_NUMBERS, *_NAMES):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"reservoirs with {name} {mine} and {theirs} cannot be merged")
        merged = Reservoir(self.size, self.seed, self.max_text_chars, self.unit, self.weighting)
        merged._threshold = min(self._threshold, other._threshold)
        for reservoir in (self, other):
            merged.n_offered += reservoir.n_offered
            merged.n_bytes_offered += reservoir.n_bytes_offered
            for (priority, doc_id), (text, n_bytes) in reservoir._texts.items():
                merged._put(priority, doc_id, text, n_bytes)
        merged._trim()
        return merged

    def inclusion(self) -> npt.NDArray[np.float64]:
        """Probability with which each member was included, given the threshold: float64[len(self)], as in the table."""
        table = self.to_table()
        if self.threshold == NO_THRESHOLD:
            return np.ones(len(table))
        if self.weighting == "uniform":
            return np.full(len(table), self.threshold / 2**64)
        rate = np.array([self.threshold], dtype=np.uint64).view(np.float64)[0]
        return np.asarray(-np.expm1(-rate * np.maximum(1, table["n_bytes"].to_numpy())))

    def to_table(self) -> pa.Table:
        """The sample as a table of :data:`SAMPLE_SCHEMA`, sorted by priority, then by doc_id."""
        self._trim()
        rows = sorted(self._texts.items())
        metadata = {f"vecmill.{name}": str(getattr(self, name)) for name in (*_NUMBERS, *_NAMES, *_TOTALS)}
        columns = [
            number_column(np.array([priority for (priority, _), _ in rows], np.uint64)),
            string_column([doc_id for (_, doc_id), _ in rows]).cast(pa.string()),
            string_column([text for _, (text, _) in rows]).cast(pa.string()),
            number_column(np.array([n_bytes for _, (_, n_bytes) in rows], np.int64)),
        ]
        return pa.Table.from_arrays(columns, schema=SAMPLE_SCHEMA.with_metadata(metadata))

    def save(self, path: Path, *, quickly: bool = False) -> None:
        """Write the sample as Parquet, settings included, so that it can be merged after loading.

        Parameters
        ----------
        quickly : in half the time, and a seventh larger; for samples that will be merged
        """
        pq.write_table(self.to_table(), path, **PARQUET_OPTIONS | (_QUICKLY if quickly else {}))

    @classmethod
    def load(cls, path: Path) -> Reservoir:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FormatError : the file is no saved reservoir
        """
        try:
            with pq.ParquetFile(path) as file:
                table = file.read(use_threads=False)
            metadata = table.schema.metadata or {}
            numbers = {name: int(metadata[f"vecmill.{name}".encode()]) for name in (*_NUMBERS, *_TOTALS)}
            unit, weighting = (_one_of(names, metadata[f"vecmill.{key}".encode()]) for key, names in _NAMES.items())
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise _not_a_sample(path, str(error)) from error
        if not table.schema.equals(SAMPLE_SCHEMA):
            raise _not_a_sample(path, f"its columns are {', '.join(table.schema.names)}")
        size, seed, max_text_chars = (numbers[name] for name in _NUMBERS)
        reservoir = cls(size, seed, max_text_chars, cast(Unit, unit), cast(Weighting, weighting))
        reservoir.n_offered, reservoir.n_bytes_offered, reservoir._threshold = (numbers[name] for name in _TOTALS)
        columns = (table.column(name).to_pylist() for name in SAMPLE_SCHEMA.names)
        for priority, doc_id, text, n_bytes in zip(*columns, strict=True):
            reservoir._put(priority, doc_id, text, n_bytes)
        return reservoir

    @classmethod
    def with_seed_of(cls, path: Path) -> Reservoir:
        """An empty reservoir with the priorities of the one that :meth:`save` wrote; its texts are not read.

        Raises
        ------
        FormatError : the file is no saved reservoir
        """
        try:
            return cls(1, int((pq.read_schema(path).metadata or {})[b"vecmill.seed"]))
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise _not_a_sample(path, str(error)) from error

    def _put(self, priority: int, doc_id: str, text: str, n_bytes: int) -> None:
        offered = text[: self.max_text_chars], n_bytes
        known = self._texts.get((priority, doc_id))
        self._texts[priority, doc_id] = offered if known is None else min(known, offered)
        if len(self._texts) >= 2 * self.size + 64:
            self._trim()

    def _trim(self) -> None:
        if len(self._texts) > self.size:
            *kept, (first_out, _) = heapq.nsmallest(self.size + 1, self._texts)
            self._texts = {member: self._texts[member] for member in kept}
            self._limit = kept[-1][0]
            self._threshold = min(self._threshold, first_out)


def _sentences(texts: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sentences of texts, as split_sentences cuts them: string[n], int64[n] text of each, int64[n] place in it."""
    pieces = (
        pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})
        .with_row_index("row")
        .with_columns(pl.col("text").str.replace_all(BREAK_PATTERNS["sentence"] or "", "${0}" + _CUT).str.split(_CUT))
        .explode("text", empty_as_null=True)
        .with_columns(pl.col("text").str.strip_chars(_SPACE_CHARACTERS))
        .filter(pl.col("text").str.len_bytes() > 0)
        .with_columns(number=pl.int_range(pl.len()).over("row"))
    )
    texts = pieces["text"].to_arrow(compat_level=pl.CompatLevel.oldest())
    return texts, pieces["row"].cast(pl.Int64).to_numpy(), pieces["number"].cast(pl.Int64).to_numpy()


_SPACE_CHARACTERS = "".join(chr(code) for code in range(0x3001) if re.match(f"[{SPACES}]", chr(code)))


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection that leaves no trace of order."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _exponential(hashes: npt.NDArray[np.uint64], rates: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Exponential variates, as the bits of float64; half a step off both ends of [0, 1) none is zero or infinite."""
    uniform = ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(-np.log1p(-uniform) / np.maximum(1, rates), dtype=np.float64).view(np.uint64)


def _one_of(names: tuple[str, ...], found: bytes) -> str:
    if found.decode() not in names:
        raise ValueError(f"{found!r} is none of {', '.join(names)}")
    return found.decode()


def _not_a_sample(path: Path, why: str) -> FormatError:
    return FormatError(
        f"{path} is not a sample of documents: {why}",
        expected="a Parquet file that Reservoir.save wrote",
        todo="run the vocabulary stage again with --refresh vocabulary",
    )
