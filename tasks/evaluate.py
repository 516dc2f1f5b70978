"""The evaluate stage as a Prefect task, around :func:`vecmill.evaluation.evaluate.evaluate_words`."""

from __future__ import annotations

from tasks.caching import PipelineRun, build_or_reuse, stage_task
from vecmill.store.execute import StageOutcome


@stage_task("evaluate")
def evaluate(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
    """Score the vectors on the benchmarks."""
    return build_or_reuse(run, "evaluate", inputs)
