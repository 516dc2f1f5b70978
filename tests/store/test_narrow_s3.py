"""A server that speaks S3 but does not know its bulk delete, as some do not: localbucket, real, on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_port, listens, stop, wait_until
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.stage import StageReport


@pytest.fixture
def narrow_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the objects of its bucket ``narrow`` lie as files."""
    import boto3

    port, objects = free_port(), tmp_path / "objects"
    objects.mkdir()
    access = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (access | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}).items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "localbucket", "--host", "127.0.0.1", "--port", str(port), str(objects)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ), start_new_session=True)
        try:
            wait_until(lambda: listens(port), 60, "the S3 server answers", server)
            client = boto3.client("s3")
            client.create_bucket(Bucket="narrow")
            client.close()
            yield objects / "narrow"
        finally:
            stop(server)


@pytest.mark.server
def test_files_and_folders_are_removed_one_by_one(tmp_path: Path, narrow_s3: Path) -> None:
    def work(folder: Path) -> StageReport:
        for name in ("a.bin", "deep/b.bin"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"content")
        return StageReport()

    store = ArtifactStore(StoreConfig(uri="s3://narrow/store", cache=str(tmp_path / "cache")))
    store.build("train", "a", {}, {}, {}, work)
    store.backend.write("probe", b"here")
    store.backend.write("probe-of-another", b"here")

    store.backend.remove("probe")
    assert store.backend.read("probe") is None and store.backend.read("probe-of-another") == b"here"
    store.backend.remove("train")
    assert store.backend.names("train") == []
    left = sorted(each.name for each in (narrow_s3 / "store").rglob("*") if each.is_file())
    assert left == ["probe-of-another"]
    store.backend.remove("train")  # what is gone already is no error
