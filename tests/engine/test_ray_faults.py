"""Faults of one node alone, and of the storage for a while: who is to blame, and what goes on."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import vecmill
from reference.doorway import Doorway
from reference.ray_nodes import Disks, configured, run_until
from servers import wait_until
from vecmill.engine.engine import LocalEngine
from vecmill.engine.on_node import answered, value_of
from vecmill.engine.ray_engine import RayEngine
from vecmill.engine.ray_pieces import _Placed
from vecmill.errors import (
    CredentialsError,
    EngineError,
    NodesLost,
    StorageFull,
    StoreError,
    VecmillError,
    VocabularyError,
)
from vecmill.pipelines.words import WordsConfig

pytestmark = [pytest.mark.timeout(600), pytest.mark.server]

STORE = {"uri": "s3://disks/store", "cache": "~/cache"}
NOBODY = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
STRANGER = {"AWS_ACCESS_KEY_ID": "AKIANOBODYKNOWSTHIS", "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see"}


def other_library(folder: Path) -> dict[str, str]:
    """The environment of a node that has a pyarrow of long ago, as far as it says."""
    information = folder / "pyarrow-0.1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: pyarrow\nVersion: 0.1\n")
    return {"PYTHONPATH": f"{Path(vecmill.__file__).parents[1]}:{folder}"}


def no_folder(folder: Path) -> dict[str, str]:
    """The environment of a node that can write no copies: where they should lie is a file."""
    folder.mkdir()
    (folder / "cache").write_bytes(b"")
    return {"HOME": str(folder)}


def refusal(config: WordsConfig, engine: RayEngine) -> VecmillError:
    with pytest.raises(VecmillError) as refused:
        run_until("ingest", engine, config)
    assert STRANGER["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)
    return refused.value


def test_a_node_that_cannot_use_the_bucket_or_its_disk_is_named_before_anything_runs(
    disks: Disks, small: dict[str, Any], tmp_path: Path
) -> None:
    config = configured({**small, "store": STORE}, kind="ray", address=disks.cluster.address)
    for environment, found, todo in (
        (NOBODY, "no credentials for s3://disks/store", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (STRANGER, "access to s3://disks/store", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (
            no_folder(tmp_path / "full"),
            "cache cannot be used in a first try",
            "set store.cache to a folder of your own",
        ),
    ):
        bad = disks.add(**environment)
        with RayEngine(config) as engine:
            refused = refusal(config, engine)
        assert isinstance(refused, EngineError)
        assert f"({bad.node_id[:6]}) cannot use the store s3://disks/store of this run (" in str(refused)
        assert found in str(refused)
        assert "What to do: on that node, and start it again: " in str(refused) and todo in str(refused)
        disks.cluster.kill(bad)
    assert not list(tmp_path.glob("node-*/cache/artifacts/ingest*"))


def test_a_node_that_joins_later_and_is_unfit_is_named(disks: Disks, small: dict[str, Any], tmp_path: Path) -> None:
    config = configured({**small, "store": STORE}, kind="ray", address=disks.cluster.address)
    with RayEngine(config) as engine:
        engine.start()
        for environment, kind, found in (
            (NOBODY, CredentialsError, "on node {}: no credentials for s3://disks/store"),
            (no_folder(tmp_path / "full"), StoreError, "on node {}: the cache {}/full/cache cannot be used while"),
            (other_library(tmp_path / "lib"), EngineError, "stage ingest cannot run on node {}: pyarrow is 0.1 there"),
            ({"VECMILL_TEST_WITHOUT": "vecmill"}, EngineError, "a node could not begin stage ingest ("),
        ):
            disks.cluster.settle(0)
            bad = disks.add(**environment)
            refused = refusal(config, engine)
            assert type(refused) is kind, refused
            beginning, *rest = found.split("{}")
            assert refused.found.startswith(beginning) or beginning in refused.found, refused
            assert not rest or f"({bad.node_id[:6]})" in refused.found, refused
            assert all(part.format() in refused.found for part in rest), refused
    assert not list(tmp_path.glob("node-*/cache/artifacts/ingest/*"))


def test_a_storage_that_is_gone_for_a_while_is_waited_for(
    disks: Disks, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = run_until("encode", LocalEngine(), configured({**small, "store": {"uri": "elsewhere"}}))
    doorway = Doorway(urlsplit(os.environ["AWS_ENDPOINT_URL"]).port or 0)
    through = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{doorway.port}", "AWS_MAX_ATTEMPTS": "1"}
    for name, value in through.items():
        monkeypatch.setenv(name, value)
    disks.cluster.settle(0)
    disks.add(**through)
    store = {"uri": "s3://disks/gone-for-a-while", "cache": "~/cache"}
    config = configured({**small, "store": store}, kind="ray", address=disks.cluster.address)
    found: dict[str, Any] = {}
    with RayEngine(config) as engine:

        def has_begun(stage: str) -> bool:
            return any(label.startswith(stage) for label in list(engine._replay._begun))

        engine.start()
        thread = threading.Thread(target=lambda: found.update(run_until("encode", engine, config)))
        thread.start()
        try:
            for stage in ("ingest", "vocabulary"):
                wait_until(partial(has_begun, stage), 200, f"{stage} begins")
                # More than s3fs asks by itself (5), whichever two of the driver, a stage and a piece ask meanwhile.
                doorway.refuse(12)
        finally:
            thread.join(400)
            doorway.close()
    assert {each.ref for each in found.values()} == {each.ref for each in unbroken.values()}
    assert doorway.n_to_refuse == 0


class Gone:
    """As much of Ray as a piece asks, whose answer is an exception."""

    def __init__(self, ray: Any, error: Exception) -> None:
        self.exceptions, self._error = ray.exceptions, error

    def get(self, reference: object, timeout: float) -> None:
        raise self._error


def test_what_ray_says_of_a_piece_is_put_into_words() -> None:
    ray = pytest.importorskip("ray")
    task = ray.exceptions.RayTaskError(
        "piece", "Traceback:\nModuleNotFoundError: No module named 'vecmill'", ValueError()
    )
    for error, kind, found in (
        (ray.exceptions.WorkerCrashedError(), NodesLost, "a piece of stage ingest was begun 3 times"),
        (ray.exceptions.OutOfMemoryError("killed"), NodesLost, "the node that it was on ran out of memory"),
        (task, EngineError, "a node could not begin a piece of stage ingest (ModuleNotFoundError: No module named"),
    ):
        piece = _Placed.__new__(_Placed)
        vars(piece).update(_ray=Gone(ray, error), _order={"stage": "ingest", "retries": 2}, _answer=None)
        with pytest.raises(kind) as refused:
            piece.answer()
        assert found in str(refused.value)


def test_a_full_disk_of_a_node_is_named_once_and_input_is_not_its_fault() -> None:
    def full() -> dict[str, Any]:
        raise StorageFull("no room left while stage ingest.read was writing below /cache", todo="free some space")

    def through_the_stage() -> dict[str, Any]:
        return value_of(answered(full, "worker-2 (abc)"))

    with pytest.raises(StorageFull) as refused:
        value_of(answered(through_the_stage, "worker-1 (def)"))
    assert refused.value.found.startswith("on node worker-2 (abc): no room left while stage ingest.read was writing")
    assert "worker-1" not in str(refused.value)

    def forbidden() -> dict[str, Any]:
        raise PermissionError(13, "Permission denied", "/text/a.txt")

    with pytest.raises(PermissionError) as closed:
        value_of(answered(lambda: value_of(answered(forbidden, "worker-2 (abc)")), "worker-1 (def)"))
    assert (closed.value.strerror, closed.value.filename) == (
        "Permission denied, on node worker-2 (abc)",
        "/text/a.txt",
    )
    with pytest.raises(VocabularyError) as other:
        value_of(answered(lambda: (_ for _ in ()).throw(VocabularyError("no word")), "worker-2 (abc)"))
    assert other.value.found == "no word"
