"""What became of every record that was read: kept, dropped or quarantined, and why, row by row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.errors import StoreError
from vecmill.text.arrow_columns import number_column, string_column

LEDGER_FILE = "dropped.parquet"

Rule = Literal["malformed", "forgotten", "empty", "language", "exact_duplicate", "near_duplicate"]
# The step of ingest at which a rule takes a record out.
_STEPS: dict[Rule, str] = {
    "malformed": "read",
    "forgotten": "forget",
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
        _field(
            "doc_id",
            "the document that was left out; null for a record that could not be read or that must be forgotten",
            nullable=True,
        ),
        _field("source_uri", "path or URL of the file it came from, as the configuration spells it"),
        _field("rule", f"why: {', '.join(_STEPS)}; a malformed record counts as quarantined, all others as dropped"),
        _field("step", "the step of ingest that left it out: read, forget, clean, language, duplicates"),
        _field(
            "twin", "doc_id of the document in the corpus that it repeats; null where no twin is why", nullable=True
        ),
        _field("detail", "what was found: place and fault of a malformed record, language, share of equal shingles"),
    ]
)


# A ledger of one piece says where its rows belong among the documents that are kept.
N_BEFORE = "n_before"
PIECE_LEDGER_SCHEMA = LEDGER_SCHEMA.append(
    pa.field(N_BEFORE, pa.int64(), nullable=False, metadata={"description": "documents kept before this record"})
)


class Ledger:
    """Writes ``dropped.parquet`` beside the shards, in the order of the sources; memory holds 16,384 rows.

    Parameters
    ----------
    of_piece : whether rows carry the number of documents kept before them, as :data:`PIECE_LEDGER_SCHEMA` has it

    Attributes
    ----------
    n_read : records that the sources hold, those that cannot be read among them; the caller counts them up
    """

    def __init__(self, folder: Path, *, of_piece: bool = False) -> None:
        self.n_read = 0
        self._counts: Counter[Rule] = Counter()
        self._schema = PIECE_LEDGER_SCHEMA if of_piece else LEDGER_SCHEMA
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._writer = pq.ParquetWriter(
            folder / LEDGER_FILE, self._schema, compression="zstd", use_dictionary=["source_uri", "rule", "step"]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush(0)
        self._writer.close()

    def leave_out(
        self,
        rule: Rule,
        source_uri: str,
        doc_id: str | None,
        *,
        twin: str | None = None,
        detail: str = "",
        n_before: int = 0,
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
                N_BEFORE: n_before,
            }
        )
        if len(self._rows) >= _BATCH_ROWS:
            self._flush()

    def take_over(self, rows: pa.Table) -> None:
        """Enter rows of another ledger, in their order."""
        self._flush()
        self._counts.update(rows["rule"].to_pylist())
        self._tables.append(rows.select(self._schema.names).cast(self._schema))
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

    def _flush(self, least_rows: int = _BATCH_ROWS) -> None:
        """Write what waits, if it is that much."""
        if self._rows:
            columns = [_column([row[field.name] for row in self._rows], field.type) for field in self._schema]
            self._tables.append(pa.Table.from_arrays(columns, schema=self._schema))
            self._rows = []
        n_rows = sum(len(table) for table in self._tables)
        if n_rows and n_rows >= least_rows:
            self._writer.write_table(pa.concat_tables(self._tables).combine_chunks(), row_group_size=n_rows)
            self._tables = []


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    return number_column(np.array(values, np.int64)) if pa.types.is_integer(kind) else string_column(values).cast(kind)
