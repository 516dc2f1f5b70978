"""Asking a registry short questions without MLflow, whose import alone takes longer than a cached run may.

Two ways are known: read-only SQL on an SQLite file, and MLflow's REST interface. For the rest (other databases, odd
certificates, plugins that log in) :class:`NeedsClient` says that MLflow's own client has to be asked.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from vecmill.errors import RegistryError
from vecmill.registry.config import sqlite_path, without_password

_REST = "/api/2.0/mlflow"
_TIMEOUT_SECONDS = 5.0
_KEPT = "everything finished so far is kept, so run again afterwards and only `register` runs"


class NeedsClient(Exception):
    """The short way does not suffice; MLflow's client may know another."""


def check_reachable(tracking_uri: str) -> None:
    """Refuse a registry that cannot be written to, within seconds.

    MLflow itself would first repeat its attempts for one and a half minutes (a database) or four (a server).

    Raises
    ------
    RegistryError : no server answers, or the SQLite file cannot be opened, locked or written
    """
    path = sqlite_path(tracking_uri)
    if path is not None:
        _check_sqlite(path)
    elif is_server(tracking_uri):
        try:
            rest_get(tracking_uri, "registered-models/get", {"name": "-"})
        except NeedsClient:
            return  # somebody answers; what is wrong with the credentials or the certificate, MLflow says better


def is_server(tracking_uri: str) -> bool:
    """Whether the URI is that of an MLflow server."""
    return tracking_uri.startswith(("http://", "https://"))


def split_credentials(tracking_uri: str) -> tuple[str, str, str]:
    """The URI without user information, the user name and the password (empty where there are none)."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(tracking_uri)
    return without_password(tracking_uri), unquote(parts.username or ""), unquote(parts.password or "")


@contextmanager
def reading_sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to an existing database file.

    Raises
    ------
    RegistryError : the file is no database, locked for too long, or cannot be read
    NeedsClient : tables or columns are not those of the MLflow versions we know
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT_SECONDS)) as connection:
            yield connection
    except sqlite3.OperationalError as error:
        if "no such" in str(error):
            raise NeedsClient(str(error)) from error
        raise _sqlite_trouble(path, error) from error
    except sqlite3.DatabaseError as error:
        raise _sqlite_trouble(path, error) from error


def rest_get(tracking_uri: str, method: str, query: dict[str, str]) -> dict[str, Any] | None:
    """The answer of one of MLflow's REST methods, None where the thing asked for does not exist.

    Parameters
    ----------
    tracking_uri : http(s) URI of the server; credentials from it, else from MLFLOW_TRACKING_USERNAME and
        MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN
    method : such as ``model-versions/get``

    Raises
    ------
    RegistryError : nobody answers, or somebody who is no MLflow server
    NeedsClient : the server wants credentials or a certificate that we do not have
    """
    import ssl
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlencode
    from urllib.request import Request, urlopen

    base, user, password = split_credentials(tracking_uri)
    request = Request(f"{base.rstrip('/')}{_REST}/{method}?{urlencode(query)}", headers=_authorisation(user, password))
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            answer = json.load(response)
    except HTTPError as error:
        if error.code in (401, 403):
            raise NeedsClient(f"HTTP {error.code}") from error
        with error:
            body = error.read(4096)
        if error.code == 404 and b"RESOURCE_DOES_NOT_EXIST" in body:
            return None
        raise _server_trouble(base, f"it answered HTTP {error.code} {error.reason}") from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            raise NeedsClient(str(error.reason)) from error
        raise _server_trouble(base, str(error.reason)) from error
    except json.JSONDecodeError as error:
        raise _server_trouble(base, "its answer is not JSON") from error
    except (OSError, HTTPException, ValueError) as error:
        raise _server_trouble(base, str(error) or type(error).__name__) from error
    if not isinstance(answer, dict):
        raise _server_trouble(base, "its answer is not a JSON object")
    return answer


def _authorisation(user: str, password: str) -> dict[str, str]:
    user = user or os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = password or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    if user:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _check_sqlite(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=_TIMEOUT_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA schema_version").fetchone()
            connection.execute("ROLLBACK")
    except (OSError, sqlite3.Error) as error:
        raise _sqlite_trouble(path, error) from error


def _sqlite_trouble(path: Path, error: Exception) -> RegistryError:
    todo = f"make the file and its folder writable, or name another file in registry.tracking_uri; {_KEPT}"
    if "locked" in str(error):
        todo = f"wait until the program that holds it has finished; {_KEPT}"
    elif "not a database" in str(error):
        todo = f"name another file in registry.tracking_uri, or move this one away; {_KEPT}"
    return RegistryError(
        f"the model registry {path} cannot be used: {error}",
        expected="an SQLite database of MLflow's that can be written, or a place where one can be made",
        todo=todo,
    )


def _server_trouble(uri: str, reason: str) -> RegistryError:
    return RegistryError(
        f"the model registry at {uri} cannot be reached: {reason}",
        expected="an MLflow server that answers there",
        todo=f"start the server, or correct registry.tracking_uri; {_KEPT}",
    )
