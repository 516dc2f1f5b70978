"""What became of every record that was read: kept, dropped or quarantined, and why, row by row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.errors import StoreError

LEDGER_FILE = "dropped.parquet"

Rule = Literal["malformed", "empty", "language", "exact_duplicate", "near_duplicate"]
# The step of ingest at which a rule takes a record out.
_STEPS: dict[Rule, str] = {
    "malformed": "read",
    "empty": "clean",
    "language": "language",
    "exact_duplicate": "duplicates",
    "near_duplicate": "duplicates",
}
_BATCH_ROWS = 16384


def _field(name: str, meaning: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.string(), nullable=nullable, metadata={"description": meaning})


LEDGER_SCHEMA = pa.schema(
    [
        _field("doc_id", "the document that was left out; null for a record that could not be read", nullable=True),
        _field("source_uri", "path or URL of the file it came from, as the configuration spells it"),
        _field("rule", f"why: {', '.join(_STEPS)}; a malformed record counts as quarantined, all others as dropped"),
        _field("step", "the step of ingest that left it out: read, clean, language, duplicates"),
        _field(
            "twin", "doc_id of the document in the corpus that it repeats; null where no twin is why", nullable=True
        ),
        _field("detail", "what was found: place and fault of a malformed record, language, share of equal shingles"),
    ]
)


class Ledger:
    """Writes ``dropped.parquet`` beside the shards, in the order of the sources; memory holds 16,384 rows.

    Attributes
    ----------
    n_read : records that the sources hold, those that cannot be read among them; the caller counts them up
    """

    def __init__(self, folder: Path) -> None:
        self.n_read = 0
        self._counts: Counter[Rule] = Counter()
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(
            folder / LEDGER_FILE, LEDGER_SCHEMA, compression="zstd", use_dictionary=["source_uri", "rule", "step"]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def leave_out(
        self, rule: Rule, source_uri: str, doc_id: str | None, *, twin: str | None = None, detail: str = ""
    ) -> None:
        """Enter one record that does not reach the corpus."""
        self._counts[rule] += 1
        self._rows.append(
            {
                "doc_id": doc_id,
                "source_uri": source_uri,
                "rule": rule,
                "step": _STEPS[rule],
                "twin": twin,
                "detail": detail,
            }
        )
        if len(self._rows) >= _BATCH_ROWS:
            self._flush()

    def count(self, rule: Rule) -> int:
        """How many records a rule has left out so far."""
        return self._counts[rule]

    @property
    def n_rows(self) -> int:
        """Rows of ``dropped.parquet``: every record that was dropped or quarantined."""
        return self._counts.total()

    def reconciled(self, n_kept: int) -> dict[str, int]:
        """The four numbers of the ledger, which add up: read = kept + dropped + quarantined.

        Parameters
        ----------
        n_kept : documents in the shards, counted where they are written

        Raises
        ------
        StoreError : they do not add up, so a record went missing between reading and writing
        """
        n_quarantined = self._counts["malformed"]
        n_dropped = self.n_rows - n_quarantined
        if self.n_read != n_kept + n_dropped + n_quarantined:
            raise StoreError(
                f"the ledger of ingest does not add up: {self.n_read:,} records read, but {n_kept:,} kept, "
                f"{n_dropped:,} dropped and {n_quarantined:,} quarantined",
                expected="read = kept + dropped + quarantined",
                todo="this is a fault of vecmill; report it with the configuration",
            )
        return {"n_read": self.n_read, "n_kept": n_kept, "n_dropped": n_dropped, "n_quarantined": n_quarantined}

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=LEDGER_SCHEMA))
            self._rows = []
