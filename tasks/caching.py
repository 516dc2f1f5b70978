"""How a stage becomes a Prefect task: the store decides what is cached, Prefect shows it.

Prefect's own result cache is switched off on every stage (``NO_CACHE``), for it would be a second truth beside the
manifests: its default key holds the run id, its source digest does not see helper functions, and a record whose
artifact was deleted still counts as a hit. Here a task asks the store under the artifact's lock and ends in the state
``Cached`` when the artifact stands. The same question is answered the same way with no server at all.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed

from tasks.artifacts import publish
from vecmill.engine.engine import Engine, LocalEngine, open_engine
from vecmill.errors import StorageFull, TrainingDiverged, UserError, VecmillError
from vecmill.pipelines.summary import summarise
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome
from vecmill.store.plan import Pipeline, make_plan
from vecmill.store.runs import finish_run, latest_keys, start_run

log = logging.getLogger("vecmill")


class PipelineRun:
    """One run of a pipeline: what its tasks need to know, and what came of them.

    A plain class on purpose: Prefect searches dataclasses and models among a task's arguments for results of other
    tasks, and would walk through the whole store.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        config: Any,
        store: ArtifactStore,
        refresh: tuple[str, ...] = (),
        engine: Engine | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.config = config
        self.store = store
        self.refresh = refresh
        self.engine = engine or LocalEngine()
        self.started = time.perf_counter()
        self.outcomes: list[StageOutcome] = []

    def summary(self) -> dict[str, Any]:
        """What the run came to, as plain JSON values."""
        return summarise(self.pipeline, self.config, self.store, self.outcomes, time.perf_counter() - self.started)


@contextmanager
def pipeline_run(pipeline: Pipeline, config: Any, refresh: tuple[str, ...] = ()) -> Iterator[PipelineRun]:
    """Keep the record of a run: begun with the keys it is going to reach, ended well or with its error."""
    store = ArtifactStore(config.store)
    plan = make_plan(pipeline, config, store, refresh=refresh, earlier=latest_keys(store, pipeline.name))
    for planned in plan:
        for cause in planned.causes:
            log.info("%s will run: %s", planned.stage.name, cause)
    record = start_run(store, pipeline.name, {each.stage.name: each.key for each in plan})
    try:
        with open_engine(config) as engine:
            if pipeline.searches or not all(each.hit for each in plan):
                engine.start()
            yield PipelineRun(pipeline, config, store, refresh, engine)
    except BaseException as error:
        with contextlib.suppress(VecmillError, OSError):  # the disk that failed the run may refuse its record too
            finish_run(store, record, error=str(error) or type(error).__name__)
        raise
    finish_run(store, record)


class StageCall(Protocol):
    """A stage as flows call it: with the run, and the outcomes of the stages it reads."""

    def __call__(self, run: PipelineRun, *inputs: StageOutcome) -> StageOutcome: ...


def stage_task(name: str, *, retries: int = 0, retry_delay_seconds: float = 2.0) -> Callable[[StageCall], StageCall]:
    """Make a function that runs one stage into a Prefect task whose state says ``Cached`` when nothing had to run.

    Parameters
    ----------
    retries : how often a fault (a store or registry that did not answer) is tried again; bad input never is
    """

    def decorate(function: StageCall) -> StageCall:
        @functools.wraps(function)
        def body(run: PipelineRun, *inputs: StageOutcome) -> State[StageOutcome]:
            outcome = function(run, *inputs)
            publish(run.pipeline.name, run.store.uri, outcome)
            state = "Cached" if outcome.cached else "Completed"
            return Completed(name=state, message=f"{outcome.ref.stage}/{outcome.ref.key}", data=outcome)

        prefect_task = task(
            name=name,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=retries,
            retry_delay_seconds=retry_delay_seconds,
            retry_condition_fn=_worth_retrying,
        )(body)

        @functools.wraps(function)
        def call(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
            # Prefect's overloads know what a task returns, not that a returned State is taken apart again.
            state: Any = prefect_task(run, *inputs, return_state=True)
            outcome: StageOutcome = state.result()
            run.outcomes.append(outcome)
            return outcome

        call.prefect_task = prefect_task  # type: ignore[attr-defined]
        return call

    return decorate


def build_or_reuse(run: PipelineRun, name: str, inputs: tuple[StageOutcome, ...]) -> StageOutcome:
    """Run one stage of a pipeline through the store.

    Raises
    ------
    TypeError : ``inputs`` are not the outcomes of the stages that this one reads, in the pipeline's order
    """
    stage = run.pipeline.stage(name)
    given = tuple(each.stage for each in inputs)
    if given != stage.inputs:
        raise TypeError(f"{name} reads {stage.inputs}, the flow gave it {given}")
    refs = {each.stage: each.ref for each in inputs}
    return run.engine.run_stage(stage, run.config, run.store, refs, refresh=name in run.refresh)


def _worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    try:
        state.result()
    except (UserError, StorageFull, TrainingDiverged):  # these would end the same way again
        return False
    except (VecmillError, OSError):
        return True
    except Exception:  # anything else is a bug, which a second try does not mend
        return False
    return False
