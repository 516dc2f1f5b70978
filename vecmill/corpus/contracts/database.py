"""DuckDB over the shards of a table: bounded in memory, offline, its errors told in our words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import duckdb

from vecmill.errors import ConfigError, StorageFull, StoreError

# DuckDB's own advice is 125 MB a thread; with less, more threads only make it spill earlier.
_MB_PER_THREAD = 125


@dataclass(frozen=True)
class Database:
    """A DuckDB file in a scratch folder, with what one opens it with.

    Attributes
    ----------
    path : the database file; beside it lies what DuckDB spills
    memory_limit_mb : MB (10^6 bytes) that DuckDB may use
    """

    path: Path
    memory_limit_mb: int

    @property
    def settings(self) -> dict[str, str | bool | int | float | list[str]]:
        """DuckDB's configuration; every connection to one file has to give the same."""
        return {
            "memory_limit": f"{self.memory_limit_mb}MB",
            "threads": max(1, min(os.cpu_count() or 1, self.memory_limit_mb // _MB_PER_THREAD)),
            "temp_directory": str(self.path.parent / "spill"),
            # An unknown function must not send DuckDB looking for an extension on the network.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the file for the length of the block.

        Raises
        ------
        ConfigError : the memory limit is too low for the data
        StorageFull : there is no room for the scratch files
        StoreError : DuckDB cannot read the data
        """
        try:
            with duckdb.connect(str(self.path), config=self.settings) as connection:
                yield connection
        except duckdb.Error as error:
            raise self.explain(str(error)) from error

    def explain(self, message: str) -> ConfigError | StoreError:
        """DuckDB's message as one of our errors."""
        first = message.strip().splitlines()[0]
        if "Out of Memory Error" in message:
            return ConfigError(
                f"contract.memory_limit_mb = {self.memory_limit_mb} is too little for these documents: {first}",
                todo="raise contract.memory_limit_mb; long documents need the most",
            )
        if os.strerror(errno.ENOSPC) in message:
            return StorageFull(
                f"no room for DuckDB's scratch files in {self.path.parent}: {first}",
                todo="free some space there, or point TMPDIR to a larger disk",
            )
        return StoreError(
            f"DuckDB cannot read the documents: {first}",
            todo="if a shard is damaged, run again with --refresh ingest",
        )


def create_view(connection: duckdb.DuckDBPyConnection, name: str, shards: Sequence[Path]) -> None:
    """Show Parquet shards as one view; nothing is read yet."""
    # DuckDB takes every path for a pattern, so brackets and stars in a folder's name have to be escaped.
    paths = ", ".join(quote(escape(str(shard))) for shard in shards)
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{paths}])")


def quote(text: str) -> str:
    """A SQL string literal."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def identifier(name: str) -> str:
    """A quoted SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
