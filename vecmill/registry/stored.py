"""What the registry keeps of a version, brought to this host."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from vecmill.errors import FormatError

_VECTORS = "artifacts/vectors"  # in a stored model, as MLflow lays it out


def stored_vectors(client: Any, model_name: str, version: str, folder: Path) -> Path:
    """The folder ``vectors`` of a registered version, to be opened with ``WordVectors.load``.

    Parameters
    ----------
    client : an ``mlflow.MlflowClient``; what it raises passes through
    folder : where it is copied to; files that lie on this host are used where they lie

    Raises
    ------
    FormatError : they should lie on this host and do not
    """
    import mlflow.artifacts

    location = str(client.get_model_version_download_uri(model_name, version)).removeprefix("file://")
    if location.startswith("/"):  # not mlflow-artifacts:/…, which is on the server
        place = Path(location) / _VECTORS
        if not place.is_dir():
            raise FormatError(
                f"the vectors of version {version} of {model_name} are missing from {place}",
                expected="the folder that was registered",
                todo="restore it, or register the model again",
            )
        return place
    uri = f"models:/{model_name}/{version}/{_VECTORS}"
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))


def stored_file(client: Any, run_id: str, name: str, folder: Path) -> Path | None:
    """A file of a run, copied to ``folder``; None if the run has none of that name."""
    if name not in {each.path for each in client.list_artifacts(run_id)}:
        return None
    return Path(client.download_artifacts(run_id, name, str(folder)))


def stored_json(client: Any, run_id: str, name: str) -> dict[str, Any]:
    """What a JSON file of a run holds; empty where the run has none of that name."""
    with tempfile.TemporaryDirectory(prefix="vecmill-stored-") as folder:
        path = stored_file(client, run_id, name, Path(folder))
        found: dict[str, Any] = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    return found


def run_lineage(client: Any, run_id: str) -> dict[str, dict[str, Any]]:
    """The manifests that a run keeps, by stage."""
    with tempfile.TemporaryDirectory(prefix="vecmill-manifests-") as folder:
        manifests = Path(client.download_artifacts(run_id, "manifests", folder))
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(manifests.glob("*.json"))}
