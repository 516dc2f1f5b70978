"""The contamination stage as a Prefect task, around :func:`vecmill.evaluation.contamination.find_contamination`."""

from __future__ import annotations

from tasks.caching import PipelineRun, build_or_reuse, stage_task
from vecmill.store.execute import StageOutcome


@stage_task("contamination")
def contamination(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
    """Look for the benchmarks in the corpus."""
    return build_or_reuse(run, "contamination", inputs)
