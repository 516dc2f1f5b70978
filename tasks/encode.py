"""The encode stage as a Prefect task, around :func:`vecmill.vocabulary.encode.encode_corpus`."""

from __future__ import annotations

from tasks.caching import PipelineRun, build_or_reuse, stage_task
from vecmill.store.execute import StageOutcome


@stage_task("encode")
def encode(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
    """Turn documents into token ids."""
    return build_or_reuse(run, "encode", inputs)
