"""The report of an artifact that stands in a local store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vecmill.errors import ConfigError
from vecmill.report.facts import gather_facts
from vecmill.report.page import REPORT_NAME, report_page

_STAGES = ("evaluate", "register")


def artifact_report(folder: Path) -> str:
    """The page for the folder of an evaluate or register artifact; its inputs stand in the same store.

    Raises
    ------
    ConfigError : the folder is no such artifact, or one that it was made from is gone
    """
    manifest = _manifest(folder)
    if manifest.get("stage") not in _STAGES:
        raise ConfigError(
            f"{folder} is an artifact of the stage {manifest.get('stage')!r}",
            expected=f"one of {' or '.join(_STAGES)}",
            todo="name the evaluate artifact that was made from it",
        )
    if (folder / REPORT_NAME).is_file():
        return (folder / REPORT_NAME).read_text(encoding="utf-8")
    store = folder.absolute().parent.parent
    lineage: dict[str, dict[str, Any]] = {}
    folders = {str(manifest["stage"]): folder}
    pending = [manifest]
    while pending:
        found = pending.pop(0)
        lineage.setdefault(str(found["stage"]), found)
        for stage, ref in found.get("inputs", {}).items():
            if stage not in folders:
                folders[stage] = store / stage / str(ref["key"])
                pending.append(_manifest(folders[stage]))
    registration = lineage.pop("register", None)
    written = folder / "registration.json"
    facts = json.loads(written.read_text(encoding="utf-8")) if registration and written.is_file() else None
    return report_page(
        gather_facts(folders["evaluate"], folders["train"], lineage, facts, folders.get("contamination"))
    )


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{folder} holds no manifest.json",
            expected="the folder of an evaluate or register artifact whose inputs stand in the same store",
            todo="name such a folder, or a version; `vecmill run` builds again what is gone",
        ) from None
    except ValueError as error:
        raise ConfigError(
            f"{folder / 'manifest.json'} is not JSON ({error})", todo="build the artifact again"
        ) from None
    return found if isinstance(found, dict) else {}
