"""Which version carries the alias ``champion``: the decision, then the moves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

CHAMPION = "champion"
CHALLENGER = "challenger"
VERDICT_TAG = "verdict"


def score_tag(metric: str) -> str:
    """Name of the version tag that holds a score."""
    return f"score.{metric}"


@dataclass(frozen=True)
class Champion:
    """The version to beat.

    Attributes
    ----------
    version : its number
    score : None if it was registered without a value for the metric
    comparable : whether the metric was recorded for it at all, be it as missing
    """

    version: str
    score: float | None
    comparable: bool = True


@dataclass(frozen=True)
class Verdict:
    """Whether the new version becomes champion, and why, in a sentence."""

    promote: bool
    text: str


def decide(version: str, metric: str, score: float | None, champion: Champion | None) -> Verdict:
    """Compare a new version with the champion.

    The higher score wins and a tie goes to the champion. A missing score never beats a number. Where there is no
    champion there is no contest: the new version takes the place, so that ``models:/NAME@champion`` always loads.

    Parameters
    ----------
    score : of the new version; None or NaN where it has none
    """
    mine = _said(score)
    if champion is None:
        return Verdict(True, f"version {version} is champion: there was none ({metric} {mine})")
    if champion.version == version:
        return Verdict(True, f"version {version} is champion already ({metric} {mine})")
    stays = f"version {champion.version} stays champion"
    if not champion.comparable:
        return Verdict(
            False,
            f"{stays}: it has no recorded {metric}, so version {version} ({mine}) cannot be compared with it; "
            "move the alias by hand if the new version is to serve",
        )
    theirs = _said(champion.score)
    if _missing(score):
        return Verdict(False, f"{stays}: version {version} has no {metric} to set against {theirs}")
    if _missing(champion.score):
        return Verdict(True, f"version {version} is champion: {metric} {mine}, which version {champion.version} lacks")
    assert score is not None and champion.score is not None
    if score > champion.score:
        return Verdict(
            True, f"version {version} is champion: {metric} {mine} against {theirs} of version {champion.version}"
        )
    relation = "the same" if score == champion.score else "only"
    return Verdict(False, f"{stays}: {metric} {theirs}, and version {version} has {relation} {mine}")


def current_champion(client: Any, model_name: str, metric: str) -> Champion | None:
    """The version that carries the alias now, with its score read from its tags.

    ``client`` is an ``mlflow.MlflowClient``; what it raises passes through.
    """
    version = client.get_registered_model(model_name).aliases.get(CHAMPION)
    if version is None:
        return None
    recorded = client.get_model_version(model_name, str(version)).tags.get(score_tag(metric))
    return Champion(str(version), score_from_tag(recorded), comparable=recorded is not None)


def score_as_tag(score: float | None) -> str:
    """A score as a tag's text; a missing one is recorded as missing."""
    return "none" if _missing(score) else repr(score)


def score_from_tag(text: str | None) -> float | None:
    """The score that :func:`score_as_tag` wrote; None where there is none or the text is no number."""
    try:
        score = float(text or "")
    except ValueError:
        return None
    return None if _missing(score) else score


def move_aliases(client: Any, model_name: str, version: str, verdict: Verdict) -> None:
    """Point ``challenger``, then if it won ``champion``, to the version, and write the verdict down last.

    Setting an alias replaces its target in one step, so there is a champion at every moment. A version without the
    verdict is one whose registration broke off; the next registration of the same artifacts finishes it.
    """
    client.set_registered_model_alias(model_name, CHALLENGER, version)
    if verdict.promote:
        client.set_registered_model_alias(model_name, CHAMPION, version)
    client.set_model_version_tag(model_name, version, VERDICT_TAG, verdict.text)


def _missing(score: float | None) -> bool:
    return score is None or math.isnan(score)


def _said(score: float | None) -> str:
    return "unknown" if score is None or math.isnan(score) else f"{score:.4f}"
