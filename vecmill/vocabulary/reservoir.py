"""A uniform random sample of documents that does not depend on who saw which document when.

Every document gets a 64-bit priority, a hash of its id keyed with the seed; the sample is the ``size`` documents with
the smallest priorities. So the sample of a union is the sample of the samples' union: reservoirs of shards merge in
any order and grouping into exactly the reservoir of the whole ("bottom-k sampling", Cohen and Kaplan 2007). Algorithm
R (Vitter 1985), the usual choice for one stream, has none of these properties: its sample depends on the order of
arrival.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.errors import FormatError
from vecmill.vocabulary.schema import PARQUET_OPTIONS, SAMPLE_SCHEMA

_METADATA_KEYS = ("size", "seed", "max_text_chars")


class Reservoir:
    """The ``size`` documents of smallest priority among those added.

    Adding is idempotent: a document that comes again under the same ``doc_id`` is the same member of the set. Should
    its text differ, the lesser text (code point order) stays, so that the result remains independent of order.

    Texts are cut to ``max_text_chars`` characters, which bounds the sample at ``size * max_text_chars`` characters. A
    cut text can no longer speak for the end of its document; estimates of word frequencies from a sample with cut
    texts weigh long documents too lightly.

    Parameters
    ----------
    size : documents in the sample, at least 1
    seed : integer; other seeds give independent samples
    max_text_chars : characters kept of each text, at least 1
    """

    def __init__(self, size: int, seed: int, max_text_chars: int = 20_000) -> None:
        if size < 1 or max_text_chars < 1:
            raise ValueError(f"size {size} and max_text_chars {max_text_chars} must both be at least 1")
        self.size = size
        self.seed = seed
        self.max_text_chars = max_text_chars
        self._key = blake2b(f"vecmill.reservoir.{seed}".encode()).digest()
        self._texts: dict[tuple[int, str], str] = {}
        # No document with a priority above this can be in the sample any more.
        self._limit = (1 << 64) - 1

    def __len__(self) -> int:
        self._trim()
        return len(self._texts)

    def priority(self, doc_id: str) -> int:
        """The document's priority, uniform in [0, 2**64)."""
        digest = blake2b(doc_id.encode(), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "little")

    def add(self, doc_ids: Iterable[str], texts: pa.Array) -> None:
        """Offer documents; only the texts of those that may stay are turned into Python strings.

        Parameters
        ----------
        doc_ids : n ids
        texts : string[n]
        """
        for row, doc_id in enumerate(doc_ids):
            priority = self.priority(doc_id)
            if priority <= self._limit:
                self._put(priority, doc_id, texts[row].as_py())

    def merge(self, other: Reservoir) -> Reservoir:
        """The reservoir of everything that was added to either; both stay as they are.

        Raises
        ------
        ValueError : the two were made with different settings, so their priorities cannot be compared
        """
        for name in _METADATA_KEYS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"reservoirs with {name} {mine} and {theirs} cannot be merged")
        merged = Reservoir(self.size, self.seed, self.max_text_chars)
        for reservoir in (self, other):
            for (priority, doc_id), text in reservoir._texts.items():
                merged._put(priority, doc_id, text)
        merged._trim()
        return merged

    def to_table(self) -> pa.Table:
        """The sample as a table of :data:`SAMPLE_SCHEMA`, sorted by priority, then by doc_id."""
        self._trim()
        rows = sorted(self._texts.items())
        metadata = {f"vecmill.{name}": str(getattr(self, name)) for name in _METADATA_KEYS}
        columns = [
            pa.array([priority for (priority, _), _ in rows], pa.uint64()),
            pa.array([doc_id for (_, doc_id), _ in rows], pa.string()),
            pa.array([text for _, text in rows], pa.string()),
        ]
        return pa.Table.from_arrays(columns, schema=SAMPLE_SCHEMA.with_metadata(metadata))

    def save(self, path: Path) -> None:
        """Write the sample as Parquet, settings included, so that it can be merged after loading."""
        pq.write_table(self.to_table(), path, **PARQUET_OPTIONS)

    @classmethod
    def load(cls, path: Path) -> Reservoir:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FormatError : the file is no saved reservoir
        """
        try:
            table = pq.read_table(path)
            metadata = table.schema.metadata or {}
            settings = {name: int(metadata[f"vecmill.{name}".encode()]) for name in _METADATA_KEYS}
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise _not_a_sample(path, str(error)) from error
        if not table.schema.equals(SAMPLE_SCHEMA):
            raise _not_a_sample(path, f"its columns are {', '.join(table.schema.names)}")
        reservoir = cls(**settings)
        columns = (table.column(name).to_pylist() for name in SAMPLE_SCHEMA.names)
        for priority, doc_id, text in zip(*columns, strict=True):
            reservoir._put(priority, doc_id, text)
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

    def _put(self, priority: int, doc_id: str, text: str) -> None:
        text = text[: self.max_text_chars]
        known = self._texts.get((priority, doc_id))
        self._texts[priority, doc_id] = text if known is None else min(known, text)
        if len(self._texts) >= 2 * self.size + 64:
            self._trim()

    def _trim(self) -> None:
        if len(self._texts) > self.size:
            kept = heapq.nsmallest(self.size, self._texts)
            self._texts = {member: self._texts[member] for member in kept}
            self._limit = kept[-1][0]


def _not_a_sample(path: Path, why: str) -> FormatError:
    return FormatError(
        f"{path} is not a sample of documents: {why}",
        expected="a Parquet file that Reservoir.save wrote",
        todo="run the vocabulary stage again with --refresh vocabulary",
    )
