"""What is said of workers that ended, and which way they talk; no process is started here."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vecmill.distributed import gloo
from vecmill.distributed.crew import crew_here, working_with
from vecmill.distributed.process import End, lost_one, refusal_in
from vecmill.errors import VocabularyError

FINE = End(0, "process 1", 0)
PULLED_DOWN = End(0, "process 1", 1, "RuntimeError: connection closed by peer")


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([FINE, End(1, "process 2", 0)], None),
        ([PULLED_DOWN, End(1, "process 2", -9)], "worker 1 of 2 (process 2) was ended by SIGKILL"),
        (
            [PULLED_DOWN, End(1, "process on node a", None, gone=True)],
            "worker 1 of 2 (process on node a) was lost with its node, or with the process that watched it there",
        ),
        (
            [End(0, "process 1", 1, "RuntimeError: timed out"), End(1, "process 2 on node b", None)],
            "worker 0 of 2 (process 1) ended with exit code 1: RuntimeError: timed out; "
            "worker 1 of 2 (process 2 on node b) does not answer",
        ),
        ([FINE, End(1, "process 2", 1)], "worker 1 of 2 (process 2) ended with exit code 1"),
    ],
)
def test_the_worker_that_was_struck_is_named_and_not_those_it_pulled_down(ends: list[End], said: str | None) -> None:
    assert lost_one(ends) == said


def test_what_a_worker_refuses_is_found_in_the_folder_of_its_job(tmp_path: Path) -> None:
    assert refusal_in(tmp_path) is None
    assert refusal_in(tmp_path / "removed meanwhile") is None
    told = {"kind": "VocabularyError", "found": "no pair", "expected": "pairs", "todo": "more text"}
    (tmp_path / "error-1.json").write_text(json.dumps(told))
    refused = refusal_in(tmp_path)
    assert isinstance(refused, VocabularyError)
    assert str(refused) == "no pair. Expected: pairs. What to do: more text."


def test_gloo_takes_the_interface_that_leads_to_the_meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")
    gloo._choose_interface("tcp://no-such-host.invalid:9")
    assert os.environ["GLOO_SOCKET_IFNAME"] == ""
    gloo._choose_interface("tcp://127.0.0.1:9")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    gloo._choose_interface("tcp://127.0.0.1:9")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"


def test_a_crew_is_that_of_the_stage_it_was_set_around() -> None:
    class Nobody:
        def run(self, folder: Path, checkpoints: Path, attempt: int, hear: object) -> str | None:
            return None

    crew = Nobody()
    with working_with(crew):
        assert crew_here() is crew
    assert crew_here() is None
