"""Checkpoints in a remote store: what one machine sent, another one goes on from."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers import wait_until
from vecmill.errors import StoreError
from vecmill.store import checkpoint_mirror
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.backend_remote import RemoteBackend
from vecmill.store.checkpoint_mirror import SendingGivenUp
from vecmill.store.stage import StageReport

LABEL = "train-0123456789abcdef"


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ArtifactStore]]:
    """A store as machines see it, each with a disk of its own."""
    import fsspec

    monkeypatch.setattr(checkpoint_mirror, "_LOOK_SECONDS", 0.05)
    name = f"mirror-{uuid.uuid4().hex}"
    yield lambda machine: ArtifactStore(StoreConfig(uri=f"memory://{name}/store", cache=str(tmp_path / machine)))
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/{name}"):
        memory.rm(f"/{name}", recursive=True)


def written(store: ArtifactStore, number: int, content: bytes = b"vectors") -> Path:
    """A whole checkpoint, as `words/checkpoint.py` leaves one; those before it are gone afterwards."""
    folder = store.backend.checkpoints(LABEL)
    building = folder / f"checkpoint-{number:08d}.tmp"
    building.mkdir(parents=True)
    (building / "center_vectors.npy").write_bytes(content)
    (building / "progress.json").write_text(str(number))
    building.rename(folder / f"checkpoint-{number:08d}")
    for other in folder.glob("checkpoint-*"):
        if other.name != f"checkpoint-{number:08d}":
            shutil.rmtree(other)
    return folder / f"checkpoint-{number:08d}"


def in_store(store: ArtifactStore) -> str:
    record = store.backend.read(f"checkpoints/{LABEL}/latest.json")
    return "" if record is None else json.loads(record)["checkpoint"]


def found(store: ArtifactStore) -> dict[str, bytes]:
    folder = store.backend.checkpoints(LABEL)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("checkpoint-*/*")}


class Killed(BaseException):
    """The process ends in the middle; nothing is said or sent any more."""


def test_another_machine_goes_on_from_the_newest(machines: Callable[[str], ArtifactStore]) -> None:
    first, second = machines("first"), machines("second")
    with pytest.raises(Killed), first.backend.resumable(LABEL):
        for number in (1, 2):
            written(first, number, f"vectors {number}".encode())
            wait_until(lambda n=number: in_store(first).endswith(str(n)), 200, "it is sent")
        raise Killed
    with second.backend.resumable(LABEL):
        assert found(second) == {
            "checkpoint-00000002/center_vectors.npy": b"vectors 2",
            "checkpoint-00000002/progress.json": b"2",
        }
        written(second, 3)
        wait_until(lambda: in_store(second) == "checkpoint-00000003", 200, "it is sent")
    # One is kept, and what stands here that is newer than the store's is not overwritten.
    assert len(second.backend.names(f"checkpoints/{LABEL}")) == 2
    assert sorted(path.name for path in second.backend.checkpoints(LABEL).iterdir()) == ["checkpoint-00000003"]
    written(second, 4)
    with second.backend.resumable(LABEL):
        assert {name.partition("/")[0] for name in found(second)} == {"checkpoint-00000004"}
    second.backend.remove_checkpoints(LABEL)
    assert second.backend.names("checkpoints") == []
    assert not second.backend.checkpoints(LABEL).exists()


def test_a_stage_that_fails_leaves_its_last_one(machines: Callable[[str], ArtifactStore]) -> None:
    store = machines("first")
    with pytest.raises(RuntimeError, match="lost workers"), store.backend.resumable(LABEL):
        written(store, 1)
        raise RuntimeError("lost workers")
    assert in_store(store) == "checkpoint-00000001"


def test_they_end_with_the_artifact_and_are_no_stage(machines: Callable[[str], ArtifactStore]) -> None:
    store = machines("first")
    stage, _, key = LABEL.partition("-")

    def work(folder: Path) -> StageReport:
        with store.resumable(stage, key):
            written(store, 1)
            wait_until(lambda: in_store(store), 200, "it is sent")
            assert store.stages() == []
        return StageReport()

    store.build(stage, key, {}, {}, {}, work)
    assert store.backend.names("checkpoints") == [] and store.stages() == ["train"]


@pytest.mark.parametrize("how", ["cut off", "altered", "a path", "no record"])
def test_a_damaged_one_is_none(
    machines: Callable[[str], ArtifactStore], how: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    first, second = machines("first"), machines("second")
    with pytest.raises(RuntimeError), first.backend.resumable(LABEL):
        written(first, 1)
        raise RuntimeError
    record = json.loads(first.backend.read(f"checkpoints/{LABEL}/latest.json") or b"")
    place = f"checkpoints/{LABEL}/{record['prefix']}/center_vectors.npy"
    if how == "cut off":
        first.backend.remove(place)
    elif how == "altered":
        first.backend.write(place, b"vectorz")
    elif how == "a path":
        record["files"][0]["name"] = "../../escaped"
        first.backend.write(f"checkpoints/{LABEL}/latest.json", json.dumps(record).encode())
    else:
        first.backend.write(f"checkpoints/{LABEL}/latest.json", b"{}")
    with caplog.at_level(logging.WARNING, "vecmill"), second.backend.resumable(LABEL):
        assert found(second) == {}
        written(second, 1)
        wait_until(lambda: second.backend.read(f"checkpoints/{LABEL}/latest.json") != record, 200, "it is sent")
    assert "a checkpoint of train could not be fetched" in caplog.text
    assert not list(tmp_path.rglob("escaped"))


def test_a_store_that_takes_none_stops_no_training(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(self: RemoteBackend, file: Path, path: str, given_up: Callable[[], bool]) -> None:
        tried.append(path)
        raise StoreError("the bucket takes no more")

    tried: list[str] = []
    monkeypatch.setattr(RemoteBackend, "put", refuses)
    store = machines("first")
    with caplog.at_level(logging.WARNING, "vecmill"), store.backend.resumable(LABEL):
        written(store, 1)
        wait_until(lambda: len(tried) > 2, 200, "it is tried again")
    assert caplog.messages == [
        "a checkpoint of train could not be sent (the bucket takes no more); without one in the store, another "
        "machine begins the stage anew"
    ]


def test_what_is_sent_in_part_leaves_nothing_and_is_tried_less_and_less(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint may be gigabytes."""
    tried: list[float] = []

    put = RemoteBackend.put

    def stops(self: RemoteBackend, file: Path, path: str, given_up: Callable[[], bool]) -> None:
        if file.name == "progress.json":
            tried.append(time.monotonic())
            raise StoreError("the bucket takes no more")
        put(self, file, path, given_up)

    monkeypatch.setattr(RemoteBackend, "put", stops)
    store = machines("first")
    with pytest.raises(Killed), store.backend.resumable(LABEL):
        written(store, 1)
        wait_until(lambda: len(tried) > 4, 200, "it is tried again")
        raise Killed
    assert store.backend.names(f"checkpoints/{LABEL}") == []
    assert tried[4] - tried[3] > 0.6, "0.05 s, and then twice as long each time"
    store.backend.write(f"checkpoints/{LABEL}/left", b"")
    store.backend.remove_checkpoints(LABEL)
    assert store.backend.names("checkpoints") == [], "even if none was ever sent whole"


