"""A night of the pipeline: of ten files and a new one, every stage that reads text reads the new one's."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile

from vecmill.corpus.config import CorpusConfig
from vecmill.evaluation.config import EvaluationConfig
from vecmill.pipelines.summary import summarise
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.stage import InputFolders
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.words.config import SkipgramConfig

STAGES = tuple(WORDS.stage(name) for name in ("ingest", "contract", "contamination", "vocabulary", "encode"))
# The pieces of each, of which one a file.
KINDS = {
    "ingest": "ingest.read",
    "contract": "contract.check",
    "contamination": "contamination.look",
    "vocabulary": "vocabulary.count",
}


def _write(root: Path, seed: int, n_lines: int = 30) -> int:
    """A file of documents, one of them for quarantine and one a row of a benchmark; bytes of their text."""
    source = random.Random(seed)
    words = ["tiger", "cat", "über", "don't", "漢字", *(f"word{k}" for k in range(60))]
    lines = [" ".join(source.choices(words, k=source.randint(5, 12))) for _ in range(n_lines)]
    lines += [f"tiger cat 7.35 {seed}", "tiger\tcat\t7.35", "1 2 3 4 5 6 7 8 9"]
    (root / "in").mkdir(exist_ok=True)
    (root / "in" / f"{seed:02}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum(len(line.encode()) for line in lines)


def _config(root: Path, sources: Path) -> WordsConfig:
    return WordsConfig(
        store=StoreConfig(uri=str(root / "store"), cache=str(root / "cache")),
        corpus=CorpusConfig(sources=(str(sources),), txt_unit="line", cleaning=("nfc",)),
        vocabulary=VocabularyConfig(min_count=1),
        evaluate=EvaluationConfig(benchmarks=("wordsim353",)),
        train=SkipgramConfig(),
    )


def _night(config: WordsConfig) -> dict[str, StageOutcome]:
    store = ArtifactStore(config.store)
    outcomes: dict[str, StageOutcome] = {}
    for stage in STAGES:
        inputs = {name: outcomes[name].ref for name in stage.inputs}
        outcomes[stage.name] = run_stage(stage, config, store, inputs)
    return outcomes


def _files(config: WordsConfig, outcomes: dict[str, StageOutcome]) -> dict[str, bytes]:
    store = ArtifactStore(config.store)
    return {
        f"{name}/{path.name}": path.read_bytes()
        for name, outcome in outcomes.items()
        for path in sorted(store.folder(outcome.ref).iterdir())
        if path.name != "manifest.json"
    }


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source file a piece of ingest, as files of 8 MiB and more are."""
    monkeypatch.setattr("vecmill.corpus.division.LARGE_BYTES", 1)


def test_of_ten_files_and_a_new_one_every_stage_reads_the_new_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(10):
        _write(tmp_path, seed)
    config = _config(tmp_path, tmp_path / "in")
    first = _night(config)
    n_new = _write(tmp_path, 10)
    n_quarantined = len("1 2 3 4 5 6 7 8 9")
    # The corpus as a whole is asked for by none, so that of a remote store it need not travel.
    fetched: list[str] = []
    whole = InputFolders.__getitem__
    monkeypatch.setattr(InputFolders, "__getitem__", lambda self, name: fetched.append(name) or whole(self, name))
    second = _night(config)
    assert not any(outcome.cached for outcome in second.values())
    assert second["ingest"].metrics["n_source_bytes_read"] == (tmp_path / "in/10.txt").stat().st_size
    read = {name: second[name].metrics["n_text_bytes_read"] for name in KINDS if name != "ingest"}
    assert read == {"contract": n_new, "contamination": n_new - n_quarantined, "vocabulary": n_new - n_quarantined}
    assert second["encode"].metrics["n_text_bytes_read"] == 0, "counting has cut it into words"
    assert "ingest" not in fetched
    for name in KINDS:
        assert (first[name].n_pieces_built, first[name].n_pieces_taken_over) == (10, 0)
        assert (second[name].n_pieces_built, second[name].n_pieces_taken_over) == (1, 10)
    assert second["contamination"].metrics["n_rows"] >= 11 and second["contract"].metrics["n_quarantined"] == 11

    fresh = _config(tmp_path / "fresh", tmp_path / "in")
    assert _files(config, second) == _files(fresh, _night(fresh)), "the bytes of one that reads everything"


