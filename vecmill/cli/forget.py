"""``vecmill forget DOC_ID…``: documents go, with all that was made from them, never come back, and that is proven."""

from __future__ import annotations

import contextlib
import json as json_module
import os
import re
import secrets
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rich.console import Console

from vecmill.cli.common import Target, human_bytes, open_target, stderr_console, stdout_console
from vecmill.cli.progress_bars import LogLines, TerminalBars
from vecmill.cli.run import run_target, show_run
from vecmill.corpus.forgetting import Found, find_documents
from vecmill.errors import ConfigError, StoreError, VecmillError
from vecmill.progress import show_progress_on
from vecmill.registry.config import resolve_artifact_location, resolve_tracking_uri, sqlite_path
from vecmill.registry.withdraw import ServedVersion, served_versions, withdraw
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.byte_scan import ByteScan, Hit
from vecmill.store.forget import Affected, affected_by, refuse_while_running, remove_affected
from vecmill.store.forgotten import FORGOTTEN_FOLDER, add_forgotten

_DOC_ID = re.compile(r"[0-9a-f]{32}")
_PROOF_SUFFIX = ".proof.json"
_MOST_SHOWN = 10
# Of Prefect's local database: what shows tables and texts of runs. Runs and their states stay.
_PREFECT_TABLES = ("artifact", "artifact_collection", "events", "event_resources", "log")


@dataclass(frozen=True)
class Options:
    """What the command line asks for; ``documents`` and ``proven`` as given there."""

    documents: list[str]
    listed: Path | None
    proven: list[str]
    registry: bool
    rebuild: bool
    dry_run: bool
    pipeline: str
    file: Path
    overrides: list[str]


