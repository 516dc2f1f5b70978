"""The contract of word vectors says what the train stage writes, and what every reader of them refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data_contracts
from vecmill.errors import FormatError
from vecmill.vectors.word_vectors import WordVectors

CONTRACT = json.loads((Path(data_contracts.__file__).parent / "vectors.json").read_text(encoding="utf-8"))


def save(folder: Path, words: tuple[str, ...] = ("a", "b", "c")) -> None:
    vectors = np.arange(3 * 4, dtype=np.float32).reshape(3, 4)
    WordVectors(words, vectors, np.array([3, 2, 1]), "space").save(folder)


def test_the_files_of_a_model_are_those_stated(tmp_path: Path) -> None:
    save(tmp_path)
    stated = [each["file"] for kind in ("arrays", "tables", "documents") for each in CONTRACT[kind]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stated)
    for array in CONTRACT["arrays"]:
        found = np.load(tmp_path / array["file"])
        assert (found.dtype.name, found.ndim) == (array["type"], len(array["shape"]))
    for table in CONTRACT["tables"]:
        schema = pq.read_schema(tmp_path / table["file"])
        found = [{"name": each.name, "type": str(each.type), "nullable": each.nullable} for each in schema]
        assert found == [{key: each[key] for key in ("name", "type", "nullable")} for each in table["columns"]]


def break_model(rule: str, folder: Path) -> None:
    vectors, words = folder / "vectors.npy", folder / "words.parquet"
    matrix = np.load(vectors)
    table = pq.read_table(words)
    if rule == "finished":
        (folder / "meta.json").unlink()
    elif rule == "format":
        np.save(vectors, matrix.astype(np.float64))
    elif rule == "one_row_a_word":
        np.save(vectors, matrix[:2])
    elif rule == "finite":
        matrix[1, 2] = np.nan
        np.save(vectors, matrix)
    elif rule == "count_not_negative":
        pq.write_table(table.set_column(1, "count", pa.array([3, -2, 1])), words)
    else:
        other = ["a", "b", "a"] if rule == "word_unique" else ["a", "", "c"]
        pq.write_table(table.set_column(0, "word", pa.array(other)), words)


RULES = {
    "finished": r"holds no meta\.json.*written to the end.*if saving was interrupted, save again",
    "format": r"vectors\.npy holds float64\[3, 4\]. Expected: float32\[n_words, dim\] in C order",
    "one_row_a_word": r"words\.parquet has 3 words and vectors\.npy the shape \(2, 4\).*What to do: save or copy",
    "finite": r"vector 1 \(word 'b'\) holds nan at position 2.*train again with a lower learning rate",
    "word_unique": r"the word 'a' stands in rows 0 and 2. Expected: every word once",
    "word_not_empty": r"word 1 is an empty text. Expected: words of at least one character",
    "count_not_negative": r"the count of word 1 is -2. Expected: no negative counts",
}


@pytest.mark.parametrize("rule", RULES)
def test_vectors_that_break_a_rule_are_refused(rule: str, tmp_path: Path) -> None:
    assert {each["rule"] for each in CONTRACT["rules"]} == set(RULES)
    save(tmp_path)
    WordVectors.load(tmp_path)
    break_model(rule, tmp_path)
    with pytest.raises(FormatError, match=f"(?s){RULES[rule]}"):
        WordVectors.load(tmp_path)
