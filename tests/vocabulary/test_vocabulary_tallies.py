"""Tallies: occurrences and documents, also when the numbers of documents begin anew."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.text.word_index import FoundTokens
from vecmill.vocabulary import tallies as tallies_module
from vecmill.vocabulary.tallies import Tallies


def found(documents: list[list[int]]) -> FoundTokens:
    codes = np.array([code for document in documents for code in document], dtype=np.int32)
    offsets = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    targets = np.array([0, 1, 2, 1, -1], dtype=np.int32)  # 3 is another form of 1, 4 is no word
    return FoundTokens(codes, np.zeros(0, dtype=np.uint8), offsets, targets)


@settings(deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(-1, 4), max_size=6), max_size=9), max_size=5), st.sampled_from([0, 1, 5]))
def test_tallies_are_those_of_a_counter(batches: list[list[list[int]]], left: int) -> None:
    tallies = Tallies(1)
    # So close to the last number that it is passed in the middle of a batch.
    tallies._next_document = tallies_module._LAST - left
    n_tallied = sum(tallies.add(found(batch)) for batch in batches)
    forms = {0: 0, 1: 1, 2: 2, 3: 1}
    documents = [[forms[code] for code in document if code in forms] for batch in batches for document in batch]
    occurrences = Counter(word for document in documents for word in document)
    containing = Counter(word for document in documents for word in set(document))
    assert n_tallied == occurrences.total()
    assert tallies.table(3)[:, 0].tolist() == [occurrences[word] for word in range(3)] or not batches
    assert tallies.table(3)[:, 1].tolist() == [containing[word] for word in range(3)] or not batches


def test_many_documents_are_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies_module, "_LAST", 7)
    tallies = Tallies(3)
    tallies.add(found([[0, 0], [1]] * 50))
    tallies.add(found([[0]] * 9))
    assert tallies.table(3).tolist()[:2] == [[109, 59], [50, 50]]
