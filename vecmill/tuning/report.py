"""What a search found, as JSON values and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vecmill.tuning.config import SearchConfig
from vecmill.tuning.finalists import Finalist, Finding
from vecmill.tuning.trials import Study, Trial

_TRIALS_SHOWN = 20


def search_report(
    search: SearchConfig, study: Study, finalists: Sequence[Finalist], findings: Sequence[Finding]
) -> dict[str, Any]:
    """Everything a search came to, as plain JSON values.

    Returns
    -------
    ``study`` (name in the database), ``objective``, ``trials`` and ``finalists`` (a row each, best first),
    ``findings`` (what separates the first from the others, with the numbers of each test), ``importances``,
    ``options`` (the winner's values as options of ``vecmill run``), ``cost``: seconds of all trials of this search and
    of this run's finalists, ``trials_cached_frac`` (share of the trials for which this run had to build nothing), and
    how many trainings of finalists there were and stood already
    """
    trials = [each for each in study.trials() if each.judged]
    evaluations = [each for finalist in finalists for each in finalist.evaluations]
    n_paid = sum(each.number in study.paid for each in trials)
    return {
        "study": study.name,
        "objective": search.objective,
        "winner": finalists[0].label,
        "winner_values": finalists[0].values,
        "options": " ".join(f"--set {path}={value}" for path, value in finalists[0].values.items()),
        "finalists": [_finalist_row(each) for each in finalists],
        "findings": [
            {
                "better": each.better,
                "worse": each.worse,
                "verdict": each.verdict,
                "text": each.text,
                "tests": [asdict(test) for test in each.comparison.separations],
            }
            for each in findings
        ],
        "trials": [_trial_row(each) for each in sorted(trials, key=_by_score)],
        "importances": study.importances(),
        "cost": {
            "n_trials": len(trials),
            "n_pruned": sum(each.state == "pruned" for each in trials),
            "n_failed": sum(each.state == "failed" for each in trials),
            "trial_seconds": round(sum(each.seconds for each in trials), 1),
            "finalist_seconds": round(sum(each.seconds for each in evaluations), 1),
            "trials_cached_frac": round(1 - n_paid / len(trials), 4) if trials else 0.0,
            "n_finalist_trainings": len(evaluations),
            "n_finalist_trainings_cached": sum(each.trained_before for each in evaluations),
        },
    }


def search_markdown(report: dict[str, Any]) -> str:
    """The report as a page for people."""
    paths = sorted({path for row in (*report["trials"], *report["finalists"]) for path in row["values"]})
    cost = report["cost"]
    findings = [each["text"] for each in report["findings"]] or ["No trial came to an end, so nothing is compared."]
    lines = ["# Search", "", *(f"- {each}" for each in findings), "", "## Finalists", ""]
    lines += [
        "Trained on all documents, once for each seed.",
        "",
        _row(["", *paths, "mean", "sd over seeds"]),
        _row(["---"] * (len(paths) + 3)),
    ]
    for row in report["finalists"]:
        sd = "" if row["sd"] is None else f"{row['sd']:.4f}"
        lines.append(_row([row["label"], *_values(row, paths), f"{row['mean']:.4f}", sd]))
    if report["importances"]:
        lines += ["", "## What mattered", "", _row(["field", "importance"]), _row(["---", "---:"])]
        lines += [_row([path, f"{value:.2f}"]) for path, value in report["importances"].items()]
    lines += ["", "## Trials", "", _row(["trial", *paths, "score", "share", "state"])]
    lines.append(_row(["---"] * (len(paths) + 4)))
    for row in report["trials"][:_TRIALS_SHOWN]:
        score = "" if row["score"] is None else f"{row['score']:.4f}"
        share = "" if row["share"] is None else f"{row['share']:g}"
        lines.append(_row([str(row["trial"]), *_values(row, paths), score, share, row["state"]]))
    if len(report["trials"]) > _TRIALS_SHOWN:
        lines += ["", f"{len(report['trials']) - _TRIALS_SHOWN} more trials stand in search.json."]
    lines += [
        "",
        "## Cost",
        "",
        cost_text(cost),
    ]
    return "\n".join(lines) + "\n"


def cost_text(cost: dict[str, Any]) -> str:
    """What a search cost, as a sentence."""
    n_trials, n_trainings = cost["n_trials"], cost["n_finalist_trainings"]
    n_old = round(cost["trials_cached_frac"] * n_trials)
    return (
        f"{n_trials} trials ({cost['n_pruned']} pruned, {cost['n_failed']} failed) of {cost['trial_seconds']:,.0f} s, "
        f"{n_old} of them from before; {n_trainings} trainings of finalists in {cost['finalist_seconds']:,.0f} s, "
        f"{cost['n_finalist_trainings_cached']} of them from before."
    )


def _by_score(trial: Trial) -> tuple[float, float, int]:
    # First by how far it came: scores on different shares do not compare.
    share = max(trial.scores, default=0.0)
    return (-share, -(trial.score if trial.score is not None else -1e9), trial.number)


def _trial_row(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "values": trial.values,
        "score": None if trial.score is None else round(trial.score, 5),
        "share": max(trial.scores, default=None),
        "state": trial.state,
        "seconds": trial.seconds,
        "reason": trial.reason,
    }


def _finalist_row(finalist: Finalist) -> dict[str, Any]:
    return {
        "label": finalist.label,
        "values": finalist.values,
        "scores": [round(each, 5) for each in finalist.scores],
        "mean": round(finalist.mean, 5),
        "sd": None if finalist.sd is None else round(finalist.sd, 5),
    }


def _values(row: dict[str, Any], paths: Sequence[str]) -> list[str]:
    return [_shown(row["values"][path]) if path in row["values"] else "as configured" for path in paths]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
