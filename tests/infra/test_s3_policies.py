"""The policies of the bucket: they say little, and what they say is enough for a store and for nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import free_port, listens, stop, wait_until
from vecmill.errors import VecmillError
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.stage import StageReport

POLICIES = ("policy-run.json", "policy-mlflow.json")
ON_BUCKETS = {"s3:ListBucket"}
ON_OBJECTS = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}
STATEMENT = {"Sid", "Effect", "Action", "Resource", "Condition"}


def problems(policy: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a policy, or wider than it has to be."""
    if policy.keys() != {"Version", "Statement"} or policy["Version"] != "2012-10-17":
        yield f"the policy has {sorted(policy)}"
    for statement in policy["Statement"]:
        name = statement.get("Sid", "?")
        if not {"Sid", "Effect", "Action", "Resource"} <= statement.keys() <= STATEMENT:
            yield f"{name} has {sorted(statement)}"
            continue
        if statement["Effect"] != "Allow":
            yield f"{name}: effect {statement['Effect']!r}"
        for action in statement["Action"]:
            if action not in ON_BUCKETS | ON_OBJECTS:
                yield f"{name}: action {action!r}"
        for resource in statement["Resource"]:
            bucket, slash, path = resource.removeprefix("arn:aws:s3:::").partition("/")
            if not resource.startswith("arn:aws:s3:::") or not bucket or "*" in bucket:
                yield f"{name}: resource {resource!r}"
            if slash and (not path.endswith("/*") or "*" in path[:-1] or path == "/*"):
                yield f"{name}: {resource!r} is not one prefix"
            if bool(slash) != set(statement["Action"]).issubset(ON_OBJECTS):
                yield f"{name}: {statement['Action']} does not apply to {resource!r}"
            if not slash and not statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix"):
                yield f"{name}: the whole bucket may be listed"


def read(repository: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / "infra/s3" / name).read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_well_formed_and_narrow(repository: Path, name: str) -> None:
    assert list(problems(read(repository, name))) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"Action": ["s3:*"]}, "action 's3:*'"),
        ({"Resource": ["arn:aws:s3:::*"]}, "resource 'arn:aws:s3:::*'"),
        ({"Resource": ["arn:aws:s3:::vecmill/*"]}, "is not one prefix"),
        ({"Efect": "Allow"}, "has ["),
        ({"Action": ["s3:ListBucket"]}, "does not apply to"),
    ],
)
def test_a_wide_or_misspelt_policy_is_found_out(repository: Path, change: dict[str, Any], found: str) -> None:
    policy = read(repository, "policy-run.json")
    policy["Statement"][-1] |= change
    said = list(problems(policy))
    assert found in " ".join(said)
    assert bool(said) == bool(found)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[dict[str, str]]:
    """A moto server with the bucket, and the keys of a user who has the policy of runs and nothing else."""
    import boto3

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "5"},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        wait_until(lambda: listens(port), 200, "the S3 server answers", server)
        unchecked = {"aws_access_key_id": "first", "aws_secret_access_key": "first", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=endpoint, **unchecked).create_bucket(Bucket="vecmill")
        boto3.client("s3", endpoint_url=endpoint, **unchecked).put_object(Bucket="vecmill", Key="mlflow/m", Body=b"m")
        iam = boto3.client("iam", endpoint_url=endpoint, **unchecked)
        iam.create_user(UserName="run")
        key = iam.create_access_key(UserName="run")["AccessKey"]
        policy = json.dumps(read(repository, "policy-run.json"))
        iam.put_user_policy(UserName="run", PolicyName="run", PolicyDocument=policy)
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        stop(server)
        log.close()


@pytest.mark.server
def test_a_store_needs_no_more_than_the_policy_of_runs(
    bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)

    def store(uri: str) -> ArtifactStore:
        return ArtifactStore(StoreConfig(uri=uri, cache=str(tmp_path / "cache")))

    def work(folder: Path) -> StageReport:
        (folder / "numbers.txt").write_text("1 2 3\n")
        return StageReport()

    own = store("s3://vecmill/store")
    with own.building("toy", "abc"):
        manifest = own.build("toy", "abc", {}, {}, {}, work)
    assert own.problem(manifest) is None
    assert (own.folder(manifest.ref) / "numbers.txt").read_text() == "1 2 3\n"
    assert own.backend.names("toy") == ["abc"]
    own.backend.write(".locks/probe-1", b"seen")  # as a Ray engine asks its nodes
    assert own.backend.read(".locks/probe-1") == b"seen"
    # Key by key: moto judges a deletion of many keys by rights on the bucket, Amazon by those on each of the keys.
    import boto3

    client = boto3.client("s3", endpoint_url=bucket["AWS_ENDPOINT_URL"])
    client.delete_object(Bucket="vecmill", Key="store/toy/abc/manifest.json")
    assert own.manifest("toy", "abc") is None

    with pytest.raises(VecmillError):
        store("s3://vecmill/mlflow").backend.read("m")
    with pytest.raises(VecmillError):
        store("s3://vecmill/corpus").backend.write("text.txt", b"changed")
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket="vecmill", Key="mlflow/m")
