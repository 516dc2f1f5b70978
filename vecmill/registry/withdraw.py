"""Versions made from what must be forgotten: finding those that a registry still serves, and withdrawing them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vecmill.registry.config import without_password
from vecmill.registry.probe import registered
from vecmill.registry.session import calling, registry_session
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.manifest import Manifest

_REGISTRATION = "registration.json"


@dataclass(frozen=True, order=True)
class ServedVersion:
    """A version in a registry, by what its registration says."""

    model_name: str
    version: str
    tracking_uri: str
    run_id: str = ""
    model_id: str = ""
    aliases: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "aliases": list(self.aliases)}

    @property
    def shown(self) -> str:
        """How people know it: name, number, aliases."""
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.model_name} version {self.version}{aliases} in {self.tracking_uri}"


def served_versions(
    store: ArtifactStore, manifests: Iterable[Manifest], earlier: Iterable[Mapping[str, Any]], tracking_uri: str
) -> list[ServedVersion]:
    """The versions that stand in their registry now.

    Parameters
    ----------
    manifests : artifacts, of which those that hold a registration count
    earlier : versions as :meth:`ServedVersion.as_json` gave them when they were left in a registry
    tracking_uri : the registry in use now, whose password the registrations leave out

    Raises
    ------
    RegistryError : a registry does not answer
    """
    registrations: list[Mapping[str, Any]] = [
        json.loads((store.backend.local_folder(manifest, [_REGISTRATION]) / _REGISTRATION).read_text(encoding="utf-8"))
        for manifest in manifests
        if any(each.path == _REGISTRATION for each in manifest.files)
    ]
    registrations += [{**each, "model_version": each["version"]} for each in earlier]
    found: dict[tuple[str, str, str], ServedVersion] = {}
    for each in registrations:
        standing = registered(each, tracking_uri)
        if standing is not None:
            place = (each["model_name"], str(each["model_version"]), each["tracking_uri"])
            found[place] = ServedVersion(
                *place, str(each.get("run_id", "")), str(each.get("model_id", "")), standing.aliases
            )
    return sorted(found.values())


def withdraw(version: ServedVersion, tracking_uri: str) -> None:
    """Delete a version with the files of its model and of its run; the names and numbers of the run stay, as deleted.

    Raises
    ------
    RegistryError : the registry does not answer or refuses; what was deleted until then is gone
    """
    same = without_password(tracking_uri) == version.tracking_uri
    uri = tracking_uri if same else version.tracking_uri
    with (
        registry_session(uri) as client,
        calling(
            uri,
            f"withdraw version {version.version} of {version.model_name}",
            todo="delete the version, its run and the files of both in MLflow",
        ),
    ):
        from mlflow.exceptions import MlflowException
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # Files first: once the version is gone nobody knows where they are.
        if version.model_id:
            with contextlib.suppress(MlflowException):  # it was deleted by hand
                model = client.get_logged_model(version.model_id)
                get_artifact_repository(model.artifact_location).delete_artifacts()
                client.delete_logged_model(version.model_id)
        if version.run_id:
            with contextlib.suppress(MlflowException):
                run = client.get_run(version.run_id)
                get_artifact_repository(run.info.artifact_uri).delete_artifacts()
                client.delete_run(version.run_id)
        client.delete_model_version(version.model_name, version.version)
