"""The one-shot bucket creation, against a real S3 server on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def create(repository: Path, endpoint: str, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(repository / "infra" / "create_bucket.py"), name],
        env={
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL_S3": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_creates_the_bucket_once_and_is_content_to_find_it(repository: Path, endpoint: str) -> None:
    said = [create(repository, endpoint, "vecmill") for _ in range(2)]
    assert [answer.returncode for answer in said] == [0, 0], said[0].stderr
    assert [answer.stdout for answer in said] == ["bucket vecmill: created\n", "bucket vecmill: already there\n"]


def test_an_unreachable_store_fails_instead_of_passing_for_done(repository: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        answer = create(repository, f"http://127.0.0.1:{free.getsockname()[1]}", "vecmill")
    assert answer.returncode != 0
    assert "Could not connect to the endpoint" in answer.stderr
