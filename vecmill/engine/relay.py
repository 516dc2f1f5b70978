"""Progress and log lines of a stage on a node, shown where the run was started as if it ran there.

On the node, :class:`Reporter` is the sink of everything that calls :func:`vecmill.progress.track`; it sends a few
messages a second. Where the run was started, :class:`Replay` turns them into calls of the sink that is shown there.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self

from vecmill.progress import Bar, show_progress_on, track

# (label of the stage's try, kind, values); plain values, since they cross process borders.
Message = tuple[str, str, tuple[Any, ...]]

_SECONDS_BETWEEN = 0.3
log = logging.getLogger("vecmill")


class _SentBar:
    def __init__(self, reporter: Reporter, number: int) -> None:
        self._reporter = reporter
        self.number = number

    def advance(self, amount: float = 1) -> None:
        self._reporter.advance(self.number, amount)

    def note(self, text: str) -> None:
        self._reporter.say("note", self.number, text)


class _LogLines(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.say("log", record.levelno, record.getMessage())


class Reporter:
    """Collects bars and log records of this process and sends them in small batches.

    Parameters
    ----------
    label : which try of which stage the messages belong to
    send : takes a list of messages away; what it raises is ignored, for a lost message is no reason to stop work
    """

    def __init__(self, label: str, send: Callable[[list[Message]], None]) -> None:
        self._label = label
        self._send = send
        self._numbers = itertools.count()
        self._messages: list[Message] = []
        self._advanced: dict[int, float] = {}
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_now_and_then, daemon=True)
        self._shown: AbstractContextManager[None] = show_progress_on(self)
        self._log_lines = _LogLines(self)

    def __enter__(self) -> Self:
        log.addHandler(self._log_lines)
        self._shown.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, trace)
        log.removeHandler(self._log_lines)
        self._ended.set()
        self._thread.join()
        self.flush()

    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        number = next(self._numbers)
        self.say("bar", number, description, total, unit)
        return _SentBar(self, number)

    def close(self, bar: Bar) -> None:
        assert isinstance(bar, _SentBar)
        self.say("close", bar.number)

    def advance(self, number: int, amount: float) -> None:
        """Add to a bar; sums are sent."""
        with self._guard:
            self._advanced[number] = self._advanced.get(number, 0.0) + amount

    def say(self, kind: str, *values: Any) -> None:
        """Add a message, after what its bar has advanced until now."""
        with self._guard:
            if kind in ("note", "close"):
                self._settle(values[0])
            self._messages.append((self._label, kind, values))

    def flush(self) -> None:
        """Send what has gathered."""
        with self._guard:
            for number in list(self._advanced):
                self._settle(number)
            batch, self._messages = self._messages, []
        if batch:
            try:
                self._send(batch)
            except Exception:
                log.debug("progress could not be sent", exc_info=True)

    def _settle(self, number: int) -> None:
        amount = self._advanced.pop(number, 0.0)
        if amount:
            self._messages.append((self._label, "advance", (number, amount)))

    def _send_now_and_then(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN):
            self.flush()


class Replay:
    """Shows what :class:`Reporter` objects on nodes sent; safe to call from several threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._bars: dict[str, dict[int, tuple[Bar, ExitStack]]] = {}
        self._begun: dict[str, str] = {}

    def show(self, messages: list[Message]) -> None:
        """Show messages in their order."""
        with self._guard:
            for label, kind, values in messages:
                self._show(label, kind, values)

    def node_of(self, label: str) -> str:
        """The node on which a try has begun, empty as long as it has not."""
        return self._begun.get(label, "")

    def begun(self, label: str, node: str) -> None:
        """Note on which node a try has begun; for the message that says so may be lost."""
        with self._guard:
            self._begun[label] = node

    def end(self, label: str) -> None:
        """Close the bars that a try left open because its process is gone."""
        with self._guard:
            for _, stack in self._bars.pop(label, {}).values():
                stack.close()

    def _show(self, label: str, kind: str, values: tuple[Any, ...]) -> None:
        bars = self._bars.setdefault(label, {})
        if kind == "begun":
            self._begun[label] = values[0]
        elif kind == "log":
            log.log(values[0], "%s", values[1])
        elif kind == "bar":
            number, description, total, unit = values
            stack = ExitStack()
            bars[number] = (stack.enter_context(track(description, total, unit)), stack)
        elif values[0] in bars:
            bar, stack = bars[values[0]]
            if kind == "advance":
                bar.advance(values[1])
            elif kind == "note":
                bar.note(values[1])
            elif kind == "close":
                del bars[values[0]]
                stack.close()
