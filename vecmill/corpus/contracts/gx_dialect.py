"""DuckDB as Great Expectations can use it: duckdb-engine's SQLAlchemy dialect without transactions."""

from __future__ import annotations

import atexit
from typing import Any

import duckdb_engine
from sqlalchemy.dialects import registry


class GXDuckDB(duckdb_engine.Dialect):  # type: ignore[misc]
    """Read-only checks in autocommit.

    Great Expectations fetches a result after its connection went back to the pool, and the rollback done there throws
    the result away. Nothing is written through this dialect, so there is nothing to roll back.
    """

    # Says what duckdb-engine leaves unsaid; SQLAlchemy warns on every connection otherwise.
    supports_statement_cache = False

    def do_begin(self, dbapi_connection: Any) -> None: ...

    def do_commit(self, dbapi_connection: Any) -> None: ...

    def do_rollback(self, dbapi_connection: Any) -> None: ...


registry.register("duckdb.gx", GXDuckDB.__module__, GXDuckDB.__name__)

# With Great Expectations loaded, duckdb-engine's functions outlive their module at the end of the interpreter and keep
# duckdb alive, whose binding then prints pages of "leaked" objects. Cutting the chain at exit, when nothing can use the
# module any more, leaves the terminal clean.
atexit.register(vars(duckdb_engine).clear)
