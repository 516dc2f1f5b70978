"""Holding the Arrow schema of Parquet shards against a contract, from their footers alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.corpus.contracts.contract_file import Contract, nearest_name
from vecmill.errors import ConfigError, ContractViolation, StoreError


def arrow_schema(contract: Contract) -> pa.Schema:
    """The schema that a contract's columns state.

    Raises
    ------
    ConfigError : a type that pyarrow does not know
    """
    fields = []
    for column in contract.columns:
        try:
            kind = pa.type_for_alias(column.type)
        except ValueError as error:
            raise ConfigError(
                f"contract {contract.name!r}: column {column.name!r} has the type {column.type!r}, which Arrow "
                "does not know",
                todo=nearest_name(column.type, _COMMON_TYPES),
            ) from error
        fields.append(pa.field(column.name, kind, nullable=column.nullable))
    return pa.schema(fields)


def check_shards(contract: Contract, shards: Sequence[Path]) -> int:
    """Check every shard's footer: columns there and no others, each of the stated type and nullability.

    The order of columns is free, since they are read by name.

    Returns
    -------
    number of rows in all shards, as the footers state it

    Raises
    ------
    ContractViolation : naming the first shard that differs, and everything in which it does
    StoreError : a shard is no Parquet file
    """
    expected = arrow_schema(contract)
    n_rows = 0
    for shard in shards:
        try:
            metadata = pq.read_metadata(shard)
            found = metadata.schema.to_arrow_schema()
        except pa.ArrowInvalid as error:
            raise StoreError(
                f"{shard} cannot be read as Parquet: {error}",
                todo="the artifact is damaged; run the stage that wrote it again with --refresh",
            ) from error
        differences = _differences(found, expected)
        if differences:
            raise ContractViolation(
                f"{shard.name} ({shard.parent}) does not have the schema of contract {contract.name!r} version "
                f"{contract.version}: {'; '.join(differences)}",
                expected=", ".join(f"{field.name} {_spell(field)}" for field in expected),
                todo="the stage that writes this table and the contract file disagree: correct the one that is wrong",
            )
        n_rows += int(metadata.num_rows)
    return n_rows


def _differences(found: pa.Schema, expected: pa.Schema) -> list[str]:
    lines = []
    for field in expected:
        if field.name not in found.names:
            lines.append(f"column {field.name!r} is missing")
            continue
        other = found.field(field.name)
        if other.type != field.type or other.nullable != field.nullable:
            lines.append(f"column {field.name!r} is {_spell(other)}, not {_spell(field)}")
    lines += [f"column {name!r} is not in the contract" for name in found.names if name not in expected.names]
    return lines


def _spell(field: pa.Field) -> str:
    return f"{field.type} {'nullable' if field.nullable else 'not null'}"


_COMMON_TYPES = ["string", "binary", "bool", "int32", "int64", "float32", "float64", "date32"]
