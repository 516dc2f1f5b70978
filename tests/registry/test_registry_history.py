"""Questions about the past, on chains written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmill.errors import ConfigError
from vecmill.registry.chain import Move, Row, aliases_after, open_intent, read_rows, row_name, sealed
from vecmill.registry.history import champion_answer, champion_at, past_moment, previous_champion, read_moment, reigns
from vecmill.registry.ledger import drift, head_problems


def chain_of(*steps: tuple[str, str, Mapping[str, Move]]) -> list[Row]:
    """Rows from (kind, time, moves); ``done`` and ``void`` settle the row before."""
    rows: list[Row] = []
    for kind, time, moves in steps:
        members: dict[str, Any] = dict.fromkeys(("host", "user", "action", "version", "verdict", "reason", "nonce"), "")
        place = {"n": len(rows) + 1, "of": len(rows) if kind in ("done", "void") else 0}
        moved = {alias: list(move) for alias, move in moves.items()}
        previous = rows[-1].digest if rows else ""
        rows.append(
            sealed({**members, **place, "kind": kind, "time": time, "moves": moved, "tags": {}, "previous": previous})
        )
    return rows


def champion(before: str | None, after: str | None) -> dict[str, Move]:
    return {"champion": (before, after)}


def texts(rows: list[Row]) -> dict[str, str]:
    return {row_name(row.n): json.dumps(row.to_json()) for row in rows}


LIFE = chain_of(
    ("intent", "2026-03-01T10:00:00.000Z", champion(None, "1")),
    ("done", "2026-03-01T10:00:01.000Z", {}),
    ("intent", "2026-03-02T10:00:00.000Z", {"challenger": ("1", "2")}),
    ("done", "2026-03-02T10:00:01.000Z", {}),
    ("intent", "2026-03-03T10:00:00.000Z", champion("1", "3")),
    ("done", "2026-03-03T10:00:01.000Z", {}),
    ("intent", "2026-03-04T10:00:00.000Z", champion("3", "4")),
    ("void", "2026-03-04T10:00:01.000Z", {}),
    ("found", "2026-03-05T10:00:00.000Z", champion("3", "2")),
)


@pytest.mark.parametrize(
    ("at", "version"),
    [
        ("2026-02-28", None),
        ("2026-03-01T10:00:00.500", None),  # decided, not yet done
        ("2026-03-01T10:00:01", "1"),
        ("2026-03-02", "1"),
        ("2026-03-03T11:00:01+01:00", "3"),
        ("2026-03-04", "3"),  # what is void moved nothing
        ("2026-03-05", "2"),
        ("2030-01-01", "2"),
    ],
)
def test_champion_at(at: str, version: str | None) -> None:
    reign = champion_at(LIFE, read_moment(at))
    assert (None if reign is None else reign.version) == version


def test_reigns_follow_one_another() -> None:
    found = reigns(LIFE)
    assert [(each.version, each.since[:10], each.until and each.until[:10], each.ended_unseen) for each in found] == [
        ("1", "2026-03-01", "2026-03-03", False),
        ("3", "2026-03-03", "2026-03-05", True),
        ("2", "2026-03-05", None, False),
    ]
    assert reigns([]) == [] and champion_at([], "2030") is None


def test_answer_says_what_it_does_not_know() -> None:
    unseen = champion_answer(LIFE, "2", "2026-03-04T12:00:00.000Z")
    assert unseen["version"] == "3"
    assert unseen["uncertain"].startswith("the alias was moved past vecmill some time before 2026-03-05T10:00:00.000Z")
    assert champion_answer([], None, "2026-03-04T12:00:00.000Z")["reason"] == "nobody knows, it has no ledger yet"
    assert champion_answer([], None, None)["reason"] == "the alias is set on no version"
    moved = champion_answer(LIFE, "7", None)
    assert (moved["version"], moved["reason"]) == ("7", "the ledger does not know since when")
    begun = champion_answer(chain_of(("found", "2026-03-05T10:00:00.000Z", champion(None, "2"))), "2", None)
    assert begun["uncertain"] == "it was champion already when the ledger began, at 2026-03-05T10:00:00.000Z"


def test_previous_champion_still_stands() -> None:
    assert previous_champion(LIFE, ["1", "2", "3"]) == "3"
    assert previous_champion(LIFE, ["1", "2"]) == "1"
    assert previous_champion(LIFE, ["2"]) is None


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "12:00", "2026-03-01T99:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no time\. Expected: 2026-03-01 or 2026-03-01T06:30"):
        read_moment(text)


def test_the_future_is_not_asked_about() -> None:
    now = "2026-03-05T12:30:00.000Z"
    assert past_moment("2026-03-04", now) == "2026-03-04T23:59:59.999Z"
    assert past_moment("2026-03-05", now) == now
    for later in ("2026-03-06", "2026-03-05T12:31"):
        with pytest.raises(ConfigError, match=rf"'{later}' has not come yet: it is 2026-03-05T12:30Z.*leave --at out"):
            past_moment(later, now)


def test_whole_chain_has_no_problems() -> None:
    assert read_rows(texts(LIFE) | {"other": "1"}) == (LIFE, [])
    assert open_intent(LIFE) is None and open_intent(LIFE[:5]) == LIFE[4]
    assert aliases_after(LIFE) == {"champion": "2", "challenger": "2"}
    assert drift(LIFE, {"champion": "2"}) == {"challenger": ("2", None)}


@given(st.integers(0, len(LIFE) - 1), st.sampled_from(["time", "host", "user", "reason", "version", "kind", "nonce"]))
def test_any_changed_row_is_found(at: int, member: str) -> None:
    changed = texts(LIFE)
    raw = json.loads(changed[row_name(at + 1)])
    changed[row_name(at + 1)] = json.dumps(raw | {member: raw[member] + "x"})
    assert any(f"row {at + 1} was changed" in each for each in read_rows(changed)[1])


@given(st.integers(1, len(LIFE) - 1))
def test_any_removed_row_is_found(at: int) -> None:
    left = {name: text for name, text in texts(LIFE).items() if name != row_name(at)}
    rows, problems = read_rows(left)
    assert len(rows) == at - 1 and problems == [f"row {at} is missing, while {row_name(at + 1)} stands"]


@given(st.permutations(range(len(LIFE))))
def test_any_other_order_is_found(order: list[int]) -> None:
    moved = {row_name(at + 1): texts(LIFE)[row_name(was + 1)] for at, was in enumerate(order)}
    assert (read_rows(moved)[1] == []) == (order == sorted(order))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"n": "1"}', "null"])
def test_row_that_cannot_be_read(text: str) -> None:
    rows, (problem,) = read_rows({row_name(1): text})
    assert rows == [] and problem.startswith("row 1 cannot be read (")


def test_rows_out_of_turn() -> None:
    twice = chain_of(("intent", "1", {}), ("intent", "2", {}))
    assert read_rows(texts(twice))[1] == ["row 2 was written while row 1 was still open"]
    none = chain_of(("done", "1", {}))
    assert read_rows(texts(none))[1] == ["row 1 settles row 0, which is not open"]
    early = chain_of(("found", "2", {}), ("found", "1", {}))
    assert read_rows(texts(early))[1] == ["row 2 is dated before row 1"]


def test_head_is_held_against_the_rows() -> None:
    assert head_problems("r", LIFE, f"r:3:{LIFE[2].digest}") == [], "it may lag behind"
    assert head_problems("r", LIFE, "other:99:x") == [] == head_problems("r", LIFE, "")
    assert head_problems("r", LIFE[:7], f"r:9:{LIFE[8].digest}") == ["rows 8 to 9 are missing at the end"]
    assert "is not the one that the tag" in head_problems("r", LIFE, f"r:3:{LIFE[3].digest}")[0]
    assert "is not the one that the tag" in head_problems("r", LIFE, "r:nonsense")[0]
