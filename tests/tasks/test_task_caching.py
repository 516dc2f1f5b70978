"""The adapter between stages and Prefect tasks."""

from __future__ import annotations

import pytest
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from reference import toy_stages
from tasks import caching
from tasks.caching import PipelineRun, build_or_reuse
from vecmill.errors import ConfigError, RegistryError, SourceError, StorageFull, StoreError, TrainingDiverged
from vecmill.pipelines.words import WORDS
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import StageOutcome
from vecmill.store.manifest import ArtifactRef


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (RegistryError("no answer"), True),
        (StoreError("no answer"), True),
        (ConnectionError("reset"), True),
        (StorageFull("full"), False),
        (SourceError("bad line"), False),
        (ConfigError("bad key"), False),
        (TrainingDiverged("NaN"), False),
        (ZeroDivisionError("a bug"), False),
    ],
)
def test_faults_are_tried_again_and_bad_input_is_not(error: Exception, again: bool) -> None:
    state = Failed(data=error)
    assert caching._worth_retrying(None, None, state) is again  # type: ignore[arg-type]


def test_every_stage_has_a_task_that_leaves_caching_to_the_store() -> None:
    import importlib

    for stage in WORDS.stages:
        task = getattr(importlib.import_module(f"tasks.{stage.name}"), stage.name).prefect_task
        assert task.name == stage.name
        assert task.cache_policy == NO_CACHE
        assert task.persist_result is False


def test_a_flow_that_hands_the_wrong_outcomes_is_told() -> None:
    config = toy_stages.ToyConfig(store=StoreConfig(uri="memory://task-test/store"))
    run = PipelineRun(toy_stages.pipeline(), config, ArtifactStore(config.store))
    wrong = StageOutcome(ArtifactRef("total", "k", "d"), cached=True, seconds=0)
    with pytest.raises(TypeError, match=r"doubled reads \('numbers',\), the flow gave it \('total',\)"):
        build_or_reuse(run, "doubled", (wrong,))
