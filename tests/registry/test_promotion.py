from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmill.registry.promotion import (
    Champion,
    Verdict,
    decide,
    move_aliases,
    score_as_tag,
    score_from_tag,
)

scores = st.none() | st.just(math.nan) | st.floats(-1, 1)


@pytest.mark.parametrize(
    ("score", "champion", "promote", "text"),
    [
        (0.4, None, True, "version 9 is champion: there was none (rho 0.4000)"),
        (None, None, True, "version 9 is champion: there was none (rho unknown)"),
        (0.5, Champion("3", 0.4), True, "version 9 is champion: rho 0.5000 against 0.4000 of version 3"),
        (0.4, Champion("3", 0.5), False, "version 3 stays champion: rho 0.5000, and version 9 has only 0.4000"),
        (0.5, Champion("3", 0.5), False, "version 3 stays champion: rho 0.5000, and version 9 has the same 0.5000"),
        (None, Champion("3", 0.5), False, "version 3 stays champion: version 9 has no rho to set against 0.5000"),
        (math.nan, Champion("3", None), False, "version 3 stays champion: version 9 has no rho to set against unknown"),
        (0.1, Champion("3", None), True, "version 9 is champion: rho 0.1000, which version 3 lacks"),
        (0.1, Champion("9", 0.1), True, "version 9 is champion already (rho 0.1000)"),
        (
            0.9,
            Champion("3", None, comparable=False),
            False,
            "version 3 stays champion: it has no recorded rho, so version 9 (0.9000) cannot be compared with it; "
            "move the alias by hand if the new version is to serve",
        ),
    ],
)
def test_verdicts(score: float | None, champion: Champion | None, promote: bool, text: str) -> None:
    assert decide("9", "rho", score, champion) == Verdict(promote, text)


@given(score=scores, other=scores)
def test_a_champion_falls_only_to_a_higher_number(score: float | None, other: float | None) -> None:
    promoted = decide("2", "rho", score, Champion("1", score_from_tag(score_as_tag(other)))).promote
    rank = -math.inf if other is None or math.isnan(other) else other
    assert promoted == (score is not None and score > rank)


@given(scores)
def test_scores_survive_as_tags(score: float | None) -> None:
    back = score_from_tag(score_as_tag(score))
    assert back == (None if score is None or math.isnan(score) else score)


@pytest.mark.parametrize("text", [None, "", "good", "nan"])
def test_tags_of_other_hands_are_no_scores(text: str | None) -> None:
    assert score_from_tag(text) is None


class _Calls:
    """Stands in for MLflow's client and writes down what it is asked."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.made.append(("alias", name, alias, version))

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.made.append(("tag", name, version, key, value))


@pytest.mark.parametrize("promote", [True, False])
def test_aliases_are_set_never_deleted_and_the_verdict_comes_last(promote: bool) -> None:
    calls = _Calls()
    move_aliases(calls, "words", "2", Verdict(promote, "why"))
    champion = [("alias", "words", "champion", "2")] if promote else []
    assert calls.made == [("alias", "words", "challenger", "2"), *champion, ("tag", "words", "2", "verdict", "why")]
