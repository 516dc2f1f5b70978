"""Commands that look and tell: ``explain``, ``config``, ``gc``."""

from __future__ import annotations

import json as json_module
import socket
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from rich.markup import escape

from vecmill.cli.common import human_bytes, open_target, stdout_console
from vecmill.registry.config import resolve_tracking_uri, sqlite_path, without_password
from vecmill.registry.probe import registered
from vecmill.store.gc import collect, find_garbage
from vecmill.store.manifest import Manifest


def explain_pipeline(file: Path, name: str, overrides: list[str], refresh: tuple[str, ...], *, as_json: bool) -> None:
    """Print, stage by stage, what a run would do and why."""
    target = open_target(file, name, overrides, refresh)
    plan = target.plan()
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


def print_config(file: Path, name: str, overrides: list[str], *, describe: bool) -> None:
    """Print a pipeline's whole configuration as YAML, with each field's description as a comment on demand."""
    config = open_target(file, name, overrides).config
    if describe:
        sys.stdout.write("\n".join(_described(config)) + "\n")
    else:
        sys.stdout.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _described(config: BaseModel, indent: str = "") -> Iterator[str]:
    plain = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        text = (field.description or "").rstrip(".") + (f" ({' | '.join(map(str, choices))})" if choices else "")
        yield from (f"{indent}# {line}" for line in textwrap.wrap(text, 100 - len(indent)))
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _described(value, f"{indent}  ")
        else:
            yield f"{indent}{name}: {json_module.dumps(plain[name], ensure_ascii=False)}"


def collect_garbage(file: Path, name: str, overrides: list[str], *, dry_run: bool, as_json: bool) -> None:
    """List, and unless ``dry_run`` remove, what no registered model leads back to."""
    target = open_target(file, name, overrides)
    tracking_uri = resolve_tracking_uri(target.config.registry)

    def still_registered(manifest: Manifest, folder: Path) -> bool:
        registration = json_module.loads((folder / "registration.json").read_text(encoding="utf-8"))
        if registered(registration, tracking_uri) is not None:
            return True
        recorded = registration["tracking_uri"]
        if recorded == without_password(tracking_uri):
            return False
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
        f"{garbage.n_kept} kept, since registered models or running pipelines lead back to them "
        "(delete model versions in the registry to let them go)",
        soft_wrap=True,
    )
