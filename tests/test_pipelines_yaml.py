"""pipelines.yaml: no key that Prefect would quietly ignore, parameters that the models accept, names that stay."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

import vecmill
from vecmill.config.pipelines_file import Deployment, PipelinesFile, read_pipelines_file
from vecmill.pipelines.catalog import PIPELINES, configure, pipeline_of
from vecmill.quiet import QUIET_ENVIRONMENT

FILE = Path(vecmill.__file__).parent.parent / "pipelines.yaml"


def the_file() -> PipelinesFile:
    return read_pipelines_file(FILE)


@pytest.mark.parametrize("deployment", the_file().deployments, ids=lambda each: each.name)
def test_each_deployment_stands_up_to_the_models(deployment: Deployment) -> None:
    config = configure(deployment, deployment.parameters["config"], FILE.name)
    assert type(config) is pipeline_of(deployment).config
    path, _, name = deployment.entrypoint.partition(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert flow.name == pipeline_of(deployment).name
    assert set(deployment.parameters) <= set(inspect.signature(flow.fn).parameters)


def test_every_pipeline_is_deployed() -> None:
    assert {each.entrypoint for each in the_file().deployments} == set(PIPELINES)


def test_names_and_schedules_are_the_ones_people_know() -> None:
    """A rename, or another hour, shows up here and in review."""
    found = {
        each.name: (
            [(schedule.cron, schedule.timezone) for schedule in each.schedules],
            each.concurrency_limit.limit if each.concurrency_limit else None,  # type: ignore[union-attr]
            each.work_pool.name if each.work_pool else None,
        )
        for each in the_file().deployments
    }
    assert found == {
        "words": ([], None, "local-process"),
        "words-nightly": ([("0 2 * * *", "Europe/Berlin")], 1, "local-process"),
        "words-search": ([], None, "local-process"),
        "words-s3": ([], None, "local-process"),
    }


def test_scheduled_runs_are_as_quiet_as_ad_hoc_ones() -> None:
    for each in the_file().deployments:
        assert each.work_pool is not None
        environment = each.work_pool.job_variables["env"]
        assert QUIET_ENVIRONMENT.items() <= environment.items()


def test_no_secret_stands_in_the_file() -> None:
    text = FILE.read_text(encoding="utf-8").lower()
    for word in ("secret_access_key:", "password:", "token:"):
        assert word not in text
