"""The pipelines there are, by the flow that ``pipelines.yaml`` names as entrypoint."""

from __future__ import annotations

from typing import Any

from vecmill.config.pipelines_file import Deployment
from vecmill.config.validate import validate
from vecmill.errors import ConfigError
from vecmill.pipelines.words import WORDS
from vecmill.pipelines.words_search import WORDS_SEARCH
from vecmill.store.plan import Pipeline

PIPELINES: dict[str, Pipeline] = {"flows/words.py:words": WORDS, "flows/search.py:search": WORDS_SEARCH}


def pipeline_of(deployment: Deployment) -> Pipeline:
    """The pipeline whose flow a deployment runs.

    Raises
    ------
    ConfigError : the deployment's entrypoint is none of vecmill's flows
    """
    if deployment.entrypoint not in PIPELINES:
        raise ConfigError(
            f"deployment {deployment.name!r} has the entrypoint {deployment.entrypoint!r}",
            expected=f"one of {', '.join(PIPELINES)}",
            todo="correct the entrypoint in pipelines.yaml, or run that flow with Prefect itself",
        )
    return PIPELINES[deployment.entrypoint]


def configure(deployment: Deployment, values: dict[str, Any], origin: str) -> Any:
    """The pipeline's configuration, validated; ``values`` is the deployment's ``config`` after overrides."""
    return validate(pipeline_of(deployment).config, values, origin)
