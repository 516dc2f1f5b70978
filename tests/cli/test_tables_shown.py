"""The tables of a run that people read in the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from vecmill.cli.tables import show_summary


def compared(title: str, **changes: Any) -> dict[str, Any]:
    numbers = {"champion": 0.41, "challenger": 0.45, "difference": 0.04, "lower": 0.01, "upper": 0.07, "p_holm": 0.012}
    common = {"n_items": 8389, "n_common": 7212, "champion_common": 0.433, "challenger_common": 0.442}
    return {"name": title.lower(), "title": title, **numbers, **common, **changes}


def printed(*tests: dict[str, Any]) -> str:
    model = {"name": "words", "version": "2", "aliases": [], "tests": tests, "verdict": "", "space": {}}
    summary = {
        "pipeline": "words",
        "stages": [],
        "scores": [],
        "remarks": [],
        "model": model,
        "store": "s",
        "seconds": 1.0,
    }
    console = Console(file=io.StringIO(), width=80)
    show_summary(summary, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_comparison_says_what_both_know() -> None:
    shown = printed(compared("mean of 5", name="mean"), compared("WordSim-353", n_items=353, n_common=311))
    lines = shown.splitlines()
    assert any(line.startswith("│ WordSim-353 │") and line.endswith("│    311 │") for line in lines), "in 80 columns"
    assert any("+0.010 … +0.070" in line and line.endswith("│  7,212 │") for line in lines)
    assert "on these alone the scores are 0.433 and 0.442 in the mean" in " ".join(shown.split())


@pytest.mark.parametrize("side", ["champion_common", "challenger_common"])
def test_too_few_common_pairs_have_no_score(side: str) -> None:
    said = " ".join(printed(compared("WordSim-353", n_common=2, **{side: None})).split())
    assert "pairs that both know, too few to score" in said


def test_a_stage_says_what_it_took_over() -> None:
    stages = [
        {
            "stage": "ingest",
            "key": "k" * 32,
            "cached": False,
            "seconds": 1.0,
            "note": "1 of 21 files read, 20 taken over",
        },
        {"stage": "contract", "key": "k" * 32, "cached": True, "seconds": 0.0, "note": ""},
    ]
    summary = {"pipeline": "words", "stages": stages, "scores": [], "remarks": [], "model": None, "store": "s"}
    console = Console(file=io.StringIO(), width=100)
    show_summary({**summary, "seconds": 1.0}, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "built: 1 of 21 files read, 20 taken over" in shown
    assert "cached " in shown
