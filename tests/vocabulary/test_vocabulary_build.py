"""The vocabulary stage: counts as a Counter gives them, the same bytes however the corpus is cut, clear refusals."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies_vocabulary import Document, corpora, counted_by_hand, stage_io

from vecmill.config.base import key_config
from vecmill.errors import VocabularyError
from vecmill.store.stage import StageReport
from vecmill.text.tokenize import TokenRules
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.reservoir import Reservoir
from vecmill.vocabulary.vocabulary import Certificate, Vocabulary


def build(
    root: Path, shards: list[list[Document]], *, seed: int = 0, group: int = 1000, **settings: object
) -> tuple[Vocabulary, StageReport, dict[str, bytes]]:
    io = stage_io(root, shards, seed=seed, group=group)
    report = build_vocabulary(VocabularyConfig.model_validate({"min_count": 1, **settings}), io)
    return Vocabulary.load(io.output), report, {path.name: path.read_bytes() for path in sorted(io.output.iterdir())}


def many_words(n_documents: int = 300, n_words: int = 120) -> list[Document]:
    """Documents over some 18,000 different words, a few of them frequent."""
    source = random.Random(5)
    return [
        (f"doc-{number:04d}", " ".join(f"w{int(30_000 * source.random() ** 2)}" for _ in range(n_words)))
        for number in range(n_documents)
    ]


@settings(deadline=None, max_examples=40)
@given(corpora, st.integers(1, 3), st.sampled_from(["unicode", "ascii", "whitespace"]), st.booleans())
def test_counts_are_those_of_a_counter(
    documents: list[Document], min_count: int, pattern: str, lowercase: bool
) -> None:
    rules = TokenRules(pattern, lowercase)  # type: ignore[arg-type]
    counts, n_documents = counted_by_hand(documents, rules)
    kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    with TemporaryDirectory() as name:
        settings = {"min_count": min_count, "token_pattern": pattern, "lowercase": lowercase}
        if len(kept) < 2:
            with pytest.raises(VocabularyError):
                build(Path(name), [documents], **settings)
            return
        vocabulary, report, files = build(Path(name), [documents], **settings)
    assert vocabulary.words == [word for _, word in kept]
    assert vocabulary.counts.tolist() == [-negative for negative, _ in kept]
    assert vocabulary.n_documents.tolist() == [n_documents[word] for word in vocabulary.words]
    assert vocabulary.rules == rules
    n_tokens, n_kept = counts.total(), sum(vocabulary.counts.tolist())
    assert report.metrics == {
        "n_documents": len(documents),
        "n_tokens": n_tokens,
        "n_text_bytes_read": sum(len(text.encode()) for _, text in documents),
        "n_types": len(counts),
        "n_words": len(kept),
        "n_tokens_kept": n_kept,
        "coverage_frac": n_kept / n_tokens,
        "n_spills": 0,
        "n_pinned_missing": 0,
        "certificate_delta": 0,
        "certificate_complete_from": min_count,
        "certificate_proven": True,
    }
    assert report.rows == {"vocabulary.parquet": len(kept), "sample.parquet": len(documents)}
    assert sorted(files) == ["sample.parquet", "vocabulary.parquet"]


def test_files_are_the_same_bytes_for_any_cut_order_memory_and_threads(tmp_path: Path) -> None:
    documents = many_words()
    _, whole, expected = build(tmp_path / "whole", [documents], reservoir_size=40)
    assert whole.metrics["n_spills"] == 0
    mixed = documents[:]
    random.Random(1).shuffle(mixed)
    _, spilled, found = build(
        tmp_path / "spilled",
        [mixed[:7], mixed[7:250], mixed[250:]],
        group=10,
        reservoir_size=40,
        memory="1MB",
        threads=3,
    )
    assert spilled.metrics["n_spills"] > 1
    assert found == expected
    _, _, found = build(
        tmp_path / "single", [[each] for each in documents[:60]] + [documents[60:]], reservoir_size=40, threads=1
    )
    assert found == expected


def test_quarantined_documents_count_nowhere(tmp_path: Path) -> None:
    io = stage_io(tmp_path, [[("good", "a b a"), ("bad", "a secret b")]], quarantined=["bad"])
    report = build_vocabulary(VocabularyConfig(min_count=1), io)
    vocabulary = Vocabulary.load(io.output)
    assert (vocabulary.words, vocabulary.counts.tolist()) == (["a", "b"], [2, 1])
    assert report.metrics["n_documents"] == 1
    assert Reservoir.load(io.output / "sample.parquet").to_table()["doc_id"].to_pylist() == ["good"]
    assert all(b"secret" not in path.read_bytes() for path in io.output.iterdir())


def test_max_size_keeps_the_most_frequent_with_ties_by_word(tmp_path: Path) -> None:
    vocabulary, report, _ = build(tmp_path, [[("d", "c c c b b a a z")]], max_size=2)
    assert vocabulary.words == ["c", "a"]
    assert report.metrics["n_types"] == 4


def test_words_must_occur_in_enough_documents(tmp_path: Path) -> None:
    documents = [("one", "x x x x y"), ("two", "y z"), ("three", "z y")]
    vocabulary, _, _ = build(tmp_path / "kept", [documents], min_documents=2)
    assert (vocabulary.words, vocabulary.n_documents.tolist()) == (["y", "z"], [3, 2])
    with pytest.raises(
        VocabularyError, match=r"vocabulary\.min_documents is 3, and a single word occurs in that many documents of 3"
    ):
        build(tmp_path / "refused", [documents], min_documents=3)


def test_pinned_words_stay_whatever_their_count(tmp_path: Path) -> None:
    documents = [("d", "c c c c b b b a a a z don’t")]
    vocabulary, report, _ = build(tmp_path, [documents], min_count=3, max_size=3, pinned=["Z", "don't", "absent"])
    assert vocabulary.words == ["c", "don't", "z"]
    assert report.metrics["n_pinned_missing"] == 1
    assert vocabulary.certificate == Certificate(3, 1, n_tokens=12, delta=0, n_cut_by_size=2)


def test_a_pinned_word_that_is_no_single_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        VocabularyError, match=r"pinned holds 'New York', which the token rules cut into 2 words: new, york\. Expected"
    ):
        build(tmp_path, [[("d", "a b")]], pinned=["New York"])


def test_case_can_be_folded_beyond_lower_case(tmp_path: Path) -> None:
    documents = [("d", "Straße STRASSE strasse Maße")]
    vocabulary, _, _ = build(tmp_path, [documents], casefold=True)
    assert (vocabulary.words, vocabulary.counts.tolist()) == (["strasse", "masse"], [3, 1])


def test_sample_follows_seed_size_and_cut(tmp_path: Path) -> None:
    documents = [(f"doc-{number}", f"some text {number}") for number in range(60)]
    samples = {}
    for seed in (1, 2):
        build(tmp_path / str(seed), [documents], seed=seed, reservoir_size=10, reservoir_text_chars=6)
        samples[seed] = Reservoir.load(tmp_path / str(seed) / "output" / "sample.parquet").to_table()
        assert len(samples[seed]) == 10
        assert set(samples[seed]["text"].to_pylist()) == {"some t"}
        assert samples[seed]["priority"].to_pylist() == sorted(samples[seed]["priority"].to_pylist())
    assert samples[1]["doc_id"] != samples[2]["doc_id"]


def test_table_shows_the_most_frequent_words(tmp_path: Path) -> None:
    _, report, _ = build(tmp_path, [many_words()])
    assert len(report.table) == 20
    assert list(report.table[0]) == ["word", "count", "n_documents", "frac"]
    counts = [row["count"] for row in report.table]
    assert counts == sorted(counts, reverse=True)
    assert "36,000 words in 300 documents" in report.markdown


@pytest.mark.parametrize(
    ("documents", "settings", "message"),
    [
        ([], {}, r"the corpus is empty: no document is left after ingest and contract.*corpus\.sources"),
        (
            [("a", "..."), ("b", "— !")],
            {},
            r"no word in 2 documents: vocabulary\.token_pattern 'unicode' matches nothing",
        ),
        (
            [("a", "ha ha Ha")],
            {},
            r"a single distinct word, 3 times in 1 documents\. Expected: at least 2 distinct words",
        ),
        (
            [("a", "x y z x x y")],
            {"min_count": 4},
            r"vocabulary\.min_count is 4, and no word occurs that often: of 3 distinct words the most frequent occurs "
            r"3 times, the next 2 times\. Expected: .*What to do: set vocabulary\.min_count to 2 or less",
        ),
        (
            [("a", "x y x")],
            {"min_count": 2},
            r"min_count is 2, and a single word occurs that often: .* occurs 2 times, the next once.* to 1 or less",
        ),
    ],
    ids=["no documents", "no words", "one word", "none reaches min_count", "one reaches min_count"],
)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, documents: list[Document], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(VocabularyError, match=message):
        build(tmp_path, [documents], **settings)
    assert list((tmp_path / "output").iterdir()) == []


def test_settings_that_change_no_result_are_not_in_the_key() -> None:
    assert not {"memory", "disk", "threads"} & set(key_config(VocabularyConfig()))
    assert "sentence_unit" in key_config(EncodeConfig())
    assert "threads" not in key_config(EncodeConfig())
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        VocabularyConfig(max_size=1)
