"""Running a flow in this process, without a deployment: what ``vecmill run`` does when something has to be built."""

from __future__ import annotations

import importlib
import os
from typing import Any

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from vecmill.errors import VecmillError


def run_here(entrypoint: str, config: Any, refresh: tuple[str, ...]) -> Any:
    """Run a flow to its end and return what it returns.

    Parameters
    ----------
    entrypoint : as in ``pipelines.yaml``, ``flows/words.py:words``
    config : the pipeline's validated configuration

    Raises
    ------
    VecmillError : what a stage refuses, or Prefect's API did not answer
    """
    path, _, name = entrypoint.partition(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    # Heartbeats let a server notice lost hosts; here they would only delay the end of the process by a second.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            return flow(config, list(refresh))
        except RuntimeError as error:
            if "API" not in str(error):
                raise
            url = os.environ.get("PREFECT_API_URL", "")
            raise VecmillError(
                f"Prefect's API did not answer ({error})",
                expected=f"a server at {url}" if url else "the server that Prefect starts within this run",
                todo="start that server or unset PREFECT_API_URL" if url else "run again; --debug shows its log",
            ) from error
