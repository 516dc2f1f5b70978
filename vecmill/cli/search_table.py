"""What a search found, for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from vecmill.cli.tables import program
from vecmill.tuning.report import cost_text

_TRIALS_SHOWN = 8


def show_search(summary: dict[str, Any], console: Console) -> None:
    """Print what a search found, and where to look next."""
    found = summary["search"]
    paths = sorted({path for row in (*found["finalists"], *found["trials"]) for path in row["values"]})
    trials, finalists = found["trials"], found["finalists"]
    shown = trials[:_TRIALS_SHOWN]
    table = _table(f"Trials of {summary['pipeline']}", ["trial", *paths, "score", "share", ""])
    for row in shown:
        score = "–" if row["score"] is None else f"{row['score']:.4f}"
        share = "–" if row["share"] is None else f"{100 * row['share']:g} %"
        table.add_row(str(row["trial"]), *_values(row, paths), score, share, row["state"])
    if len(trials) > len(shown):
        table.caption = f"and {len(trials) - len(shown)} more: --json, or search.md in the registry, has them all"
        table.caption_justify = "left"
    console.print(table)
    for row in [each for each in trials if each["reason"]][:2]:
        console.print(f"[yellow]Trial {row['trial']} failed[/]:", end=" ")
        console.print(row["reason"], soft_wrap=True, markup=False)

    table = _table("Finalists, trained on all documents from each seed", ["", *paths, "mean", "sd over seeds"])
    for row in finalists:
        sd = "–" if row["sd"] is None else f"{row['sd']:.4f}"
        table.add_row(row["label"], *_values(row, paths), f"{row['mean']:.4f}", sd)
    console.print(table)
    for finding in found["findings"]:
        console.print(f"{finding['text'][0].upper()}{finding['text'][1:]}.", soft_wrap=True, markup=False)
    if found["importances"]:
        mattered = ", ".join(f"{path} {value:.2f}" for path, value in found["importances"].items())
        console.print(f"What mattered: {mattered}", soft_wrap=True, markup=False)
    console.print(cost_text(found["cost"]), soft_wrap=True, markup=False)
    if model := summary["model"]:
        aliases = f" ({', '.join(sorted(model['aliases']))})" if model["aliases"] else ""
        console.print(f"Model [bold]{model['name']}[/] version {model['version']}{aliases}", soft_wrap=True)
        console.print(f"  {model['verdict']}", soft_wrap=True, markup=False)
    else:
        console.print("Nothing was registered: no finalist was better than the configuration as it is.")
    if found["options"]:
        console.print(f"The winner as options: {found['options']}", soft_wrap=True, markup=False)
    console.print(f"Registry:  {program()} browse", soft_wrap=True)
    console.print(f"{summary['seconds']:.1f} s in all", soft_wrap=True)


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left")
    return table


def _values(row: dict[str, Any], paths: list[str]) -> list[str]:
    values = row["values"]
    return [
        (f"{values[path]:.4g}" if isinstance(values[path], float) else str(values[path])) if path in values else "as is"
        for path in paths
    ]
