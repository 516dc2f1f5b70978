"""Contract files: what is read from them, and what is refused with which words."""

from __future__ import annotations

import copy
import json

import pytest

from vecmill.config.base import key_config
from vecmill.corpus.contract_config import ContractConfig, contract_file, contract_files
from vecmill.corpus.contracts.contract_file import arguments, load_contract, predicate, thresholds_of
from vecmill.errors import ConfigError

CONTRACT = {
    "name": "words",
    "version": 1,
    "description": "A row is a word.",
    "row_key": "word",
    "origin": "word",
    "excerpt": "word",
    "columns": [{"name": "word", "type": "string", "meaning": "The word."}],
    "thresholds": [{"name": "longest", "value": 20, "meaning": "Longest word, in characters."}],
    "expectations": [
        {
            "rule": "few_words",
            "type": "expect_table_row_count_to_be_between",
            "kwargs": {"max_value": "{longest}"},
            "severity": "warning",
            "meaning": "Few words.",
        }
    ],
    "row_rules": [
        {
            "rule": "short",
            "holds": "length(word) <= {longest} AND regexp_matches(word, '^\\p{L}{1,9}$')",
            "severity": "critical",
            "quarantine": True,
            "meaning": "Short words.",
        }
    ],
}


@pytest.fixture
def load(tmp_path):
    def load(change=None, **thresholds):
        values = copy.deepcopy(CONTRACT)
        if change:
            change(values)
        path = tmp_path / "words.json"
        path.write_text(json.dumps(values))
        return load_contract(path, thresholds)

    return load


def test_thresholds_are_put_in_place_and_other_braces_left_alone(load):
    contract = load()
    (rule,), (expectation,) = contract.row_rules, contract.expectations
    assert predicate(contract, rule) == "length(word) <= 20 AND regexp_matches(word, '^\\p{L}{1,9}$')"
    assert arguments(contract, expectation) == {"max_value": 20}
    assert thresholds_of(rule) == thresholds_of(expectation) == ["longest"]


def test_a_configuration_replaces_a_threshold(load):
    contract = load(longest=2.5)
    assert predicate(contract, contract.row_rules[0]).startswith("length(word) <= 2.5 AND")
    assert arguments(contract, contract.expectations[0]) == {"max_value": 2.5}
    assert contract.thresholds[0].value == 2.5


def rename(place, old, new):
    def change(values):
        for step in place:
            values = values[step]
        values[new] = values.pop(old)

    return change


def put(place, key, value):
    def change(values):
        for step in place:
            values = values[step]
        values[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename([], "row_key", "rowkey"), ["unknown key 'rowkey'", "'row_key' is missing"]),
        (
            rename(["row_rules", 0], "severity", "severty"),
            ["unknown key 'row_rules.0.severty'", "'row_rules.0.severity' is missing"],
        ),
        (rename(["expectations", 0], "kwargs", "kwarg"), ["'expectations.0.kwarg'", "'expectations.0.kwargs'?"]),
        (put(["row_rules", 0], "severity", "fatal"), ["row_rules.0.severity = 'fatal'", "'critical' or 'warning'"]),
        (put(["row_rules", 0], "rule", "Too Long"), ["row_rules.0.rule = 'Too Long'"]),
        (put(["row_rules", 0], "rule", "few_words"), ["has the rule 'few_words' twice"]),
        (put(["columns"], slice(1, 1), CONTRACT["columns"]), ["has the column or measure 'word' twice"]),
        (
            put([], "measures", [{"name": "word", "value": "1", "meaning": "One."}]),
            ["has the column or measure 'word' twice"],
        ),
        (put([], "measures", [{"name": "size", "meaning": "Letters."}]), ["'measures.0.value' is missing"]),
        (put([], "row_key", "wrod"), ["row_key = 'wrod' is none of its columns", "did you mean 'word'?"]),
        (
            put(["row_rules", 0], "holds", "length(word) < {longst}"),
            ["rule 'short' refers to {longst}", "did you mean 'longest'?"],
        ),
        (
            put(["thresholds"], slice(1, 1), [{"name": "idle", "value": 1, "meaning": "Nothing."}]),
            ["no rule refers to the threshold 'idle'"],
        ),
        (put(["thresholds", 0], "value", float("inf")), ["thresholds.0.value = inf"]),
    ],
)
def test_mistakes_are_told_with_file_place_and_nearest_name(load, change, told):
    with pytest.raises(ConfigError) as caught:
        load(change)
    for each in ["words.json", *told]:
        assert each in str(caught.value)
    assert "vecmill config" not in str(caught.value)


def test_an_unknown_threshold_in_the_configuration_is_refused(load):
    with pytest.raises(ConfigError, match=r"contract\.thresholds\.longset = 3, but .*did you mean 'longest'"):
        load(longset=3)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b'{"name": ', "is not JSON: Expecting value: line 1"), (b"\xff{}", "is not JSON"), (b"[1]", "holds a JSON list")],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path, content, told):
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(ConfigError, match=f"broken.json {told}"):
        load_contract(tmp_path / "broken.json")


def test_the_default_is_the_corpus_contract_that_comes_along():
    (path,) = contract_files(ContractConfig())
    assert path.name == "corpus.json" and path.parent.name == "data_contracts"
    contract = load_contract(path)
    assert contract.name == "corpus" and all(each.meaning.endswith(".") for each in contract.rules)


def test_a_contract_may_be_any_json_file(tmp_path, monkeypatch):
    (tmp_path / "mine.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert contract_file(ContractConfig(path="mine.json")).samefile(tmp_path / "mine.json")


def test_a_contract_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"contract\.path = 'corpsu' names no contract.*did you mean 'corpus'"):
        contract_file(ContractConfig(path="corpsu"))
    with pytest.raises(ConfigError, match=r"mine\.json': there is no such file"):
        contract_file(ContractConfig(path=str(tmp_path / "mine.json")))


def test_memory_does_not_count_towards_the_key():
    assert key_config(ContractConfig(memory_limit_mb=64)) == key_config(ContractConfig())
    assert set(key_config(ContractConfig())) == {"path", "max_quarantined_frac", "thresholds"}
