"""Progress as bars on a terminal; elsewhere (a log file, CI) a line when a longer piece of work is done."""

from __future__ import annotations

import threading
import time
from collections import deque

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from vecmill.progress import Bar

# Bars that have ended while others go on: more of them would fill the screen.
_ENDED_SHOWN = 8


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress = progress
        self.task = task

    def advance(self, amount: float = 1) -> None:
        self.progress.advance(self.task, amount)

    def note(self, text: str) -> None:
        self.progress.update(self.task, note=text)


class TerminalBars:
    """Bars for a person who watches; a finished bar stays as a line of what was done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(show_speed=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=False,
        )
        self._open = 0
        self._ended: deque[TaskID] = deque()
        self._lock = threading.Lock()

    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        with self._lock:
            self._open += 1
            self._progress.start()
            return _RichBar(self._progress, self._progress.add_task(description, total=total, note=""))

    def close(self, bar: Bar) -> None:
        assert isinstance(bar, _RichBar)
        with self._lock:
            task = self._progress.tasks[self._progress.task_ids.index(bar.task)]
            if task.total is None:
                self._progress.update(bar.task, total=max(task.completed, 1), completed=max(task.completed, 1))
            self._open -= 1
            if self._open == 0:
                self._progress.stop()
                for each in self._progress.task_ids:
                    self._progress.remove_task(each)
                self._ended.clear()
                return
            self._ended.append(bar.task)
            if len(self._ended) > _ENDED_SHOWN:
                self._progress.remove_task(self._ended.popleft())


class _LineBar:
    def __init__(self, description: str, unit: str) -> None:
        self.description = description
        self.unit = unit
        self.done = 0.0
        self.text = ""
        self.started = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self.done += amount

    def note(self, text: str) -> None:
        self.text = text


class LogLines:
    """One line for each finished piece of work, where nobody can watch a bar move."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        return _LineBar(description, unit)

    def close(self, bar: Bar) -> None:
        assert isinstance(bar, _LineBar)
        seconds = time.monotonic() - bar.started
        note = f", {bar.text}" if bar.text else ""
        self._console.print(f"  {bar.description}: {bar.done:,.0f} {bar.unit} in {seconds:.1f} s{note}", soft_wrap=True)
