"""Progress of a node, shown where the run was started."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from vecmill.engine.relay import Message, Replay, Reporter
from vecmill.progress import Bar, show_progress_on, track


class Seen:
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def bar(self, description: str, total: float | None, unit: str) -> Bar:
        self.lines.append(["bar", description, total, unit])
        seen = self

        class Line:
            def advance(self, amount: float = 1) -> None:
                seen.lines.append(["advance", description, amount])

            def note(self, text: str) -> None:
                seen.lines.append(["note", description, text])

        return Line()

    def close(self, bar: Bar) -> None:
        self.lines.append(["close"])


def test_bars_and_warnings_arrive_as_they_were_made(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[list[Message]] = []
    with Reporter("train-1", sent.append) as reporter:
        reporter.say("begun", "worker-7")
        with track("training", 10, "words") as bar:
            for _ in range(5):
                bar.advance(2)
            bar.note("loss 0.5")
        logging.getLogger("vecmill").warning("slow %s", "disk")
    arrived: list[Message] = [tuple(each) for batch in json.loads(json.dumps(sent)) for each in batch]

    seen, replay = Seen(), Replay()
    with show_progress_on(seen), caplog.at_level(logging.WARNING, "vecmill"):
        caplog.clear()
        replay.show(arrived)
    assert replay.node_of("train-1") == "worker-7"
    assert [line for line in seen.lines if line[0] != "advance"] == [
        ["bar", "training", 10, "words"],
        ["note", "training", "loss 0.5"],
        ["close"],
    ]
    assert sum(line[2] for line in seen.lines if line[0] == "advance") == 10
    assert [record.getMessage() for record in caplog.records] == ["slow disk"]


def test_a_lost_try_leaves_no_bar_open() -> None:
    seen, replay = Seen(), Replay()
    with show_progress_on(seen):
        replay.show([("train-1", "bar", (0, "training", 10, "words")), ("train-1", "advance", (0, 3.0))])
        replay.end("train-1")
        replay.show([("train-1", "advance", (0, 3.0))])  # late news of what is gone
    assert seen.lines == [["bar", "training", 10, "words"], ["advance", "training", 3.0], ["close"]]


def test_messages_that_cannot_be_sent_stop_no_work() -> None:
    def broken(messages: list[Message]) -> None:
        raise ConnectionError("no mailbox")

    with Reporter("train-1", broken), track("training", 1, "words") as bar:
        bar.advance()
