"""The Vocabulary value: look-ups, saving, and what it refuses to load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.errors import FormatError
from vecmill.text.tokenize import TokenRules
from vecmill.vocabulary.schema import VOCABULARY_SCHEMA
from vecmill.vocabulary.vocabulary import Vocabulary


def small(rules: TokenRules | None = None) -> Vocabulary:
    words = ["the", "a", "é", "漢", "\U00020000"]
    return Vocabulary(words, np.array([9, 5, 5, 5, 1]), np.array([3, 2, 1, 5, 1]), rules or TokenRules())


def test_ids_are_rows() -> None:
    vocabulary = small()
    assert len(vocabulary) == 5
    assert [vocabulary.id_of(word) for word in vocabulary.words] == [0, 1, 2, 3, 4]
    assert vocabulary.id_of("THE") is None
    assert "a" in vocabulary and "b" not in vocabulary


def test_saved_and_loaded(tmp_path: Path) -> None:
    rules = TokenRules("ascii", lowercase=False)
    small(rules).save(tmp_path)
    loaded = Vocabulary.load(tmp_path)
    assert loaded.words == small().words
    assert loaded.counts.tolist() == [9, 5, 5, 5, 1]
    assert loaded.counts.dtype == loaded.n_documents.dtype == np.int64
    assert loaded.n_documents.tolist() == [3, 2, 1, 5, 1]
    assert loaded.rules == rules
    before = (tmp_path / "vocabulary.parquet").read_bytes()
    loaded.save(tmp_path)
    assert (tmp_path / "vocabulary.parquet").read_bytes() == before
    schema = pq.read_schema(tmp_path / "vocabulary.parquet")
    assert schema.equals(VOCABULARY_SCHEMA)
    assert not any(field.nullable for field in schema)


@pytest.mark.parametrize(
    ("words", "counts", "message"),
    [
        (["a", "b"], [1, 2], "counts rise at word_id 1"),
        (["b", "a"], [2, 2], "words 'b' and 'a' of equal count are out of order"),
        (["a", "b", "a"], [3, 2, 1], "a word comes twice"),
        (["a", "b"], [1, 0], "word 'b' has count 0, below 1"),
        (["a", "b"], [1], r"2 words with counts of shape \(1,\)"),
    ],
)
def test_inconsistent_tables_are_refused(words: list[str], counts: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(words, np.array(counts), np.ones(len(counts), dtype=np.int64))


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.parquet"
    with pytest.raises(FormatError, match=r"vocabulary\.parquet is not a vocabulary: there is no such file.*--refresh"):
        Vocabulary.load(tmp_path)
    path.write_bytes(b"word count\n")
    with pytest.raises(FormatError, match="it cannot be read as Parquet"):
        Vocabulary.load(tmp_path)
    pq.write_table(pa.table({"word": ["a"], "count": [1]}), path)
    with pytest.raises(FormatError, match=r"its columns are word string, count int64\. Expected: Parquet with columns"):
        Vocabulary.load(tmp_path)

    small().save(tmp_path)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(FormatError, match="it does not say how text becomes words"):
        Vocabulary.load(tmp_path)
    pq.write_table(table.slice(1), path)
    with pytest.raises(FormatError, match="its word_id does not count 0, 1, 2"):
        Vocabulary.load(tmp_path)
    shuffled = table.take([1, 0, 2, 3, 4]).set_column(0, table.schema.field(0), table["word_id"])
    pq.write_table(shuffled, path)
    with pytest.raises(FormatError, match="counts rise at word_id 1"):
        Vocabulary.load(tmp_path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    small().save(tmp_path)
    path = tmp_path / "vocabulary.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="it cannot be read as Parquet"):
        Vocabulary.load(tmp_path)
