"""Vocabulary and encode in pieces: a night costs its new text, and gives the bytes of one that reads everything."""

from __future__ import annotations

import hashlib
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.config.base import Config
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.division import divide
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.listing import SourceFile
from vecmill.errors import VocabularyError
from vecmill.kernels.coded_text import tally_and_pack
from vecmill.pipelines.words import WORDS, _sources
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.plan import Stage
from vecmill.store.stage import StageIO, StageReport
from vecmill.text.rules import TokenRules
from vecmill.vocabulary.coded import CodingTable, read_blocks
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.count_piece import Counting, count_piece
from vecmill.vocabulary.token_store import TokenStore
from vecmill.vocabulary.vocabulary import Vocabulary

RARE = "quarantineme"


class NightConfig(Config):
    store: StoreConfig
    corpus: CorpusConfig
    vocabulary: VocabularyConfig = VocabularyConfig(min_count=1)
    encode: EncodeConfig = EncodeConfig()
    seed: int = 0


STAGES = (
    Stage("ingest", "vecmill.corpus.ingest:ingest", "corpus", external=_sources, forgets=True),
    WORDS.stage("vocabulary"),
    WORDS.stage("encode"),
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source file a piece of ingest, as files of 8 MiB and more are."""
    monkeypatch.setattr("vecmill.corpus.division.LARGE_BYTES", 1)


def _config(root: Path, **sections: Any) -> NightConfig:
    store = StoreConfig(uri=str(root / "store"), cache=str(root / "cache"))
    corpus = CorpusConfig(sources=(str(root / "in"),), txt_unit="line", **sections.pop("corpus", {}))
    return NightConfig(store=store, corpus=corpus, **sections)


def _contract(config: NightConfig, ingest: StageOutcome, word: str) -> StageOutcome:
    """What a contract leaves that takes out every document with a certain word."""
    store = ArtifactStore(config.store)
    corpus = store.folder(ingest.ref)
    ids = [
        doc_id
        for batch in iter_documents(corpus)
        for doc_id, text in zip(batch["doc_id"].to_pylist(), batch["text"].to_pylist(), strict=True)
        if word in text
    ]

    def work(folder: Path) -> StageReport:
        pq.write_table(pa.table({"doc_id": pa.array(ids, pa.string())}), folder / "quarantine.parquet")
        return StageReport()

    key = hashlib.sha256(f"{ingest.ref.key} {word}".encode()).hexdigest()[:32]
    with store.building("contract", key):
        return StageOutcome(store.build("contract", key, {}, {"ingest": ingest.ref}, {}, work).ref, False, 0.0)


def _night(
    config: NightConfig, unwanted: str = RARE, **options: Any
) -> tuple[dict[str, StageOutcome], dict[str, Path]]:
    store = ArtifactStore(config.store)
    outcomes: dict[str, StageOutcome] = {}
    for stage in STAGES:
        inputs = {name: outcomes[name].ref for name in stage.inputs}
        outcomes[stage.name] = run_stage(stage, config, store, inputs, **options)
        if stage.name == "ingest":
            outcomes["contract"] = _contract(config, outcomes["ingest"], unwanted)
    return outcomes, {name: store.folder(each.ref) for name, each in outcomes.items()}


def _write(root: Path, seed: int, name: str, n_lines: int = 30) -> int:
    """A file of documents; the bytes of their text as ingest leaves it."""
    source = random.Random(seed)
    words = ["the", "of", "Über", "don't", "漢字", "zebra", "new", "york", *(f"w{k}" for k in range(300))]
    lines = [
        ". ".join(" ".join(source.choices(words, k=source.randint(1, 9))) for _ in range(source.randint(1, 4)))
        for _ in range(n_lines)
    ]
    (root / "in").mkdir(exist_ok=True)
    (root / "in" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum(len(line.lower().encode()) for line in lines)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "manifest.json"}


def _all_bytes(folders: dict[str, Path]) -> dict[str, dict[str, bytes]]:
    return {name: _bytes(folders[name]) for name in ("vocabulary", "encode")}


def _fresh(root: Path, config: NightConfig, **options: Any) -> dict[str, dict[str, bytes]]:
    store = StoreConfig(uri=str(root / "store"), cache=str(root / "cache"))
    return _all_bytes(_night(config.model_copy(update={"store": store}), **options)[1])


def _without_a_store(config: NightConfig, folders: dict[str, Path], root: Path) -> dict[str, dict[str, bytes]]:
    """What the stages give by themselves, reading all the text each time."""
    from vecmill.vocabulary.build import build_vocabulary
    from vecmill.vocabulary.encode import encode_corpus

    inputs = {name: folders[name] for name in ("ingest", "contract")}
    for name in ("vocabulary", "encode"):
        (root / name).mkdir(parents=True)
    build_vocabulary(config.vocabulary, StageIO(inputs, root / "vocabulary", config.seed))
    encode_corpus(config.encode, StageIO({**inputs, "vocabulary": root / "vocabulary"}, root / "encode"))
    return {name: _bytes(root / name) for name in ("vocabulary", "encode")}


VARIANTS: list[dict[str, Any]] = [
    {},
    {"vocabulary": {"min_count": 2, "min_documents": 2, "phrases": {"min_count": 2, "threshold": 0.5, "rounds": 2}}},
    {
        "vocabulary": {
            "min_count": 3,
            "max_size": 50,
            "reservoir_unit": "sentence",
            "reservoir_size": 7,
            "lowercase": False,
        }
    },
    {"vocabulary": {"min_count": 1, "token_pattern": "whitespace"}, "encode": {"sentence_unit": "line"}},
    {"vocabulary": {"min_count": 1}, "encode": {"validation_share": 0.2, "documents_share": 0.6}},
    {
        "vocabulary": {"min_count": 1},
        "corpus": {"duplicates": {"drop": "exact"}},
        "encode": {"sentence_unit": "document"},
    },
    {"vocabulary": {"min_count": 1, "max_entries": 40}},
]


def test_of_ten_files_and_a_new_one_only_the_new_one_is_cut_into_words(tmp_path):
    sizes = [_write(tmp_path, seed, f"{seed:02}.txt") for seed in range(10)]
    config = _config(tmp_path)
    first, _ = _night(config)
    assert first["vocabulary"].metrics["n_text_bytes_read"] == sum(sizes)
    assert first["encode"].metrics["n_text_bytes_read"] == 0, "counting has cut it already"

    n_new = _write(tmp_path, 10, "04b.txt")
    second, folders = _night(config)
    assert not second["vocabulary"].cached and not second["encode"].cached
    assert second["ingest"].metrics["n_source_bytes_read"] == (tmp_path / "in/04b.txt").stat().st_size
    assert second["vocabulary"].metrics["n_text_bytes_read"] == n_new
    assert second["encode"].metrics["n_text_bytes_read"] == 0
    assert _all_bytes(folders) == _fresh(tmp_path / "fresh", config)

    (tmp_path / "in/07.txt").unlink()
    third, folders = _night(config)
    assert third["vocabulary"].metrics["n_text_bytes_read"] == 0
    assert _all_bytes(folders) == _fresh(tmp_path / "fresh again", config)


def test_of_many_small_files_a_new_one_costs_the_group_it_stands_in(tmp_path, monkeypatch):
    monkeypatch.setattr("vecmill.corpus.division.LARGE_BYTES", 1 << 30)
    monkeypatch.setattr("vecmill.corpus.division._MEAN_FILES", 5)
    sizes = {f"{seed:02}.txt": _write(tmp_path, seed, f"{seed:02}.txt", n_lines=3) for seed in range(40)}
    config = _config(tmp_path)
    first, _ = _night(config)
    n_groups = first["vocabulary"].n_pieces_built
    assert 4 <= n_groups <= 16
    for new in ("17b.txt", "39b.txt", "00a.txt"):
        sizes[new] = _write(tmp_path, len(sizes), new, n_lines=3)
        groups = divide([_file(tmp_path / "in" / name) for name in sorted(sizes)])
        (group,) = [[file.name for file in group] for group in groups if new in [file.name for file in group]]
        outcomes, folders = _night(config)
        # Of a group that the new file parts, the other half is counted anew as well.
        assert outcomes["vocabulary"].n_pieces_built <= 2
        assert sizes[new] <= outcomes["vocabulary"].metrics["n_text_bytes_read"] < sum(sizes.values()) / 3
        if outcomes["vocabulary"].n_pieces_built == 1:
            assert outcomes["vocabulary"].metrics["n_text_bytes_read"] == sum(sizes[name] for name in group)
    assert _all_bytes(folders) == _fresh(tmp_path / "fresh", config)


def _file(path: Path) -> SourceFile:
    return SourceFile(str(path), path.stat().st_size, "sha256:0", path.name, str(path))


@pytest.mark.parametrize("sections", VARIANTS, ids=lambda sections: str(sections)[:60])
def test_the_same_bytes_with_pieces_and_without(tmp_path, sections):
    for seed in range(4):
        _write(tmp_path, seed, f"{seed}.txt")
    config = NightConfig.model_validate(
        {
            **_config(tmp_path, corpus=sections.get("corpus", {})).model_dump(),
            **{k: v for k, v in sections.items() if k != "corpus"},
        }
    )
    _night(config)
    _write(tmp_path, 9, "15.txt")
    (tmp_path / "in/2.txt").write_text("changed of the zebra\n" + (tmp_path / "in/1.txt").read_text())
    _, folders = _night(config)
    assert _all_bytes(folders) == _without_a_store(config, folders, tmp_path / "alone")
    threads = {"vocabulary": config.vocabulary.model_copy(update={"threads": 3, "memory": 1_000_000})}
    assert _all_bytes(folders) == _fresh(tmp_path / "fresh", config.model_copy(update=threads))
    if sections:
        return  # once is enough for what follows
    with ThreadPoolExecutor(3) as pool:
        assert _all_bytes(folders) == _fresh(tmp_path / "mapped", config, mapper=pool.map)


def test_other_thresholds_read_no_text_and_other_rules_all_of_it(tmp_path):
    size = sum(_write(tmp_path, seed, f"{seed}.txt") for seed in range(3))
    _night(_config(tmp_path))
    outcomes, folders = _night(
        _config(tmp_path, vocabulary={"min_count": 4, "pinned": ["zebra"], "phrases": {"min_count": 2}})
    )
    assert outcomes["vocabulary"].metrics["n_text_bytes_read"] == 0
    assert Vocabulary.load(folders["vocabulary"]).counts.min() <= 4
    outcomes, _ = _night(_config(tmp_path, vocabulary={"min_count": 1, "lowercase": False}))
    assert outcomes["vocabulary"].metrics["n_text_bytes_read"] == size


def test_a_document_in_quarantine_costs_its_own_shard(tmp_path):
    sizes = [_write(tmp_path, seed, f"{seed}.txt") for seed in range(4)]
    config = _config(tmp_path)
    _night(config)
    with (tmp_path / "in/3.txt").open("a") as file:
        file.write(f"a document of {RARE} words\n")
    outcomes, folders = _night(config)
    assert outcomes["vocabulary"].metrics["n_text_bytes_read"] == sizes[3]
    assert RARE not in Vocabulary.load(folders["vocabulary"])
    assert _all_bytes(folders) == _without_a_store(config, folders, tmp_path / "alone")
    # The same text under another contract.
    outcomes, folders = _night(config, unwanted="a document of")
    assert outcomes["ingest"].cached and outcomes["vocabulary"].metrics["n_text_bytes_read"] == 0
    outcomes, folders = _night(config, unwanted="w299")
    assert outcomes["vocabulary"].metrics["n_text_bytes_read"] > 0
    assert "w299" not in Vocabulary.load(folders["vocabulary"])
    assert _all_bytes(folders) == _without_a_store(config, folders, tmp_path / "alone again")


def test_where_a_piece_is_gone_the_text_is_read_again(tmp_path):
    size = sum(_write(tmp_path, seed, f"{seed}.txt") for seed in range(3))
    config = _config(tmp_path)
    _, folders = _night(config)
    whole = _all_bytes(folders)
    store = ArtifactStore(config.store)
    key = store.backend.names("vocabulary.count")[1]
    (tmp_path / "store/vocabulary.count" / key / "coded_words.arrow").write_bytes(b"damaged")
    for folder in (tmp_path / "store/encode").iterdir():
        store.remove("encode", folder.name)
    outcomes, folders = _night(config)
    assert outcomes["encode"].metrics["n_text_bytes_read"] == size
    assert _all_bytes(folders) == whole


def test_blocks_are_the_row_groups_of_the_corpus_the_emptied_ones_too(tmp_path):
    _write(tmp_path, 0, "a.txt")
    (tmp_path / "in/b.txt").write_text(f"all {RARE}\n{RARE} of it\n")
    _write(tmp_path, 1, "c.txt")
    config = _config(tmp_path)
    outcomes, folders = _night(config)
    store = ArtifactStore(config.store)
    manifest = store.manifest("vocabulary", outcomes["vocabulary"].ref.key)
    assert manifest is not None and len(manifest.pieces) == 3
    blocks = list(read_blocks(store.folder(ref) for ref in manifest.pieces))
    assert [block.n_texts for block in blocks] == [30, 0, 30]
    assert [len(block.words) > 0 for block in blocks] == [True, False, True]
    assert [block.n_tokens for block in read_blocks([store.folder(ref) for ref in manifest.pieces], 2)] == [
        blocks[2].n_tokens
    ]
    tokens = TokenStore.open(folders["encode"], n_words=outcomes["vocabulary"].metrics["n_words"])
    assert tokens.n_tokens == sum(block.n_tokens for block in blocks) == int(np.sum([b.n_tokens for b in blocks]))


def test_kernels_are_met_before_there_are_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[str] = []

    def packs(*arguments: Any) -> tuple[int, int]:
        met.append(threading.current_thread().name)
        return tally_and_pack(*arguments)

    monkeypatch.setattr("vecmill.vocabulary.coded.tally_and_pack", packs)
    _write(tmp_path, 1, "a.txt")
    _write(tmp_path, 2, "b.txt")
    _night(_config(tmp_path, vocabulary=VocabularyConfig(min_count=1, threads=2)))
    assert met[0] == threading.main_thread().name
    assert threading.main_thread().name not in met[1:] and len(set(met)) >= 3


def _counting(monkeypatch: pytest.MonkeyPatch, before: Callable[[Counting], None]) -> None:
    """Have something done before each piece is counted."""

    def counts(counting: Counting, io: StageIO) -> StageReport:
        before(counting)
        return count_piece(counting, io)

    counts.__module__, counts.__qualname__ = count_piece.__module__, count_piece.__qualname__
    monkeypatch.setattr("vecmill.vocabulary.passes.count_piece", counts)


@pytest.mark.parametrize(
    ("settings", "at_once"),
    [
        ({}, 2),
        ({"disk": 100_000_000}, 1),
        ({"memory": 20_000_000, "threads": 2}, 1),
        ({"memory": 100_000_000, "threads": 1}, 1),
    ],
)
def test_two_pieces_are_counted_at_once_where_memory_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], at_once: int
) -> None:
    both = threading.Barrier(2)
    budgets: list[int] = []

    def meets(counting: Counting) -> None:
        budgets.append(counting.means.memory)
        if at_once == 2:
            both.wait(timeout=60)  # for ever, were they counted one by one

    _counting(monkeypatch, meets)
    for number in range(4):
        _write(tmp_path, number, f"{number}.txt")
    config = _config(tmp_path, vocabulary=VocabularyConfig(min_count=1, **settings))
    _, folders = _night(config)
    assert budgets == [config.vocabulary.memory // at_once] * 4
    assert set(_bytes(folders["vocabulary"])) == {"sample.parquet", "vocabulary.parquet"}


def test_a_piece_that_fails_leaves_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def fails(counting: Counting) -> None:
        started.append(threading.current_thread().name)
        if len(started) == 3:
            raise VocabularyError("the third piece fails")

    for number in range(12):
        _write(tmp_path, number, f"{number:02d}.txt")
    config = _config(tmp_path)
    with monkeypatch.context() as patched:
        _counting(patched, fails)
        with pytest.raises(VocabularyError, match="the third piece fails"):
            _night(config)
    assert {name.partition("_")[0] for name in started} == {"piece"}
    n_finished = len(list(ArtifactStore(config.store).manifests("vocabulary.count")))
    assert 1 <= n_finished < len(started) <= 12
    outcomes, _ = _night(config)
    assert outcomes["vocabulary"].n_pieces_taken_over == n_finished


@pytest.mark.parametrize("failing", ["the first", "the second", "the run"])
def test_the_piece_at_work_beside_one_that_fails_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Whichever comes first in the corpus; and where somebody presses Ctrl-C, both do."""
    both, seen, ended = threading.Barrier(2), [], []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def counts(counting: Counting, io: StageIO) -> StageReport:
        n_documents = sum(pq.read_metadata(path).num_rows for path in counting.share.paths(io))
        seen.append(n_documents)
        both.wait(timeout=60)
        place = {30: "the first", 31: "the second"}[n_documents]
        if place == failing:
            raise VocabularyError(f"{place} fails")
        if failing == "the run" and place == "the second":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        for _ in range(600):
            try:
                io.advance(0)
            except BaseException:
                ended.append(place)
                raise
            time.sleep(0.1)
        return count_piece(counting, io)

    counts.__module__, counts.__qualname__ = count_piece.__module__, count_piece.__qualname__
    for number in range(6):
        _write(tmp_path, number, f"{number}.txt", 30 + number)
    config = _config(tmp_path)
    try:
        with monkeypatch.context() as patched:
            patched.setattr("vecmill.vocabulary.passes.count_piece", counts)
            wanted = KeyboardInterrupt if failing == "the run" else VocabularyError
            with pytest.raises(wanted, match=None if failing == "the run" else f"{failing} fails"):
                _night(config)
    finally:
        signal.signal(signal.SIGINT, before)
    left = {"the first", "the second"} - {failing}
    deadline = time.monotonic() + 200  # a pool that is struck while it starts a thread does not wait for that one
    while set(ended) != left and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sorted(ended) == sorted(left)
    assert len(seen) == 2, "no further piece was begun"
    assert not list(ArtifactStore(config.store).manifests("vocabulary.count"))


def test_a_row_group_of_more_words_than_sixteen_bits_number() -> None:
    words = [f"w{number:06d}" for number in range(260_000)]
    texts = [" ".join(words[start : start + 130_000]) for start in range(0, 260_000, 130_000)] + ["", words[0]]
    documents = pa.RecordBatch.from_pydict({"doc_id": [str(k) for k in range(len(texts))], "text": texts})
    block = CodingTable(TokenRules(), None).code(documents)
    assert block.words.to_pylist() == words and block.n_tokens == 260_001
    found = block.found(np.arange(260_000, dtype=np.int32))
    assert found.codes.tolist() == [*range(260_000), 0]
    assert np.diff(found.text_offsets).tolist() == [130_000, 130_000, 0, 1]
