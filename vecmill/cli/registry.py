"""``vecmill registry …``: what the model registry says, and moving its champion with a record of it.

Parses and calls; tables are in :mod:`vecmill.cli.registry_tables`, imported with everything else when a command runs.
"""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from vecmill.config.files import PIPELINES_FILE

registry_app = typer.Typer(
    name="registry",
    help="Versions of the model, who was champion when and why, and where each version came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Version = Annotated[str, typer.Argument(help="A version's number, or an alias such as champion.")]
Pipeline = Annotated[str, typer.Option("--pipeline", help="Deployment in the pipelines file whose registry is meant.")]
File = Annotated[Path, typer.Option("--file", help="The pipelines file.")]
Set = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Change a configuration value; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Why = Annotated[str, typer.Option("--why", help="The reason, in a sentence; it stays in the ledger.")]


@registry_app.command("list")
def list_versions(
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006 - Typer copies it
    json: Json = False,
    debug: Debug = False,
) -> None:
    """All versions, newest first: aliases, score, verdict, data."""
    from vecmill.cli.registry_tables import version_row, versions_table
    from vecmill.registry.history import all_versions

    with open_registry(pipeline, file, set_) as found:
        versions = all_versions(found.client, found.model_name)
    if json:
        _write({"model": found.model_name, "versions": [version_row(each, found.metric) for each in versions]})
    else:
        _console().print(versions_table(found.model_name, versions, found.metric))


@registry_app.command()
def show(
    version: Version,
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Everything that the registry keeps of one version."""
    from vecmill.cli.registry_tables import show_version, version_row
    from vecmill.registry.history import find_version, ledger_rows

    with open_registry(pipeline, file, set_) as found:
        one = find_version(found.client, found.model_name, version)
        _, rows, _ = ledger_rows(found.client, found.model_name)
    about = [row for row in rows if row.version == one.number]
    if json:
        facts = version_row(one, found.metric) | {"tags": dict(one.tags), "source": one.source}
        _write({"model": found.model_name, **facts, "ledger": [row.to_json() for row in about]})
    else:
        show_version(found.model_name, one, about, _console())


@registry_app.command()
def card(
    version: Version,
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """The model card, as Markdown."""
    from vecmill.registry.card import read_card
    from vecmill.registry.history import find_version

    with open_registry(pipeline, file, set_) as found:
        one = find_version(found.client, found.model_name, version)
        text = read_card(found.client, found.model_name, one)
    if json:
        _write({"model": found.model_name, "version": one.number, "card": text})
    else:
        sys.stdout.write(text)


@registry_app.command()
def history(
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """The ledger: what moved the aliases, when, by whom and why."""
    from vecmill.cli.registry_tables import show_history
    from vecmill.registry.history import ledger_rows

    with open_registry(pipeline, file, set_) as found:
        run_id, rows, problems = ledger_rows(found.client, found.model_name)
    if json:
        ledger = {"run_id": run_id, "rows": [row.to_json() for row in rows], "problems": problems}
        _write({"model": found.model_name, **ledger})
    else:
        show_history(found.model_name, rows, problems, _console())


@registry_app.command()
def champion(
    at: Annotated[
        str,
        typer.Option("--at", help="A date (its last moment) or a time such as 2026-03-01T06:30, UTC unless it says."),
    ] = "",
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """The version that is champion, or that was at a given time."""
    from vecmill.cli.registry_tables import show_champion
    from vecmill.registry.chain import utc_now
    from vecmill.registry.history import champion_answer, ledger_rows, past_moment

    moment = past_moment(at, utc_now()) if at else None
    with open_registry(pipeline, file, set_) as found:
        standing = found.client.get_registered_model(found.model_name).aliases.get("champion")
        _, rows, _ = ledger_rows(found.client, found.model_name)
    answer = champion_answer(rows, None if standing is None else str(standing), moment)
    if json:
        _write({"model": found.model_name, **answer})
    else:
        show_champion(found.model_name, answer, _console())


@registry_app.command()
def rollback(
    version: Annotated[
        str, typer.Argument(help="The version to make champion; without it the one that was champion before.")
    ] = "",
    why: Why = "",
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make an earlier version champion again, and write down why."""
    from vecmill.registry.rollback import roll_back

    with open_registry(pipeline, file, set_) as found:
        row = roll_back(found.client, found.uri, found.model_name, version, why)
    before, after = row.moves["champion"]
    if json:
        _write({"model": found.model_name, "from": before, "to": after, "row": row.n, "digest": row.digest})
    else:
        said = f"version {after} of {found.model_name} is champion again" + (f", instead of {before}" if before else "")
        _console().print(f"{said}; row {row.n} of the ledger", soft_wrap=True)


@registry_app.command()
def verify(
    head: Annotated[
        str, typer.Option("--head", help="Digest of a row that must be in the chain, as registration.json keeps it.")
    ] = "",
    repair: Annotated[bool, typer.Option("--repair", help="Finish a change that broke off.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin a new ledger; the damaged one is kept and named in the new one.")
    ] = False,
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the ledger: rows changed, removed or reordered, aliases moved past it. Exit code 1 if anything is wrong."""
    from vecmill.registry.history import verify as verified
    from vecmill.registry.rollback import begin_anew, finish_what_broke_off

    with open_registry(pipeline, file, set_) as found:
        if repair:
            finish_what_broke_off(found.client, found.uri, found.model_name)
        rows, problems = verified(found.client, found.model_name, head)
        if restart and problems:
            begin_anew(found.client, found.uri, found.model_name, problems[0])
    if json:
        last = rows[-1] if rows else None
        state = {"n_rows": len(rows), "head": last.digest if last else None, "problems": problems}
        _write({"model": found.model_name, "ok": not problems, **state})
    else:
        console = _console()
        for problem in problems:
            console.print(problem, style="red", markup=False, soft_wrap=True)
        if not problems:
            where = f"; the last is {rows[-1].n}, digest {rows[-1].digest}" if rows else " yet"
            console.print(f"The ledger of {found.model_name} is sound: {len(rows)} rows{where}", soft_wrap=True)
        elif restart:
            console.print("A new ledger was begun.")
    if problems and not restart:
        raise typer.Exit(1)


@registry_app.command()
def lineage(
    version: Version,
    documents: Annotated[
        bool, typer.Option("--documents", help="List the documents too, one a line: id, tabulator, source.")
    ] = False,
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """What a version was made from: artifacts, source files, and on demand every document."""
    from vecmill.cli.registry_tables import lineage_rows, show_lineage
    from vecmill.registry.history import find_version
    from vecmill.registry.lineage import ancestors_of, iter_document_ids
    from vecmill.store.artifact_store import ArtifactStore

    with open_registry(pipeline, file, set_) as found:
        one = find_version(found.client, found.model_name, version)
        ancestors = ancestors_of(found.client, found.model_name, one)
    store = ArtifactStore(found.store)
    if json:
        head = {"model": found.model_name, "version": one.number, "artifacts": lineage_rows(ancestors, store)}
        text = json_module.dumps(head, ensure_ascii=False)
        if not documents:
            sys.stdout.write(text + "\n")
            return
        sys.stdout.write(text[:-1] + ', "documents": [')  # written as it is read: a corpus may not fit into memory
        for at, (doc_id, uri) in enumerate(iter_document_ids(store, ancestors)):
            row = json_module.dumps({"doc_id": doc_id, "source_uri": uri}, ensure_ascii=False)
            sys.stdout.write((",\n" if at else "\n") + row)
        sys.stdout.write("]}\n")
    elif documents:
        for doc_id, uri in iter_document_ids(store, ancestors):
            sys.stdout.write(f"{doc_id}\t{uri}\n")
    else:
        show_lineage(found.model_name, one.number, ancestors, store, _console())


@registry_app.command()
def release(
    version: Version,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FOLDER", help="Copy release.json and the map into this folder.")
    ] = None,
    pipeline: Pipeline = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """What a version means for those who hold the champion's vectors: patch, minor (use the map) or major."""
    from vecmill.cli.registry_tables import show_release
    from vecmill.registry.history import find_version
    from vecmill.registry.release import save_release, stored_release

    with open_registry(pipeline, file, set_) as found:
        one = find_version(found.client, found.model_name, version)
        facts = stored_release(found.client, one.run_id) if one.run_id else {}
        saved = save_release(found.client, one.run_id, save) if save and facts and one.run_id else []
    if json:
        _write({"model": found.model_name, "version": one.number, **facts, "saved": [str(each) for each in saved]})
        return
    show_release(found.model_name, one.number, facts, _console())
    for each in saved:
        typer.echo(f"wrote {each}", err=True)


@dataclass(frozen=True)
class FoundRegistry:
    """The registry that a command is about."""

    client: Any
    uri: str
    model_name: str
    metric: str
    store: Any


@contextmanager
def open_registry(pipeline: str, file: Path, overrides: list[str]) -> Iterator[FoundRegistry]:
    """Open the configured registry; its model exists."""
    from vecmill.errors import RegistryError
    from vecmill.registry.config import resolve_tracking_uri, sqlite_path, without_password

    config, store = _configuration(pipeline, file, overrides)
    uri = resolve_tracking_uri(config)
    path = sqlite_path(uri)
    if path is not None and not path.is_file():
        raise RegistryError(
            f"there is no model registry at {path} yet",
            expected="an SQLite database of MLflow's",
            todo="run a pipeline first, or name the registry in --set registry.tracking_uri=… or MLFLOW_TRACKING_URI",
        )
    from vecmill.registry.history import registered_model
    from vecmill.registry.session import calling, registry_session

    with registry_session(uri) as client, calling(uri, f"look up {config.model_name}", todo=_TODO):
        registered_model(client, config.model_name)
        yield FoundRegistry(client, without_password(uri), config.model_name, config.primary_metric, store)


_TODO = "see that the registry and its files can be read, and run again"


def _configuration(pipeline: str, file: Path, overrides: list[str]) -> tuple[Any, Any]:
    """Sections ``registry`` and ``store``; without a pipelines file, defaults and what --set says."""
    from vecmill.cli.common import open_target

    if file.exists() or file != Path(PIPELINES_FILE):
        config = open_target(file, pipeline, overrides).config
        return config.registry, config.store
    from vecmill.config.overrides import apply_overrides
    from vecmill.config.validate import validate
    from vecmill.registry.config import RegistryConfig
    from vecmill.store.artifact_store import StoreConfig

    values = apply_overrides({}, overrides)
    return (
        validate(RegistryConfig, values.get("registry", {}), "--set registry"),
        validate(StoreConfig, values.get("store", {}), "--set store"),
    )


def _console() -> Any:
    from vecmill.cli.common import stdout_console

    return stdout_console()


def _write(value: Any) -> None:
    sys.stdout.write(json_module.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
