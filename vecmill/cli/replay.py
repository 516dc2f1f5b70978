"""``vecmill replay VERSION``: rebuild a version from its manifests and compare the vectors."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Console

from vecmill.cli.common import open_target, stderr_console, stdout_console
from vecmill.errors import RegistryError

_EXIT_CODES = {"same": 0, "differs": 1, "cannot be replayed": 2}


def replay_version(
    version: str,
    pipeline: str,
    file: Path,
    overrides: list[str],
    *,
    scratch: Path | None,
    anyway: bool,
    as_json: bool,
) -> None:
    """Replay, print what came of it, and leave with exit code 0 (same), 1 (differs) or 2 (cannot be replayed)."""
    from vecmill.cli.progress_bars import LogLines, TerminalBars
    from vecmill.cli.registry import open_registry
    from vecmill.pipelines.words import WORDS
    from vecmill.progress import show_progress_on
    from vecmill.registry.history import find_version
    from vecmill.registry.replay import replay
    from vecmill.registry.stored import run_lineage
    from vecmill.store.artifact_store import ArtifactStore, StoreConfig
    from vecmill.store.forgotten import add_forgotten

    with open_registry(pipeline, file, overrides) as found:
        one = find_version(found.client, found.model_name, version)
        kept = [] if one.run_id is None else [each.path for each in found.client.list_artifacts(one.run_id)]
        if one.run_id is None or "manifests" not in kept:
            raise RegistryError(
                f"version {one.number} of {found.model_name} keeps no manifests",
                expected="the folder manifests among the files of its run",
                todo="restore the run's files; a version that vecmill did not register cannot be replayed",
            )
        lineage = run_lineage(found.client, one.run_id)
    with TemporaryDirectory(prefix="vecmill-replay-", dir=scratch) as folder:
        store = ArtifactStore(StoreConfig(uri=f"{folder}/store", cache=f"{folder}/cache"))
        # What must be forgotten is not read again here either.
        standing = open_target(file, pipeline, overrides).store
        add_forgotten(store.backend, "replay", standing.forgotten().documents)
        console = stderr_console()
        with show_progress_on(TerminalBars(console) if console.is_terminal else LogLines(console)):
            result = replay(lineage, WORDS, store, anyway=anyway)
    if as_json:
        facts = {"model": found.model_name, "version": one.number, **result.as_json()}
        sys.stdout.write(json_module.dumps(facts, ensure_ascii=False) + "\n")
    else:
        _show(f"Version {one.number} of {found.model_name}", result, stdout_console())
    raise typer.Exit(_EXIT_CODES[result.result])


def _show(name: str, result: Any, console: Console) -> None:
    for each in result.stages:
        same = "same content" if each.expected == each.found else "other content"
        console.print(f"  {each.stage:<11} {each.found[:12]}  {same}, {each.seconds:.1f} s")
    said = {
        "same": f"{name} was rebuilt: the same vectors, digest {(result.found or '')[:16]}",
        "differs": f"{name} was rebuilt, and its vectors differ: digest {(result.found or '')[:16]}, registered were "
        f"{(result.expected or '')[:16]}",
        "cannot be replayed": f"{name} cannot be replayed",
    }
    console.print(said[result.result], soft_wrap=True, markup=False)
    for reason in result.reasons:
        console.print(f"  {reason}", soft_wrap=True, markup=False)
    if result.anyway_helps:
        console.print("--anyway replays it all the same, and says whether that changes the vectors", soft_wrap=True)
