"""Ingest in pieces: a second night reads what is new, and comes to the bytes of a night that reads everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vecmill.corpus.batch as batch_module
from vecmill.config.base import Config
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.division import LARGE_BYTES, divide
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.piece_files import OlderFiles
from vecmill.errors import SourceError
from vecmill.pipelines.words import _sources
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.gc import collect, find_garbage
from vecmill.store.plan import Pipeline, Stage, make_plan

STAGE = Stage("ingest", "vecmill.corpus.ingest:ingest", "corpus", external=_sources, forgets=True)


class NightConfig(Config):
    store: StoreConfig
    corpus: CorpusConfig
    seed: int = 0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read, as they are opened."""
    opened: list[str] = []
    original = batch_module.read_records

    def counting(file: SourceFile, *rest: Any) -> Iterator[Any]:
        opened.append(file.name)
        return original(file, *rest)

    monkeypatch.setattr(batch_module, "read_records", counting)
    return opened


def _config(root: Path, **corpus: Any) -> NightConfig:
    store = StoreConfig(uri=str(root / "store"), cache=str(root / "cache"))
    return NightConfig(store=store, corpus=CorpusConfig(sources=(str(root / "in"),), **{"txt_unit": "line", **corpus}))


def _night(config: NightConfig, **options: Any) -> tuple[StageOutcome, Path]:
    store = ArtifactStore(config.store)
    outcome = run_stage(STAGE, config, store, {}, **options)
    return outcome, store.folder(outcome.ref)


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "in" / name).write_text(text)


def _texts(folder: Path) -> list[str]:
    return [text for batch in iter_documents(folder, columns=("text",)) for text in batch["text"].to_pylist()]


def _fresh(root: Path, config: NightConfig, reads: list[str]) -> dict[str, bytes]:
    """Every byte of the corpus as a store comes to it that has seen none of the files."""
    n_before = len(reads)
    place = StoreConfig(uri=str(root / "fresh"), cache=str(root / "fresh-cache"))
    _, folder = _night(config.model_copy(update={"store": place}))
    del reads[n_before:]
    return _bytes(folder)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


@pytest.mark.parametrize("large", [False, True], ids=["grouped", "each-its-own"])
def test_the_second_night_reads_the_new_file_alone(tmp_path, reads, large, monkeypatch):
    if large:
        monkeypatch.setattr("vecmill.corpus.division.LARGE_BYTES", 1)
    _write(tmp_path, {f"{n:02}.txt": f"document {n}\n\nand more of {n}\n" for n in range(20)})
    config = _config(tmp_path)
    first, _ = _night(config)
    assert len(reads) == 20
    assert (first.metrics["n_source_files_read"], first.metrics["n_pieces"]) == (20, 20 if large else 1)

    reads.clear()
    _write(tmp_path, {"07b.txt": "a new one"})
    second, folder = _night(config)
    assert reads == ["07b.txt"]
    assert (second.metrics["n_source_files"], second.metrics["n_source_files_read"]) == (21, 1)
    assert second.metrics["n_source_bytes_read"] == 9
    assert _texts(folder)[14:17] == ["document 7", "and more of 7", "a new one"]
    assert _bytes(folder) == _fresh(tmp_path / "a", config, reads)

    reads.clear()
    _write(tmp_path, {"03.txt": "changed"})
    third, folder = _night(config)
    assert reads == ["03.txt"]
    assert "changed" in _texts(folder) and "document 3" not in _texts(folder)
    assert _bytes(folder) == _fresh(tmp_path / "b", config, reads)

    reads.clear()
    (tmp_path / "in/11.txt").unlink()
    fourth, folder = _night(config)
    assert reads == []
    assert not [text for text in _texts(folder) if text.endswith(" 11")]
    assert fourth.metrics["n_kept"] == third.metrics["n_kept"] - 2
    assert _bytes(folder) == _fresh(tmp_path / "c", config, reads)
    assert _night(config)[0].cached


