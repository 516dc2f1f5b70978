"""Great Expectations as the judge: mistakes in a contract, and the silence around it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vecmill
from vecmill.corpus.contract_config import ContractConfig, contract_file
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.errors import ConfigError, ContractViolation


@pytest.fixture
def changed(tmp_path):
    """Path of the corpus contract with one rule changed, by its name."""

    def change(rule, **values):
        contract = json.loads(contract_file(ContractConfig()).read_text())
        (found,) = [each for each in contract["expectations"] + contract["row_rules"] if each["rule"] == rule]
        found.update(values)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(contract))
        return str(path)

    return change


@pytest.mark.parametrize(
    ("rule", "values", "told"),
    [
        (
            "doc_id_unique",
            {"type": "expect_column_values_to_be_uniqe"},
            "rule 'doc_id_unique' has the type 'expect_column_values_to_be_uniqe'.*"
            "did you mean 'expect_column_values_to_be_unique'",
        ),
        (
            "source_named",
            {"kwargs": {"column": "source_uri", "min_valeu": 1}},
            "expect_column_value_lengths_to_be_between has no argument 'min_valeu'.*did you mean 'min_value'",
        ),
        ("doc_id_unique", {"kwargs": {"column": "docid"}}, "column 'docid' is none.*did you mean 'doc_id'"),
        ("doc_id_unique", {"kwargs": {}}, "does not take {}: .*column.*field required"),
        ("source_named", {"kwargs": {"column": "source_uri", "min_value": "one"}}, "does not take .*'one'"),
        (
            "text_repeated",
            {"kwargs": {"unexpected_rows_query": "SELECT nothing FROM {batch}"}},
            "could not evaluate rule 'text_repeated'.*nothing",
        ),
        ("text_not_blank", {"holds": "len(txet) > 0"}, "rule 'text_not_blank' holds no usable SQL predicate.*txet"),
        ("text_not_blank", {"holds": "length(text) >"}, "rule 'text_not_blank' holds no usable SQL predicate"),
        ("text_not_blank", {"holds": "sparkle(text)"}, "rule 'text_not_blank' holds no usable SQL predicate.*sparkle"),
    ],
)
def test_mistakes_in_rules_are_refused(run_contract, rows, changed, rule, values, told):
    with pytest.raises(ConfigError, match=f"(?s){told}"):
        run_contract(rows(), path=changed(rule, **values))


def test_a_predicate_that_is_null_does_not_hold(run_contract, rows, changed):
    path = changed("text_not_blank", holds="nullif(title, '') <> 'Mill' -- empty titles give NULL")
    with pytest.raises(ContractViolation, match=r"text_not_blank \(critical; 40 failing"):
        run_contract(rows(), path=path)


@pytest.mark.parametrize("quarantine", [True, False])
def test_a_word_in_the_file_decides_between_quarantine_and_report(run_contract, rows, changed, quarantine):
    path = changed("no_html_left", quarantine=quarantine)
    report, _ = run_contract(rows({3: {"text": "a <br> b and more"}}), path=path)
    assert report.metrics["n_quarantined"] == int(quarantine)
    assert report.metrics["n_failed_rules"] == 1


def test_a_fresh_process_writes_prints_and_leaks_nothing(rows, run_contract, tmp_path):
    run_contract(rows({3: {"text": " "}}))  # for its shards
    (tmp_path / "home").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "temporary").mkdir()
    program = f"""
from pathlib import Path
from vecmill.corpus.contract import check_contract
from vecmill.corpus.contract_config import ContractConfig
from vecmill.store.stage import StageIO

check_contract(ContractConfig(), StageIO(inputs={{"ingest": Path({str(tmp_path / "ingest-1")!r})}},
                                         output=Path({str(tmp_path / "out")!r})))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path / "home",
        env={
            "HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path / "temporary"),
            "PATH": "/usr/bin:/bin",
            # The tree under test, which need not be the one that is installed.
            "PYTHONPATH": str(Path(vecmill.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    # duckdb's binding lists what outlives it on stderr, which is how an engine left open would show.
    assert done.stdout == "" and done.stderr == ""
    assert list((tmp_path / "home").iterdir()) == [] and list((tmp_path / "temporary").iterdir()) == []
    written = ["data_docs.html", "quarantine.parquet", "report.json"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == written


def test_importing_the_stage_loads_no_great_expectations():
    program = "import sys, vecmill.corpus.contract; print('great_expectations' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_configuration_loads_nothing_heavy():
    program = "import sys, vecmill.corpus.contract_config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"duckdb", "pyarrow", "sqlalchemy", "numpy", "polars"} & set(done.stdout.split())


@pytest.mark.parametrize(("column", "rule"), [("doc_id", "doc_id_present"), ("text", "text_present")])
def test_missing_values_stop_the_run_where_a_schema_lets_them_in(run_contract, rows, tmp_path, column, rule):
    contract = json.loads(contract_file(ContractConfig()).read_text())
    for each in contract["columns"]:
        each["nullable"] = True
    (tmp_path / "nullable.json").write_text(json.dumps(contract))
    schema = pa.schema([pa.field(each.name, each.type) for each in CORPUS_SCHEMA])
    (tmp_path / "ingest").mkdir()
    table = pa.Table.from_pylist(rows({3: {column: None, "n_chars": 0}}), schema=schema)
    pq.write_table(table, tmp_path / "ingest" / "part-00000.parquet")
    with pytest.raises(ContractViolation, match=rf"Rule {rule} \(critical; 1 failing"):
        run_contract(tmp_path / "ingest", path=str(tmp_path / "nullable.json"), max_quarantined_frac=1)
