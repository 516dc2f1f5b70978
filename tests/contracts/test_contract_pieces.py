"""The contract by piece: a night reads the text of new shards, and judges as one pass over everything does."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.config.base import Config
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.contract import check_contract
from vecmill.corpus.contract_config import ContractConfig, contract_file
from vecmill.corpus.contracts.contract_file import load_contract
from vecmill.corpus.contracts.facts import fact_columns, judged_on_facts, reads_text
from vecmill.errors import ConfigError
from vecmill.pipelines.words import WORDS, _contract, _sources
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.plan import Stage
from vecmill.store.stage import StageIO

BUNDLED = contract_file(ContractConfig())


class NightConfig(Config):
    store: StoreConfig
    corpus: CorpusConfig
    contract: ContractConfig = ContractConfig(max_quarantined_frac=1)
    seed: int = 0


STAGES = (
    Stage("ingest", "vecmill.corpus.ingest:ingest", "corpus", external=_sources, forgets=True),
    WORDS.stage("contract"),
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source file a piece of ingest, as files of 8 MiB and more are."""
    monkeypatch.setattr("vecmill.corpus.division.LARGE_BYTES", 1)


def _write(root: Path, seed: int, n_lines: int = 20) -> int:
    """A file of documents, good and bad ones, some of which other files repeat; the bytes of their text."""
    source = random.Random(seed)
    kinds = ["7 8 9 10 11", "seen again and again", "left <br/> over", "bro\ufffd\ufffdken", "plain words here"]
    lines = [
        f"{source.choice(kinds)} {'of all' * source.randint(0, 2)} {source.randint(1, 40)}" for _ in range(n_lines)
    ]
    (root / "in").mkdir(exist_ok=True)
    (root / "in" / f"{seed:02}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum(len(line.encode()) for line in lines)


def _config(root: Path, **contract: Any) -> NightConfig:
    return NightConfig(
        store=StoreConfig(uri=str(root / "store"), cache=str(root / "cache")),
        corpus=CorpusConfig(sources=(str(root / "in"),), txt_unit="line", cleaning=("nfc",)),
        contract=ContractConfig.model_validate({"max_quarantined_frac": 1, **contract}),
    )


def _night(config: NightConfig, **options: Any) -> tuple[StageOutcome, dict[str, bytes]]:
    """The contract's outcome and its files."""
    store = ArtifactStore(config.store)
    ingest = run_stage(STAGES[0], config, store, {}, **options)
    outcome = run_stage(STAGES[1], config, store, {"ingest": ingest.ref}, **options)
    return outcome, _bytes(store.folder(outcome.ref))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "manifest.json"}


def _alone(config: NightConfig, root: Path) -> dict[str, bytes]:
    """What the stage gives by itself, from one pass over all of the corpus as a single shard."""
    store = ArtifactStore(config.store)
    newest = max(store.manifests("ingest"), key=lambda each: each.finished_at)
    parts = [pq.read_table(path) for path in sorted(store.folder(newest.ref).glob("part-*.parquet"))]
    (root / "out").mkdir(parents=True)
    (root / "corpus").mkdir()
    pq.write_table(pa.concat_tables(parts[::-1]), root / "corpus/part-00000.parquet")
    check_contract(config.contract, StageIO({"ingest": root / "corpus"}, root / "out"))
    return _bytes(root / "out")


def test_of_ten_files_and_a_new_one_only_the_new_one_is_checked(tmp_path):
    n_bytes = sum(_write(tmp_path, seed) for seed in range(10))
    config = _config(tmp_path)
    first, _ = _night(config)
    assert first.metrics["n_text_bytes_read"] == n_bytes
    n_new = _write(tmp_path, 10)
    second, files = _night(config)
    assert second.metrics["n_text_bytes_read"] == n_new and second.metrics["n_documents"] == 220
    assert files == _alone(config, tmp_path / "alone")
    fresh = config.model_copy(update={"store": StoreConfig(uri=str(tmp_path / "fresh"), cache=str(tmp_path / "cache"))})
    with ThreadPoolExecutor(3) as pool:
        assert _night(fresh, mapper=pool.map)[1] == files
    report = json.loads(files["report.json"])
    failing = {each["rule"]: each["n_failing"] for each in report["rules"] if not each["passed"]}
    assert failing.keys() == {"text_repeated", "text_has_letters", "text_decoded", "no_html_left"}
    texts = pa.concat_tables(
        pq.read_table(path) for path in sorted((tmp_path / "fresh/ingest").glob("*/part-*.parquet"))
    )["text"]
    repeated = texts.value_counts().to_pylist()
    assert failing["text_repeated"] == sum(each["counts"] > 1 for each in repeated), "across shards"