@pytest.mark.parametrize("group_bytes", [4 << 20, 3000])
def test_documents_taken_over_hold_no_row_group_each_which_is_read_once(tmp_path, monkeypatch, group_bytes):
    monkeypatch.setattr("vecmill.corpus.shards._ROW_GROUP_BYTES", group_bytes)
    texts = [[f"document {n}, line {m} {'of many words ' * 100}".strip() for m in range(n % 4)] for n in range(20)]
    _write(tmp_path, {f"{n:02}.txt": "\n".join(lines) for n, lines in enumerate(texts)})
    _night(_config(tmp_path))
    (piece,) = (tmp_path / "store/ingest.read").iterdir()
    uris = [str(tmp_path / f"in/{n:02}.txt") for n in range(20)]
    older = OlderFiles(dict.fromkeys(uris, piece))
    read: list[int] = []
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", _noting(pq.ParquetFile.read_row_group, read))
    for uri, lines in zip(uris, texts, strict=True):
        batches = list(older.documents(uri))
        assert [text for batch in batches for text in batch["text"].to_pylist()] == lines
        assert all(batch.get_total_buffer_size() < 2 * batch.nbytes for batch in batches)
    assert read == list(range(1 if group_bytes > 3000 else 15)), "two documents a group, or all"


def _noting(read_row_group: Any, numbers: list[int]) -> Any:
    def read(file: pq.ParquetFile, number: int, **options: Any) -> Any:
        numbers.append(number)
        return read_row_group(file, number, **options)

    return read


def test_other_settings_read_everything_and_a_refresh_does_too(tmp_path, reads):
    _write(tmp_path, {"a.txt": "One", "b.txt": "Two"})
    _night(_config(tmp_path))
    reads.clear()
    _night(_config(tmp_path, cleaning=("nfc",)))
    assert reads == ["a.txt", "b.txt"]
    reads.clear()
    _night(_config(tmp_path), refresh=True)
    assert reads == ["a.txt", "b.txt"]


def test_duplicates_are_found_across_pieces_and_nights(tmp_path, reads, monkeypatch):
    monkeypatch.setattr("vecmill.corpus.division.LARGE_BYTES", 1)
    _write(tmp_path, {"b.txt": "the same\nother\n \nlast", "c.txt": "the same\n", "d.txt": "unlike"})
    config = _config(tmp_path, duplicates={"drop": "exact"})
    _night(config)
    reads.clear()
    _write(tmp_path, {"a.txt": "x\nother"})
    outcome, folder = _night(config)
    assert reads == ["a.txt"]
    assert _texts(folder) == ["x", "other", "the same", "last", "unlike"]
    assert _bytes(folder) == _fresh(tmp_path / "a", config, reads)
    ledger = pq.read_table(folder / "dropped.parquet").to_pylist()
    assert [(Path(row["source_uri"]).name, row["rule"]) for row in ledger] == [
        ("b.txt", "exact_duplicate"),
        ("b.txt", "empty"),
        ("c.txt", "exact_duplicate"),
    ]
    ids = dict(zip(_texts(folder), _column(folder, "doc_id"), strict=True))
    assert [row["twin"] for row in ledger] == [ids["other"], None, ids["the same"]]
    assert (outcome.metrics["n_read"], outcome.metrics["n_kept"], outcome.metrics["n_dropped"]) == (8, 5, 3)
    # What came first is gone: its twin takes its place.
    (tmp_path / "in/a.txt").unlink()
    assert _texts(_night(config)[1]) == ["the same", "other", "last", "unlike"]


def _column(folder: Path, name: str) -> list[str]:
    return [each for batch in iter_documents(folder, columns=(name,)) for each in batch[name].to_pylist()]


