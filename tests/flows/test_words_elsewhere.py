"""The whole pipeline on other storage: text and store on an S3 server that checks credentials, and in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]


def run(folder: Path, config: dict[str, Any], **environment: str) -> subprocess.CompletedProcess[str]:
    deployment = {"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": config}}
    (folder / "pipelines.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}))
    return subprocess.run(
        [sys.executable, "-m", "vecmill", "run", "words", "--json"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_the_whole_pipeline_on_s3(
    tmp_path: Path,
    text_folder: Path,
    small_config: dict[str, Any],
    s3_server: dict[str, str],
    prefect_server: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import boto3

    monkeypatch.setenv("PREFECT_API_URL", prefect_server["PREFECT_API_URL"])
    s3 = boto3.client("s3", endpoint_url=s3_server["AWS_ENDPOINT_URL"], **credentials(s3_server))
    bucket = f"vecmill-{uuid4().hex}"  # a second try begins with nothing, too
    s3.create_bucket(Bucket=bucket)
    for path in text_folder.glob("*.txt"):
        s3.upload_file(str(path), bucket, f"text/{path.name}")
    small_config["store"] = {"uri": f"s3://{bucket}/store", "cache": str(tmp_path / "cache")}
    small_config["corpus"] = {"sources": [f"s3://{bucket}/text/*.txt"]}

    first = run(tmp_path, small_config, **s3_server)
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    assert not any(stage["cached"] for stage in summary["stages"])
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix="store/")["Contents"]]
    # Eight stages, and the pieces that ingest, contract, contamination and vocabulary are put together from, one each.
    assert sum(key.endswith("manifest.json") for key in keys) == 12
    assert not any(".tmp" in key for key in keys)

    again = run(tmp_path, small_config, **s3_server)
    assert again.returncode == 0, again.stderr
    assert all(stage["cached"] for stage in json.loads(again.stdout)["stages"])

    # Altered behind our back, and with a cold local cache: noticed by its ETag, rebuilt, the rest stands.
    encode = next(stage for stage in summary["stages"] if stage["stage"] == "encode")
    key = next(
        key for key in keys if key.startswith(f"store/encode/{encode['key']}/") and key.endswith("token_ids.npy")
    )
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=body[:-1] + b"x")
    small_config["store"]["cache"] = str(tmp_path / "another-cache")
    third = run(tmp_path, small_config, **s3_server)
    assert third.returncode == 0, third.stderr
    stages = json.loads(third.stdout)["stages"]
    assert [stage["stage"] for stage in stages if not stage["cached"]] == ["encode"]

    for refused, code in ((dict(s3_server, AWS_SECRET_ACCESS_KEY="wrong"), "SignatureDoesNotMatch"),):
        denied = run(tmp_path, small_config, **refused)
        assert denied.returncode == 2, denied.stderr
        assert code in denied.stderr
        assert "AWS_ACCESS_KEY_ID" in denied.stderr
        assert s3_server["AWS_SECRET_ACCESS_KEY"] not in denied.stderr
        assert "Traceback" not in denied.stderr


def test_no_credentials(tmp_path: Path, small_config: dict[str, Any], s3_server: dict[str, str]) -> None:
    small_config["store"] = {"uri": "s3://vecmill/store", "cache": str(tmp_path / "cache")}
    done = run(tmp_path, small_config, AWS_ENDPOINT_URL=s3_server["AWS_ENDPOINT_URL"])
    assert done.returncode == 2, done.stderr
    assert "no credentials for s3://vecmill/store" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_whole_pipeline_in_memory(small_config: dict[str, Any]) -> None:
    """`memory://` lives in one process, so the flow is called here; a second call is all cached."""
    from prefect.testing.utilities import prefect_test_harness

    from flows.words import words
    from vecmill.pipelines.words import WordsConfig

    place = f"memory://{uuid4().hex}/store"
    small_config["store"]["uri"] = place
    config = WordsConfig.model_validate(small_config)
    with prefect_test_harness(server_startup_timeout=120):
        first = words(config)
        second = words(config)
    assert not any(stage["cached"] for stage in first["stages"])
    assert all(stage["cached"] for stage in second["stages"])
    assert first["store"] == place
    assert [stage["digest"] for stage in first["stages"]] == [stage["digest"] for stage in second["stages"]]


def credentials(server: dict[str, str]) -> dict[str, str]:
    return {
        "aws_access_key_id": server["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": server["AWS_SECRET_ACCESS_KEY"],
        "region_name": server["AWS_DEFAULT_REGION"],
    }
