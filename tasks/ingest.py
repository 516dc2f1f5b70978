"""The ingest stage as a Prefect task, around :func:`vecmill.corpus.ingest.ingest`.

Faults are tried again: sources and stores may lie on the other end of a network."""

from __future__ import annotations

from tasks.caching import PipelineRun, build_or_reuse, stage_task
from vecmill.store.execute import StageOutcome


@stage_task("ingest", retries=2)
def ingest(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
    """Read the sources into Parquet shards."""
    return build_or_reuse(run, "ingest", inputs)