def test_shards_are_the_files_of_the_pieces(tmp_path):
    _write(tmp_path, {"a.txt": "One", "b.txt": "Two"})
    config = _config(tmp_path)
    outcome, folder = _night(config)
    store = ArtifactStore(config.store)
    (piece,) = store.manifest("ingest", outcome.ref.key).pieces
    original = store.folder(piece) / "part-00000.parquet"
    assert original.samefile(folder / "part-00000.parquet")
    # Neither is taken for altered because the other came or went.
    store.remove("ingest", outcome.ref.key)
    assert store.problem(store.manifest(piece.stage, piece.key)) is None


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_change_of_files_comes_to_the_bytes_of_a_fresh_run(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("nights")
    text = st.lists(st.sampled_from(["one", "two", " ", "{bad", "three four"]), min_size=1, max_size=4)
    names = st.sampled_from([f"{letter}.jsonl" for letter in "abcdefgh"])
    drop = data.draw(st.sampled_from(["none", "exact"]))
    config = _config(root, malformed="skip", duplicates={"drop": drop})
    for night in range(3):
        for name, lines in data.draw(st.dictionaries(names, text, min_size=1, max_size=4)).items():
            content = "\n".join(line if line == "{bad" else f'{{"text": "{line}"}}' for line in lines)
            _write(root, {name: content})
        _write(root, {"always.jsonl": '{"text": "here"}'})
        _, folder = _night(config)
        fresh = config.model_copy(
            update={"store": StoreConfig(uri=str(root / f"f{night}"), cache=str(root / f"c{night}"))}
        )
        assert _bytes(folder) == _bytes(_night(fresh)[1])


def test_pieces_may_be_built_by_other_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("vecmill.corpus.division.LARGE_BYTES", 1)
    _write(tmp_path, {f"{n}.txt": f"document {n}" for n in range(4)})
    config = _config(tmp_path)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        outcome, folder = _night(config, mapper=pool.map)
    assert _texts(folder) == [f"document {n}" for n in range(4)]
    assert outcome.metrics["n_pieces"] == 4


def test_finished_pieces_survive_a_kill_and_a_half_one_is_not_taken_for_whole(tmp_path, reads):
    _write(tmp_path, {"a.txt": "first", "b.txt": "second", "c.txt": "third"})
    script = """
    import sys, time
    import vecmill.corpus.division as division
    import vecmill.corpus.ingest as ingest
    division.LARGE_BYTES = 1
    original = ingest.read_batches
    def stuck(files, *rest):
        for file in files:
            yield from original([file], *rest)
            if file.name == "b.txt":
                open(sys.argv[2], "w").close()
                time.sleep(60)
    ingest.read_batches = stuck
    sys.path.insert(0, sys.argv[3])
    from pathlib import Path
    from corpus_nights import run
    run(Path(sys.argv[1]))
    """
    (tmp_path / "corpus_nights.py").write_text(
        textwrap.dedent(
            """
            from vecmill.config.base import Config
            from vecmill.corpus.config import CorpusConfig
            from vecmill.pipelines.words import _sources
            from vecmill.store.artifact_store import ArtifactStore, StoreConfig
            from vecmill.store.execute import run_stage
            from vecmill.store.plan import Stage

            class NightConfig(Config):
                store: StoreConfig
                corpus: CorpusConfig
                seed: int = 0

            def run(root):
                store = StoreConfig(uri=str(root / "store"), cache=str(root / "cache"))
                config = NightConfig(
                    store=store, corpus=CorpusConfig(sources=(str(root / "in"),), txt_unit="line")
                )
                stage = Stage("ingest", "vecmill.corpus.ingest:ingest", "corpus", external=_sources, forgets=True)
                run_stage(stage, config, ArtifactStore(store), {})
            """
        )
    )
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    flag = tmp_path / "started"
    process = subprocess.Popen([sys.executable, tmp_path / "script.py", tmp_path, flag, tmp_path])
    try:
        deadline = time.monotonic() + 200
        while not flag.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        assert flag.exists()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    store = ArtifactStore(_config(tmp_path).store)
    assert len(list(store.manifests("ingest.read"))) == 1
    assert list(store.manifests("ingest")) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vecmill.corpus.division.LARGE_BYTES", 1)
        _, folder = _night(_config(tmp_path))
    assert reads == ["b.txt", "c.txt"]
    assert _texts(folder) == ["first", "second", "third"]


def test_a_damaged_piece_is_read_again(tmp_path, reads):
    _write(tmp_path, {"a.txt": "One"})
    config = _config(tmp_path)
    outcome, folder = _night(config)
    store = ArtifactStore(config.store)
    (piece,) = store.manifest("ingest", outcome.ref.key).pieces
    (store.folder(piece) / "part-00000.parquet").write_bytes(b"PAR1")
    reads.clear()
    outcome, folder = _night(config)
    assert not outcome.cached and reads == ["a.txt"]
    assert _texts(folder) == ["One"]


def test_a_file_that_changes_while_it_is_read_leaves_no_piece(tmp_path, monkeypatch):
    _write(tmp_path, {"a.txt": "one two"})
    os.utime(tmp_path / "in/a.txt", (1, 1))
    original = batch_module.read_records

    def overwritten(file: SourceFile, *rest: Any) -> Iterator[Any]:
        (tmp_path / "in/a.txt").write_text("two one")
        return original(file, *rest)

    monkeypatch.setattr(batch_module, "read_records", overwritten)
    with pytest.raises(SourceError) as refusal:
        _night(_config(tmp_path))
    assert "a.txt changed while stage ingest was reading" in str(refusal.value)
    assert "run again when nothing writes to them" in str(refusal.value)
    assert list(ArtifactStore(_config(tmp_path).store).manifests()) == []


def test_garbage_collection_keeps_the_pieces_of_what_it_keeps(tmp_path):
    _write(tmp_path, {"a.txt": "One"})
    config = _config(tmp_path)
    old, _ = _night(config)
    _write(tmp_path, {"a.txt": "Two"})
    new, _ = _night(config)
    store = ArtifactStore(config.store)
    garbage = find_garbage(store, lambda manifest, folder: manifest.key == new.ref.key, root_stage="ingest")
    (kept,) = store.manifest("ingest", new.ref.key).pieces
    assert sorted(each.stage for each in garbage.artifacts) == ["ingest", "ingest.read"]
    collect(store, garbage)
    assert [each.key for each in store.manifests("ingest.read")] == [kept.key]
    assert old.ref.key not in [each.key for each in store.manifests("ingest")]


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 12 << 20)), unique_by=lambda each: each[0], max_size=60),
    st.tuples(st.integers(0, 10**6), st.integers(0, LARGE_BYTES - 1)),
)
def test_a_new_file_changes_the_group_it_stands_in_alone(files, new):
    listed = sorted({f"{n:07}": size for n, size in files}.items())
    before = divide([_file(*each) for each in listed])
    assert [file.name for group in before for file in group] == [name for name, _ in listed]
    name = f"{new[0]:07}"
    with_new = divide([_file(*each) for each in sorted({**dict(listed), name: new[1]}.items())])
    changed = [group for group in before if group not in with_new and name not in {each.name for each in group}]
    assert len(changed) <= 1
    assert all(len(group) == 1 for group in before for file in group if file.n_bytes >= LARGE_BYTES)


def _file(name: str, n_bytes: int) -> SourceFile:
    return SourceFile(name, n_bytes, "sha256:0", name, f"/{name}")


def test_explain_names_the_new_file(tmp_path):
    _write(tmp_path, {"a.txt": "One", "b.txt": "Two"})
    config = _config(tmp_path)
    _night(config)
    _write(tmp_path, {"c.txt": "Three"})
    (planned,) = make_plan(Pipeline("nights", NightConfig, (STAGE,)), config, ArtifactStore(config.store))
    assert planned.causes == [f"external: {tmp_path}/in/c.txt is new"]
