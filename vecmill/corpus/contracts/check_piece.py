"""Holding some shards against a contract by themselves, so that tomorrow's run takes over what was found.

A piece depends on its shards, on the columns, row rules and measures of the contract, and on which columns the rules on
the table name; not on severities, tolerances or what other shards hold.

| file | holds |
| --- | --- |
| ``facts.parquet`` | a row for each document: what rules on the table ask for, and no text |
| ``failures.parquet`` | a row for each rule that a document failed, as ``examine`` makes it |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vecmill.corpus.contracts.arrow_check import check_shards
from vecmill.corpus.contracts.contract_file import Contract, predicate
from vecmill.corpus.contracts.database import Database, create_view
from vecmill.corpus.contracts.facts import fact_columns
from vecmill.corpus.contracts.row_rules import examine, write_examined
from vecmill.corpus.shard_shares import ShardShare
from vecmill.store.stage import Piece, StageIO, StageReport

KIND = "check"
FACTS_NAME, FAILURES_NAME = "facts.parquet", "failures.parquet"

_VIEW = "documents"


@dataclass(frozen=True)
class Checking:
    """What it takes to check some shards; ``memory_limit_mb`` is DuckDB's, and changes no result."""

    share: ShardShare
    contract: Contract
    memory_limit_mb: int


def checking_piece(share: ShardShare, contract: Contract, memory_limit_mb: int) -> Piece:
    """The piece that checks a share of the corpus."""
    return Piece(
        config={
            "shards": list(share.names),
            "columns": [[each.name, each.type, each.nullable] for each in contract.columns],
            "named": [contract.row_key, contract.origin, contract.excerpt],
            "row_rules": [[each.rule, predicate(contract, each), each.quarantine] for each in contract.row_rules],
            "measures": [[each.name, each.value] for each in contract.measures],
            "facts": fact_columns(contract),
        },
        argument=Checking(share, contract, memory_limit_mb),
        inputs=share.inputs,
        n_bytes=share.n_bytes,
        memory_bytes=memory_limit_mb * 1_000_000,
    )


def check_piece(checking: Checking, io: StageIO) -> StageReport:
    """Check some shards: their schema, the row rules, and the measures.

    Raises
    ------
    ContractViolation : a shard has another schema
    ConfigError : the memory limit is too low
    StoreError : a shard cannot be read
    """
    contract, paths = checking.contract, checking.share.paths(io)
    n_documents = check_shards(contract, paths)
    with TemporaryDirectory(prefix="vecmill-contract-") as scratch:
        database = Database(Path(scratch) / "contract.duckdb", checking.memory_limit_mb)
        with database.connect() as connection:
            create_view(connection, _VIEW, paths)
            n_text_bytes = examine(connection, contract, _VIEW)
            n_failures = write_examined(connection, io.output / FACTS_NAME, io.output / FAILURES_NAME)
    io.advance(checking.share.n_bytes)
    metrics: dict[str, Any] = {"n_documents": n_documents, "n_text_bytes": n_text_bytes}
    return StageReport(metrics=metrics, rows={FACTS_NAME: n_documents, FAILURES_NAME: n_failures})
