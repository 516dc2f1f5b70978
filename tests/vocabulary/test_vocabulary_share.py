"""A share of the documents: nested, even, the same for any cut, and nothing at all where the share is 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from strategies_vocabulary import stage_io

from vecmill.errors import FormatError, VocabularyError
from vecmill.store.stage import StageIO
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.encode import encode_corpus
from vecmill.vocabulary.reservoir import Reservoir
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary

# Each document has a word of its own, by which it is known again in the tokens.
DOCUMENTS = [(f"doc-{number}", f"w{number} w{number}. Same same") for number in range(1000)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> StageIO:
    """Inputs of the encode stage, the vocabulary made by the real stage under the seed 5."""
    io = stage_io(tmp_path_factory.mktemp("build"), [DOCUMENTS[:300], DOCUMENTS[300:]], seed=5, group=70)
    build_vocabulary(VocabularyConfig(min_count=1, reservoir_size=100), io)
    return StageIO({**io.inputs, "vocabulary": io.output}, io.output.parent)


def encoded(built: StageIO, output: Path, **settings: object) -> tuple[set[str], int]:
    """Ids of the documents that were encoded, and how many the report states."""
    output.mkdir()
    report = encode_corpus(EncodeConfig.model_validate(settings), StageIO(built.inputs, output))
    words = Vocabulary.load(built.inputs["vocabulary"]).words
    found = {words[token_id] for token_id in set(TokenStore.open(output).token_ids.tolist())}
    return {f"doc-{word[1:]}" for word in found - {"same"}}, report.metrics["n_documents"]


def test_shares_are_even_and_nested(built: StageIO, tmp_path: Path) -> None:
    smaller: set[str] = set()
    for share in (0.05, 0.2, 0.5, 0.9):
        found, n_documents = encoded(built, tmp_path / str(share), documents_share=share)
        assert smaller <= found
        assert len(found) == n_documents == pytest.approx(1000 * share, abs=4 * (1000 * share * (1 - share)) ** 0.5)
        smaller = found


def test_a_share_is_what_the_reservoir_would_hold(built: StageIO, tmp_path: Path) -> None:
    found, _ = encoded(built, tmp_path / "share", documents_share=0.05)
    sample = Reservoir.load(built.inputs["vocabulary"] / "sample.parquet").to_table()["doc_id"].to_pylist()
    assert found == set(sample[: len(found)])


def test_a_share_of_one_is_all_documents_without_looking_at_the_sample(built: StageIO, tmp_path: Path) -> None:
    assert EncodeConfig() == EncodeConfig(documents_share=1.0)
    plain = {**built.inputs, "vocabulary": tmp_path / "vocabulary"}
    (tmp_path / "vocabulary").mkdir()
    Vocabulary.load(built.inputs["vocabulary"]).save(plain["vocabulary"])
    found, n_documents = encoded(StageIO(plain, built.output), tmp_path / "all", documents_share=1)
    assert len(found) == n_documents == 1000
    with pytest.raises(FormatError, match=r"sample\.parquet is not a sample of documents.*--refresh vocabulary"):
        encoded(StageIO(plain, built.output), tmp_path / "half", documents_share=0.5)


def test_the_bytes_of_a_share_do_not_depend_on_threads(built: StageIO, tmp_path: Path) -> None:
    files = []
    for threads in (1, 3):
        encoded(built, tmp_path / str(threads), documents_share=0.3, threads=threads)
        files.append({path.name: path.read_bytes() for path in (tmp_path / str(threads)).iterdir()})
    assert files[0] == files[1]


def test_a_share_without_documents_is_refused(built: StageIO, tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"documents_share 1e-12 leaves no document.*raise encode"):
        encoded(built, tmp_path / "none", documents_share=1e-12)
