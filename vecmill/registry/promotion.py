"""Which version carries the alias ``champion``: the plain rule of the higher score, and the moves.

The rule that is used unless the policy says otherwise is in :mod:`vecmill.registry.gate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vecmill.registry.chain import Row
from vecmill.registry.ledger import Change, Ledger, open_ledger

CHAMPION = "champion"
CHALLENGER = "challenger"
# Tags for the machine begin like this, so that the scores stand before them wherever tags are sorted.
TECHNICAL = "vecmill."
VERDICT_TAG = f"{TECHNICAL}verdict"
_SCORE = "score."
_BENCHMARK = f"{TECHNICAL}benchmark."
# Enough to tell files apart by, and short enough to be read out.
_DIGEST_CHARS = 12
_SCORE_DIGITS = 4


@dataclass(frozen=True)
class Contender:
    """A version, and what is known of how well it did.

    Attributes
    ----------
    version : its number
    score : value of the deciding metric, None or NaN where the evaluation could not give one
    benchmarks : digest of each benchmark that it was scored on, by name; empty if that was not recorded
    """

    version: str
    score: float | None
    benchmarks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Whether the new version becomes champion, and why.

    Attributes
    ----------
    promote : whether it does
    text : why, in a sentence
    outcome : "first" (there was no champion), "promote", "keep" or "not separable"
    gate : what was compared, as plain JSON values; empty where nothing had to be
    """

    promote: bool
    text: str
    outcome: str = ""
    gate: Mapping[str, Any] = field(default_factory=dict)


def decide(metric: str, new: Contender, champion: Contender | None) -> Verdict:
    """Compare a new version with the champion.

    The higher score wins and a tie goes to the champion; scores are compared as they are shown, to four digits. A
    missing score never beats a number, and scores on different benchmarks are not compared at all. Where there is no
    champion there is no contest: the new version takes the place, so that ``models:/NAME@champion`` always loads.
    """
    score = _comparable(new.score)
    mine = _said(score)
    if champion is None:
        return Verdict(True, f"version {new.version} is champion: there was none ({metric} {mine})")
    if champion.version == new.version:
        return Verdict(True, f"version {new.version} is champion already ({metric} {mine})")
    if difference := _difference(metric, new, champion):
        return Verdict(
            False,
            f"version {new.version} stays challenger: {difference}; score both on the same, or move the alias by hand "
            f"(Aliases on the page of version {new.version} in MLflow)",
        )
    to_beat = _comparable(champion.score)
    stays, theirs = f"version {champion.version} stays champion", _said(to_beat)
    if score is None:
        return Verdict(False, f"{stays}: version {new.version} has no {metric} to set against {theirs}")
    becomes = f"version {new.version} is champion: {metric} {mine}"
    if to_beat is None:
        return Verdict(True, f"{becomes}, which version {champion.version} lacks")
    if score > to_beat:
        return Verdict(True, f"{becomes} against {theirs} of version {champion.version}")
    relation = "the same" if score == to_beat else "only"
    return Verdict(False, f"{stays}: {metric} {theirs}, and version {new.version} has {relation} {mine}")


def current_champion(client: Any, model_name: str, metric: str) -> Contender | None:
    """The version that carries the alias now, with score and benchmarks read from its tags.

    ``client`` is an ``mlflow.MlflowClient``; what it raises passes through.
    """
    version = client.get_registered_model(model_name).aliases.get(CHAMPION)
    if version is None:
        return None
    tags = client.get_model_version(model_name, str(version)).tags
    benchmarks = {tag.removeprefix(_BENCHMARK): text for tag, text in tags.items() if tag.startswith(_BENCHMARK)}
    return Contender(str(version), _score_from_tag(tags.get(f"{_SCORE}{metric}")), benchmarks)


def contest_tags(scores: Mapping[str, float | None], benchmarks: Mapping[str, str]) -> dict[str, str]:
    """The tags by which a version is judged later, when it is the one to beat.

    Every score, not only the primary one: which is primary may change. A benchmark without a score has its own tag
    all the same, by which a missing score can be told from one that was never asked for.

    Parameters
    ----------
    scores : by metric; those that are missing get no tag
    benchmarks : as :func:`shortened` gives them
    """
    shown = {name: _comparable(score) for name, score in scores.items()}
    return {
        **{f"{_SCORE}{name}": f"{score:.{_SCORE_DIGITS}f}" for name, score in shown.items() if score is not None},
        **{f"{_BENCHMARK}{name}": digest for name, digest in benchmarks.items()},
    }


def shortened(digest: str) -> str:
    """A hexadecimal digest, cut to what tells things apart."""
    return digest[:_DIGEST_CHARS]


def move_aliases(client: Any, model_name: str, version: str, verdict: Verdict, ledger: Ledger | None = None) -> Row:
    """Point ``challenger``, then if it won ``champion``, to the version, by way of the ledger.

    A version without the verdict's tag is one whose registration broke off; the next registration of the same
    artifacts finishes it, and the ledger finishes moves that it has written down.

    Parameters
    ----------
    ledger : opened before the champion was looked up, so that nobody can have moved it since; None: opened here

    Returns
    -------
    The ledger's row of this decision.

    Raises
    ------
    Overtaken : another process moved aliases since the ledger was opened; nothing has been changed
    """
    aliases = {CHALLENGER: version, CHAMPION: version} if verdict.promote else {CHALLENGER: version}
    change = Change(
        action="register",
        version=version,
        aliases=aliases,
        verdict=verdict.outcome or ("promote" if verdict.promote else "keep"),
        reason=verdict.text,
        tags={VERDICT_TAG: CHAMPION if verdict.promote else CHALLENGER},
    )
    return (ledger or open_ledger(client, model_name)).change(change)


def _difference(metric: str, new: Contender, champion: Contender) -> str:
    """In words, how the benchmarks behind the two scores differ; empty if they are the same."""
    mine, theirs = _behind(metric, new.benchmarks), _behind(metric, champion.benchmarks)
    if mine == theirs:
        return ""
    if not champion.benchmarks:
        return f"champion version {champion.version} does not say on which benchmarks it was scored"
    parts = {
        f"only version {new.version}": mine.keys() - theirs.keys(),
        f"only version {champion.version}": theirs.keys() - mine.keys(),
        "changed": {name for name in mine.keys() & theirs.keys() if mine[name] != theirs[name]},
    }
    listed = "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in parts.items() if names)
    return f"it was scored on other benchmarks than champion version {champion.version} ({listed})"


def _behind(metric: str, benchmarks: Mapping[str, str]) -> Mapping[str, str]:
    """The benchmarks that go into a metric: the one named in ``BENCHMARK/figure``, else all of them."""
    one, slash, _ = metric.rpartition("/")
    return {name: digest for name, digest in benchmarks.items() if name == one} if slash else benchmarks


def _score_from_tag(text: str | None) -> float | None:
    try:
        return _comparable(float(text or ""))
    except ValueError:
        return None  # left out, or changed by hand to something that is no number


def _comparable(score: float | None) -> float | None:
    """The score to as many digits as are shown and stored, None where it is missing."""
    return None if score is None or math.isnan(score) else round(score, _SCORE_DIGITS) + 0.0  # no -0.0


def _said(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.{_SCORE_DIGITS}f}"
