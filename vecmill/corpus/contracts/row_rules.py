"""Row rules: one pass over the table finds every failing row, for quarantine and for Great Expectations.

Predicates such as the share of letters cost seconds a gigabyte, and Great Expectations evaluates each query twice (for
rows and for their number). So they are evaluated once, into the table ``failures`` (row_key, rule, excerpt), which is
as long as there are failures, not as the data.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.contracts.contract_file import Contract, predicate
from vecmill.corpus.contracts.database import identifier, quote
from vecmill.errors import ConfigError

EXCERPT_CHARS = 200
FAILURES = "failures"

_ROWS_PER_GROUP = 65_536


def quarantine_schema(contract: Contract) -> pa.Schema:
    """Arrow schema of ``quarantine.parquet``: one row for each rule that a row failed."""
    fields = [contract.row_key, "rule", "severity", "excerpt"]
    return pa.schema([pa.field(name, pa.string(), nullable=False) for name in fields])


def check_predicates(connection: duckdb.DuckDBPyConnection, contract: Contract, view: str) -> None:
    """Have DuckDB bind every predicate to the columns, without reading a row.

    Raises
    ------
    ConfigError : a predicate is no SQL, or names a column or function that there is not
    """
    for rule in contract.row_rules:
        try:
            connection.execute(f"SELECT {_failing(predicate(contract, rule))} FROM {view} LIMIT 0")
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            raise ConfigError(
                f"contract {contract.name!r}: rule {rule.rule!r} holds no usable SQL predicate ({rule.holds}): "
                f"{str(error).strip().splitlines()[0]}",
                expected=f"a predicate in DuckDB's SQL over {', '.join(each.name for each in contract.columns)}",
                todo=f"correct row_rules, rule {rule.rule!r}, in the contract file",
            ) from error


def find_failures(connection: duckdb.DuckDBPyConnection, contract: Contract, view: str) -> None:
    """Evaluate every predicate on every row, once, and keep what fails in the table ``failures``."""
    verdicts = ",\n".join(
        f"CASE WHEN {_failing(predicate(contract, rule))} THEN {quote(rule.rule)} END" for rule in contract.row_rules
    )
    connection.execute(f"""
        CREATE TABLE {FAILURES} AS
        SELECT row_key, rule, CASE WHEN rule IN ({_quarantining(contract)}) THEN excerpt END AS excerpt
        FROM (
            SELECT row_key, excerpt, unnest(list_filter(verdicts, lambda verdict: verdict IS NOT NULL)) AS rule
            FROM (
                SELECT
                    coalesce({identifier(contract.row_key)}, '') AS row_key,
                    coalesce(substr({identifier(contract.excerpt)}, 1, {EXCERPT_CHARS}), '') AS excerpt,
                    CAST([{verdicts}] AS VARCHAR[]) AS verdicts
                FROM {view}
            )
        )
    """)


def write_quarantine(connection: duckdb.DuckDBPyConnection, contract: Contract, path: Path) -> tuple[int, int]:
    """Write failures of the rules that quarantine, sorted by row and rule.

    Returns
    -------
    number of rows written, and number of distinct rows of the table that they name
    """
    severities = " ".join(f"WHEN {quote(rule.rule)} THEN {quote(rule.severity)}" for rule in contract.row_rules)
    chosen = f"FROM {FAILURES} WHERE rule IN ({_quarantining(contract)})"
    schema = quarantine_schema(contract)
    n_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        found = connection.sql(
            f"SELECT row_key, rule, CASE rule {severities} ELSE '' END, excerpt {chosen} ORDER BY ALL"
        )
        for batch in found.to_arrow_reader(_ROWS_PER_GROUP):
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            n_rows += batch.num_rows
    counted = connection.execute(f"SELECT count(DISTINCT row_key) {chosen}").fetchone()
    return n_rows, int(counted[0]) if counted else 0


def first_failures(
    connection: duckdb.DuckDBPyConnection, contract: Contract, view: str, rule: str, n: int
) -> list[tuple[str, str]]:
    """The first ``n`` rows that failed a rule, by their key: (key, where the row came from)."""
    found = connection.execute(
        f"""
        SELECT row_key, any_value(coalesce({identifier(contract.origin)}, ''))
        FROM (SELECT row_key FROM {FAILURES} WHERE rule = ? ORDER BY row_key LIMIT {int(n)})
        JOIN {view} ON row_key = {identifier(contract.row_key)}
        GROUP BY row_key ORDER BY row_key
        """,
        [rule],
    )
    return [(str(key), str(origin)) for key, origin in found.fetchall()]


def _failing(condition: str) -> str:
    # NULL fails too: a rule that cannot be judged does not hold. The line breaks end a comment inside the predicate.
    return f"(\n{condition}\n) IS NOT TRUE"


def _quarantining(contract: Contract) -> str:
    # The empty name matches no rule and keeps the list valid where no rule quarantines.
    return ", ".join(quote(name) for name in ["", *(each.rule for each in contract.row_rules if each.quarantine)])
