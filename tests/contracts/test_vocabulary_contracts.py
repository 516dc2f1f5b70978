"""The contracts of vocabulary and token store say what the stages write, and what the readers refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from strategies_vocabulary import stage_io

import data_contracts
from vecmill.corpus.contracts.arrow_check import arrow_schema, check_shards
from vecmill.corpus.contracts.contract_file import load_contract
from vecmill.corpus.contracts.database import Database, create_view
from vecmill.corpus.contracts.expectations import build_expectations, judge
from vecmill.corpus.contracts.row_rules import check_predicates, examine
from vecmill.errors import FormatError
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import VocabularyConfig
from vecmill.vocabulary.schema import VOCABULARY_SCHEMA
from vecmill.vocabulary.token_store import TokenStore, TokenStoreWriter
from vecmill.vocabulary.vocabulary import FILE_NAME, Vocabulary

FOLDER = Path(data_contracts.__file__).parent


def failed_rules(table: Path, scratch: Path) -> set[str]:
    """Rules of the vocabulary's contract that a table breaks, as Great Expectations judges them."""
    contract = load_contract(FOLDER / "vocabulary.json")
    check_shards(contract, [table])
    database = Database(scratch / "contract.duckdb", 256)
    with database.connect() as connection:
        create_view(connection, "words", [table])
        check_predicates(connection, contract, "words")
        examine(connection, contract, "words")
    verdicts = judge(contract, build_expectations(contract), database, "words")
    return {rule for rule, verdict in verdicts.items() if not verdict.success}


def test_the_schema_is_that_of_the_stage() -> None:
    contract = load_contract(FOLDER / "vocabulary.json")
    assert arrow_schema(contract).equals(VOCABULARY_SCHEMA)


def test_what_the_stage_writes_keeps_the_contract(tmp_path: Path) -> None:
    documents = [(f"doc-{number}", f"the new york {number % 7} news don't 漢字") for number in range(50)]
    io = stage_io(tmp_path, [documents])
    build_vocabulary(VocabularyConfig.model_validate({"phrases": {"threshold": 0.1}}), io)
    assert "the_new" in pq.read_table(io.output / "vocabulary.parquet")["word"].to_pylist()
    assert failed_rules(io.output / "vocabulary.parquet", tmp_path) == set()


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([(0, "a", 5, 2)], {"has_words"}),
        ([(0, "a", 5, 2), (1, "a", 4, 2)], {"word_unique"}),
        ([(0, "a", 5, 2), (0, "b", 4, 2)], {"word_id_unique", "ids_without_gap"}),
        ([(0, "a", 5, 2), (1, "b", 6, 2)], {"counts_fall"}),
        ([(0, "a", 5, 2), (2, "b", 4, 2)], {"ids_without_gap"}),
        ([(0, "a", 5, 6), (1, "b", 0, 0)], {"count_positive", "documents_within_count"}),
        ([(0, "a b", 5, 2), (1, "x" * 10_001, 4, 2)], {"word_not_blank", "word_length"}),
    ],
)
def test_each_rule_finds_what_it_is_for(
    rows: list[tuple[int, str, int, int]], broken: set[str], tmp_path: Path
) -> None:
    columns = [
        pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), VOCABULARY_SCHEMA, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=VOCABULARY_SCHEMA), tmp_path / "words.parquet")
    assert failed_rules(tmp_path / "words.parquet", tmp_path) == broken


