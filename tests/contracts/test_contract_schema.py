"""Arrow schemas of shards against a contract, from the footers."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.corpus.contract_config import ContractConfig, contract_file
from vecmill.corpus.contracts.arrow_check import arrow_schema, check_shards
from vecmill.corpus.contracts.contract_file import load_contract
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.errors import ConfigError, ContractViolation, StoreError

CONTRACT = load_contract(contract_file(ContractConfig()))


def shard(folder, schema, name="part-00000.parquet", n=2):
    fill = {"string": "a", "large_string": "a", "int64": 1, "int32": 1}
    columns = [pa.array([fill[str(field.type)]] * n, type=field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), folder / name)
    return folder / name


def with_field(name, field):
    return CORPUS_SCHEMA.set(CORPUS_SCHEMA.get_field_index(name), field)


def test_rows_are_counted_from_the_footers(tmp_path):
    paths = [shard(tmp_path, CORPUS_SCHEMA, f"part-{number}.parquet", number) for number in (0, 3, 4)]
    assert check_shards(CONTRACT, paths) == 7


def test_the_order_of_columns_is_free(tmp_path):
    assert check_shards(CONTRACT, [shard(tmp_path, pa.schema(list(CORPUS_SCHEMA)[::-1]))]) == 2


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (
            with_field("n_chars", pa.field("n_chars", pa.int32(), False)),
            "'n_chars' is int32 not null, not int64 not null",
        ),
        (with_field("text", pa.field("text", pa.large_string(), False)), "'text' is large_string not null, not string"),
        (with_field("title", pa.field("title", pa.string())), "'title' is string nullable, not string not null"),
        (CORPUS_SCHEMA.remove(1), "column 'source_uri' is missing"),
        (CORPUS_SCHEMA.append(pa.field("lang", pa.string())), "column 'lang' is not in the contract"),
    ],
)
def test_a_difference_is_told_with_shard_column_and_types(tmp_path, schema, told):
    good, bad = shard(tmp_path, CORPUS_SCHEMA), shard(tmp_path, schema, "part-00001.parquet")
    with pytest.raises(ContractViolation) as caught:
        check_shards(CONTRACT, [good, bad])
    assert str(caught.value).startswith("part-00001.parquet") and told in str(caught.value)
    assert "n_chars int64 not null" in caught.value.expected


def test_every_difference_of_a_shard_is_told_at_once(tmp_path):
    schema = CORPUS_SCHEMA.remove(0).append(pa.field("id", pa.string()))
    with pytest.raises(ContractViolation, match="column 'doc_id' is missing; column 'id' is not in the contract"):
        check_shards(CONTRACT, [shard(tmp_path, schema)])


def test_the_stage_checks_the_schema_before_anything_else(run_contract, tmp_path):
    (tmp_path / "ingest").mkdir()
    shard(tmp_path / "ingest", CORPUS_SCHEMA.remove(1))
    with pytest.raises(ContractViolation, match="column 'source_uri' is missing"):
        run_contract(tmp_path / "ingest")


def test_a_damaged_shard_is_told(tmp_path):
    path = shard(tmp_path, CORPUS_SCHEMA)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StoreError, match=r"part-00000\.parquet cannot be read as Parquet.*--refresh"):
        check_shards(CONTRACT, [path])


def test_a_shard_damaged_inside_is_told(run_contract, tmp_path):
    (tmp_path / "ingest").mkdir()
    path = shard(tmp_path / "ingest", CORPUS_SCHEMA, n=2000)
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"DuckDB cannot read the documents.*--refresh ingest"):
        run_contract(tmp_path / "ingest")


def test_an_arrow_type_that_there_is_not_is_refused():
    columns = [CONTRACT.columns[0].model_copy(update={"type": "strings"}), *CONTRACT.columns[1:]]
    with pytest.raises(ConfigError, match=r"'doc_id' has the type 'strings'.*did you mean 'string'"):
        arrow_schema(CONTRACT.model_copy(update={"columns": columns}))
