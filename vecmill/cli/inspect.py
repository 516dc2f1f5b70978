"""Commands that look and tell: ``explain``, ``config``, ``gc``."""

from __future__ import annotations

import json as json_module
import socket
import sys
from pathlib import Path

import yaml
from rich.markup import escape

from vecmill.cli.common import human_bytes, open_target, stdout_console
from vecmill.registry.config import resolve_tracking_uri, sqlite_path, without_password
from vecmill.registry.probe import registered
from vecmill.store.gc import collect, find_garbage
from vecmill.store.manifest import Manifest
from vecmill.store.plan import make_plan
from vecmill.store.runs import latest_keys


def explain_pipeline(file: Path, name: str, overrides: list[str], refresh: tuple[str, ...], *, as_json: bool) -> None:
    """Print, stage by stage, what a run would do and why."""
    target = open_target(file, name, overrides, refresh)
    plan = make_plan(
        target.pipeline, target.config, target.store, refresh=refresh, earlier=latest_keys(target.store, name)
    )
    target.store.remember()
    if as_json:
        rows = [{"stage": each.stage.name, "key": each.key, "cached": each.hit, "causes": each.causes} for each in plan]
        sys.stdout.write(json_module.dumps({"pipeline": name, "stages": rows}, ensure_ascii=False) + "\n")
        return
    console = stdout_console()
    for each in plan:
        word = "[green]cached[/]" if each.hit else "[cyan]runs  [/]"
        console.print(f"{each.stage.name:<11} {word} {each.key[:12]}", soft_wrap=True)
        for cause in each.causes:
            console.print(f"{'':<18} {escape(cause)}", soft_wrap=True)


def print_config(file: Path, name: str, overrides: list[str]) -> None:
    """Print a pipeline's whole configuration as YAML."""
    target = open_target(file, name, overrides)
    sys.stdout.write(yaml.safe_dump(target.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def collect_garbage(file: Path, name: str, overrides: list[str], *, dry_run: bool, as_json: bool) -> None:
    """List, and unless ``dry_run`` remove, what no registered model leads back to."""
    target = open_target(file, name, overrides)
    tracking_uri = resolve_tracking_uri(target.config.registry)

    def still_registered(manifest: Manifest, folder: Path) -> bool:
        registration = json_module.loads((folder / "registration.json").read_text(encoding="utf-8"))
        recorded = registration["tracking_uri"]
        if recorded == without_password(tracking_uri):
            return registered(registration, tracking_uri) is not None
        # Another pipeline on this store registers elsewhere. A database file of another host cannot be asked from
        # here, and what cannot be asked is kept.
        database = sqlite_path(recorded)
        if database is not None and not database.exists() and manifest.host.get("name") != socket.gethostname():
            return True
        return registered(registration) is not None

    garbage = find_garbage(target.store, still_registered, root_stage="register")
    if not dry_run:
        collect(target.store, garbage)
    if as_json:
        rows = [{"stage": each.stage, "key": each.key, "bytes": each.n_bytes} for each in garbage.artifacts]
        result = {"removed": not dry_run, "artifacts": rows, "bytes": garbage.n_bytes, "n_kept": garbage.n_kept}
        sys.stdout.write(json_module.dumps(result) + "\n")
        return
    console = stdout_console()
    for each in garbage.artifacts:
        console.print(f"{each.stage:<11} {each.key}  {human_bytes(each.n_bytes):>10}", soft_wrap=True)
    verb = "would be removed" if dry_run else "removed"
    console.print(
        f"{len(garbage.artifacts)} artifacts, {human_bytes(garbage.n_bytes)} {verb}; "
        f"{garbage.n_kept} kept, since registered models or running pipelines lead back to them",
        soft_wrap=True,
    )