def test_a_changed_rule_on_documents_reads_all_text_and_any_other_change_none(tmp_path):
    n_bytes = sum(_write(tmp_path, seed) for seed in range(3))
    _night(_config(tmp_path))
    contract = json.loads(BUNDLED.read_text())
    mine = tmp_path / "mine.json"

    def read(**changes: Any) -> int:
        mine.write_text(json.dumps({**contract, **changes}))
        stage = Stage(**{**vars(STAGES[1]), "external": _contract})
        config = _config(tmp_path, path=str(mine))
        store = ArtifactStore(config.store)
        ingest = run_stage(STAGES[0], config, store, {})
        return int(run_stage(stage, config, store, {"ingest": ingest.ref}).metrics["n_text_bytes_read"])

    milder = [{**each, "severity": "warning"} for each in contract["expectations"]]
    assert read(expectations=milder, version=2) == 0
    assert _night(_config(tmp_path, thresholds={"min_letter_frac": 0.3}))[0].metrics["n_text_bytes_read"] == n_bytes


def test_a_rule_that_asks_for_the_text_itself_reads_all_of_it_each_night(tmp_path):
    query = "SELECT text FROM {batch} GROUP BY text HAVING count(*) > 1"
    n_bytes = sum(_write(tmp_path, seed) for seed in range(2))
    contract = json.loads(BUNDLED.read_text())
    own = {"rule": "own", "type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": query}}
    contract["expectations"].append({**own, "severity": "warning", "meaning": "Mine."})
    (tmp_path / "mine.json").write_text(json.dumps(contract))
    config = _config(tmp_path, path=str(tmp_path / "mine.json"))
    assert _night(config)[0].metrics["n_text_bytes_read"] == n_bytes
    n_new = _write(tmp_path, 7)
    outcome, files = _night(config)
    assert outcome.metrics["n_text_bytes_read"] == n_bytes + n_new
    assert files == _alone(config, tmp_path / "alone")
    rules = {each["rule"]: each["n_failing"] for each in json.loads(files["report.json"])["rules"]}
    assert rules["own"] == rules["text_repeated"] > 0


def test_facts_hold_what_rules_name_and_no_text(tmp_path):
    _write(tmp_path, 1)
    config = _config(tmp_path)
    _night(config)
    store = ArtifactStore(config.store)
    (piece,) = store.manifests("contract.check")
    facts = pq.read_table(store.folder(piece.ref) / "facts.parquet")
    assert facts.column_names == ["doc_id", "source_uri", "text_digest"]
    failures = pq.read_table(store.folder(piece.ref) / "failures.parquet").to_pylist()
    assert {each["rule"] for each in failures if each["excerpt"] is None} == {"no_html_left"}, "it does not quarantine"
    assert [(each.stage, each.key) for each in piece.inputs.values()] == [
        (each.stage, each.key) for each in store.manifests("ingest.read")
    ], "so that it goes with what it was made from"


def _changed(tmp_path: Path, **changes: Any) -> Path:
    contract = json.loads(BUNDLED.read_text())
    if "expectations" in changes:
        contract["thresholds"] = [each for each in contract["thresholds"] if each["name"] != "min_documents"]
    (tmp_path / "changed.json").write_text(json.dumps({**contract, **changes}))
    return tmp_path / "changed.json"


def _row_rule(holds: str) -> dict[str, Any]:
    return {"rule": "own", "holds": holds, "severity": "warning", "quarantine": False, "meaning": "Mine."}


def _rule(query: str, kind: str = "unexpected_rows_expectation") -> dict[str, Any]:
    return {
        "rule": "own",
        "type": kind,
        "kwargs": {"unexpected_rows_query": query} if "{batch}" in query else {"column": query},
        "severity": "warning",
        "meaning": "Mine.",
    }


