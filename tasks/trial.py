"""A trial of a search as a Prefect task: the stages of a pipeline up to its scores, under one candidate's values."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.caching import PipelineRun
from tasks.register import register
from vecmill.store.execute import StageOutcome
from vecmill.store.manifest import ArtifactRef
from vecmill.store.plan import Stage, key_of, stage_parts
from vecmill.store.runs import finish_run, start_run
from vecmill.tuning.objective import Evaluation

# The stage whose metrics a search looks at; what comes after it belongs to the winner alone.
LAST_STAGE = "evaluate"
_TRAINING = "train"
# What several trials may do at the same time. The stages before are quick or shared, use all cores by themselves, and
# stand on libraries (Great Expectations, DuckDB) that keep global state.
_SIDE_BY_SIDE = frozenset({_TRAINING, LAST_STAGE})
_one_at_a_time = threading.Lock()


def train_and_score(run: PipelineRun, label: str, config: Any, *, for_registry: bool = False) -> Evaluation:
    """Run a candidate up to its scores, as one task whose state is ``Cached`` when all of it stood.

    Parameters
    ----------
    label : what Prefect shows as the task's name
    config : the pipeline's configuration with the candidate's values, and the replica that its training is
    for_registry : whether the model may be registered, which takes more stages than its scores do
    """
    stages = _stages(run, for_registry)
    state: Any = _trial.with_options(task_run_name=label)(run, config, stages, return_state=True)
    evaluation: Evaluation = state.result()
    return evaluation


@task(name="trial", cache_policy=NO_CACHE, persist_result=False)
def _trial(run: PipelineRun, config: Any, stages: list[Stage]) -> State[Evaluation]:
    started = time.perf_counter()
    outcomes: dict[str, StageOutcome] = {}
    with _at_work(run, config, stages):
        for stage in stages:
            inputs: dict[str, ArtifactRef] = {name: outcomes[name].ref for name in stage.inputs}
            apart = stage.name in _SIDE_BY_SIDE or not run.engine.in_this_process
            with nullcontext() if apart else _one_at_a_time:
                outcomes[stage.name] = run.engine.run_stage(stage, config, run.store, inputs)
    n_cached = sum(each.cached for each in outcomes.values())
    evaluation = Evaluation(
        metrics=outcomes[LAST_STAGE].metrics,
        seconds=time.perf_counter() - started,
        n_stages=len(outcomes),
        n_cached=n_cached,
        outcome=outcomes,
        trained_before=outcomes[_TRAINING].cached,
    )
    name = "Cached" if n_cached == len(outcomes) else "Completed"
    return Completed(name=name, message=f"{n_cached} of {len(outcomes)} stages stood", data=evaluation)


def _stages(run: PipelineRun, for_registry: bool) -> list[Stage]:
    """The stages up to the scores; all of them, or those alone that the scores descend from."""
    names = [stage.name for stage in run.pipeline.stages]
    stages = list(run.pipeline.stages[: names.index(LAST_STAGE) + 1])
    if for_registry:
        return stages
    needed = {LAST_STAGE}
    for stage in reversed(stages):
        needed.update(stage.inputs if stage.name in needed else ())
    return [stage for stage in stages if stage.name in needed]


@contextmanager
def _at_work(run: PipelineRun, config: Any, stages: list[Stage]) -> Iterator[None]:
    """Keep `vecmill gc` from the candidate's artifacts while they are made; the search's own record names others."""
    keys: dict[str, str] = {}
    for stage in stages:
        parts, _ = stage_parts(stage, config, {name: keys[name] for name in stage.inputs}, run.store)
        keys[stage.name] = key_of(parts)
    record = start_run(run.store, f"{run.pipeline.name}.trials", keys)
    try:
        yield
    finally:
        finish_run(run.store, record)


def register_scored(run: PipelineRun, config: Any, evaluation: Evaluation) -> dict[str, Any]:
    """Register a model that :func:`train_and_score` made; what came of it, as a run's summary has it."""
    outcomes: dict[str, StageOutcome] = evaluation.outcome
    models_run = PipelineRun(run.pipeline, config, run.store)
    models_run.outcomes.extend(outcomes.values())
    register(models_run, *(outcomes[name] for name in run.pipeline.stage("register").inputs))
    model: dict[str, Any] = models_run.summary()["model"]
    return model
