"""The register stage as a Prefect task, around :func:`vecmill.registry.register.register_model`.

Faults are tried again: the registry may be a server that is being restarted."""

from __future__ import annotations

from tasks.caching import PipelineRun, build_or_reuse, stage_task
from vecmill.store.execute import StageOutcome


@stage_task("register", retries=2)
def register(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
    """Register the model, and make it champion if it is better beyond noise."""
    return build_or_reuse(run, "register", inputs)
