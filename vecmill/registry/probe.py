"""Whether a registered model is still there, quickly enough to be asked at every cached run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecmill.registry.config import sqlite_path, without_password
from vecmill.registry.reach import NeedsClient, is_server, reading_sqlite, rest_get

# How MLflow's SQL store marks a deleted version.
_DELETED = "Deleted_Internal"


@dataclass(frozen=True)
class Registered:
    """A version as it stands in the registry now.

    Attributes
    ----------
    model_name, version : what was asked for
    aliases : aliases that point to this version, sorted
    champion : version that the alias ``champion`` points to, None if there is none
    """

    model_name: str
    version: str
    aliases: tuple[str, ...]
    champion: str | None


def registered(registration: Mapping[str, Any], tracking_uri: str | None = None) -> Registered | None:
    """Look a registration up.

    Parameters
    ----------
    registration : content of ``registration.json``: ``model_name``, ``model_version`` and ``tracking_uri`` are read
    tracking_uri : URI of the registry in use now. If it is the recorded one, its password serves, which the record
        leaves out; a model that was registered elsewhere is looked up there

    Returns
    -------
    The version, or None if the registry, the version or (in an SQLite registry) its files on this host are gone.

    Raises
    ------
    RegistryError : the registry does not answer or cannot be read
    """
    name, version = str(registration["model_name"]), str(registration["model_version"])
    uri = str(registration["tracking_uri"])
    if tracking_uri is not None and without_password(tracking_uri) == uri:
        uri = tracking_uri
    try:
        path = sqlite_path(uri)
        if path is not None:
            return _from_sqlite(path, name, version)
        if is_server(uri):
            return _from_server(uri, name, version)
    except NeedsClient:
        pass
    return _from_client(uri, name, version)


def _from_sqlite(path: Path, name: str, version: str) -> Registered | None:
    if not path.is_file():
        return None
    with reading_sqlite(path) as connection:
        # Where the tables are missing nothing is registered, and MLflow's client, if asked, would make them.
        (n_tables,) = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('model_versions', 'registered_model_aliases')"
        ).fetchone()
        if n_tables < 2:
            return None
        row = connection.execute(
            "SELECT storage_location FROM model_versions WHERE name = ? AND version = ? AND current_stage <> ?",
            (name, int(version), _DELETED),
        ).fetchone()
        if row is None or not _files_stand(row[0]):
            return None
        aliases = connection.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (name,))
        return _registered(name, version, {alias: str(number) for alias, number in aliases})


def _files_stand(location: str | None) -> bool:
    """False only for a local folder that is missing; other places would take too long to ask."""
    if not location or not location.startswith(("/", "file:///")):
        return True
    from urllib.parse import unquote, urlsplit

    local = unquote(urlsplit(location).path) if location.startswith("file:") else location
    return Path(local).exists()


def _from_server(uri: str, name: str, version: str) -> Registered | None:
    # Two questions: a version does not list its aliases, and a model lists its newest version only.
    if rest_get(uri, "model-versions/get", {"name": name, "version": version}) is None:
        return None
    model = rest_get(uri, "registered-models/get", {"name": name})
    if model is None:
        return None
    aliases = model["registered_model"].get("aliases", [])
    return _registered(name, version, {each["alias"]: str(each["version"]) for each in aliases})


def _from_client(uri: str, name: str, version: str) -> Registered | None:
    from vecmill.registry.session import calling, registry_session

    with registry_session(uri) as client, calling(uri, f"look up version {version} of {name}"):
        from mlflow.exceptions import MlflowException

        try:
            client.get_model_version(name, version)
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
    return _registered(name, version, {alias: str(number) for alias, number in aliases.items()})


def _registered(name: str, version: str, version_of: Mapping[str, str]) -> Registered:
    aliases = tuple(sorted(alias for alias, number in version_of.items() if number == version))
    return Registered(name, version, aliases, version_of.get("champion"))
