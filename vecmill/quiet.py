"""The switches that keep the libraries we build on from calling home, in one place.

Several of them send usage reports or look for a remote service as soon as they are imported. The command line and the
tests call :func:`be_quiet` before such an import; scheduled runs get :data:`QUIET_ENVIRONMENT` from `pipelines.yaml`
and, in containers, from `infra/`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Switch:
    """One environment variable that a library reads, and why we set it."""

    name: str
    value: str
    reason: str


# Wherever vecmill runs.
PRIVACY_SWITCHES = (
    Switch("DO_NOT_TRACK", "true", "Prefect's SDK and MLflow report usage; the word 'true' is the one both understand"),
    Switch("PREFECT_SERVER_ANALYTICS_ENABLED", "false", "Prefect's server reports to its vendor every ten minutes"),
    Switch("MLFLOW_DISABLE_TELEMETRY", "true", "still holds where somebody has DO_NOT_TRACK=1, which MLflow ignores"),
    Switch("HF_HUB_OFFLINE", "1", "without a network, even a mistyped local path costs minutes of retried requests"),
    Switch("HF_HUB_DISABLE_TELEMETRY", "1", "the hub client reports usage with what it downloads"),
    Switch("RAY_USAGE_STATS_ENABLED", "0", "a Ray cluster reports usage from its head node"),
    Switch("RAY_AUTH_MODE", "disabled", "a local Ray writes a token into the home folder; a cluster overrides this"),
)

# Only where a person watches the terminal: on a worker, Prefect's log lines are what its run page shows.
AD_HOC_SWITCHES = (
    Switch("PREFECT_LOGGING_LEVEL", "WARNING", "progress bars say what an ad-hoc run does; log lines would tear them"),
    Switch(
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS",
        "120",
        "on a busy machine a first start with its migrations outlasts the default of 20 seconds",
    ),
)

QUIET_ENVIRONMENT: dict[str, str] = {switch.name: switch.value for switch in PRIVACY_SWITCHES}


def be_quiet() -> None:
    """Set every switch in this process's environment, for it and for its children.

    Call it before prefect, mlflow, ray or a Hugging Face library is imported: they read the environment at import.
    A variable that is already set keeps its value, so people can still decide otherwise.
    """
    for switch in (*PRIVACY_SWITCHES, *AD_HOC_SWITCHES):
        os.environ.setdefault(switch.name, switch.value)
