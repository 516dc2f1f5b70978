"""A time of working with MLflow: one tracking URI, a quiet client, short retries, and errors that say what to do."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from vecmill.errors import RegistryError, VecmillError
from vecmill.registry.config import sqlite_path, without_password
from vecmill.registry.reach import check_reachable, is_server, split_credentials

# In force while a session is open, unless the environment says otherwise already.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default 7 with back-off: four minutes before a dead server is reported
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # seconds
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output belongs to `--json`
    # A pooled connection would go on writing into a database file that was deleted and made anew in the meantime.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}
# Whose exceptions can come out of a call into MLflow, beside its own and OSError (which requests' are).
_CLIENT_LIBRARIES = {"mlflow", "sqlalchemy", "alembic", "botocore", "boto3", "google", "azure", "urllib3"}
_KEPT = "everything finished so far is kept, so run again afterwards and only `register` runs"
_LONGEST_REASON = 400
# The codes alone, not as a part of a port or of an identifier in an address.
_NOT_LET_IN = re.compile(r"\b40[13]\b|permission_denied|unauthenticated|not authorized")


@contextmanager
def registry_session(tracking_uri: str) -> Iterator[Any]:
    """An ``mlflow.MlflowClient`` of the registry, with MLflow's global tracking URI set to the same for the block.

    Parameters
    ----------
    tracking_uri : as :func:`vecmill.registry.config.resolve_tracking_uri` gives it; an SQLite file is made if missing

    Raises
    ------
    RegistryError : the registry cannot be reached or used
    """
    check_reachable(tracking_uri)
    settings = dict(_SETTINGS)
    uri = tracking_uri
    if is_server(tracking_uri):
        # MLflow repeats the URI in its messages; from the environment it takes a password without telling.
        uri, user, password = split_credentials(tracking_uri)
        if user:
            settings |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    with _environment(settings):
        import mlflow

        # Setting the URI also sets the variable, so that what it was before can be read from there.
        before = os.environ.get("MLFLOW_TRACKING_URI")
        with _quiet("mlflow"):
            mlflow.set_tracking_uri(uri)
            try:
                with calling(tracking_uri, "start work"), registry_lock(tracking_uri):
                    _make_tables(uri)
                    # Both halves of the client add what they miss when first used, hence still under the lock.
                    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
                    client.search_experiments(max_results=1)
                    client.search_registered_models(max_results=1)
                yield client
            finally:
                mlflow.set_tracking_uri(before)


@contextmanager
def registry_lock(tracking_uri: str) -> Iterator[None]:
    """Hold the lock file beside an SQLite registry; a process that dies lets go of it. Nothing to hold on servers."""
    path = sqlite_path(tracking_uri)
    if path is None:
        yield
        return
    with path.with_name(f"{path.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def calling(tracking_uri: str, doing: str, *, todo: str = "") -> Iterator[None]:
    """Turn what MLflow and the libraries under it raise into a RegistryError; bugs of our own pass as they are.

    Parameters
    ----------
    doing : what was being done, as an infinitive ("store the model")
    todo : what to do about it, where the caller knows better than the reason tells
    """
    try:
        yield
    except VecmillError:
        raise
    except Exception as error:
        library = type(error).__module__.partition(".")[0]
        if not isinstance(error, OSError) and library not in _CLIENT_LIBRARIES:
            raise
        reason = _reason(error)
        raise RegistryError(
            f"could not {doing} in the model registry {without_password(tracking_uri)}: {reason}",
            todo=f"{todo or _advice(reason, tracking_uri)}; {_KEPT}",
        ) from error


def _reason(error: Exception) -> str:
    """The first line of the message, without passwords and without SQL."""
    text = without_password(str(error)).strip() or type(error).__name__
    text = text.splitlines()[0].rstrip(" .")
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"


def _advice(reason: str, tracking_uri: str) -> str:
    lowered = reason.lower()
    if "out-of-date database schema" in lowered:
        return f"back the database up, then run `mlflow db upgrade {without_password(tracking_uri)}`"
    if "locked" in lowered:
        return "wait until the program that holds the database has finished"
    if _NOT_LET_IN.search(lowered):
        return (
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account that may write there, "
            "and see that the server's --allowed-hosts names this address"
        )
    if any(sign in lowered for sign in ("s3", "bucket", "endpoint", "credentials")):
        return "check registry.artifact_location, the AWS variables and MLFLOW_S3_ENDPOINT_URL"
    return "check registry.tracking_uri and registry.artifact_location, and that both can be written to"


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _make_tables(tracking_uri: str) -> None:
    """Create MLflow's tables in an SQLite file that has none.

    Done here rather than left to the client: two processes that begin with the same new file would both create them,
    one that is killed meanwhile would leave half of them, and a client remembers for good that it has created them,
    also when the file was deleted since.
    """
    path = sqlite_path(tracking_uri)
    if path is None or _has_tables(path):
        return
    import mlflow.db

    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    mlflow.db.upgrade.callback(f"sqlite:///{fresh}")  # the function behind `mlflow db upgrade`
    fresh.replace(path)


def _has_tables(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
