"""The report page of a version: stored beside its other files when it is registered, and fetched again."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vecmill.errors import RegistryError
from vecmill.registry.config import without_password
from vecmill.registry.history import Version
from vecmill.registry.stored import stored_file
from vecmill.report.facts import gather_facts
from vecmill.report.page import REPORT_NAME, report_page
from vecmill.store.stage import StageIO

log = logging.getLogger("vecmill")


def store_report(client: Any, io: StageIO, registration: Mapping[str, Any]) -> None:
    """Write ``report.html`` into the register artifact and log it to the version's run.

    By now the version is registered and has its aliases. Were a registry that refuses one more file to end the stage
    here, the next run would register the same model a second time; so it is said, and the artifact keeps the page.
    """
    lineage = json.loads(without_password(json.dumps(io.lineage, default=dict)))
    facts = gather_facts(
        io.inputs["evaluate"], io.inputs["train"], lineage, registration, io.inputs.get("contamination")
    )
    path = io.output / REPORT_NAME
    path.write_text(report_page(facts), encoding="utf-8")
    try:
        client.log_artifact(registration["run_id"], str(path))
    except Exception as error:
        log.warning("the report could not be stored in the registry (%s); it is in the register artifact", error)


def read_report(client: Any, model_name: str, version: Version) -> str:
    """The page of a version; what MLflow raises passes through.

    Raises
    ------
    RegistryError : its run keeps none
    """
    with tempfile.TemporaryDirectory(prefix="vecmill-report-") as folder:
        path = None if version.run_id is None else stored_file(client, version.run_id, REPORT_NAME, Path(folder))
        if path is None:
            raise RegistryError(
                f"version {version.number} of {model_name} keeps no {REPORT_NAME}",
                expected="a version that was registered with its report",
                todo="name the folder of its evaluate artifact instead; `vecmill registry lineage` shows the key",
            )
        return path.read_text(encoding="utf-8")
