"""Documents held out for validation: even shares, disjoint folds, and what encode and evaluate do with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies_vocabulary import stage_io

from vecmill.errors import VocabularyError
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.evaluate import evaluate_words
from vecmill.store.stage import StageIO
from vecmill.vectors.word_vectors import WordVectors
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.encode import encode_corpus
from vecmill.vocabulary.held_out import in_fold
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary

IDS = [f"doc-{number}" for number in range(2000)]
# Each document has a word of its own, by which it is known again in the tokens.
DOCUMENTS = [(doc_id, f"w{doc_id[4:]} same other w{doc_id[4:]}. More of same") for doc_id in IDS]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> StageIO:
    io = stage_io(tmp_path_factory.mktemp("build"), [DOCUMENTS[:300], DOCUMENTS[300:]], seed=5, group=70)
    build_vocabulary(VocabularyConfig(min_count=1, reservoir_size=100), io)
    return StageIO({**io.inputs, "vocabulary": io.output}, io.output.parent)


def encoded(built: StageIO, output: Path, **settings: object) -> set[str]:
    output.mkdir()
    encode_corpus(EncodeConfig.model_validate(settings), StageIO(built.inputs, output))
    words = Vocabulary.load(built.inputs["vocabulary"]).words
    found = {words[token_id] for token_id in set(TokenStore.open(output).token_ids.tolist())}
    return {f"doc-{word[1:]}" for word in found if word[1:].isdigit()}


@given(st.integers(2, 40))
def test_folds_part_the_documents(n: int) -> None:
    folds = np.array([in_fold(IDS[:400], 1 / n, fold) for fold in range(n)])
    assert (folds.sum(axis=0) == 1).all()


def test_shares_are_even() -> None:
    for share in (0.05, 0.2, 0.3, 0.5):
        n = int(1 / share + 1e-9)
        sizes = [in_fold(IDS, share, fold).sum() for fold in range(n)]
        assert sizes == pytest.approx([2000 * share] * n, abs=5 * (2000 * share * (1 - share)) ** 0.5)


def test_what_is_held_out_is_a_matter_of_the_id_alone() -> None:
    assert (in_fold(IDS, 0.2, 1) == in_fold(IDS[::-1], 0.2, 1)[::-1]).all()
    # Kept for good: another choice would train new models on what old ones were judged by.
    assert np.flatnonzero(in_fold(IDS[:40], 0.1, 0)).tolist() == [5, 8, 27, 33, 36]


def test_encode_leaves_them_out_and_says_so(built: StageIO, tmp_path: Path) -> None:
    everything = encoded(built, tmp_path / "all")
    assert everything == set(IDS) and not (tmp_path / "all" / "held_out.json").exists()
    found = [encoded(built, tmp_path / str(k), validation_share=0.25, validation_fold=k) for k in range(4)]
    held_out = [everything - each for each in found]
    assert set.union(*held_out) == everything and sum(map(len, held_out)) == 2000
    assert json.loads((tmp_path / "1" / "held_out.json").read_text()) == {"share": 0.25, "fold": 1}
    # The share of documents and the split know nothing of each other.
    half = encoded(built, tmp_path / "half", documents_share=0.5, validation_share=0.25, validation_fold=1)
    assert half == found[1] & encoded(built, tmp_path / "share", documents_share=0.5)


def test_evaluate_reads_just_those(built: StageIO, tmp_path: Path) -> None:
    encoded(built, tmp_path / "encode", validation_share=0.25, validation_fold=2)
    words = Vocabulary.load(built.inputs["vocabulary"]).words
    rows = np.random.default_rng(1).normal(size=(len(words), 8)).astype(np.float32)
    WordVectors(words, rows).save(tmp_path / "train" / "vectors")
    np.save(tmp_path / "train" / "context_vectors.npy", rows)
    (tmp_path / "output").mkdir()
    inputs = {**built.inputs, "encode": tmp_path / "encode", "train": tmp_path / "train"}
    config = EvaluationConfig.model_validate({"n_resamples": 100, "validation": {"score": "dot", "window": 3}})
    report = evaluate_words(config, StageIO(inputs, tmp_path / "output", seed=3))
    score = json.loads((tmp_path / "output" / "validation.json").read_text())
    assert score["n_documents"] == in_fold(IDS, 0.25, 2).sum() and score["n_tokens"] == 7 * score["n_documents"]
    assert score["pair_coverage"] == 1.0 and score["score"] == "dot" and score["window"] == 3
    assert report.metrics["validation_auc"] == score["auc"]
    assert report.metrics["quality_contexts"] == pytest.approx(max(0, 2 * score["auc_all_pairs"] - 1), abs=1e-5)
    assert report.metrics["quality"] <= max(v for k, v in report.metrics.items() if k.startswith("quality_"))
    assert f"Held-out text ({score['n_documents']:,} documents)" in report.markdown


def test_too_few_documents_are_refused(built: StageIO, tmp_path: Path) -> None:
    io = stage_io(tmp_path / "one", [DOCUMENTS[:1]], seed=5)
    build_vocabulary(VocabularyConfig(min_count=1), io)
    fold = int(np.flatnonzero([in_fold(IDS[:1], 0.5, fold)[0] for fold in (0, 1)])[0])
    inputs = {**io.inputs, "vocabulary": io.output}
    (tmp_path / "none").mkdir()
    with pytest.raises(VocabularyError, match=r"leaves no document .* held-out ones \(0\.5\) apart.*txt_unit"):
        encode_corpus(EncodeConfig(validation_share=0.5, validation_fold=fold), StageIO(inputs, tmp_path / "none"))
    (tmp_path / "encode").mkdir()
    encode_corpus(EncodeConfig(validation_share=0.5, validation_fold=1 - fold), StageIO(inputs, tmp_path / "encode"))
    words = Vocabulary.load(io.output).words
    WordVectors(words, np.ones((len(words), 2), np.float32)).save(tmp_path / "train" / "vectors")
    (tmp_path / "output").mkdir()
    inputs |= {"encode": tmp_path / "encode", "train": tmp_path / "train"}
    with pytest.raises(VocabularyError, match=r"holds out no document of the corpus.*raise encode\.validation_share"):
        evaluate_words(EvaluationConfig(n_resamples=100), StageIO(inputs, tmp_path / "output"))


def test_a_fold_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"validation_fold 5 of 5 folds .* name one from 0 to 4"):
        EncodeConfig(validation_share=0.2, validation_fold=5)
    assert EncodeConfig(validation_share=1 / 49, validation_fold=48).validation_fold == 48