def forget(options: Options, *, as_json: bool, debug: bool) -> None:
    """Forget documents and print what that came to.

    Raises
    ------
    ConfigError : no document is named, or what is named is no name of a document
    StoreError : a run is at work, a manifest cannot be read, nothing holds a document, or a text was found after all
    RegistryError : the registry does not answer
    """
    doc_ids = read_ids(options)
    if any(not text.strip() for text in options.proven):
        raise ConfigError("--prove is given an empty text", todo="name a text that must be gone, such as a name")
    target = open_target(options.file, options.pipeline, options.overrides)
    store, console = target.store, stderr_console() if as_json else stdout_console()
    tracking_uri = resolve_tracking_uri(target.config.registry)
    refuse_while_running(store)
    bars = stderr_console()
    with show_progress_on(TerminalBars(bars) if bars.is_terminal else LogLines(bars)):
        known = {each.doc_id: each for each in store.forgotten().documents}
        digests = [known[name].text_digest for name in doc_ids if name in known and known[name].text_digest]
        found = find_documents(store, doc_ids, digests)
        _refuse_unknown([name for name in found.missing if name not in known], store)
        affected = affected_by(store, found.holding)
        served = served_versions(store, affected.artifacts, _left_before(store), tracking_uri)
    _say_found(console, found, affected, served, options)
    if options.dry_run:
        if as_json:
            _write({"dry_run": True, **_facts(found, affected, served)})
        return

    event_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(2)}"
    # First the list: if the rest is broken off, no run brings the documents back.
    add_forgotten(store.backend, event_id, set(found.documents) - set(store.forgotten().documents))
    if options.registry:
        for version in served:
            withdraw(version, tracking_uri)
    n_bytes = remove_affected(store, affected)
    _clear_prefect(_prefect_home())
    console.print(f"Removed {_counted(len(affected.artifacts), 'artifact')}, {human_bytes(n_bytes)}", soft_wrap=True)

    summary, trouble = _rebuilt(target, options, debug) if options.rebuild else (None, None)
    scan = _proof(target, tracking_uri, [*options.proven, *_names(found, doc_ids)])
    record = {
        "event": event_id,
        "host": socket.gethostname(),
        **_facts(found, affected, [] if options.registry else served),
        "withdrawn": [each.as_json() for each in served] if options.registry else [],
        "rebuilt": None if summary is None else {each["stage"]: each["key"] for each in summary["stages"]},
        "proof": {
            "n_texts": len(options.proven),
            "n_documents": len(found.documents),
            "n_files": scan.found.n_files,
            "n_bytes": scan.found.n_bytes,
            "places": sorted({hit.place for hit in scan.found.hits}),
            "unread": scan.found.unread,
        },
    }
    place = f"{FORGOTTEN_FOLDER}/{event_id}{_PROOF_SUFFIX}"
    store.backend.write(place, (json_module.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    if as_json:
        _write({**record, "run": summary})
    else:
        if summary is not None:
            show_run(summary, as_json=False)
        _say_proof(console, scan, options, found, f"{store.uri}/{place}")
    if trouble is not None:
        raise trouble
    if scan.found.hits:
        raise _not_gone(scan.found.hits, served if not options.registry else [])


def read_ids(options: Options) -> list[str]:
    """The documents named on the command line and in the file, each once.

    Raises
    ------
    ConfigError : none, the file cannot be read, or one that is no 32 hex digits
    """
    named = list(options.documents)
    if options.listed is not None:
        try:
            lines = options.listed.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{options.listed} cannot be read ({error})",
                expected="a text file with the name of a document on each line",
                todo="check the path",
            ) from error
        named += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not named:
        raise ConfigError(
            "no document is named", todo="name documents by their doc_id, or a file that lists them with --from FILE"
        )
    for name in named:
        if not _DOC_ID.fullmatch(name):
            raise ConfigError(
                f"{name[:80]!r} is no name of a document",
                expected="32 hex digits, as the column doc_id of the corpus has them",
                todo="look the document up in the shards of the ingest artifact",
            )
    return list(dict.fromkeys(named))


def _refuse_unknown(missing: Sequence[str], store: ArtifactStore) -> None:
    if not missing:
        return
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise StoreError(
        f"no corpus in {store.uri} holds the document {missing[0]}{more}",
        expected="documents of an ingest artifact that stands there",
        todo="check the name; where the corpus was removed since, run the pipeline first, so that it is seen what the "
        "document is",
    )


def _left_before(store: ArtifactStore) -> list[dict[str, Any]]:
    """Versions that earlier calls left in a registry."""
    left: list[dict[str, Any]] = []
    for name in store.backend.names(FORGOTTEN_FOLDER):
        if name.endswith(_PROOF_SUFFIX):
            with contextlib.suppress(ValueError, KeyError):
                left += json_module.loads(store.backend.read(f"{FORGOTTEN_FOLDER}/{name}") or b"")["still_served"]
    return left


def _facts(found: Found, affected: Affected, served: Sequence[ServedVersion]) -> dict[str, Any]:
    return {
        "doc_ids": sorted({each.doc_id for each in found.documents} | set(found.missing)),
        "copies": found.copies,
        "sources": sorted({each.source_uri for each in found.documents}),
        "removed": [{"stage": each.stage, "key": each.key, "bytes": each.n_bytes} for each in affected.artifacts],
        "n_kept": affected.n_kept,
        "still_served": [each.as_json() for each in served],
    }


def _rebuilt(target: Target, options: Options, debug: bool) -> tuple[dict[str, Any] | None, VecmillError | None]:
    """Run the pipeline again. What fails then is told after the proof, which does not depend on it."""
    try:
        return run_target(open_target(options.file, options.pipeline, options.overrides), debug=debug), None
    except VecmillError as error:
        return None, error


def _names(found: Found, doc_ids: Sequence[str]) -> list[str]:
    return sorted({each.doc_id for each in found.documents} | set(doc_ids))


def _proof(target: Target, tracking_uri: str, texts: Sequence[str]) -> ByteScan:
    """Search all that this store and registry keep, as far as it lies on this machine or in the store."""
    scan = ByteScan(texts)
    store = target.store
    # The list of what is forgotten names the documents, and nothing else of them.
    store.backend.scan(scan, lambda path: path.startswith(f"{FORGOTTEN_FOLDER}/"))
    places = [store.cache, _prefect_home(), *_registry_places(target.config.registry, tracking_uri)]
    seen: list[Path] = [Path(store.uri)] if "://" not in store.uri else []
    for place in places:
        if not place.exists() or any(place.is_relative_to(each) for each in seen):
            continue
        # A folder that holds one that was searched already is searched without it.
        inner = tuple(seen)
        seen.append(place)
        if place.is_file():
            scan.file(place)
        else:
            scan.folder(place, lambda path, inner=inner: any(path.is_relative_to(each) for each in inner))  # type: ignore[misc]
    return scan


def _registry_places(config: Any, tracking_uri: str) -> list[Path]:
    places = []
    database = sqlite_path(tracking_uri)
    if database is not None:
        places += [database, *(database.with_name(f"{database.name}{ending}") for ending in ("-wal", "-journal"))]
    location = resolve_artifact_location(config, tracking_uri)
    if location and (location.startswith("file:") or "://" not in location):
        places.append(Path(unquote(urlsplit(location).path) if location.startswith("file:") else location))
    return [place.absolute() for place in places]


def _prefect_home() -> Path:
    return Path(os.environ.get("PREFECT_HOME", ".vecmill/prefect")).absolute()


def _clear_prefect(home: Path) -> None:
    """Empty the tables in which Prefect's local database shows excerpts of runs."""
    database = home / "prefect.db"
    if not database.is_file():
        return
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
            standing = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in _PREFECT_TABLES:
                if table in standing:
                    connection.execute(f'DELETE FROM "{table}"')
            # Deleted rows stay in free pages of the file until it is written anew.
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StoreError(
            f"Prefect's database {database} cannot be cleared of what it shows of runs ({error})",
            todo="stop the program that holds it (`vecmill server`, a run), then forget again",
        ) from error


def _say_found(
    console: Console, found: Found, affected: Affected, served: Sequence[ServedVersion], options: Options
) -> None:
    sources = sorted({each.source_uri for each in found.documents})
    named = {each.doc_id for each in found.documents} - set(found.copies)
    copies = f" and {len(found.copies):,} with the very same text" if found.copies else ""
    if sources:
        text = f"{_counted(len(named), 'document')}{copies}, from {_listed(sources)}"
    else:
        text = f"{_counted(len(found.missing), 'document')} on the forget list; nothing holds them"
    console.print(text, soft_wrap=True, markup=False)
    verb = "would go" if options.dry_run else "go"
    stages = Counter(each.stage for each in affected.artifacts)
    console.print(
        f"What holds them or was made from them: {_counted(sum(stages.values()), 'artifact')} {verb} "
        f"({', '.join(f'{n} {stage}' for stage, n in sorted(stages.items())) or 'none'}), {affected.n_kept} stay",
        soft_wrap=True,
    )
    if affected.orphans:
        console.print(
            f"Among them {len(affected.orphans)} whose own inputs are gone, so that nobody can say what they hold",
            soft_wrap=True,
        )
    if served:
        deleted = "would be withdrawn" if options.dry_run else "are withdrawn"
        for each in served[:_MOST_SHOWN]:
            console.print(f"  {each.shown}", soft_wrap=True, markup=False)
        console.print(
            f"The registry serves {_counted(len(served), 'version')} made from them, which "
            + (deleted if options.registry else "stay: to withdraw them with their files, add --registry"),
            soft_wrap=True,
        )
    if os.environ.get("PREFECT_API_URL"):
        console.print(
            f"The Prefect server {os.environ['PREFECT_API_URL']} keeps tables of runs, with excerpts: delete the "
            "artifacts that end in -ingest and -contract there",
            soft_wrap=True,
        )


def _say_proof(console: Console, scan: ByteScan, options: Options, found: Found, record: str) -> None:
    n = len(options.proven)
    names = "the names of the documents"
    what = f"{_counted(n, 'text')} and {names}" if n else f"{names} (no --prove TEXT was given)"
    console.print(
        f"Proof: {what} were looked for in {scan.found.n_files:,} files, {human_bytes(scan.found.n_bytes)}, unpacked "
        f"where they are packed, and found in {len({hit.place for hit in scan.found.hits}) or 'none'}",
        soft_wrap=True,
    )
    for place in scan.found.unread[:_MOST_SHOWN]:
        console.print(f"  {place} could not be unpacked; its stored bytes were searched", soft_wrap=True, markup=False)
    sources = sorted({each.source_uri for each in found.documents if each.source_uri})
    if sources:
        console.print(
            f"No run will read them again from {_listed(sources)}; where they still stand there, remove them too",
            soft_wrap=True,
            markup=False,
        )
    console.print(f"Record: {record}", soft_wrap=True, markup=False)


def _not_gone(hits: Sequence[Hit], served: Sequence[ServedVersion]) -> StoreError:
    places = sorted({hit.place for hit in hits})
    return StoreError(
        f"what was to be forgotten is still in {_listed(places)}",
        expected="no file that holds it",
        todo=f"withdraw the versions that serve it ({_listed([each.shown for each in served])}): run the same command "
        "with --registry"
        if served
        else "see what these places are, remove them, and run the same command again",
    )


def _counted(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN])
    return shown + (f" and {len(names) - _MOST_SHOWN:,} more" if len(names) > _MOST_SHOWN else "")


def _write(values: dict[str, Any]) -> None:
    sys.stdout.write(json_module.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")
