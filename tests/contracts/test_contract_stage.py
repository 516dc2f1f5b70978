"""The contract stage over the corpus contract that comes with vecmill."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.corpus.contract import check_contract
from vecmill.corpus.contract_config import ContractConfig, contract_file
from vecmill.corpus.contracts.arrow_check import arrow_schema
from vecmill.corpus.contracts.contract_file import load_contract
from vecmill.corpus.contracts.row_rules import EXCERPT_CHARS, quarantine_schema
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.errors import ConfigError, ContractViolation, StoreError
from vecmill.store.stage import StageIO

CONTRACT = load_contract(contract_file(ContractConfig()))
QUARANTINING = [each.rule for each in CONTRACT.row_rules if each.quarantine]

# For each rule on one text: texts that break it (and, of the others, those in BREAKS_TOO), and texts on the safe side.
BREAKS = {
    "text_not_blank": [" ", "\n\t ", "\u3000\u00a0"],
    "text_decoded": ["bro\ufffden " * 10],
    "text_not_binary": ["a\x00b" * 10, "PNG\x1a words and words", "\x7fELF"],
    "text_has_letters": ["1, 2, 3, 4, 5, 6", "+-" * 40 + "abc"],
}
BREAKS_TOO = {"text_not_blank": ["text_has_letters"]}
KEEPS = {
    "text_not_blank": ["I", "\n\u3000水"],
    "text_decoded": ["word " * 400 + "\ufffd"],
    "text_not_binary": ["a\tb\nc\r\nd\x0ce"],
    "text_has_letters": ["abc123456", "नमस्ते", "水車は川のそば"],
}


def quarantine_of(output: Path) -> list[dict[str, str]]:
    return pq.read_table(output / "quarantine.parquet").to_pylist()


def table_of(report):
    return {row["rule"]: row for row in report.table}


def test_the_contract_states_the_schema_that_ingest_writes():
    assert arrow_schema(CONTRACT).equals(CORPUS_SCHEMA, check_metadata=False)


def test_a_good_corpus_keeps_every_rule(run_contract, rows):
    report, output = run_contract(rows())

    assert report.metrics == {
        "n_documents": 40,
        "n_quarantined": 0,
        "quarantined_frac": 0.0,
        "n_rules": len(CONTRACT.rules),
        "n_failed_rules": 0,
        "passed": True,
        "n_text_bytes_read": sum(len(row["text"].encode()) for row in rows()),
    }
    assert [row["rule"] for row in report.table] == [each.rule for each in CONTRACT.rules]
    assert all(row["passed"] and not row["n_failing"] for row in report.table)
    assert {tuple(row) for row in report.table} == {("rule", "severity", "kind", "n_failing", "frac", "passed")}
    assert report.rows == {"quarantine.parquet": 0}
    empty = pq.read_table(output / "quarantine.parquet")
    assert empty.num_rows == 0 and empty.schema.equals(quarantine_schema(CONTRACT))
    assert "40 documents" in report.markdown and "do not hold" not in report.markdown
    json.dumps(report.table, allow_nan=False)


@pytest.mark.parametrize("rule", BREAKS)
def test_documents_that_break_a_rule_are_quarantined_with_it(run_contract, rows, rule):
    bad = dict(enumerate({"text": text} for text in BREAKS[rule]))
    good = {20 + number: {"text": text} for number, text in enumerate(KEEPS[rule])}
    report, output = run_contract(rows(bad | good), max_quarantined_frac=0.2)

    found = [row for row in quarantine_of(output) if row["rule"] == rule]
    assert [row["doc_id"] for row in found] == [f"d{number:03d}" for number in bad]
    assert [row["excerpt"] for row in found] == BREAKS[rule]
    failing = {name: row["n_failing"] for name, row in table_of(report).items() if not row["passed"]}
    assert failing == dict.fromkeys([rule, *BREAKS_TOO.get(rule, [])], len(bad))
    assert table_of(report)[rule]["frac"] == len(bad) / 40
    assert f"**{rule}** ({len(bad)} failing)" in report.markdown


def test_text_length_is_bounded_on_both_sides(run_contract, rows):
    bounds = {"min_chars": 3, "max_chars": 100}
    texts = {0: "ab", 1: "abc", 2: "a" * 100, 3: "a" * 101}
    _, output = run_contract(rows({key: {"text": text} for key, text in texts.items()}), thresholds=bounds)

    assert [(row["doc_id"], row["rule"]) for row in quarantine_of(output)] == [
        ("d000", "text_length"),
        ("d003", "text_length"),
    ]


def test_a_document_that_breaks_two_rules_stands_there_twice_and_counts_once(run_contract, rows):
    report, output = run_contract(rows({7: {"text": ""}, 9: {"text": "\ufffd\x00" * 150}}))

    assert [(row["doc_id"], row["rule"], row["severity"]) for row in quarantine_of(output)] == [
        ("d007", "text_length", "critical"),
        ("d007", "text_not_blank", "critical"),
        ("d009", "text_decoded", "critical"),
        ("d009", "text_has_letters", "warning"),
        ("d009", "text_not_binary", "critical"),
    ]
    assert {len(row["excerpt"]) for row in quarantine_of(output)} == {0, EXCERPT_CHARS}
    assert report.metrics["n_quarantined"] == 2 and report.rows == {"quarantine.parquet": 5}


def test_readers_leave_quarantined_documents_out(run_contract, rows, tmp_path):
    _, output = run_contract(rows({7: {"text": " "}}))
    left = iter_documents(tmp_path / "ingest-1", output / "quarantine.parquet", columns=["doc_id"])
    ids = [value for batch in left for value in batch.column(0).to_pylist()]
    assert len(ids) == 39 and "d007" not in ids


def test_length_is_counted_in_code_points(run_contract, rows):
    texts = ["naïve café", "e\u0301te\u0301", "👩‍👩‍👧 family", "a\x0cb", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢"]
    report, _ = run_contract(rows({number: {"text": text} for number, text in enumerate(texts)}))
    assert table_of(report)["n_chars_is_length"]["passed"]


def test_warnings_that_do_not_quarantine_are_only_reported(run_contract, rows):
    same = "The same words twice, word for word."
    report, output = run_contract(
        rows({1: {"text": same}, 2: {"text": same}, 3: {"text": "left <br /> over"}, 4: {"text": "if a < b or b > a"}})
    )

    assert quarantine_of(output) == []
    assert {name for name, row in table_of(report).items() if not row["passed"]} == {"text_repeated", "no_html_left"}
    assert table_of(report)["text_repeated"]["n_failing"] == 1
    assert table_of(report)["no_html_left"]["n_failing"] == 1
    assert report.metrics["passed"]


def test_too_many_quarantined_documents_stop_the_run(run_contract, rows, tmp_path):
    bad = {
        3: {"text": "bro\ufffden"},
        5: {"text": "1 2 3 4 5 6"},
        6: {"text": "7 8 9 10 11", "source_uri": "numbers.csv"},
    }
    with pytest.raises(ContractViolation) as caught:
        run_contract(rows(bad), max_quarantined_frac=0.05)

    message = str(caught.value)
    assert "contract 'corpus' version 1" in message
    assert "too many documents to leave out (3 of 40, 7.5 %)" in message
    assert (
        "Rule text_has_letters (warning; 2 failing, such as 'd005' from village.txt, 'd006' from numbers.csv)"
        in message
    )
    assert "Rule text_decoded (critical; 1 failing, such as 'd003' from village.txt)" in message
    assert message.index("text_has_letters") < message.index("text_decoded"), "the rule with most failures comes first"
    assert "contract.max_quarantined_frac = 0.05" in message
    assert "contract.thresholds.min_letter_frac (now 0.25)" in message
    assert caught.value.exit_code == 2
    report = json.loads((tmp_path / "contract-1" / "report.json").read_text())
    assert not report["passed"] and report["n_quarantined"] == 3


def test_the_fraction_itself_is_still_tolerated(run_contract, rows):
    report, _ = run_contract(rows({3: {"text": " "}, 5: {"text": " "}}), max_quarantined_frac=0.05)
    assert report.metrics["quarantined_frac"] == 0.05 and report.metrics["passed"]


def test_a_message_names_at_most_three_documents_a_rule(run_contract, rows):
    with pytest.raises(ContractViolation) as caught:
        run_contract(rows({number: {"text": " "} for number in range(30, 40)}))
    assert "10 failing, such as 'd030' from village.txt, 'd031' from village.txt, 'd032'" in str(caught.value)
    assert "d033" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "rule", "told"),
    [
        ({5: {"doc_id": "d004"}}, "doc_id_unique", "2 failing, such as 'd004'"),
        ({5: {"source_uri": ""}}, "source_named", "1 failing, such as 'd005'"),
        ({5: {"n_chars": 7}}, "n_chars_is_length", "1 failing, such as 'd005' from village.txt"),
    ],
)
def test_a_critical_rule_on_the_table_stops_the_run_whatever_may_be_quarantined(
    run_contract, rows, changes, rule, told
):
    with pytest.raises(ContractViolation) as caught:
        run_contract(rows(changes), max_quarantined_frac=1)
    assert "1 critical rule that the whole table must keep" in str(caught.value)
    assert f"Rule {rule} (critical; {told})" in str(caught.value)


def test_an_empty_corpus_stops_the_run(run_contract):
    with pytest.raises(ContractViolation, match=r"Rule has_documents \(critical; found 0\): The corpus is not empty"):
        run_contract([])


def test_fewer_documents_than_asked_for_stop_the_run(run_contract, rows):
    with pytest.raises(ContractViolation, match=r"found 40.*contract\.thresholds\.min_documents \(now 41\)"):
        run_contract(rows(), thresholds={"min_documents": 41})


def test_a_folder_without_shards_is_no_ingest_artifact(run_contract, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(StoreError, match="no corpus shards in"):
        run_contract(tmp_path / "nothing")


def test_the_report_tells_everything_and_nothing_of_the_moment(run_contract, rows):
    _, output = run_contract(rows({7: {"text": " "}}))
    told = json.loads((output / "report.json").read_text())

    assert told["contract"]["name"] == "corpus" and told["n_quarantined"] == 1
    by_rule = {each["rule"]: each for each in told["rules"]}
    assert by_rule["text_not_blank"]["examples"] == [{"doc_id": "d007", "source_uri": "village.txt"}]
    assert [each["rule"] for each in told["great_expectations"]] == list(by_rule)
    judged = {each["rule"]: each for each in told["great_expectations"]}
    assert judged["text_not_blank"]["result"] == {"observed_value": 1}
    assert judged["text_length"]["holds"] == "length(text) BETWEEN 1 AND 10000000"
    assert judged["has_documents"]["kwargs"] == {"min_value": 1}
    assert str(output.parent) not in json.dumps(told) and "validation_time" not in json.dumps(told)


def test_two_runs_write_the_same_bytes(run_contract, tmp_path):
    random_order = random.Random(7)
    corpus = []
    for number in range(20_000):
        text = random_order.choice([" ", "12 34 56", "\ufffd\x00", "good words here"])
        corpus.append(
            {"doc_id": f"{number:05d}", "source_uri": "a.txt", "title": "", "text": text, "n_chars": len(text)}
        )
    random_order.shuffle(corpus)
    table = pa.Table.from_pylist(corpus, schema=CORPUS_SCHEMA)
    outputs = []
    for name, n_shards in (("one", 1), ("again", 1), ("seven", 7)):
        (tmp_path / name).mkdir()
        for number in range(n_shards):
            part = table.take(list(range(number, len(table), n_shards)))
            pq.write_table(part, tmp_path / name / f"part-{number:05d}.parquet")
        outputs.append(run_contract(tmp_path / name, max_quarantined_frac=1)[1])
    for name in ("quarantine.parquet", "report.json", "data_docs.html"):
        assert len({(output / name).read_bytes() for output in outputs}) == 1
    keys = [(row["doc_id"], row["rule"]) for row in quarantine_of(outputs[0])]
    assert keys == sorted(keys) and len(keys) > 20_000


def test_folders_whose_names_are_patterns_are_read_as_they_are(run_contract, rows, tmp_path):
    folder = tmp_path / "it's [a] *?"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows(), schema=CORPUS_SCHEMA), folder / "part-00000.parquet")
    report, _ = run_contract(folder)
    assert report.metrics["n_documents"] == 40


def test_memory_stays_within_the_limit(tmp_path):
    n_rows, n_batches = 300_000, 10
    (tmp_path / "ingest").mkdir()
    with pq.ParquetWriter(tmp_path / "ingest" / "part-00000.parquet", CORPUS_SCHEMA) as writer:
        for start in range(0, n_rows, n_rows // n_batches):
            n = n_rows // n_batches
            # From last to first, so that sorting has something to do.
            ids = pa.array([f"{n_rows - number:06d}" for number in range(start, start + n)])
            columns = [ids, pa.repeat("a", n), pa.repeat("", n), pa.repeat("123 " * 60, n), pa.repeat(240, n)]
            columns.append(pa.nulls(n, pa.string()))
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=CORPUS_SCHEMA))
    (tmp_path / "out").mkdir()
    # 72 MB of text, every row failing: 60 MB of excerpts to sort in 64 MB.
    report = check_contract(
        ContractConfig(memory_limit_mb=64, max_quarantined_frac=1),
        StageIO(inputs={"ingest": tmp_path / "ingest"}, output=tmp_path / "out"),
    )
    assert report.metrics["n_quarantined"] == n_rows
    first = pq.ParquetFile(tmp_path / "out" / "quarantine.parquet").read_row_group(0, columns=["doc_id"])
    assert first["doc_id"][:2].to_pylist() == ["000001", "000002"]


def test_too_little_memory_is_told(run_contract, tmp_path):
    text = "word " * 8_000_000
    table = pa.Table.from_pylist(
        [
            {"doc_id": f"{number}", "source_uri": "a", "title": "", "text": text, "n_chars": len(text)}
            for number in "12"
        ],
        schema=CORPUS_SCHEMA,
    )
    (tmp_path / "long").mkdir()
    pq.write_table(table, tmp_path / "long" / "part-00000.parquet")
    with pytest.raises(
        ConfigError, match=r"contract\.memory_limit_mb = 64 is too little.*raise contract\.memory_limit"
    ):
        run_contract(tmp_path / "long", memory_limit_mb=64)
