"""The train stage as a Prefect task, around :func:`vecmill.words.train.train_words`."""

from __future__ import annotations

from tasks.caching import PipelineRun, build_or_reuse, stage_task
from vecmill.store.execute import StageOutcome


@stage_task("train")
def train(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
    """Train word vectors."""
    return build_or_reuse(run, "train", inputs)
