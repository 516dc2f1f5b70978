"""Phrases: those that gensim finds, joined as it joins them, counted and encoded alike."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gensim.models.phrases import Phrases
from hypothesis import given
from hypothesis import strategies as st
from strategies_vocabulary import Document, stage_io

from vecmill.errors import FormatError
from vecmill.store.stage import StageIO, StageReport
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.encode import encode_corpus
from vecmill.vocabulary.phrase_counts import PairCounts
from vecmill.vocabulary.phrases import PHRASES_NAME
from vecmill.vocabulary.phrases import Phrases as OurPhrases
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary


def sentences(seed: int = 1, n: int = 600) -> list[list[str]]:
    """Words at random, with some pairs and triples that stand together more often than by chance."""
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(60)]
    planted = [["new", "york"], ["new", "york", "times"], ["los", "angeles"], ["w1", "w2"], ["a", "b", "a", "b", "a"]]
    made = []
    for _ in range(n):
        sentence: list[str] = []
        for _ in range(rng.randrange(3, 12)):
            sentence += rng.choice(planted) if rng.random() < 0.15 else [rng.choice(words)]
        made.append(sentence)
    return made


def documents_of(made: list[list[str]]) -> list[Document]:
    return [(f"doc-{number:04d}", " ".join(sentence)) for number, sentence in enumerate(made)]


def run(root: Path, documents: list[Document], **settings: object) -> tuple[StageReport, list[list[str]], Vocabulary]:
    """Report of the vocabulary stage, the encoded sentences in words, and the vocabulary."""
    io = stage_io(root, [documents[: len(documents) // 3], documents[len(documents) // 3 :]], group=50)
    report = build_vocabulary(VocabularyConfig.model_validate(settings), io)
    encoded = root / "encoded"
    encoded.mkdir()
    encode_corpus(EncodeConfig(), StageIO({**io.inputs, "vocabulary": io.output}, encoded))
    vocabulary, store = Vocabulary.load(io.output), TokenStore.open(encoded)
    words = [vocabulary.words[unit] for unit in store.token_ids]
    return report, [words[start:stop] for start, stop in pairwise(store.sentence_offsets.tolist())], vocabulary


def word2phrase(
    worda_count: int, wordb_count: int, bigram_count: int, len_vocab: int, min_count: int, corpus_word_count: int
) -> float:
    return (bigram_count - min_count) / (worda_count * wordb_count) * corpus_word_count


@pytest.mark.parametrize(("scoring", "threshold"), [("word2phrase", 3.0), ("npmi", 0.3)])
@pytest.mark.parametrize("rounds", [1, 2])
def test_same_phrases_as_gensim(tmp_path: Path, scoring: str, threshold: float, rounds: int) -> None:
    made = sentences()
    scorer = word2phrase if scoring == "word2phrase" else "npmi"
    expected = made
    found: dict[str, float] = {}
    for number in range(rounds):
        model = Phrases(expected, min_count=8, threshold=threshold, scoring=scorer, delimiter="_")
        if number == 0:  # later ones it does not export, since their parts hold the delimiter
            found = model.export_phrases()
        expected = [model[sentence] for sentence in expected]
    phrases = {"scoring": scoring, "threshold": threshold, "min_count": 8, "rounds": rounds}
    report, encoded, vocabulary = run(tmp_path, documents_of(made), phrases=phrases, min_count=1)
    assert encoded == expected
    table = pq.read_table(tmp_path / "output" / PHRASES_NAME).to_pylist()
    ours = {f"{row['first']}_{row['second']}": row["score"] for row in table if row["round"] == 1}
    assert ours == pytest.approx(found)
    assert len(ours) >= 4
    assert report.metrics["n_phrases"] == len(table)
    counts = dict(zip(vocabulary.words, vocabulary.counts.tolist(), strict=True))
    units = [unit for sentence in expected for unit in sentence]
    assert counts == {unit: units.count(unit) for unit in set(units)}
    assert report.metrics["coverage_frac"] == 1.0
    assert report.metrics["n_tokens"] == sum(map(len, made))


def test_phrases_do_not_cross_sentences_or_words_outside(tmp_path: Path) -> None:
    documents = [(f"d{number}", "new york. big apple, x9 new york") for number in range(20)]
    documents += [(f"e{number}", f"new. York r{number} new q{number} york") for number in range(20)]
    phrases = {"threshold": 0.5, "min_count": 5}
    _, encoded, vocabulary = run(tmp_path, documents, phrases=phrases, min_count=2)
    # From left to right: the last york has nothing left to join with.
    assert encoded[:2] == [["new_york"], ["big_apple", "x9_new", "york"]]
    assert encoded[40:42] == [["new"], ["york", "new", "york"]]
    assert {"new_york", "big_apple"} <= set(vocabulary.words)
    assert "big" not in vocabulary


def test_parts_that_joining_makes_rare_are_outside_but_still_joined(tmp_path: Path) -> None:
    documents = [(f"d{number}", f"los angeles w{number % 3} w{number % 5}") for number in range(30)]
    documents.append(("last", "los w1 angeles"))
    phrases = {"threshold": 1.0, "min_count": 20}
    _, encoded, vocabulary = run(tmp_path, documents, phrases=phrases, min_count=5)
    assert ("los" in vocabulary, "angeles" in vocabulary, "los_angeles" in vocabulary) == (False, False, True)
    assert encoded[0] == ["los_angeles", "w0", "w0"]
    assert encoded[-1] == ["w1"]


def test_a_limit_of_words_leaves_phrases(tmp_path: Path) -> None:
    documents = [(f"d{number}", "a b. c d. e f. x. x. y. y. y") for number in range(30)]
    phrases = {"threshold": 0.1, "min_count": 5}
    report, encoded, vocabulary = run(tmp_path, documents, phrases=phrases, max_size=2, pinned=["x"])
    assert sorted(vocabulary.words) == ["a_b", "c_d", "e_f", "x"]
    assert encoded[:5] == [["a_b"], ["c_d"], ["e_f"], ["x"], ["x"]]
    assert report.metrics["n_pinned_missing"] == 0


def test_files_are_the_same_bytes_for_any_cut_threads_and_memory(tmp_path: Path) -> None:
    made = documents_of(sentences(2))
    files = []
    for name, shards, group, threads in (("a", [made], 1000, 1), ("b", [made[:7], made[7:]], 9, 3)):
        io = stage_io(tmp_path / name, shards, group=group)
        settings = {"phrases": {"threshold": 2.0, "rounds": 2}, "threads": threads, "memory": "1MB"}
        build_vocabulary(VocabularyConfig.model_validate(settings), io)
        files.append({path.name: path.read_bytes() for path in io.output.iterdir() if path.name != "sample.parquet"})
    assert files[0] == files[1]
    assert sorted(files[0]) == ["phrases.parquet", "vocabulary.parquet"]


@given(st.lists(st.lists(st.integers(0, 30), max_size=40), max_size=8), st.integers(1, 4))
def test_pairs_are_counted_alike_with_and_without_spilling(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], min_count: int
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    spilling, roomy = PairCounts(folder, 1), PairCounts(folder, 1 << 30)
    spilling._most = 4
    for batch in batches:
        keys, counts = np.unique(np.array(batch, dtype=np.uint64), return_counts=True)
        spilling.add(keys, counts)
        roomy.add(keys, counts)
    every = [key for batch in batches for key in batch]
    expected = {key: every.count(key) for key in sorted(set(every)) if every.count(key) >= min_count}
    for found in (spilling.reaching(min_count), roomy.reaching(min_count)):
        assert dict(zip(*(array.tolist() for array in found), strict=True)) == expected
        assert found[0].tolist() == sorted(expected)
    assert roomy.n_runs == 0


def test_a_corpus_without_phrases_says_so(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, documents_of(sentences(3, 50)), phrases={"threshold": 1e9}, min_count=1)
    assert report.metrics["n_phrases"] == 0
    assert "No two words are a phrase by vocabulary.phrases." in report.markdown


def test_foreign_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / PHRASES_NAME).write_bytes(b"PAR1 not really")
    with pytest.raises(
        FormatError, match=r"phrases\.parquet is not a list of phrases: it cannot.*--refresh vocabulary"
    ):
        OurPhrases.load(tmp_path)
    pq.write_table(pa.table({"round": [1]}), tmp_path / PHRASES_NAME)
    with pytest.raises(FormatError, match="its columns are round"):
        OurPhrases.load(tmp_path)
