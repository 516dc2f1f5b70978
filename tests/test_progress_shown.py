"""Which bars are shown while a search runs its stages many times over."""

from __future__ import annotations

import io

from rich.console import Console

from vecmill.cli.progress_bars import LogLines, TerminalBars
from vecmill.progress import show_only, show_progress_on, track


def test_only_the_chosen_bars_are_shown_inside_the_block() -> None:
    console = Console(file=io.StringIO(), width=100, record=True)
    with show_progress_on(LogLines(console)):
        with show_only("trial"), track("trials", 2, "trials"):
            for number in range(2):
                with track(f"trial {number}", 1, "trainings") as bar, track("encoding") as hidden:
                    hidden.advance()
                    bar.advance()
        with track("encoding", 1):
            pass
    names = [line.split(":")[0].strip() for line in console.export_text().splitlines()]
    assert names == ["trial 0", "trial 1", "trials", "encoding"]


def test_ended_bars_do_not_fill_the_screen() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    bars = TerminalBars(console)
    outer = bars.bar("trials", 100, "trials")
    for number in range(100):
        bars.close(bars.bar(f"trial {number}", 1, "trainings"))
    assert len(bars._progress.task_ids) <= 10
    bars.close(outer)
    assert bars._progress.task_ids == []