def test_garbage_collection_leaves_one_that_is_being_sent(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other, put = machines("first"), machines("second"), RemoteBackend.put

    def swept(self: RemoteBackend, file: Path, path: str, given_up: Callable[[], bool]) -> None:
        put(self, file, path, given_up)
        other.backend.sweep()

    monkeypatch.setattr(RemoteBackend, "put", swept)
    with pytest.raises(RuntimeError), store.backend.resumable(LABEL):
        written(store, 1)
        raise RuntimeError
    with other.backend.resumable(LABEL):
        assert sorted(found(other)) == ["checkpoint-00000001/center_vectors.npy", "checkpoint-00000001/progress.json"]


def test_the_next_is_fetched_if_one_goes_meanwhile(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process on a node that the engine has given up may go on for a while."""
    first, second, get = machines("first"), machines("second"), RemoteBackend.get
    todo = [2]

    def late(self: RemoteBackend, path: str, file: Path) -> None:
        if todo:
            written(first, todo.pop())
            wait_until(lambda: in_store(first).endswith("2"), 200, "it is sent")
            wait_until(lambda: len(first.backend.names(f"checkpoints/{LABEL}")) == 2, 200, "the one before is gone")
        get(self, path, file)

    monkeypatch.setattr(RemoteBackend, "get", late)
    with pytest.raises(Killed), first.backend.resumable(LABEL):
        written(first, 1)
        wait_until(lambda: in_store(first), 200, "it is sent")
        with second.backend.resumable(LABEL):
            assert {name.partition("/")[0] for name in found(second)} == {"checkpoint-00000002"}
        raise Killed
    assert caplog.messages == []


def test_forsaken_ones_on_this_machine_go_too(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine has finished what was killed here, or the configuration was given up."""
    store = machines("first")
    written(store, 1)
    store.backend.sweep()
    assert found(store)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 15 * 86_400)
    store.backend.sweep()
    assert not store.backend.checkpoints(LABEL).exists()


def test_one_that_the_trainer_takes_away_meanwhile_is_not_sent_in_part(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, copytree = machines("first"), shutil.copytree

    def replaced_before(source: Path, target: Path, **options: object) -> object:
        if Path(source).name == "checkpoint-00000001":
            (Path(source) / "center_vectors.npy").unlink()  # as rmtree begins
            written(store, 2)
            Path(source).mkdir()
            (Path(source) / "progress.json").write_text("1")
        return copytree(source, target, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(shutil, "copytree", replaced_before)
    written(store, 1)
    seen: set[str] = set()
    monkeypatch.setattr(
        RemoteBackend,
        "write",
        lambda self, path, content, write=RemoteBackend.write: (seen.add(content.decode()), write(self, path, content)),
    )
    with store.backend.resumable(LABEL):
        wait_until(lambda: in_store(store), 200, "it is sent")
    assert [json.loads(each)["checkpoint"] for each in seen] == ["checkpoint-00000002"]


def test_forsaken_ones_go_with_the_garbage(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = machines("first")
    with pytest.raises(RuntimeError), store.backend.resumable(LABEL):
        written(store, 1)
        raise RuntimeError
    store.backend.sweep()
    assert store.backend.names("checkpoints") == [LABEL]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 15 * 86_400)
    store.backend.sweep()
    assert store.backend.names("checkpoints") == []


def test_forgetting_takes_all(machines: Callable[[str], ArtifactStore]) -> None:
    store = machines("first")
    with pytest.raises(RuntimeError), store.backend.resumable(LABEL):
        written(store, 1)
        raise RuntimeError
    machines("second").backend.remove_leftovers()
    assert store.backend.names("checkpoints") == []


class Slow:
    """A storage that takes nothing until it is let: in place of RemoteBackend.put."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, listens: bool) -> None:
        self.begun, self.let, self.sent, self.given_up = threading.Event(), threading.Event(), [], []
        self._listens = listens
        put = RemoteBackend.put

        def slow(backend: RemoteBackend, file: Path, path: str, given_up: Callable[[], bool]) -> None:
            self.begun.set()
            for _ in range(2000):
                if self.let.is_set() or (self._listens and given_up()):
                    break
                time.sleep(0.01)
            if self._listens and given_up():
                self.given_up.append(path)
                raise SendingGivenUp
            put(backend, file, path)
            self.sent.append(path)

        monkeypatch.setattr(RemoteBackend, "put", slow)


def test_a_finished_stage_gives_up_what_is_being_sent(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, slow = machines("first"), Slow(monkeypatch, listens=True)
    with caplog.at_level(logging.WARNING, "vecmill"), store.backend.resumable(LABEL):
        written(store, 1)
        assert slow.begun.wait(200)
    assert len(slow.given_up) == 1 and slow.sent == [], "neither this file nor the next"
    assert store.backend.names(f"checkpoints/{LABEL}") == [] and caplog.messages == []
    assert sorted(path.name for path in store.backend.checkpoints(LABEL).iterdir()) == ["checkpoint-00000001"]


@pytest.mark.parametrize("interrupted", [True, False], ids=["interrupted", "finished"])
def test_nobody_waits_for_a_storage_that_answers_no_more(
    machines: Callable[[str], ArtifactStore],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    interrupted: bool,
) -> None:
    monkeypatch.setattr(checkpoint_mirror, "_GIVE_UP_SECONDS", 0.1)
    store, slow = machines("first"), Slow(monkeypatch, listens=False)
    try:
        with caplog.at_level(logging.WARNING, "vecmill"), store.backend.resumable(LABEL):
            written(store, 1)
            assert slow.begun.wait(200)
            if interrupted:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert interrupted
    assert slow.sent == [], "the end came first"
    if not interrupted:
        store.backend.remove_checkpoints(LABEL)
    # When it moves again, what came of it goes.
    slow.let.set()
    wait_until(lambda: not any(each.name == "checkpoints" for each in threading.enumerate()), 200, "the sender ends")
    assert store.backend.names(f"checkpoints/{LABEL}") == [] and caplog.messages == []


def test_a_stage_that_fails_waits_for_its_last_one(
    machines: Callable[[str], ArtifactStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, slow = machines("first"), Slow(monkeypatch, listens=True)
    threading.Timer(0.3, slow.let.set).start()
    with pytest.raises(RuntimeError, match="lost workers"), store.backend.resumable(LABEL):
        written(store, 1)
        assert slow.begun.wait(200)
        raise RuntimeError("lost workers")
    assert in_store(store) == "checkpoint-00000001" and slow.given_up == []


@pytest.mark.parametrize("where", ["memory", "s3"])
def test_a_file_that_is_given_up_leaves_nothing(
    where: str,
    tmp_path: Path,
    machines: Callable[[str], ArtifactStore],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor parts of an upload, which S3 would keep, and charge for, unseen."""
    (tmp_path / "large").write_bytes(bytes(40 << 20))
    if where == "memory":
        backend = machines("first").backend
    else:
        import boto3

        for name, value in request.getfixturevalue("s3_server").items():
            monkeypatch.setenv(name, value)
        bucket = f"given-up-{uuid.uuid4().hex[:8]}"
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=bucket)
        backend = ArtifactStore(StoreConfig(uri=f"s3://{bucket}/store", cache=str(tmp_path / "cache"))).backend
    asked: list[int] = []
    assert isinstance(backend, RemoteBackend)
    with pytest.raises(SendingGivenUp):
        backend.put(tmp_path / "large", "checkpoints/large", lambda: not asked.append(1) and len(asked) > 1)
    assert len(asked) < 8 and backend.names("checkpoints") == []
    if where == "s3":
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    backend.put(tmp_path / "large", "checkpoints/large", lambda: False)
    assert backend.names("checkpoints") == ["large"]
