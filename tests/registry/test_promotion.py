from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmill.registry.ledger import Change
from vecmill.registry.promotion import (
    Contender,
    Verdict,
    contest_tags,
    current_champion,
    decide,
    move_aliases,
)

scores = st.none() | st.just(math.nan) | st.floats(-1, 1)
HOW = "; score both on the same, or move the alias by hand (Aliases on the page of version 9 in MLflow)"


@pytest.mark.parametrize(
    ("score", "champion", "promote", "text"),
    [
        (0.4, None, True, "version 9 is champion: there was none (rho 0.4000)"),
        (None, None, True, "version 9 is champion: there was none (rho unknown)"),
        (0.5, Contender("3", 0.4), True, "version 9 is champion: rho 0.5000 against 0.4000 of version 3"),
        (0.4, Contender("3", 0.5), False, "version 3 stays champion: rho 0.5000, and version 9 has only 0.4000"),
        (0.5, Contender("3", 0.5), False, "version 3 stays champion: rho 0.5000, and version 9 has the same 0.5000"),
        (
            0.50003,
            Contender("3", 0.5),
            False,
            "version 3 stays champion: rho 0.5000, and version 9 has the same 0.5000",
        ),
        (None, Contender("3", 0.5), False, "version 3 stays champion: version 9 has no rho to set against 0.5000"),
        (
            math.nan,
            Contender("3", None),
            False,
            "version 3 stays champion: version 9 has no rho to set against unknown",
        ),
        (0.1, Contender("3", None), True, "version 9 is champion: rho 0.1000, which version 3 lacks"),
        (0.1, Contender("9", 0.1), True, "version 9 is champion already (rho 0.1000)"),
    ],
)
def test_verdicts(score: float | None, champion: Contender | None, promote: bool, text: str) -> None:
    assert decide("rho", Contender("9", score), champion) == Verdict(promote, text)


@pytest.mark.parametrize(
    ("metric", "champion", "difference"),
    [
        ("mean", {"a": "1", "b": "2"}, ""),
        ("mean", {"a": "1"}, "it was scored on other benchmarks than champion version 3 (only version 9: b)"),
        (
            "mean",
            {"a": "5", "c": "1", "d": "1"},
            "it was scored on other benchmarks than champion version 3 (only version 9: b; only version 3: c, d; "
            "changed: a)",
        ),
        ("mean", {}, "champion version 3 does not say on which benchmarks it was scored"),
        ("a/spearman", {"a": "1"}, ""),
        ("a/spearman", {"a": "1", "b": "8", "c": "1"}, ""),
        ("a/spearman", {"a": "8"}, "it was scored on other benchmarks than champion version 3 (changed: a)"),
        ("a/spearman", {"b": "2"}, "it was scored on other benchmarks than champion version 3 (only version 9: a)"),
        ("a/spearman", {}, "champion version 3 does not say on which benchmarks it was scored"),
    ],
)
@pytest.mark.parametrize("score", [0.9, None])
def test_scores_on_other_benchmarks_are_not_compared(
    metric: str, champion: dict[str, str], difference: str, score: float | None
) -> None:
    verdict = decide(metric, Contender("9", score, {"a": "1", "b": "2"}), Contender("3", 0.1, champion))
    if difference:
        assert verdict == Verdict(False, f"version 9 stays challenger: {difference}{HOW}")
    else:
        assert verdict.promote == (score is not None)


class _Registry:
    """Stands in for MLflow's client: one model whose only version has the given tags and is champion."""

    aliases: ClassVar = {"champion": 1}

    def __init__(self, tags: dict[str, str]) -> None:
        self.tags = tags

    def get_registered_model(self, _: str) -> _Registry:
        return self

    def get_model_version(self, _: str, version: str) -> _Registry:
        assert version == "1"
        return self


@given(score=scores, other=scores)
def test_a_champion_falls_only_to_a_higher_number(score: float | None, other: float | None) -> None:
    champion = current_champion(_Registry(contest_tags({"rho": other}, {"a": "1"})), "words", "rho")
    assert champion is not None and champion.benchmarks == {"a": "1"}
    promoted = decide("rho", Contender("2", score, {"a": "1"}), champion).promote
    rank = -math.inf if other is None or math.isnan(other) else round(other, 4)
    assert promoted == (score is not None and round(score, 4) > rank)


def test_scores_come_first_and_short_and_missing_ones_not_at_all() -> None:
    tags = contest_tags({"mean": 0.123456, "a/spearman": None, "b/spearman": -0.00001}, {"a": "1", "b": "2"})
    assert tags == {
        "score.mean": "0.1235",
        "score.b/spearman": "0.0000",
        "vecmill.benchmark.a": "1",
        "vecmill.benchmark.b": "2",
    }


@pytest.mark.parametrize("text", [None, "", "good", "nan"])
def test_tags_of_other_hands_are_no_scores(text: str | None) -> None:
    tags = {} if text is None else {"score.rho": text}
    assert current_champion(_Registry(tags), "words", "rho") == Contender("1", None)


class _Ledger:
    """Stands in for the ledger and writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Change] = []

    def change(self, change: Change) -> str:
        self.asked.append(change)
        return "row"


@pytest.mark.parametrize(
    ("verdict", "moved", "said"),
    [
        (Verdict(True, "why", "promote"), {"challenger": "2", "champion": "2"}, "promote"),
        (Verdict(False, "why", "not separable"), {"challenger": "2"}, "not separable"),
        (Verdict(False, "why"), {"challenger": "2"}, "keep"),
    ],
)
def test_aliases_move_by_way_of_the_ledger(verdict: Verdict, moved: dict[str, str], said: str) -> None:
    ledger: Any = _Ledger()
    assert move_aliases(None, "words", "2", verdict, ledger) == "row"
    settled = {"vecmill.verdict": "champion" if verdict.promote else "challenger"}
    assert ledger.asked == [Change("register", "2", moved, said, "why", settled)]
