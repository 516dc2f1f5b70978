"""The registry's answers as tables for people and as plain values for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vecmill.registry.chain import DONE, INTENT, VOID, Row
from vecmill.registry.history import Version
from vecmill.registry.lineage import Ancestor, standing_in
from vecmill.store.artifact_store import ArtifactStore

_VERDICT_TAG = "vecmill.verdict"
_GATE_TAG = "gate.verdict"
_N_FILES_SHOWN = 20


def version_row(version: Version, metric: str) -> dict[str, Any]:
    """What a list says of a version; ``score`` is that of the metric, None where there is none."""
    score = version.tags.get(f"score.{metric}")
    return {
        "version": version.number,
        "aliases": list(version.aliases),
        "registered": version.made,
        "score": None if score is None else float(score),
        "verdict": version.tags.get(_GATE_TAG) or version.tags.get(_VERDICT_TAG),
        "reason": version.description.partition("\n")[0],
        "data_digest": version.tags.get("vecmill.data_digest"),
        "space_id": version.tags.get("vecmill.space_id"),
        "release": version.tags.get("vecmill.release"),
        "run_id": version.run_id,
    }


def versions_table(model_name: str, versions: Sequence[Version], metric: str) -> Table:
    """A line a version."""
    table = _table(
        f"Versions of {model_name}", "version", "aliases", "score>", "verdict", "release", "registered (UTC)", "data"
    )
    table.caption, table.caption_justify = f"score: {escape(metric)}; release: against the champion of its time", "left"
    for each in versions:
        row = version_row(each, metric)
        score = "–" if row["score"] is None else f"{row['score']:.4f}"
        aliases = ", ".join(
            f"[bold green]{alias}[/]" if alias == "champion" else escape(alias) for alias in each.aliases
        )
        verdict, data = row["verdict"] or "unfinished", row["data_digest"] or "–"
        release = row["release"] or "–"
        table.add_row(
            each.number, aliases, score, escape(verdict), escape(release), _minute(each.made), escape(data[:8])
        )
    return table


def show_version(model_name: str, version: Version, rows: Sequence[Row], console: Console) -> None:
    """All facts of one version, then what the ledger says of it."""
    table = _table(f"Version {version.number} of {model_name}", "", "")
    table.show_header = False
    facts = {
        "aliases": ", ".join(version.aliases) or "–",
        "registered": version.made,
        "verdict": version.description.partition("\n")[0] or "–",
        "run": version.run_id or "–",
        "model": version.source,
        **dict(sorted(version.tags.items())),
    }
    for name, text in facts.items():
        table.add_row(escape(name), escape(text))
    console.print(table)
    if rows:
        _print_ledger("In the ledger, newest first (UTC)", rows, console)


def show_history(model_name: str, rows: Sequence[Row], problems: Sequence[str], console: Console) -> None:
    """Every decision, newest first."""
    if not rows and not problems:
        console.print(f"{model_name} has no ledger yet; the next registration begins one", soft_wrap=True)
        return
    _print_ledger(f"Ledger of {model_name}, newest first (UTC)", rows, console)
    for problem in problems:
        console.print(f"damaged: {problem}", style="red", markup=False, soft_wrap=True)


def show_champion(model_name: str, answer: Mapping[str, Any], console: Console) -> None:
    """Who is or was champion, since when, and why."""
    version, at = answer["version"], answer["at"]
    when = f"at {at}" if at else "now"
    verb = "was" if at else "is"
    if version is None:
        unknown = answer["reason"].startswith("nobody knows")
        asked = f"Who was champion of {model_name}" if unknown else f"No version of {model_name} {verb} champion"
        console.print(f"{asked} {when}: {answer['reason']}", soft_wrap=True, markup=False)
        return
    console.print(f"Version [bold]{version}[/] {verb} champion of {escape(model_name)} {when}", soft_wrap=True)
    if answer["since"]:
        until = f", until {answer['until']}" if answer["until"] else ""
        console.print(f"  since {answer['since']}{until}", soft_wrap=True, markup=False)
    if answer["reason"]:
        console.print(f"  {answer['reason']}", soft_wrap=True, markup=False)
    if answer["uncertain"]:
        console.print(f"  {answer['uncertain']}", style="yellow", soft_wrap=True, markup=False)


def show_release(model_name: str, number: str, facts: Mapping[str, Any], console: Console) -> None:
    """The release class, and what it was decided by."""
    if not facts:
        console.print(f"Version {number} of {model_name} was registered without a champion to compare with")
        return
    console.print(f"Version {number} of {model_name} is {facts['text']}", soft_wrap=True, markup=False)
    recall, fit = facts.get("recall"), facts.get("map")
    if not recall or not fit:
        return
    table = _table(f"recall@{recall['n']} against an index built anew", "", "with the map>", "without>")
    rows = {"old_index": "old index, new queries", "old_queries": "new index, old queries"}
    for name, what in rows.items():
        table.add_row(what, f"{recall[name]:.3f}", f"{recall[f'{name}_unmapped']:.3f}")
    table.add_row("old index, old queries", "", f"{recall['both_old']:.3f}")
    table.caption = (
        f"{recall['n_queries']:,} words asked, {recall['n_indexed']:,} indexed; the map was fitted on "
        f"{fit['n_anchors']:,} words, with a mean cosine of {fit['heldout_cosine']:.3f} on {fit['n_heldout']:,} others"
    )
    table.caption_justify = "left"
    console.print(table)


def lineage_rows(ancestors: Sequence[Ancestor], store: ArtifactStore) -> list[dict[str, Any]]:
    """The artifacts behind a version as plain values."""
    return [
        {
            "stage": each.ref.stage,
            "key": each.ref.key,
            "digest": each.ref.digest,
            "inputs": dict(each.made_from),
            "seed": each.seed,
            "files": {name: dict(facts) for name, facts in each.files.items()},
            "finished_at": each.finished_at,
            "in_store": standing_in(store, each.ref),
        }
        for each in ancestors
    ]


def show_lineage(
    model_name: str, number: str, ancestors: Sequence[Ancestor], store: ArtifactStore, console: Console
) -> None:
    """Artifacts, then the files that they read from outside the store."""
    title = f"Version {number} of {model_name} was made from"
    table = _table(title, "stage", "artifact", "content", "made from", "finished (UTC)", "in the store")
    for row in lineage_rows(ancestors, store):
        inputs = ", ".join(row["inputs"])
        stands = "[green]yes[/]" if row["in_store"] else "[red]no[/]"
        table.add_row(row["stage"], row["key"][:12], row["digest"][:12], inputs, _minute(row["finished_at"]), stands)
    console.print(table)
    files = [(each.ref.stage, name, facts) for each in ancestors for name, facts in each.files.items()]
    table = _table("Files read", "stage", "file", "bytes>", "fingerprint")
    for stage, name, facts in files[:_N_FILES_SHOWN]:
        fingerprint = str(facts.get("fingerprint", ""))
        table.add_row(
            stage, escape(name), f"{facts.get('bytes', 0):,}", escape(fingerprint.removeprefix("sha256:")[:12])
        )
    console.print(table)
    if len(files) > _N_FILES_SHOWN:
        console.print(f"and {len(files) - _N_FILES_SHOWN:,} more; --json lists them all")
    console.print("--documents lists the documents")


def _print_ledger(title: str, rows: Sequence[Row], console: Console) -> None:
    """A block a decision, newest first: what happened on one line, why on the next."""
    console.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
    settled = {row.of: row for row in rows if row.kind in (DONE, VOID)}
    for row in reversed(rows):
        if row.kind in (DONE, VOID):
            continue
        end = settled.get(row.n, row)
        if end.kind == VOID:
            state = f" [yellow](void: {escape(end.reason)})[/]"
        else:
            state = " [yellow](not finished)[/]" if row.kind == INTENT and row.n not in settled else ""
        what = f"{row.action} version {row.version}, {row.verdict}" if row.action else "found"
        moves = "; ".join(_move(row, alias) for alias in sorted(row.moves))
        when = end.time[:19].replace("T", " ")
        console.print(f"{row.n:>4}  {when}  {escape(what)}: [bold]{moves}[/]{state}", soft_wrap=True)
        console.print(f"      {row.reason} ({row.user} on {row.host})", soft_wrap=True, markup=False, style="dim")


def _move(row: Row, alias: str) -> str:
    before, after = row.moves[alias]
    if before == after:
        return f"{alias} stays {after}"
    return f"{alias} {before or 'none'} → {after or 'none'}"


def _table(title: str, *columns: str) -> Table:
    """A table; the numbers of a column whose name ends in ``>`` stand to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    return table


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
