"""The contract stage as a Prefect task, around :func:`vecmill.corpus.contract.check_contract`."""

from __future__ import annotations

from tasks.caching import PipelineRun, build_or_reuse, stage_task
from vecmill.store.execute import StageOutcome


@stage_task("contract")
def contract(run: PipelineRun, *inputs: StageOutcome) -> StageOutcome:
    """Hold the corpus against its data contract."""
    return build_or_reuse(run, "contract", inputs)
