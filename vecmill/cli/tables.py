"""What a run came to, for people."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show_summary(summary: dict[str, Any], console: Console) -> None:
    """Print a run's summary as tables, and where to look next."""
    stages = Table(title=f"Pipeline {summary['pipeline']}", title_justify="left", title_style="bold")
    for column, justify in (("stage", "left"), ("artifact", "left"), ("this run", "left"), ("seconds", "right")):
        stages.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in summary["stages"]:
        done = "[green]cached[/]" if row["cached"] else "built"
        if row.get("note"):
            done += f": {row['note']}"
        stages.add_row(row["stage"], row["key"][:12], done, f"{row['seconds']:.1f}")
    console.print(stages)
    if summary["scores"]:
        console.print(_scores(summary["scores"]))
    for line in summary["remarks"]:
        console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)
    model = summary["model"]
    if model:
        aliases = f" ({', '.join(sorted(model['aliases']))})" if model["aliases"] else ""
        console.print(f"Model [bold]{model['name']}[/] version {model['version']}{aliases}", soft_wrap=True)
        if model["tests"]:
            console.print(_comparison(model["tests"]))
        if model["verdict"]:
            console.print(f"  {model['verdict']}", soft_wrap=True, markup=False)
        if model["space"]:
            console.print(f"  {model['space']['text']}", soft_wrap=True, markup=False)
    console.print(f"Artifacts: {summary['store']}", soft_wrap=True)
    console.print(f"Registry:  {program()} browse", soft_wrap=True)
    console.print(f"{summary['seconds']:.1f} s in all", soft_wrap=True)


def _scores(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        title="Scores on covered pairs (95 % interval of Spearman), and on all pairs",
        title_justify="left",
        title_style="bold",
    )
    for column in ("benchmark", "Spearman", "interval", "Pearson", "covered", "all pairs"):
        table.add_column(column, justify="left" if column == "benchmark" else "right")
    for row in rows:
        table.add_row(
            row["benchmark"],
            _number(row["spearman"]),
            f"{_number(row['lower'])} … {_number(row['upper'])}" if row["lower"] is not None else "–",
            _number(row["pearson"]),
            f"{row['n_covered']:,} of {row['n_pairs']:,}",
            _number(row["spearman_all_pairs"]),
        )
    # As the evaluate stage has it: a benchmark without a score counts as 0.
    mean = sum(row["spearman_all_pairs"] or 0.0 for row in rows) / len(rows)
    table.add_section()
    table.add_row("mean", "", "", "", "", f"[bold]{_number(mean)}[/]")
    table.caption = "All pairs: a pair with an unknown word counts as undecided. These are what the gate compares."
    table.caption_justify = "left"
    return table


def _comparison(tests: list[dict[str, Any]]) -> Table:
    table = Table(title="New version against champion (all pairs)", title_justify="left", title_style="bold")
    for column in ("benchmark", "champion", "new", "gain", "interval", "p", "common"):
        table.add_column(column, justify="left" if column == "benchmark" else "right")
    for row in tests:
        interval = f"{row['lower']:+.3f} … {row['upper']:+.3f}"
        numbers = (_number(row["champion"]), _number(row["challenger"]), f"{row['difference']:+.3f}", interval)
        table.add_row(row["title"], *numbers, f"{row['p_holm']:.2g}", f"{row['n_common']:,}")
    table.caption = (
        "p: of such a gain between equal models, all benchmarks corrected together. common: pairs that both know"
        + _on_common_pairs(tests[0])
        + _lost_pairs(tests[0])
    )
    table.caption_justify = "left"
    return table


def _on_common_pairs(row: dict[str, Any]) -> str:
    scores = row["champion_common"], row["challenger_common"]
    if None in scores:
        return ", too few to score"
    of = " in the mean" if row["name"] == "mean" else ""
    return f"; on these alone the scores are {_number(scores[0])} and {_number(scores[1])}{of}"


def _lost_pairs(row: dict[str, Any]) -> str:
    n_lost = row.get("n_lost", 0)  # a verdict of an earlier version does not say
    return f". Lost pairs, which the champion knows, count against the new version: {n_lost:,}" if n_lost else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def program() -> str:
    """How the person who reads this can call the command line again."""
    if shutil.which("vecmill"):
        return "vecmill"
    called = Path(sys.argv[0])
    return os.path.relpath(called) if called.name == "vecmill" and called.exists() else "python -m vecmill"
