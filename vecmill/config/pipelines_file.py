"""Reading ``pipelines.yaml``: Prefect's deployment file, and vecmill's one definition of its pipelines.

``prefect deploy`` ignores keys that it does not know, so a misspelt one deploys quietly with defaults. The models here
know the keys of Prefect 3.8 and refuse the rest; ``vecmill run`` reads through them, and a test holds the file to them.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vecmill.config.files import PIPELINES_FILE
from vecmill.config.validate import validate
from vecmill.config.yaml_values import load_file
from vecmill.errors import ConfigError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Schedule(_Strict):
    """One schedule of a deployment; exactly one of cron, interval and rrule."""

    cron: str | None = None
    interval: float | None = Field(None, gt=0, description="seconds")
    rrule: str | None = None
    timezone: str | None = None
    active: bool = True
    slug: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    anchor_date: str | None = None
    day_or: bool | None = None
    replaces: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Schedule:
        if sum(each is not None for each in (self.cron, self.interval, self.rrule)) != 1:
            raise ValueError("a schedule has exactly one of cron, interval and rrule")
        return self


class ConcurrencyLimit(_Strict):
    """How many runs of a deployment at once, and what happens to one too many."""

    limit: int = Field(ge=1)
    collision_strategy: str = Field("ENQUEUE", pattern="^(ENQUEUE|CANCEL_NEW)$")
    grace_period_seconds: int | None = None


class WorkPool(_Strict):
    """Which workers take a deployment's runs."""

    name: str
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = Field(default_factory=dict)


class Deployment(_Strict):
    """One pipeline with its parameters, and when and where Prefect runs it."""

    name: str
    entrypoint: str
    description: str = ""
    version: str | None = None
    tags: list[str] = Field(default_factory=list)
    parameters: dict[str, Any] = Field(default_factory=dict)
    enforce_parameter_schema: bool = True
    schedule: Schedule | None = None
    schedules: list[Schedule] = Field(default_factory=list)
    paused: bool = False
    concurrency_limit: int | ConcurrencyLimit | None = None
    work_pool: WorkPool | None = None
    triggers: list[dict[str, Any]] = Field(default_factory=list)
    build: list[dict[str, Any]] | None = None
    push: list[dict[str, Any]] | None = None
    pull: list[dict[str, Any]] | None = None
    sla: list[dict[str, Any]] | None = None


class PipelinesFile(_Strict):
    """The whole file."""

    name: str = ""
    prefect_version: str | None = Field(None, alias="prefect-version")
    definitions: Any = None
    build: list[dict[str, Any]] | None = None
    push: list[dict[str, Any]] | None = None
    pull: list[dict[str, Any]] | None = None
    deployments: list[Deployment]

    def deployment(self, name: str, where: str = PIPELINES_FILE) -> Deployment:
        """The deployment of this name.

        Raises
        ------
        ConfigError : there is none; the message lists those there are and the nearest
        """
        names = [each.name for each in self.deployments]
        if name not in names:
            nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            raise ConfigError(
                f"there is no pipeline {name!r} in {where}",
                expected=f"one of {', '.join(names)}" if names else "at least one deployment",
                todo=f"did you mean {nearest[0]!r}?" if nearest else f"add a deployment named {name!r} to {where}",
            )
        return self.deployments[names.index(name)]


def read_pipelines_file(path: Path) -> PipelinesFile:
    """Read and check a pipelines file.

    Raises
    ------
    ConfigError : it is missing, is not YAML, or holds a key or value that Prefect's deployment schema does not have
    """
    try:
        raw = load_file(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no {path} here",
            expected="the file that defines the pipelines",
            todo="change into the project's folder, or name the file with --file",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})", todo="check the file and its permissions") from error
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place is not None else ""
        raise ConfigError(
            f"{path}{line} is not valid YAML ({getattr(error, 'problem', error)})", todo="correct the file"
        ) from error
    except RecursionError as error:
        raise ConfigError(
            f"{path} refers to itself without end", todo="remove the alias that points upwards"
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no mapping", expected="keys such as deployments", todo="correct the file")
    return validate(PipelinesFile, raw, str(path))