@pytest.mark.parametrize(
    ("rule", "on_facts", "text"),
    [
        (_rule("text", "expect_column_values_to_not_be_null"), False, True),
        (_rule("title", "expect_column_values_to_not_be_null"), True, False),
        (_rule("n_chars", "expect_table_columns_to_match_set"), False, False),
        (_rule("SELECT doc_id FROM {batch} WHERE length(TEXT) < 3"), False, True),
        (_rule("SELECT count(*) FROM {batch} GROUP BY title HAVING count( * ) > 2"), True, False),
        (_rule("SELECT COLUMNS('t.*') FROM {batch}"), False, True),
        (_rule("SELECT * FROM {batch}"), False, True),
        (_rule("FROM {batch} WHERE n_chars > 3"), False, True),
        (_rule("SELECT textual FROM {batch}"), True, False),
        (_rule("title", "expect_column_to_exist"), False, False),
        (_rule("SELECT 1 FROM (FROM {batch} EXCEPT ALL FROM {batch})"), False, True),
        (_rule("SELECT 1 FROM (SELECT doc_id FROM {batch} UNION FROM {batch})"), False, True),
        (_rule("SELECT #4 FROM {batch}"), False, True),
        (_rule("SELECT n_chars FROM {batch} NATURAL JOIN {batch}"), False, True),
        (_rule("SELECT doc_id FROM {batch} WHERE language IS DISTINCT FROM 'en' AND n_chars > 3"), True, False),
    ],
)
def test_which_rules_are_judged_without_the_text(tmp_path, rule, on_facts, text):
    contract = load_contract(_changed(tmp_path, expectations=[rule], measures=[]))
    (own,) = contract.expectations
    assert (judged_on_facts(contract, own), reads_text(contract, own)) == (on_facts, text)
    assert ("title" in fact_columns(contract)) == (on_facts and "title" in str(rule["kwargs"]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"expectations": []}, r"no expectation names the measure 'text_digest'.*use it in an expectation or remove"),
        (
            {"expectations": [_rule("SELECT text, text_digest FROM {batch}")]},
            r"rule 'own' names the measure 'text_digest' and 'text' or all columns.*state what it asks of 'text' as a",
        ),
        (
            {"measures": [{"name": "text_digest", "value": "md5(txet)", "meaning": "Wrong."}]},
            r"measure 'text_digest' is no usable SQL expression \(md5\(txet\)\).*txet.*correct measures, 'text_digest'",
        ),
        (
            {"measures": [{"name": "text_digest", "value": "md5_number(text)", "meaning": "Too wide."}]},
            r"measure 'text_digest' is of type U?HUGEINT.*one of BOOLEAN.*cast it in measures",
        ),
        (
            {"measures": [{"name": "text_digest", "value": "row_number() OVER ()", "meaning": "Of all rows."}]},
            r"measure 'text_digest' is no usable SQL expression \(row_number.*window functions.*of one row",
        ),
        (
            {"measures": [{"name": "text_digest", "value": "max(n_chars)", "meaning": "Of all rows."}]},
            r"measure 'text_digest' is no usable SQL expression.*aggregate.*of one row.*correct measures",
        ),
        (
            {"row_rules": [_row_rule("count(*) OVER (PARTITION BY title) < 9")]},
            r"rule 'own' holds no usable SQL predicate.*window functions.*of one row.*correct row_rules, rule 'own'",
        ),
        (
            {"row_rules": [_row_rule("max(n_chars) > 3")]},
            r"rule 'own' holds no usable SQL predicate.*aggregate.*of one row.*correct row_rules, rule 'own'",
        ),
        ({"excerpt": "n_chars"}, r"excerpt = 'n_chars' is a column of int64.*Expected: string.*name a column of texts"),
    ],
)
def test_mistakes_are_refused_before_any_text_is_read(run_contract, rows, tmp_path, changes, told):
    if "row_rules" in changes:
        changes = {**changes, "thresholds": json.loads(BUNDLED.read_text())["thresholds"][:1]}
    with pytest.raises(ConfigError, match=f"(?s){told}"):
        run_contract(rows(), path=str(_changed(tmp_path, **changes)))