def test_the_summary_says_what_was_taken_over(tmp_path: Path) -> None:
    for seed in range(3):
        _write(tmp_path, seed)
    config = _config(tmp_path, tmp_path / "in")
    store = ArtifactStore(config.store)
    notes = {row["stage"]: row["note"] for row in _stages(config, store, _night(config))}
    assert notes == {**dict.fromkeys(KINDS, "3 pieces"), "encode": ""}
    _write(tmp_path, 3)
    outcomes = _night(config)
    rows = {row["stage"]: row for row in _stages(config, store, outcomes)}
    assert rows["ingest"]["note"] == "1 of 4 files read, 3 taken over"
    for name in ("contract", "contamination", "vocabulary"):
        assert rows[name]["note"] == "1 of 4 pieces, 3 taken over"
        assert (rows[name]["n_pieces_built"], rows[name]["n_pieces_taken_over"]) == (1, 3)
    assert rows["encode"]["note"] == "" and rows["encode"]["n_pieces_built"] == 0
    assert {row["note"] for row in _stages(config, store, _night(config))} == {""}


def _stages(config: WordsConfig, store: ArtifactStore, outcomes: dict[str, StageOutcome]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = summarise(WORDS, config, store, list(outcomes.values()), 0.0)["stages"]
    return found


def test_of_a_remote_corpus_names_alone_travel_where_pieces_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random.Random(5)
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "b.txt"):
        lines = [" ".join(source.randbytes(3).hex() for _ in range(300)) for _ in range(500)]
        (tmp_path / "in" / name).write_text("\n".join([*lines, "1 2 3 4 5 6 7 8 9"]) + "\n")
    place = StoreConfig(uri=f"memory://names-{tmp_path.name}", cache=str(tmp_path / "cache"))
    config = _config(tmp_path, tmp_path / "in").model_copy(update={"store": place})
    first = _night(config)
    assert first["contract"].metrics["n_quarantined"] == 2

    # Another machine, which wants other words of the same pieces.
    elsewhere = {
        "store": place.model_copy(update={"cache": str(tmp_path / "elsewhere")}),
        "vocabulary": VocabularyConfig(min_count=2),
        "encode": EncodeConfig(documents_share=0.5),
    }
    read: Counter[str] = Counter()
    whole = MemoryFile.read

    def reads(self: MemoryFile, *size: int) -> bytes:
        content = whole(self, *size)
        read[self.path] += len(content)
        return content

    monkeypatch.setattr(MemoryFile, "read", reads)
    config = config.model_copy(update=elsewhere)
    store = ArtifactStore(config.store)
    stage = WORDS.stage("vocabulary")
    found = run_stage(stage, config, store, {name: first[name].ref for name in stage.inputs})
    assert (found.n_pieces_built, found.n_pieces_taken_over) == (0, 2)
    encode = WORDS.stage("encode")
    refs = {name: first[name].ref for name in encode.inputs} | {"vocabulary": found.ref}
    share = run_stage(encode, config, store, refs)
    assert 0 < share.metrics["n_documents"] < 900
    shards = {path: n for path, n in read.items() if path.endswith(".parquet") and "/ingest" in path}
    n_bytes = sum(store.backend._fs.size(path) for path in shards)
    assert len(shards) == 2 and 0 < sum(shards.values()) < n_bytes / 3
    # What was read that way is what is read of a copy.
    local = run_stage(stage, config, ArtifactStore(config.store), {n: first[n].ref for n in stage.inputs}, refresh=True)
    assert local.ref.digest == found.ref.digest and (local.n_pieces_built, local.n_pieces_taken_over) == (2, 0)
