"""The encode stage: ids stand for the words of the text, sentence by sentence, less those outside the vocabulary."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_text import texts
from strategies_vocabulary import Document, stage_io

from vecmill.errors import FormatError, VocabularyError
from vecmill.store.stage import StageIO, StageReport
from vecmill.text.sentences import SentenceUnit, split_sentences
from vecmill.text.tokenize import TokenRules, tokenize
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.encode import encode_corpus
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary


def encode(
    root: Path, shards: list[list[Document]], vocabulary: Vocabulary, *, group: int = 1000, **settings: object
) -> tuple[TokenStore, StageReport]:
    io = stage_io(root, shards, group=group)
    (root / "vocabulary").mkdir()
    vocabulary.save(root / "vocabulary")
    io = StageIO({**io.inputs, "vocabulary": root / "vocabulary"}, io.output)
    report = encode_corpus(EncodeConfig.model_validate(settings), io)
    return TokenStore.open(io.output, n_words=len(vocabulary)), report


def words_by_sentence(store: TokenStore, vocabulary: Vocabulary) -> list[list[str]]:
    words = [vocabulary.words[token_id] for token_id in store.token_ids]
    bounds = zip(store.sentence_offsets[:-1], store.sentence_offsets[1:], strict=True)
    return [words[start:stop] for start, stop in bounds]


def vocabulary_of(*words: str, rules: TokenRules | None = None) -> Vocabulary:
    n = len(words)
    return Vocabulary(list(words), np.arange(n, 0, -1), np.ones(n, dtype=np.int64), rules or TokenRules())


@settings(deadline=None, max_examples=60)
@given(st.lists(texts, min_size=1, max_size=6), st.sampled_from(["sentence", "line", "document"]), st.integers(1, 3))
def test_ids_are_the_words_less_those_outside(column: list[str], unit: SentenceUnit, group: int) -> None:
    found = sorted({word for text in column for word in tokenize(text)})
    vocabulary = vocabulary_of("outside", "elsewhere", *found[::2])  # two words at least make one
    expected = [
        [word for word in tokenize(sentence) if word in vocabulary]
        for text in column
        for sentence in split_sentences(text, unit)
    ]
    expected = [sentence for sentence in expected if sentence]
    documents = [(str(number), text) for number, text in enumerate(column)]
    with TemporaryDirectory() as name:
        if not expected:
            with pytest.raises(VocabularyError, match="documents is among the vocabulary's"):
                encode(Path(name), [documents], vocabulary, group=group, sentence_unit=unit)
            return
        store, report = encode(Path(name), [documents], vocabulary, group=group, sentence_unit=unit)
        assert words_by_sentence(store, vocabulary) == expected
    n_found = sum(len(tokenize(text)) for text in column)
    lengths = [len(sentence) for sentence in expected]
    assert report.metrics == {
        "n_documents": len(column),
        "n_sentences": len(expected),
        "n_tokens": sum(lengths),
        "n_tokens_dropped": n_found - sum(lengths),
        "n_text_bytes_read": sum(len(text.encode()) for text in column),
        "oov_frac": (n_found - sum(lengths)) / n_found,
        "mean_sentence_tokens": sum(lengths) / len(expected),
        "max_sentence_tokens": max(lengths),
    }
    assert report.rows == {"token_ids.npy": sum(lengths), "sentence_offsets.npy": len(expected) + 1}
    assert sum(row["n_sentences"] for row in report.table) == len(expected)


def test_after_the_vocabulary_stage_ids_occur_as_often_as_the_vocabulary_says(tmp_path: Path) -> None:
    documents = [(f"doc-{number}", f"One day. Word{number % 17} of word{number % 5}, again!") for number in range(200)]
    io = stage_io(tmp_path / "build", [documents])
    build_vocabulary(VocabularyConfig(min_count=13), io)
    vocabulary = Vocabulary.load(io.output)
    store, report = encode(tmp_path / "encode", [documents[:90], documents[90:]], vocabulary)
    assert np.bincount(store.token_ids, minlength=len(vocabulary)).tolist() == vocabulary.counts.tolist()
    assert report.metrics["n_tokens_dropped"] > 0


def test_files_are_the_same_bytes_for_any_cut_and_threads(tmp_path: Path) -> None:
    documents = [(f"doc-{number}", f"a b. c {'d ' * number}\n e. f") for number in range(50)]
    vocabulary = vocabulary_of("a", "c", "d", "f")
    files = []
    for name, shards, group, threads in [
        ("whole", [documents], 1000, 1),
        ("cut", [documents[:1], documents[1:30], documents[30:]], 2, 3),
    ]:
        encode(tmp_path / name, shards, vocabulary, group=group, threads=threads)
        files.append({path.name: path.read_bytes() for path in (tmp_path / name / "output").iterdir()})
    assert files[0] == files[1]
    assert sorted(files[0]) == ["sentence_offsets.npy", "token_ids.npy"]


def test_a_long_sentence_stays_whole(tmp_path: Path) -> None:
    text = " ".join(f"w{number % 7}" for number in range(25_000))
    vocabulary = vocabulary_of(*[f"w{number}" for number in range(7)])
    store, report = encode(tmp_path, [[("short", "w1 w2."), ("long", text), ("last", "w3")]], vocabulary)
    assert np.diff(store.sentence_offsets).tolist() == [2, 25_000, 1]
    assert store.token_ids[2:-1].tolist() == [number % 7 for number in range(25_000)]
    assert report.metrics["max_sentence_tokens"] == 25_000
    assert report.table[-1] == {"sentence_tokens": "16384–32767", "n_sentences": 1, "frac": 0.333333}


def test_words_are_cut_by_the_rules_of_the_vocabulary(tmp_path: Path) -> None:
    vocabulary = vocabulary_of("New_York", "rains.", rules=TokenRules("whitespace", lowercase=False))
    store, _ = encode(tmp_path, [[("d", "New_York rains. new_york New_York")]], vocabulary)
    assert words_by_sentence(store, vocabulary) == [["New_York", "rains."], ["New_York"]]


def test_quarantined_documents_are_left_out(tmp_path: Path) -> None:
    io = stage_io(tmp_path, [[("good", "a b"), ("bad", "b b b")]], quarantined=["bad"])
    (tmp_path / "vocabulary").mkdir()
    vocabulary_of("a", "b").save(tmp_path / "vocabulary")
    encode_corpus(EncodeConfig(), StageIO({**io.inputs, "vocabulary": tmp_path / "vocabulary"}, io.output))
    assert TokenStore.open(io.output).token_ids.tolist() == [0, 1]


def test_a_vocabulary_of_another_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        VocabularyError,
        match=r"none of the 3 words in 2 documents is among the vocabulary's 2\. .*--refresh vocabulary",
    ):
        encode(tmp_path, [[("a", "x y"), ("b", "z")]], vocabulary_of("p", "q"))


def test_no_half_store_is_taken_for_whole_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError):
        encode(tmp_path, [[("a", "x y")]], vocabulary_of("p", "q"))
    with pytest.raises(FormatError):
        TokenStore.open(tmp_path / "output")
