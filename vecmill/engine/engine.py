"""Where the stages of a run are carried out: here, or on a Ray cluster; the store answers the same either way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.manifest import ArtifactRef
from vecmill.store.plan import Stage


class Engine(Protocol):
    """Something that runs stages.

    Attributes
    ----------
    in_this_process : whether stages share this process, and with it whatever libraries keep globally
    """

    in_this_process: bool

    def start(self) -> None:
        """Get ready, where there is something to get ready; called from a thread that outlives the run."""

    def run_stage(
        self,
        stage: Stage,
        config: Any,
        store: ArtifactStore,
        inputs: Mapping[str, ArtifactRef],
        *,
        refresh: bool = False,
    ) -> StageOutcome:
        """As :func:`vecmill.store.execute.run_stage`."""


class LocalEngine:
    """Stages run in this process."""

    in_this_process = True

    def start(self) -> None:
        """There is nothing to get ready."""

    def run_stage(
        self,
        stage: Stage,
        config: Any,
        store: ArtifactStore,
        inputs: Mapping[str, ArtifactRef],
        *,
        refresh: bool = False,
    ) -> StageOutcome:
        """As :func:`vecmill.store.execute.run_stage`, which it is."""
        return run_stage(stage, config, store, inputs, refresh=refresh)


@contextmanager
def open_engine(config: Any) -> Iterator[Engine]:
    """The engine that a pipeline's configuration names; what it started ends with the block.

    Raises
    ------
    VecmillError : see :class:`vecmill.engine.ray_engine.RayEngine`
    """
    if config.engine.kind == "local":
        yield LocalEngine()
        return
    # Late: nobody else waits for it.
    from vecmill.engine.ray_engine import RayEngine

    with RayEngine(config) as engine:
        yield engine