BROKEN = {
    "has_words": ([(0, "a", 5, 2)], "it has 1 words, and 2 are the fewest to learn from"),
    "word_unique": ([(0, "a", 5, 2), (1, "a", 4, 2)], "a word comes twice"),
    "word_id_unique": ([(0, "a", 5, 2), (0, "b", 4, 2)], "its word_id does not count 0, 1, 2"),
    "counts_fall": ([(0, "a", 5, 2), (1, "b", 6, 2)], "counts rise at word_id 1"),
    "ids_without_gap": ([(0, "a", 5, 2), (2, "b", 4, 2)], "its word_id does not count 0, 1, 2"),
    "count_positive": ([(0, "a", 5, 2), (1, "b", 0, 1)], "word 'b' has count 0, below 1"),
    "documents_within_count": ([(0, "a", 5, 2), (1, "b", 4, 5)], "word 'b' occurs 4 times, in 5 documents"),
    "word_not_blank": ([(0, "a", 5, 2), (1, "b\u00a0c", 4, 2)], "word 1 is 'b\\xa0c', empty or with a blank in it"),
}


def test_the_reader_refuses_what_breaks_a_critical_rule(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    contract = load_contract(FOLDER / "vocabulary.json")
    rules = [*contract.expectations, *contract.row_rules]
    assert {each.rule for each in rules if each.severity == "critical"} == set(BROKEN)
    table = pa.Table.from_pylist([], VOCABULARY_SCHEMA)
    Vocabulary(["a", "b"], np.array([5, 4]), np.array([2, 2])).save(tmp_path)
    metadata = pq.read_schema(tmp_path / FILE_NAME).metadata

    def write(rows: list[tuple[int, str, int, int]]) -> None:
        values = [dict(zip(table.column_names, row, strict=True)) for row in rows]
        schema = VOCABULARY_SCHEMA.with_metadata(metadata)
        pq.write_table(pa.Table.from_pylist(values, schema), tmp_path / FILE_NAME)

    for rows, message in BROKEN.values():
        write(rows)
        with pytest.raises(FormatError) as refusal:
            Vocabulary.load(tmp_path)
        assert message in str(refusal.value)
    write([(0, "a", 5, 5), (1, "x" * 10_001, 4, 1)])
    assert len(Vocabulary.load(tmp_path)) == 2, "word_length is a warning"
    assert "has a word of 10,001 characters" in caplog.text


def store(folder: Path) -> None:
    with TokenStoreWriter(folder) as writer:
        writer.append(np.array([0, 1, 2], dtype=np.int32), np.array([0, 1, 3], dtype=np.int64))


def test_the_arrays_of_a_token_store_are_those_stated(tmp_path: Path) -> None:
    contract = json.loads((FOLDER / "token_store.json").read_text(encoding="utf-8"))
    store(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {array["file"] for array in contract["arrays"]}
    for array in contract["arrays"]:
        found = np.load(tmp_path / array["file"])
        assert (found.dtype.name, found.ndim) == (array["type"], len(array["shape"]))


def break_store(rule: str, folder: Path) -> None:
    ids, offsets = folder / "token_ids.npy", folder / "sentence_offsets.npy"
    if rule == "format":
        np.save(ids, np.zeros(3, dtype=np.int64))
    elif rule == "offsets_from_zero_to_end":
        np.save(offsets, np.array([0, 1, 2], dtype=np.int64))
    elif rule == "no_empty_sentence":
        np.save(offsets, np.array([0, 1, 1, 3], dtype=np.int64))
    else:
        np.save(ids, np.array([0, 1, 3], dtype=np.int32))


RULES = {
    "format": "holds int64 of shape",
    "offsets_from_zero_to_end": "offsets run from 0 to 2, while there are 3 tokens",
    "no_empty_sentence": "offsets do not rise at sentence 1",
    "ids_in_vocabulary": "token 2 has id 3, outside the vocabulary of 3 words",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_store_that_breaks_a_rule_is_refused(rule: str, tmp_path: Path) -> None:
    contract = json.loads((FOLDER / "token_store.json").read_text(encoding="utf-8"))
    assert {each["rule"] for each in contract["rules"]} == set(RULES)
    store(tmp_path)
    TokenStore.open(tmp_path, n_words=3)
    break_store(rule, tmp_path)
    with pytest.raises(FormatError, match=RULES[rule]):
        TokenStore.open(tmp_path, n_words=3)
