"""The vocabulary stage as a Prefect task, around :func:`vecmill.vocabulary.build.build_vocabulary`."""

from __future__ import annotations

from tasks.caching import PipelineRun, build_or_reuse, stage_task
from vecmill.store.execute import StageOutcome


@stage_task("vocabulary")
def vocabulary(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
    """Count words and keep a reservoir sample of documents."""
    return build_or_reuse(run, "vocabulary", inputs)
