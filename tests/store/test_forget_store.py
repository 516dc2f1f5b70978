"""The forget list, and what has to go with what: by the manifests, ends first, orphans too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference.toy_stages import DoubledConfig, ToyConfig
from vecmill.errors import StoreError
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import StageOutcome
from vecmill.store.forget import affected_by, refuse_while_running, remove_affected
from vecmill.store.forgotten import (
    NOTHING_FORGOTTEN,
    Forgotten,
    ForgottenDocument,
    add_forgotten,
    read_forgotten,
    text_digest,
)
from vecmill.store.runs import finish_run, start_run

Runner = Callable[..., dict[str, StageOutcome]]


def test_the_list_is_what_all_its_files_say(store_config: StoreConfig) -> None:
    store = ArtifactStore(store_config)
    assert store.forgotten() is NOTHING_FORGOTTEN
    one, two = ForgottenDocument("1" * 32, text_digest("one"), "a.txt"), ForgottenDocument("2" * 32)
    add_forgotten(store.backend, "first", [one])
    add_forgotten(store.backend, "second", [two, one])
    add_forgotten(store.backend, "third", [])
    forgotten = store.forgotten()
    assert forgotten.documents == (one, two)
    assert store.backend.names("forgotten") == ["first.list.json", "second.list.json"]
    assert store.stages() == []
    assert forgotten.holds("1" * 32, "") and forgotten.holds("x", "one") and forgotten.holds("2" * 32, "any")
    assert not forgotten.holds("x", "other") and not forgotten.holds(None, "")
    assert forgotten.fingerprint != Forgotten((one,)).fingerprint


def test_a_file_is_concerned_by_its_documents_and_by_those_of_unknown_files() -> None:
    known, unknown = ForgottenDocument("1" * 32, "", "a.txt"), ForgottenDocument("2" * 32)
    assert Forgotten((known,)).within(["b.txt"]) is None
    assert Forgotten((known,)).within(["a.txt", "b.txt"]) is not None
    assert Forgotten((unknown,)).within(["b.txt"]) is not None
    assert "1" * 32 not in str(Forgotten((known,)).within(["a.txt"]))


def test_a_list_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    store = ArtifactStore(StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache")))
    store.backend.write("forgotten/x.list.json", b'{"documents": [{"doc": 1}]}')
    with pytest.raises(StoreError) as refusal:
        read_forgotten(store.backend)
    assert "forgotten/x.list.json cannot be read as a list of forgotten documents" in str(refusal.value)
    assert "restore the file from a backup" in str(refusal.value)


def test_what_follows_goes_ends_first(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    first = run_toy(config)
    run_toy(config.model_copy(update={"doubled": DoubledConfig(factor=5)}))
    store = ArtifactStore(store_config)
    affected = affected_by(store, [("doubled", first["doubled"].ref.key)])
    assert [each.stage for each in affected.artifacts] == ["total", "doubled"]
    assert (affected.orphans, affected.n_kept) == ([], 3)
    checkpoints = store.checkpoints("doubled", first["doubled"].ref.key)
    checkpoints.mkdir(parents=True)
    n_bytes = remove_affected(store, affected)
    assert n_bytes == sum(each.n_bytes for each in affected.artifacts) > 0
    assert not checkpoints.exists()
    assert sorted(each.stage for each in store.manifests()) == ["doubled", "numbers", "total"]
    everything = affected_by(store, [("numbers", first["numbers"].ref.key)])
    assert [each.stage for each in everything.artifacts] == ["total", "doubled", "numbers"]


def test_what_lost_its_origin_goes_too(store_config: StoreConfig, run_toy: Runner) -> None:
    outcomes = run_toy(ToyConfig(store=store_config))
    store = ArtifactStore(store_config)
    store.remove("numbers", outcomes["numbers"].ref.key)
    affected = affected_by(store, [])
    assert [each.stage for each in affected.artifacts] == ["total", "doubled"]
    assert [each.stage for each in affected.orphans] == ["doubled"]


def test_copies_on_this_machine_go(store_config: StoreConfig, run_toy: Runner) -> None:
    outcomes = run_toy(ToyConfig(store=store_config))
    store = ArtifactStore(store_config)
    folder = store.folder(outcomes["total"].ref)
    assert folder.exists()
    remove_affected(store, affected_by(store, [("numbers", outcomes["numbers"].ref.key)]))
    assert not folder.exists()
    left = [path for path in Path(store_config.cache).rglob("*") if path.is_file() and path.name != "digests.json"]
    assert left == []


def test_a_run_at_work_is_not_disturbed(store_config: StoreConfig, run_toy: Runner) -> None:
    run_toy(ToyConfig(store=store_config))
    store = ArtifactStore(store_config)
    refuse_while_running(store)
    record = start_run(store, "toy", {})
    with pytest.raises(StoreError) as refusal:
        refuse_while_running(store)
    assert "a run of toy is at work on" in str(refusal.value)
    assert "wait until it has ended, or stop it, then forget again" in str(refusal.value)
    finish_run(store, record)
    refuse_while_running(store)


def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, run_toy: Runner) -> None:
    config = ToyConfig(store=StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache")))
    key = run_toy(config)["total"].ref.key
    (tmp_path / "store/total" / key / "manifest.json").write_text("{}")
    with pytest.raises(StoreError) as refusal:
        affected_by(ArtifactStore(config.store), [])
    assert "cannot be read as a manifest" in str(refusal.value)
    assert f"delete the folder total/{key} of the store" in str(refusal.value)


@pytest.mark.server
def test_what_s3_does_not_let_go_is_named(
    tmp_path: Path, run_toy: Runner, s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers a bulk delete with success and the objects that it refused to delete; s3fs passes over these."""
    import boto3
    from s3fs import S3FileSystem

    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="reluctant")
    place = StoreConfig(uri="s3://reluctant/store", cache=str(tmp_path / "cache"))
    numbers = run_toy(ToyConfig(store=place))["numbers"].ref
    store = ArtifactStore(place)
    whole = S3FileSystem._bulk_delete

    # moto deletes whatever the policy says of s3:DeleteObject.
    async def refused(self: S3FileSystem, paths: list[str], **options: Any) -> list[str]:
        return await whole(self, [path for path in paths if not path.endswith("manifest.json")], **options)

    with monkeypatch.context() as patched:
        patched.setattr(S3FileSystem, "_bulk_delete", refused)
        with pytest.raises(StoreError) as refusal:
            remove_affected(store, affected_by(store, [("numbers", numbers.key)]))
    said = str(refusal.value)
    assert "the storage did not delete s3://reluctant/store/" in said and "manifest.json" in said
    assert "let these credentials delete objects (s3:DeleteObject, see infra/s3)" in said

    remove_affected(store, affected_by(store, [("numbers", numbers.key)]))
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="reluctant").get("Contents", [])]
    assert all(key.startswith("store/runs/") for key in keys), keys
    s3.close()
