"""``vecmill run``: answer from the store if everything stands, else run the flow."""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json as json_module
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from vecmill.cli.common import Target, open_target, stderr_console, stdout_console
from vecmill.cli.prefect_server import one_at_a_time, prefect_server
from vecmill.cli.progress_bars import LogLines, TerminalBars
from vecmill.cli.tables import show_summary
from vecmill.pipelines.summary import summarise
from vecmill.progress import show_progress_on
from vecmill.store.execute import StageOutcome
from vecmill.store.plan import PlannedStage


def run_pipeline(
    file: Path, name: str, overrides: list[str], refresh: tuple[str, ...], *, as_json: bool, debug: bool
) -> None:
    """Run the pipeline ``name`` and print what it came to."""
    show_run(run_target(open_target(file, name, overrides, refresh), debug=debug), as_json=as_json)


def run_target(target: Target, *, debug: bool) -> dict[str, Any]:
    """Run a pipeline, or answer from the store if everything stands; what it came to, as plain JSON values."""
    started = time.perf_counter()
    console = stderr_console()
    plan = target.plan()
    target.store.remember()
    if all(planned.hit for planned in plan) and not target.pipeline.searches:
        summary = summarise(target.pipeline, target.config, target.store, _hits(plan), time.perf_counter() - started)
    else:
        try:
            summary = _run_flow(target, plan, console, debug)
        except KeyboardInterrupt:
            console.print("vecmill: interrupted; finished stages are kept")
            sys.exit(130)
        summary["seconds"] = round(time.perf_counter() - started, 3)
    return {**summary, "searches": True} if target.pipeline.searches else summary


def show_run(summary: dict[str, Any], *, as_json: bool) -> None:
    """Print what a run came to, for people or as one JSON object."""
    searches = summary.pop("searches", False)
    if as_json:
        sys.stdout.write(json_module.dumps(summary, ensure_ascii=False, allow_nan=False) + "\n")
    elif searches:
        # Late: what it stands on takes longer to import than a cached run takes.
        from vecmill.cli.search_table import show_search

        show_search(summary, stdout_console())
    else:
        show_summary(summary, stdout_console())


def _hits(plan: list[PlannedStage]) -> list[StageOutcome]:
    return [
        StageOutcome(planned.manifest.ref, True, 0.0, planned.manifest.metrics)
        for planned in plan
        if planned.manifest is not None
    ]


def _run_flow(target: Target, plan: list[PlannedStage], console: Console, debug: bool) -> dict[str, Any]:
    for causes, group in itertools.groupby(plan, key=lambda each: each.causes[:1]):
        names = ", ".join(planned.stage.name for planned in group)
        console.print(f"[{'cyan' if causes else 'green'}]{names}[/]: {''.join(causes) or 'cached'}", soft_wrap=True)
    _set_up_logging(console, debug)
    home = Path(os.environ.setdefault("PREFECT_HOME", str(Path(".vecmill/prefect").absolute())))
    sink = TerminalBars(console) if console.is_terminal else LogLines(console)
    # Libraries below may print; on stdout only the result belongs.
    with contextlib.redirect_stdout(sys.stderr), show_progress_on(sink), _prefect_api(home, console):
        adhoc = _import_flows()
        summary: dict[str, Any] = adhoc.run_here(target.deployment.entrypoint, target.config, target.refresh)
    return summary


@contextlib.contextmanager
def _prefect_api(home: Path, console: Console) -> Iterator[None]:
    """Make sure that PREFECT_API_URL names a server: the one it names already, or one for this run."""
    if "PREFECT_API_URL" in os.environ:
        yield
        return
    first = "" if home.exists() else " (the first time in a folder takes ten seconds)"
    console.print(f"Starting Prefect for this run{first} …", soft_wrap=True)
    with contextlib.ExitStack() as stack:
        with one_at_a_time(home):
            server = stack.enter_context(prefect_server(home))
            os.environ["PREFECT_API_URL"] = server.api_url
            stack.callback(os.environ.pop, "PREFECT_API_URL", None)
            _import_flows()  # while the server starts
            server.wait()
        yield


def _import_flows() -> Any:
    """Import what runs flows; late and by name: flows stand above the library, and Prefect takes long to import.

    Meanwhile nobody looks for garbage among the half a million objects that come and stay, nor later.
    """
    gc.disable()
    try:
        return importlib.import_module("flows.adhoc")
    finally:
        gc.freeze()
        gc.enable()


def _set_up_logging(console: Console, debug: bool) -> None:
    handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    logger = logging.getLogger("vecmill")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    logger.propagate = False
    # Prefect logs each exception with its traceback; ours carry a message that needs none.
    os.environ["PREFECT_LOGGING_LEVEL"] = "DEBUG" if debug else "CRITICAL"
