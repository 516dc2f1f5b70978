"""How much of a remote store a machine keeps: what is in use stays, of the rest what was used last."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vecmill.config.validate import validate
from vecmill.errors import ConfigError, StoreError
from vecmill.pipelines.words import WordsConfig
from vecmill.store import forget
from vecmill.store.artifact_store import ArtifactStore, Composition, StoreConfig
from vecmill.store.copies import Copies, held_folder, remove_unless_held
from vecmill.store.gc import Garbage, collect
from vecmill.store.manifest import Manifest
from vecmill.store.stage import StageReport

KB = 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ArtifactStore]:
    """A store with room for three copies of 1 KB on this machine."""
    import fsspec

    uri = f"memory://copies-{tmp_path.name}/store"
    yield ArtifactStore(StoreConfig(uri=uri, cache=str(tmp_path / "cache"), cache_size=3 * KB + 500))
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/copies-{tmp_path.name}"):
        memory.rm(f"/copies-{tmp_path.name}", recursive=True)


def built(store: ArtifactStore, key: str, n_bytes: int = KB) -> Manifest:
    def work(folder: Path) -> StageReport:
        (folder / "data.bin").write_bytes(key[:1].encode() * n_bytes)
        return StageReport()

    manifest = store.build("stage", key, {}, {}, {}, work)
    aged(store, key, 0)
    return manifest


def aged(store: ArtifactStore, key: str, seconds: float) -> None:
    """Pretend that a copy was used so long ago; those just built count from one to the next."""
    (folder,) = (store.cache / "artifacts" / "stage").glob(f"{key}-*")
    status = folder.stat()
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns - round(seconds * 1e9)))


def kept(store: ArtifactStore) -> set[str]:
    return {path.parent.name.partition("-")[0] for path in (store.cache / "artifacts").rglob("data.bin")}


@contextmanager
def another_reader(store: ArtifactStore, key: str) -> Iterator[None]:
    """A process that reads a copy, and is killed at the end."""
    (folder,) = (store.cache / "artifacts" / "stage").glob(f"{key}-*")
    code = f"""
