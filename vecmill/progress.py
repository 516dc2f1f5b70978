"""Progress, said once by the code that works and shown by whoever is watching.

Core functions call :func:`track`; what happens with the numbers is the caller's business: the command line shows
bars, a scheduled run writes log lines, a test or a notebook sees nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """One line of progress."""

    def advance(self, amount: float = 1) -> None:
        """Add ``amount`` of the bar's unit to what is done."""

    def note(self, text: str) -> None:
        """Show a short text beside the bar, such as the running loss."""


class Sink(Protocol):
    """Something that can show bars."""

    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        """Open a bar; ``total`` is None where the amount of work is not known beforehand."""

    def close(self, bar: Bar) -> None:
        """The work of ``bar`` has ended, well or badly."""


class _Silent:
    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        return self

    def close(self, bar: Bar) -> None: ...

    def advance(self, amount: float = 1) -> None: ...

    def note(self, text: str) -> None: ...


# A plain global, not a context variable: bars are advanced from worker threads, which do not inherit contexts.
_sink: Sink = _Silent()


@contextmanager
def show_progress_on(sink: Sink) -> Iterator[None]:
    """Send the progress of everything inside the block to ``sink``."""
    global _sink
    before, _sink = _sink, sink
    try:
        yield
    finally:
        _sink = before


class _Chosen:
    def __init__(self, sink: Sink, words: tuple[str, ...]) -> None:
        self._sink, self._words = sink, words

    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        shown = description.startswith(self._words)
        return self._sink.bar(description, total, unit) if shown else _HIDDEN

    def close(self, bar: Bar) -> None:
        if bar is not _HIDDEN:
            self._sink.close(bar)


_HIDDEN = _Silent()


@contextmanager
def show_only(*beginnings: str) -> Iterator[None]:
    """Within the block, show the bars alone whose description begins with one of ``beginnings``.

    For work that runs the same stages many times over, whose own bars say enough.
    """
    with show_progress_on(_Chosen(_sink, beginnings)):
        yield


@contextmanager
def track(description: str, total: float | None = None, unit: str = "items") -> Iterator[Bar]:
    """Open a progress bar for a piece of work.

    Parameters
    ----------
    description : what is being done, short ("reading documents")
    total : amount of work in ``unit``, None if not known beforehand
    unit : what is counted ("documents", "bytes", "tokens")
    """
    sink = _sink
    bar = sink.bar(description, total, unit)
    try:
        yield bar
    finally:
        sink.close(bar)
