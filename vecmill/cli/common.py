"""What several commands need: the pipeline that a name stands for, with its configuration and store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from vecmill.config.overrides import apply_overrides
from vecmill.config.pipelines_file import Deployment, read_pipelines_file
from vecmill.errors import ConfigError
from vecmill.pipelines.catalog import configure, pipeline_of
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.plan import Pipeline, PlannedStage, make_plan
from vecmill.store.runs import latest_keys


@dataclass(frozen=True)
class Target:
    """A pipeline as a command finds it."""

    deployment: Deployment
    pipeline: Pipeline
    config: Any
    store: ArtifactStore
    refresh: tuple[str, ...]

    def plan(self) -> list[PlannedStage]:
        """What a run would do."""
        earlier = latest_keys(self.store, self.pipeline.name)
        return make_plan(self.pipeline, self.config, self.store, refresh=self.refresh, earlier=earlier)


def open_target(file: Path, name: str, overrides: list[str], refresh: tuple[str, ...] = ()) -> Target:
    """Read the pipelines file and make the configuration of one pipeline.

    Raises
    ------
    ConfigError : an unknown pipeline, key, value, or stage to refresh
    """
    deployment = read_pipelines_file(file).deployment(name, str(file))
    pipeline = pipeline_of(deployment)
    unknown = set(deployment.parameters) - {"config", "refresh"}
    if unknown:
        raise ConfigError(
            f"{file}, deployment {name}: unknown parameter {sorted(unknown)[0]!r}",
            expected="config (and refresh)",
            todo="put the configuration below parameters.config",
        )
    given = deployment.parameters.get("config") or {}
    wanted = deployment.parameters.get("refresh") or []
    if not isinstance(given, dict) or not isinstance(wanted, list):
        raise ConfigError(
            f"{file}, deployment {name}: parameters.config is {type(given).__name__}, "
            f"parameters.refresh is {type(wanted).__name__}",
            expected="a mapping, and a list of stages",
            todo="write the configuration as key: value pairs below parameters.config",
        )
    try:
        values = apply_overrides(given, overrides)
    except RecursionError as error:
        raise ConfigError(f"{file}, deployment {name} refers to itself without end", todo="remove the alias") from error
    refresh = (*map(str, wanted), *refresh)
    origin = f"{file}, deployment {name}" + (" with --set" if overrides else "")
    config = configure(deployment, values, origin)
    stages = [stage.name for stage in pipeline.stages]
    for each in refresh:
        if each not in stages:
            raise ConfigError(
                f"asked to refresh {each!r}",
                expected=f"a stage of {name}: {', '.join(stages)}",
                todo="correct the name",
            )
    return Target(deployment, pipeline, config, ArtifactStore(config.store), refresh)


def stderr_console() -> Console:
    """Where everything goes that is for people rather than for programs."""
    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """Where a command's result goes."""
    return Console(highlight=False)


def human_bytes(n_bytes: int) -> str:
    """A size as people write it, in powers of 1000.

    >>> human_bytes(1_234_567)
    '1.2 MB'
    """
    value, units = float(n_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{n_bytes} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"