import sys
from pathlib import Path
from typing import Any
from vecmill.store.copies import Copies
copies = Copies(Path({str(store.cache / "artifacts")!r}), 10**9)
copies.use("stage/{folder.name}")
print("ready", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.kill()
            process.wait()


def test_what_was_used_longest_ago_goes_first(store: ArtifactStore) -> None:
    manifests = {key: built(store, key) for key in "abc"}
    assert kept(store) == set("abc")
    for age, key in enumerate("cba", start=1):
        aged(store, key, 100 * age)
    with store.backend.using():
        store.folder(manifests["a"].ref)  # used again, so that b is the oldest
    manifests["d"] = built(store, "d")
    assert kept(store) == {"a", "c", "d"}
    # What went is fetched when somebody asks for it; the next oldest makes room.
    with store.backend.using():
        assert (store.folder(manifests["b"].ref) / "data.bin").read_bytes() == b"b" * KB
    assert kept(store) == {"a", "b", "d"}
    assert not list(store.cache.glob("scratch-*"))


def test_what_a_stage_uses_stays_until_it_is_done(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    manifests = {key: built(store, key) for key in "ab"}
    with store.backend.using():
        for key in "ab":
            store.folder(manifests[key].ref)
            aged(store, key, 1000)
        with caplog.at_level(logging.INFO, "vecmill"):
            large = built(store, "large", 3 * KB)
        assert kept(store) >= {"a", "b"}, "both are being read"
        assert any("are in use; store.cache_size" in line for line in caplog.messages)
    another = built(store, "c", 3 * KB)
    assert kept(store) == {"c"}
    assert store.problem(large) is None and store.problem(another) is None, "the store itself loses nothing"


def test_a_stage_within_a_stage_lets_go_of_its_own_alone(store: ArtifactStore) -> None:
    manifests = {key: built(store, key) for key in "ab"}
    with store.backend.using():
        store.folder(manifests["a"].ref)
        with store.backend.using():
            store.folder(manifests["b"].ref)
        for key in "ab":
            aged(store, key, 1000)
        built(store, "c", 2 * KB)
        assert kept(store) == {"a", "c"}


def test_what_another_process_uses_stays(store: ArtifactStore) -> None:
    """A process that was killed uses nothing any more."""
    built(store, "a")
    with another_reader(store, "a"):
        aged(store, "a", 1000)
        built(store, "b", 3 * KB)
        assert kept(store) == {"a", "b"}
    built(store, "c", 3 * KB)
    assert kept(store) == {"c"}


def test_a_store_that_is_gone_uses_nothing(store: ArtifactStore) -> None:
    manifest = built(store, "a")
    reader = ArtifactStore(store.config)
    reader.folder(manifest.ref)  # outside of any stage: as long as its store lives
    aged(store, "a", 1000)
    built(store, "b", 3 * KB)
    assert kept(store) == {"a", "b"}
    del reader
    gc.collect()
    built(store, "c", 3 * KB)
    assert kept(store) == {"c"}


def test_a_file_with_two_names_counts_once(store: ArtifactStore) -> None:
    piece = built(store, "piece", 2 * KB)

    def work(folder: Path) -> StageReport:
        (folder / "own.bin").write_bytes(b"o" * KB)
        return StageReport()

    made_of = Composition([piece.ref], {"data.bin": (piece.ref, "data.bin")})
    whole = store.build("stage", "whole", {}, {}, {}, work, composition=made_of)
    built(store, "c", 400)
    assert kept(store) == {"piece", "whole", "c"}, "3.4 KB in all, of which the piece's 2 KB have two names"
    aged(store, "piece", 2000)
    aged(store, "whole", 1000)
    built(store, "d", 2 * KB)
    assert kept(store) == {"c", "d"}, "without its piece the whole would be as large"
    assert (store.folder(whole.ref) / "data.bin").stat().st_size == 2 * KB


def test_many_at_once_end_within_the_limit(store: ArtifactStore, tmp_path: Path) -> None:
    """Threads with a store each, as processes have one, that read twelve artifacts over and over."""
    # A place that many may read at the same time, which memory:// is not.
    store = ArtifactStore(store.config.model_copy(update={"uri": f"local://{tmp_path}/store"}))
    manifests = [built(store, key) for key in "abcdefghijkl"]
    failures: list[BaseException] = []

    def read(first: int) -> None:
        mine = ArtifactStore(store.config)
        try:
            for n in range(40):
                manifest = manifests[(first + 5 * n) % len(manifests)]
                with mine.backend.using():
                    content = (mine.folder(manifest.ref) / "data.bin").read_bytes()
                assert content == manifest.key.encode() * KB
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    built(store, "m")
    assert len(kept(store)) <= 3


def test_a_copy_that_goes_while_its_folder_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``mkdir`` finds the folder, and when pathlib looks whether it is one, somebody has removed it."""
    copies, folder, is_dir = Copies(tmp_path / "artifacts", 0), tmp_path / "artifacts/stage/a", Path.is_dir
    folder.mkdir(parents=True)

    def removed_by_somebody(path: Path, **options: Any) -> bool:
        monkeypatch.undo()
        assert Copies(tmp_path / "artifacts", 0).remove("stage/a") == []
        return is_dir(path, **options)

    monkeypatch.setattr(Path, "is_dir", removed_by_somebody)
    with copies.held("stage/a") as held:
        assert held == folder
        assert Path.is_dir(held)
        assert Copies(tmp_path / "artifacts", 0).remove("stage/a") == [folder]


def test_a_file_in_the_place_of_a_copy_is_said(tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage/a").write_bytes(b"")
    with pytest.raises(FileExistsError), Copies(tmp_path, 0).held("stage/a"):
        pass


def test_of_many_pieces_those_used_last_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each copy that is held is an open file, of which a process may have so many."""
    monkeypatch.setattr("resource.getrlimit", lambda kind: (20, 20))
    copies = Copies(tmp_path / "artifacts", 0)
    with copies.using():
        for name in ("encode/a", *(f"ingest.read/{n}" for n in range(12)), "vocabulary/a"):
            (copies.use(name) / "data.bin").write_bytes(bytes(KB))
        Copies(tmp_path / "artifacts", 0).expect(1)
        left = {path.parent.name for path in tmp_path.rglob("ingest.read/*/data.bin")}
        assert left == {str(n) for n in range(4, 12)}
        assert len(list(tmp_path.rglob("a/data.bin"))) == 2, "inputs stay, however many pieces there are"


def test_a_piece_that_is_read_again_counts_as_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda kind: (8, 8))
    copies = Copies(tmp_path / "artifacts", 0)
    with copies.using():
        for n in (0, 1, 2, 3, 0, 4):
            (copies.use(f"ingest.read/{n}") / "data.bin").write_bytes(bytes(KB))
        Copies(tmp_path / "artifacts", 0).expect(1)
        assert {path.parent.name for path in tmp_path.rglob("data.bin")} == {"0", "2", "3", "4"}


def test_what_cannot_be_looked_into_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people share a cache, and one of them lets nobody read what he has."""
    copies, opened = Copies(tmp_path, KB), os.open
    for name in ("mine", "theirs"):
        with copies.held(f"stage/{name}") as folder:
            (folder / "data.bin").write_bytes(bytes(KB))

    def refuses(path: Path, flags: int, *more: int, **options: int) -> int:
        if Path(path).name == "theirs":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuses)
    copies.expect(KB)
    assert [path.parent.name for path in tmp_path.rglob("data.bin")] == ["theirs"]


def test_that_there_is_no_room_is_not_said_of_each_file(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    manifests = [built(store, key, 2 * KB) for key in "abcdefgh"]
    with caplog.at_level(logging.INFO, "vecmill"), store.backend.using():
        for manifest in manifests:
            store.folder(manifest.ref)
        assert kept(store) == set("abcdefgh")
    assert len([line for line in caplog.messages if "are in use" in line]) == 3, "at 2, 6 and 14 KB"


def test_pieces_that_other_machines_built_leave_no_folders(store: ArtifactStore, tmp_path: Path) -> None:
    piece = built(store, "piece")
    here = ArtifactStore(store.config.model_copy(update={"cache": str(tmp_path / "another disk")}))
    made_of = Composition([piece.ref], {"data.bin": (piece.ref, "data.bin")})
    whole = here.build("stage", "whole", {}, {}, {}, lambda folder: StageReport(), composition=made_of)
    assert not list((here.cache / "artifacts/stage").glob("piece-*"))
    assert (here.folder(whole.ref) / "data.bin").read_bytes() == b"p" * KB


def test_a_limit_of_zero_keeps_what_is_in_use(store: ArtifactStore) -> None:
    config = store.config.model_copy(update={"cache_size": 0})
    strict = ArtifactStore(config)
    first, second = built(strict, "a"), built(strict, "b")
    with strict.backend.using():
        for manifest in (first, second):
            assert (strict.folder(manifest.ref) / "data.bin").read_bytes()[:1].decode() == manifest.key
        assert kept(strict) == {"a", "b"}


def test_a_folder_that_is_removed_while_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stage/a").mkdir(parents=True)
    calls: list[Callable[[], object]] = [lambda: (tmp_path / "stage/a").rename(tmp_path / "gone")]
    lock = __import__("fcntl").flock

    def slow(number: int, how: int) -> None:
        lock(number, how)
        if calls:
            calls.pop()()

    monkeypatch.setattr("fcntl.flock", slow)
    copies = Copies(tmp_path, KB)
    assert copies.use("stage/a").is_dir()
    assert (tmp_path / "gone").is_dir() and not calls


def test_garbage_collection_leaves_what_another_process_reads(store: ArtifactStore) -> None:
    manifests = [built(store, key) for key in "ab"]
    with another_reader(store, "a"):
        collect(store, Garbage(tuple(manifests), 0))
        assert list(store.manifests()) == []
        assert kept(store) == {"a"}, "its reader opens the next file"
    built(store, "c", 3 * KB)
    assert kept(store) == {"c"}, "it goes like any copy"


def test_what_this_process_read_outside_of_a_stage_is_no_hindrance(store: ArtifactStore) -> None:
    manifest = built(store, "a")
    store.folder(manifest.ref)
    collect(store, Garbage((manifest,), 0))
    assert kept(store) == set() and not list(store.cache.glob("scratch-*"))


def test_nothing_is_forgotten_while_a_copy_is_read(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact stays too: else nobody would find the copy again."""
    manifest = built(store, "a")
    monkeypatch.setattr(forget, "_READING_SECONDS", 0.3)
    affected = forget.affected_by(store, [("stage", "a")])
    with another_reader(store, "a"):
        with pytest.raises(StoreError) as refusal:
            forget.remove_affected(store, affected)
        assert "another process reads" in str(refusal.value) and "stage/a-" in str(refusal.value)
        assert "fuser -v" in str(refusal.value) and "then forget again" in str(refusal.value)
        assert kept(store) == {"a"} and store.problem(manifest) is None
    forget.remove_affected(store, affected)
    assert kept(store) == set() and list(store.manifests()) == []


@pytest.fixture
def neighbour(store: ArtifactStore) -> ArtifactStore:
    """Another store with the same cache."""
    return ArtifactStore(store.config.model_copy(update={"uri": f"{store.config.uri}-of-others"}))


def test_of_two_stores_with_one_cache_each_removes_its_own(store: ArtifactStore, neighbour: ArtifactStore) -> None:
    mine, theirs = built(store, "a"), built_beside(neighbour, "a")
    assert mine.digest == theirs.digest
    for each in (store, neighbour):
        folder = each.checkpoints("stage", "b")
        folder.mkdir(parents=True)
        (folder / "half.npy").write_bytes(b"half")
    with neighbour.backend.scratch("stage-c") as at_work:
        forget.remove_affected(store, forget.affected_by(store, [("stage", "a")]))
        assert at_work.is_dir(), "the neighbour is building"
    assert not store.checkpoints("stage", "b").exists()
    assert (neighbour.checkpoints("stage", "b") / "half.npy").read_bytes() == b"half"
    assert [path.parent for path in store.cache.rglob("data.bin")] == [neighbour.folder(theirs.ref)]
    collect(neighbour, Garbage((theirs,), 0))
    assert not list(store.cache.rglob("data.bin"))


def built_beside(store: ArtifactStore, key: str) -> Manifest:
    def work(folder: Path) -> StageReport:
        (folder / "data.bin").write_bytes(key[:1].encode() * KB)
        return StageReport()

    return store.build("stage", key, {}, {}, {}, work)


def test_a_copy_that_goes_before_it_is_read_is_read_where_it_came_from(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = built(store, "a")
    with pytest.raises(FileNotFoundError, match="of the reader"), store.backend.reading(manifest, "data.bin"):
        raise FileNotFoundError("of the reader")
    before = Path.open

    def gone_just_now(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "data.bin":
            path.unlink(missing_ok=True)
        return before(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", gone_just_now)
    with store.backend.reading(manifest, "data.bin") as stream:
        assert stream.read() == b"a" * KB


def test_both_stores_share_the_room(store: ArtifactStore, neighbour: ArtifactStore) -> None:
    built(store, "a", 2 * KB)
    aged(store, "a", 1000)
    built(neighbour, "b", 3 * KB)
    assert kept(store) == {"b"}


def test_what_killed_processes_left_is_forgotten_and_work_is_not(store: ArtifactStore, tmp_path: Path) -> None:
    left = store.cache / "scratch-stage-a-killed"
    left.mkdir(parents=True)
    with store.backend.scratch("stage-b") as at_work:
        store.backend.remove_leftovers()
        assert at_work.is_dir() and not left.exists()
        for folder in (at_work, left):
            folder.mkdir(exist_ok=True)
            os.utime(folder, (0, 0))
        assert store.backend.sweep() == 1
        assert at_work.is_dir() and not left.exists()


def test_without_locks_a_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(number: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuses)
    with held_folder(tmp_path / "copy"):
        assert remove_unless_held(tmp_path / "copy", tmp_path / "aside")
    assert list(tmp_path.iterdir()) == []
    assert remove_unless_held(tmp_path / "copy"), "it is gone"


def test_a_folder_that_others_made_again_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening a folder and locking it somebody removed it, and somebody else fetched it again."""
    folder, lock = tmp_path / "stage/a", __import__("fcntl").flock
    folder.mkdir(parents=True)

    def slow(number: int, how: int) -> None:
        monkeypatch.undo()
        folder.rename(tmp_path / "removed")
        folder.mkdir()
        lock(number, how)

    monkeypatch.setattr("fcntl.flock", slow)
    assert not remove_unless_held(folder, tmp_path / "aside")
    assert folder.is_dir() and not (tmp_path / "aside").exists()


def test_copies_of_an_earlier_version_go_once(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    """Their names do not say whose they are, so no store would find them, nor `forget` the text that they hold."""
    manifest = built(store, "a")
    key, artifacts = "0123456789abcdef" * 2, store.cache / "artifacts"
    old = [artifacts / f"{stage}/{key}-{key[:16]}" for stage in ("ingest", "ingest.read", "encode")]
    checkpoints = store.cache / f"checkpoints/train-{key}"
    for each in (*old, checkpoints, store.checkpoints("train", key)):
        each.mkdir(parents=True)
        (each / "text").write_bytes(b"forgotten")
    fresh = ArtifactStore(store.config)
    with held_folder(old[2]), caplog.at_level(logging.INFO, "vecmill"):
        for _ in range(2):
            with fresh.backend.using():
                fresh.folder(manifest.ref)
    assert [each.exists() for each in old] == [False, False, True], "an older process reads the last one"
    assert caplog.messages == [f"removed 2 copies in {artifacts} that an earlier version of vecmill made"]
    assert kept(store) == {"a"} and not list(store.cache.glob("scratch-*"))
    assert checkpoints.is_dir(), "an older process may be writing there"
    fresh.backend.remove_leftovers()
    assert not checkpoints.exists() and list((store.cache / "checkpoints").iterdir()) == []


def test_the_limit_is_written_with_its_unit() -> None:
    values = {"train": {"kind": "skipgram"}, "store": {"cache_size": "1.5TB"}}
    assert validate(WordsConfig, values, "test").store.cache_size == 1_500_000_000_000
    assert StoreConfig().cache_size == 50_000_000_000
    with pytest.raises(ConfigError, match=r"store\.cache_size"):
        validate(WordsConfig, {**values, "store": {"cache_size": "much"}}, "test")
