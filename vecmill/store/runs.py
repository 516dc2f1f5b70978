"""Records of runs: which artifacts a run of a pipeline led to, so that later ones can say what changed since."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from vecmill.store.artifact_store import ArtifactStore

_FOLDER = "runs"


@dataclass(frozen=True)
class RunRecord:
    """One run of a pipeline.

    Attributes
    ----------
    run_id : UTC start time and four random hex digits; sorts by time
    keys : planned key of each stage
    status : ``running``, ``finished`` or ``failed``
    host, pid : the process that runs (or ran) it
    error : the message it failed with
    """

    run_id: str
    pipeline: str
    keys: dict[str, str] = field(default_factory=dict)
    status: str = "running"
    host: str = ""
    pid: int = 0
    started_at: str = ""
    error: str = ""

    @property
    def active(self) -> bool:
        """Whether the run may still be at work. A run on another host is believed for a day."""
        if self.status != "running":
            return False
        if self.host == socket.gethostname():
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                return True
            return True
        try:
            age = datetime.now(UTC) - datetime.fromisoformat(self.started_at)
        except (ValueError, TypeError):
            return False  # not a record that we wrote
        return age.total_seconds() < 86_400


def start_run(store: ArtifactStore, pipeline: str, keys: dict[str, str]) -> RunRecord:
    """Write down that a run has begun."""
    now = datetime.now(UTC)
    record = RunRecord(
        run_id=f"{now:%Y%m%dT%H%M%S.%f}-{secrets.token_hex(2)}",
        pipeline=pipeline,
        keys=keys,
        host=socket.gethostname(),
        pid=os.getpid(),
        started_at=now.isoformat(timespec="seconds"),
    )
    _write(store, record)
    return record


def finish_run(store: ArtifactStore, record: RunRecord, *, error: str = "") -> RunRecord:
    """Write down that a run has ended, well or with an error."""
    ended = replace(record, status="failed" if error else "finished", error=error)
    _write(store, ended)
    return ended


def run_records(store: ArtifactStore, pipeline: str) -> list[RunRecord]:
    """Records of a pipeline's runs that can be read, oldest first."""
    names = [name for name in store.backend.names(f"{_FOLDER}/{pipeline}") if name.endswith(".json")]
    found = (_read(store, pipeline, name) for name in names)
    return [record for record in found if record is not None]


def latest_keys(store: ArtifactStore, pipeline: str) -> dict[str, str]:
    """Planned keys of the last run of a pipeline; empty if there was none."""
    for name in reversed(store.backend.names(f"{_FOLDER}/{pipeline}")):
        record = _read(store, pipeline, name)
        if record is not None:
            return record.keys
    return {}


def pipelines_with_runs(store: ArtifactStore) -> list[str]:
    """Names of the pipelines that have run on this store."""
    return store.backend.names(_FOLDER)


def _write(store: ArtifactStore, record: RunRecord) -> None:
    content = json.dumps(asdict(record), indent=1) + "\n"
    store.backend.write(f"{_FOLDER}/{record.pipeline}/{record.run_id}.json", content.encode())


def _read(store: ArtifactStore, pipeline: str, name: str) -> RunRecord | None:
    content = store.backend.read(f"{_FOLDER}/{pipeline}/{name}")
    try:
        raw: dict[str, Any] = json.loads(content or b"")
        return RunRecord(**raw)
    except (ValueError, TypeError):
        return None
