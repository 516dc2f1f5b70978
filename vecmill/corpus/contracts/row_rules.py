"""Row rules: one pass over the table finds every failing row, for quarantine and for Great Expectations.

Predicates such as the share of letters cost seconds a gigabyte, and Great Expectations evaluates each query twice (for
rows and for their number). So they are evaluated once, into the table ``failures`` (row_key, rule, origin, excerpt),
which is as long as there are failures, not as the data. The same pass works out the measures, for the table ``facts``.
What is found of several parts of the data, each by itself, is what is found of them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.contracts.contract_file import Contract, predicate
from vecmill.corpus.contracts.database import create_view, identifier, quote
from vecmill.corpus.contracts.facts import fact_columns
from vecmill.errors import ConfigError

EXCERPT_CHARS = 200
FACTS, FAILURES = "facts", "failures"

_ROWS_PER_GROUP = 65_536
_KEPT_TYPES = (
    *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("FLOAT", "DOUBLE", "VARCHAR", "BLOB", "DATE"),
)


def quarantine_schema(contract: Contract) -> pa.Schema:
    """Arrow schema of ``quarantine.parquet``: one row for each rule that a row failed."""
    fields = [contract.row_key, "rule", "severity", "excerpt"]
    return pa.schema([pa.field(name, pa.string(), nullable=False) for name in fields])


def check_predicates(connection: duckdb.DuckDBPyConnection, contract: Contract, view: str) -> None:
    """Have DuckDB bind every predicate and measure to the columns, without reading a row.

    Raises
    ------
    ConfigError : one is no SQL, names a column or function that there is not, or looks at other rows (aggregates and
        window functions); or a measure is of a type that no file keeps as it is
    """
    for rule in contract.row_rules:
        with _bound(
            contract, f"rule {rule.rule!r} holds no usable SQL predicate ({rule.holds})", "row_rules", rule.rule
        ):
            # Where rows are chosen nothing can be asked that looks at other rows, which may be in another piece.
            connection.execute(f"SELECT 1 FROM {view} WHERE {_failing(predicate(contract, rule))} LIMIT 0")
    for measure in contract.measures:
        what = f"measure {measure.name!r} is no usable SQL expression ({measure.value})"
        with _bound(contract, what, "measures", measure.name):
            connection.execute(f"SELECT 1 FROM {view} WHERE (\n{measure.value}\n) IS NULL LIMIT 0")
            kind = connection.sql(f"SELECT (\n{measure.value}\n) FROM {view} LIMIT 0").types[0]
        if str(kind) not in _KEPT_TYPES:
            raise ConfigError(
                f"contract {contract.name!r}: measure {measure.name!r} is of type {kind} ({measure.value})",
                expected=f"one of {', '.join(_KEPT_TYPES)}, which a file keeps as they are",
                todo=f"cast it in measures, {measure.name!r}, in the contract file",
            )


@contextmanager
def _bound(contract: Contract, what: str, section: str, name: str) -> Iterator[None]:
    try:
        yield
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
        raise ConfigError(
            f"contract {contract.name!r}: {what}: {str(error).strip().splitlines()[0]}",
            expected=f"{'a predicate' if section == 'row_rules' else 'an expression'} in DuckDB's SQL over "
            f"{', '.join(each.name for each in contract.columns)} of one row",
            todo=f"correct {section}, {'rule ' if section == 'row_rules' else ''}{name!r}, in the contract file",
        ) from error


def examine(connection: duckdb.DuckDBPyConnection, contract: Contract, view: str) -> int:
    """Evaluate every predicate and measure on every row, once, in one pass.

    Makes two views: ``facts``, a row for each row (:func:`~vecmill.corpus.contracts.facts.fact_columns`, then the
    measures), and ``failures`` (row_key, rule, origin, excerpt), a row for each rule that a row failed.

    Returns
    -------
    bytes of UTF-8 in the column of texts
    """
    verdicts = ",\n".join(
        f"CASE WHEN {_failing(predicate(contract, rule))} THEN {quote(rule.rule)} END" for rule in contract.row_rules
    )
    columns = [identifier(name) for name in fact_columns(contract)]
    measures = [f"(\n{each.value}\n) AS {identifier(each.name)}" for each in contract.measures]
    text = identifier(contract.excerpt)
    connection.execute(f"""
        CREATE TABLE examined AS
        SELECT {", ".join([*columns, *measures])}, "failing rules",
            strlen({text}) AS "bytes of text",
            CASE WHEN len("failing rules") > 0 THEN coalesce({identifier(contract.row_key)}, '') END AS "failing row",
            CASE WHEN len("failing rules") > 0 THEN coalesce({identifier(contract.origin)}, '') END AS "from",
            CASE WHEN len("failing rules") > 0 THEN coalesce(substr({text}, 1, {EXCERPT_CHARS}), '') END AS "begins"
        FROM (
            SELECT *, list_filter(CAST([{verdicts}] AS VARCHAR[]), lambda verdict: verdict IS NOT NULL)
                AS "failing rules"
            FROM {view}
        )
    """)
    named = [*columns, *(identifier(each.name) for each in contract.measures)]
    connection.execute(f"CREATE VIEW {FACTS} AS SELECT {', '.join(named)} FROM examined")
    connection.execute(f"""
        CREATE VIEW {FAILURES} AS
        SELECT row_key, rule, origin, CASE WHEN rule IN ({_quarantining(contract)}) THEN excerpt END AS excerpt
        FROM (
            SELECT "failing row" AS row_key, "from" AS origin, "begins" AS excerpt, unnest("failing rules") AS rule
            FROM examined
        )
    """)
    ((n_bytes,),) = connection.execute('SELECT sum("bytes of text") FROM examined').fetchall()
    return int(n_bytes or 0)


def write_examined(connection: duckdb.DuckDBPyConnection, facts: Path, failures: Path) -> int:
    """Write what :func:`examine` found as Parquet, failures sorted; gives their number."""
    _write(connection.sql(f"SELECT * FROM {FACTS}"), facts)
    return _write(connection.sql(f"SELECT * FROM {FAILURES} ORDER BY ALL"), failures)


def read_examined(connection: duckdb.DuckDBPyConnection, facts: Sequence[Path], failures: Sequence[Path]) -> None:
    """Show what was written of several tables as one, under the same names."""
    create_view(connection, FACTS, facts)
    create_view(connection, FAILURES, failures)


def _write(rows: duckdb.DuckDBPyRelation, path: Path) -> int:
    reader = rows.to_arrow_reader(_ROWS_PER_GROUP)
    n_rows = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            n_rows += batch.num_rows
    return n_rows


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
    ((n_named,),) = connection.execute(f"SELECT count(DISTINCT row_key) {chosen}").fetchall()
    return n_rows, int(n_named)


def first_failures(connection: duckdb.DuckDBPyConnection, rule: str, n: int) -> list[tuple[str, str]]:
    """The first ``n`` rows that failed a rule, by their key: (key, where the row came from)."""
    found = connection.execute(
        f"SELECT row_key, min(origin) FROM {FAILURES} WHERE rule = ? GROUP BY row_key ORDER BY row_key LIMIT {int(n)}",
        [rule],
    )
    return [(str(key), str(origin)) for key, origin in found.fetchall()]


def _failing(condition: str) -> str:
    # NULL fails too: a rule that cannot be judged does not hold. The line breaks end a comment inside the predicate.
    return f"(\n{condition}\n) IS NOT TRUE"


def _quarantining(contract: Contract) -> str:
    # The empty name matches no rule and keeps the list valid where no rule quarantines.
    return ", ".join(quote(name) for name in ["", *(each.rule for each in contract.row_rules if each.quarantine)])
