"""What every test shares: quiet libraries, and no state outside the test's own folder."""

from __future__ import annotations

import atexit
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from servers import end_with_this_process, free_port, listens, postgres, stop, wait_until
from vecmill.quiet import be_quiet

be_quiet()
end_with_this_process()
# A shell's `&` has programs ignore interrupts, and all that they start: then no test could interrupt anything.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("vecmill", deadline=None)
hypothesis.settings.load_profile("vecmill")
# Kernels compile once for all workers of pytest and the processes that they start: workers have the starter's folder.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["VECMILL_KERNEL_CACHE"] = tempfile.mkdtemp(prefix="vecmill-kernels-")
    atexit.register(shutil.rmtree, os.environ["VECMILL_KERNEL_CACHE"], ignore_errors=True)
# Whatever the person's shell says, tests talk to no server but their own and use no credentials but their own.
for _name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "MLFLOW_TRACKING_URI"):
    os.environ.pop(_name, None)
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # else a search for credentials asks a cloud address and waits
os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.environ["AWS_CONFIG_FILE"] = os.devnull


# Rooms whose tests start programs and wait for them, or train, the longest first.
_LONG_ROOMS = ("flows", "engine", "gpu", "registry", "tuning", "distributed", "words", "cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long rooms first, so that at the end no worker of pytest waits for the other one's last file."""
    order = {room: place for place, room in enumerate(_LONG_ROOMS)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))
    for item in items:
        # Prefect, MLflow, Ray and S3 servers have timing of their own. One more try, told in the summary (RERUN); what
        # only vecmill's code can break never gets one.
        if item.get_closest_marker("server"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    gc.freeze()  # what was imported stays; the collector need not look through it again and again


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadscope":
        return None
    from scheduling import FilesTogether

    return FilesTogether(config, log)


def pytest_unconfigure() -> None:
    gc.unfreeze()  # DuckDB counts, at the end, what nobody has collected, and prints it


@pytest.fixture(autouse=True)
def _no_session_of_another_server() -> Iterator[None]:
    """boto3 keeps the credentials that its first client found, and each server of the tests has keys of its own."""
    yield
    if "boto3" in sys.modules:
        sys.modules["boto3"].DEFAULT_SESSION = None


@pytest.fixture(scope="session", autouse=True)
def _prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect-home"))
    yield


@pytest.fixture(scope="session", autouse=True)
def _sqlite_does_not_wait_for_the_disk() -> Iterator[None]:
    """No test's database has to outlive a power cut, and MLflow commits a hundred times for each version."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def connected(connection: Any, record: object) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that relative state (`.vecmill`) lands there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A moto server that checks credentials: the environment variables that let a client in."""
    import boto3

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    # The first three requests go unchecked; they make the user whom all later requests are checked against.
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "3"},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        wait_until(lambda: listens(port), 200, "the S3 server answers", server)
        unchecked = {"aws_access_key_id": "first", "aws_secret_access_key": "first", "region_name": "us-east-1"}
        iam = boto3.client("iam", endpoint_url=endpoint, **unchecked)
        iam.create_user(UserName="reader")
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=json.dumps(policy))
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        stop(server)
        log.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URI of a PostgreSQL on loopback that asks for a password, without a database's name."""
    with postgres() as uri:
        yield uri


@pytest.fixture
def postgres_database(postgres_server: str) -> str:
    """The URI of an empty database there."""
    import psycopg

    name = f"d{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{postgres_server}/{name}"
