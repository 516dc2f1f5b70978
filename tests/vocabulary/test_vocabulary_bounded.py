"""The capped summary: its bounds hold for any order and grouping, and what the certificate proves is so."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_vocabulary import Document, corpora, counted_by_hand, stage_io

from vecmill.errors import VocabularyError
from vecmill.store.stage import StageReport
from vecmill.vocabulary.bounded import BoundedCounts
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import VocabularyConfig
from vecmill.vocabulary.vocabulary import Vocabulary

WORDS = [f"w{number}" for number in range(40)]
counters = st.lists(st.dictionaries(st.sampled_from(WORDS), st.integers(1, 60), max_size=30), min_size=1, max_size=14)


def summary_of(counts: dict[str, int], max_entries: int) -> BoundedCounts:
    summary = BoundedCounts(max_entries)
    summary.add(pa.array(list(counts), pa.large_string()), np.array(list(counts.values()), dtype=np.int64))
    return summary


def check_bounds(summary: BoundedCounts, true: Counter[str]) -> None:
    lower = dict(zip(summary.words.to_pylist(), summary.lower.tolist(), strict=True))
    assert summary.n_tokens == true.total()
    for word in WORDS:
        assert lower.get(word, 0) <= true[word] <= lower.get(word, 0) + summary.delta
    assert (summary.max_entries + 1) * summary.delta + sum(lower.values()) <= true.total()


@settings(deadline=None, max_examples=150)
@given(counters, st.integers(2, 20), st.randoms(use_true_random=False))
def test_bounds_hold_for_any_order_and_grouping(
    drawn: list[dict[str, int]], max_entries: int, shuffler: random.Random
) -> None:
    true: Counter[str] = Counter()
    for counts in drawn:
        true.update(counts)
    summaries = [summary_of(counts, max_entries) for counts in drawn]
    while len(summaries) > 1:
        shuffler.shuffle(summaries)
        merged = summaries.pop()
        summaries[-1].merge(merged)
        if shuffler.random() < 0.3:
            summaries[-1].purge()
    check_bounds(summaries[0], true)
    summaries[0].purge()
    assert len(summaries[0]) <= max_entries
    check_bounds(summaries[0], true)


def test_a_summary_that_never_purged_is_exact() -> None:
    summary = summary_of({"a": 3, "b": 1}, 2)
    summary.add(pa.array(["b", "c"], pa.large_string()), np.array([4, 1]))
    assert (summary.words.to_pylist(), summary.lower.tolist(), summary.delta) == (["a", "b", "c"], [3, 5, 1], 0)
    summary.purge()
    assert (summary.words.to_pylist(), summary.lower.tolist(), summary.delta) == (["a", "b"], [2, 4], 1)


def build(root: Path, documents: list[Document], **settings: object) -> tuple[Vocabulary, StageReport]:
    io = stage_io(root, [documents], group=3)
    report = build_vocabulary(VocabularyConfig.model_validate(settings), io)
    return Vocabulary.load(io.output), report


@settings(deadline=None, max_examples=60)
@given(corpora, st.integers(2, 6), st.integers(1, 4))
def test_counts_are_exact_and_nothing_proven_is_missing(
    documents: list[Document], max_entries: int, min_count: int
) -> None:
    true, n_documents = counted_by_hand(documents)
    with TemporaryDirectory() as name:
        try:
            vocabulary, _ = build(Path(name), documents, max_entries=max_entries, min_count=min_count)
        except VocabularyError:
            return
    certificate = vocabulary.certificate
    assert certificate is not None
    assert certificate.delta * (max_entries + 1) <= true.total() == certificate.n_tokens
    assert vocabulary.counts.tolist() == [true[word] for word in vocabulary.words]
    assert vocabulary.n_documents.tolist() == [n_documents[word] for word in vocabulary.words]
    must = {word for word, count in true.items() if count >= certificate.complete_from}
    assert must <= set(vocabulary.words)
    if certificate.is_proven:
        assert set(vocabulary.words) == {word for word, count in true.items() if count >= min_count}


def zipf_documents(n_documents: int = 600, n_words: int = 100, seed: int = 3) -> list[Document]:
    draws = np.random.default_rng(seed).zipf(1.3, (n_documents, n_words))
    return [(f"doc-{number:04d}", " ".join(f"w{draw}" for draw in row)) for number, row in enumerate(draws)]


@pytest.mark.parametrize("threads", [1, 3])
def test_certificate_stands_in_file_and_report(tmp_path: Path, threads: int) -> None:
    documents = zipf_documents()
    true, _ = counted_by_hand(documents)
    proven, report = build(tmp_path / "proven", documents, max_entries=3_000, min_count=40, threads=threads)
    assert report.metrics["certificate_proven"] is True
    assert 0 < report.metrics["certificate_delta"] < 40
    assert "Proven: no word that occurs 40 times or more was lost" in report.markdown
    assert set(proven.words) == {word for word, count in true.items() if count >= 40}
    open_, report = build(tmp_path / "open", documents, max_entries=50, min_count=5, threads=threads)
    assert open_.certificate is not None and not open_.certificate.is_proven
    assert report.metrics["certificate_proven"] is False
    assert report.metrics["certificate_complete_from"] == open_.certificate.delta + 1 > 5
    assert "times may be missing" in report.markdown
    assert open_.counts.tolist() == [true[word] for word in open_.words]


def test_a_pinned_word_survives_the_cap(tmp_path: Path) -> None:
    documents = [*zipf_documents(), ("last", "Quokka")]
    vocabulary, report = build(tmp_path, documents, max_entries=50, pinned=["quokka", "absent"])
    assert vocabulary.counts[vocabulary.ids["quokka"]] == 1
    assert report.metrics["n_pinned_missing"] == 1
