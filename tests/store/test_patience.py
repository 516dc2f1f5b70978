"""A remote store that has answered and does not now is asked again; one that never did is not waited for."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from vecmill.errors import StoreError, StoreUnavailable
from vecmill.store import patience
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.manifest import MANIFEST_NAME, Manifest
from vecmill.store.stage import StageReport


class Storage:
    """What a store's file system does, which fails as often as it is told to, before or after it has done it."""

    def __init__(self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_failures, self.pauses = 0, list[float]()
        self._files: Any = store.backend._raw  # type: ignore[attr-defined]
        self._patch = monkeypatch
        monkeypatch.setattr("vecmill.store.patience.time.sleep", self.pauses.append)

    def fail(self, method: str, times: int, *, done: bool = False, path: str = "") -> None:
        """Let a method fail so often, of paths that end so; with ``done`` it does its work, and the answer is lost."""
        before = getattr(self._files, method)
        self.n_failures = times

        def failing(target: str, *arguments: Any, **options: Any) -> Any:
            if not self.n_failures or not target.endswith(path):
                return before(target, *arguments, **options)
            self.n_failures -= 1
            if done:
                before(target, *arguments, **options)
            raise ConnectionResetError("reset by peer")

        self._patch.setattr(self._files, method, failing)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    monkeypatch.setattr(patience, "_answering", set())
    fsspec.filesystem("memory").store.clear()
    return ArtifactStore(StoreConfig(uri=f"memory://{uuid.uuid4().hex}/store", cache=str(tmp_path / "cache")))


@pytest.fixture
def storage(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> Storage:
    return Storage(store, monkeypatch)


def built(store: ArtifactStore) -> Manifest:
    def work(folder: Path) -> StageReport:
        (folder / "numbers.txt").write_text("1 2 3")
        return StageReport()

    return store.build("stage", "a", {}, {}, {}, work)


def test_what_answered_is_asked_again_for_a_minute(
    store: ArtifactStore, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    built(store)
    storage.fail("cat_file", 3)
    with caplog.at_level(logging.WARNING, "vecmill"):
        assert store.manifest("stage", "a") is not None
    assert storage.pauses == [1, 2, 4]
    assert caplog.messages == [
        f"{store.uri} does not answer (ConnectionResetError); asking again for a minute",
        f"{store.uri} answers again",
    ]


def test_what_does_not_come_back_is_an_error_and_not_a_missing_artifact(store: ArtifactStore, storage: Storage) -> None:
    """Else a stage would be built anew because nobody could see that it stands."""
    manifest = built(store)
    storage.fail("cat_file", 100)
    for n_pauses in (6, 6):  # the second time nobody waits any more
        for ask in (store.manifest, store.unreadable):
            with pytest.raises(StoreUnavailable, match=f"cannot reach the storage of {store.uri}/stage/a"):
                ask("stage", "a")
        assert len(storage.pauses) == n_pauses
    assert sum(storage.pauses) == 60
    with pytest.raises(StoreUnavailable):
        store.folder(manifest.ref)
    storage.n_failures = 0
    assert store.manifest("stage", "a") == manifest


def test_what_never_answered_is_not_waited_for(store: ArtifactStore, storage: Storage) -> None:
    storage.fail("cat_file", 100)
    with pytest.raises(StoreUnavailable):
        store.manifest("stage", "a")
    assert storage.pauses == []
    patience.known_to_answer(f"{store.uri}/")  # as a node is told, whose run has reached the store already
    storage.n_failures = 1
    assert store.manifest("stage", "a") is None, "there is none, which is an answer"
    assert storage.pauses == [1]


def test_a_refusal_is_an_answer(store: ArtifactStore, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    built(store)

    def refuses(path: str) -> bytes:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(storage._files, "cat_file", refuses)
    with pytest.raises(StoreError) as refused:
        store.backend.read("stage/a/manifest.json")
    assert not isinstance(refused.value, StoreUnavailable) and storage.pauses == []


def test_an_artifact_whose_publication_was_answered_late_is_our_own(store: ArtifactStore, storage: Storage) -> None:
    """Its manifest was written, the answer lost; asked again, the storage says that there is one already."""
    store.manifest("stage", "a")
    storage.fail("pipe_file", 1, done=True, path=MANIFEST_NAME)
    manifest = built(store)
    assert storage.pauses == [1]
    assert store.manifest("stage", "a") == manifest
    assert store.problem(manifest) is None, "its files are there"


@pytest.mark.parametrize("method", ["put_file", "info"])
def test_what_fails_in_publishing_is_done_again(store: ArtifactStore, storage: Storage, method: str) -> None:
    store.manifest("stage", "a")
    storage.fail(method, 2)
    manifest = built(store)
    assert storage.pauses == [1, 2] and store.problem(manifest) is None
