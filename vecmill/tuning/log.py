"""A search in MLflow: one run for the search, below it one for each trial and each finalist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from vecmill.progress import track
from vecmill.registry.config import RegistryConfig, resolve_artifact_location, resolve_tracking_uri
from vecmill.registry.promotion import CHAMPION
from vecmill.registry.session import calling, registry_session
from vecmill.store.digest import digest_json

_TAG = "vecmill.search"
_LONGEST_TAG = 5000  # MLflow's limit


def has_champion(config: RegistryConfig) -> bool:
    """Whether the registered model has a champion that a new version would be compared with.

    Raises
    ------
    RegistryError : the registry does not answer
    """
    uri = resolve_tracking_uri(config)
    with registry_session(uri) as client, calling(uri, f"look for the champion of {config.model_name}"):
        found = client.search_registered_models(filter_string=f"name = '{config.model_name}'")
        return any(CHAMPION in each.aliases for each in found)


def log_search(config: RegistryConfig, report: dict[str, Any], page: str) -> str:
    """Log a finished search, its trials and its finalists as nested runs; the run id of the search.

    A repeated search that found the same has its run already.

    Parameters
    ----------
    config : where to log
    report, page : see :mod:`vecmill.tuning.report`

    Raises
    ------
    RegistryError : the registry does not answer or refuses
    """
    from mlflow.entities import Metric, RunTag

    uri = resolve_tracking_uri(config)
    digest = digest_json({name: value for name, value in report.items() if name != "cost"})
    children = list(_children(report))
    with registry_session(uri) as client, calling(uri, "log the search"):
        experiment_id = _experiment(client, config, uri)
        query = f"tags.`{_TAG}` = '{digest}' and attributes.status = 'FINISHED'"
        if known := client.search_runs([experiment_id], query, max_results=1):
            return str(known[0].info.run_id)
        name = f"search {report['study'].removeprefix('vecmill-')}"
        run_id: str = client.create_run(experiment_id, run_name=name, tags={_TAG: digest}).info.run_id
        with track("logging the search", len(children), "runs") as bar:
            client.log_text(run_id, page, "search.md")
            client.log_text(run_id, json.dumps(report, indent=1, ensure_ascii=False), "search.json")
            metrics = {**report["cost"], "best_score": report["finalists"][0]["mean"]}
            findings = [RunTag(f"finding.{at}", each["text"]) for at, each in enumerate(report["findings"], 1)]
            client.log_batch(
                run_id,
                metrics=[Metric(name, float(value), 0, 0) for name, value in metrics.items()],
                tags=[RunTag("winner", report["winner"]), *findings],
            )
            for label, state, values, scores in children:
                _log_child(client, experiment_id, run_id, label, state, values, scores)
                bar.advance()
        client.set_terminated(run_id, "FINISHED")
    return run_id


_Child = tuple[str, str, dict[str, Any], dict[str, float]]


def _children(report: dict[str, Any]) -> Iterator[_Child]:
    """Label, state, values and numbers of each trial and finalist."""
    for row in sorted(report["trials"], key=lambda each: int(each["trial"])):
        numbers = {name: row[name] for name in ("score", "share", "seconds") if row[name] is not None}
        yield f"trial {row['trial']}", row["state"], row["values"], numbers
    for row in report["finalists"]:
        numbers = {"score": row["mean"]} | ({} if row["sd"] is None else {"sd_over_seeds": row["sd"]})
        yield f"finalist: {row['label']}", "complete", row["values"], numbers


def _log_child(
    client: Any,
    experiment_id: str,
    parent: str,
    label: str,
    state: str,
    values: dict[str, Any],
    numbers: dict[str, float],
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    child = client.create_run(experiment_id, run_name=label, tags={"mlflow.parentRunId": parent})
    client.log_batch(
        child.info.run_id,
        metrics=[Metric(name, float(value), 0, 0) for name, value in numbers.items()],
        params=[Param(path, str(value)) for path, value in values.items()],
        tags=[RunTag("state", state[:_LONGEST_TAG])],
    )
    ended = {"complete": "FINISHED", "failed": "FAILED"}.get(state, "KILLED")
    client.set_terminated(child.info.run_id, ended)


def _experiment(client: Any, config: RegistryConfig, uri: str) -> str:
    found = client.get_experiment_by_name(config.experiment)
    if found is not None:
        return str(found.experiment_id)
    location = resolve_artifact_location(config, uri)
    return str(client.create_experiment(config.experiment, artifact_location=location))
