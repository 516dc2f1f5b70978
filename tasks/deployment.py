"""What a deployment needs on the Prefect server besides itself: work pools, and a watch for lost hosts."""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import Automation, EventTrigger, Posture
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists

WATCH_NAME = "vecmill-crash-lost-flows"
HEARTBEAT_SECONDS = 30  # the shortest that Prefect allows; deployments set it for their flow processes
_ENDED = ("Completed", "Failed", "Cancelled", "Crashed")


def ensure_work_pools(names: list[str]) -> None:
    """Create the process work pools of these names that do not exist yet."""
    with get_client(sync_client=True) as client:
        for name in names:
            try:
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))
            except ObjectAlreadyExists:
                continue


def watch_for_lost_hosts(missed_heartbeats: int = 3) -> dict[str, str]:
    """Create the automation that turns a run ``Crashed`` when its heartbeats stop; a build step of ``pipelines.yaml``.

    A worker reports a flow process that dies under it. When the host goes, nobody reports anything and the run would
    stay ``Running`` for ever, keeping its concurrency slot.

    Parameters
    ----------
    missed_heartbeats : how many in a row count as lost, at least 3, or healthy runs would be crashed
    """
    if missed_heartbeats < 3:
        raise ValueError(f"missed_heartbeats is {missed_heartbeats}; below 3 a healthy run can look lost")
    with get_client(sync_client=True) as client:
        standing = client.read_automations_by_name(WATCH_NAME)
    if not standing:
        Automation(
            name=WATCH_NAME,
            description="A run whose heartbeats stopped has lost its host.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in _ENDED)},
                match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=timedelta(seconds=HEARTBEAT_SECONDS * missed_heartbeats),
            ),
            actions=[ChangeFlowRunState(state=StateType.CRASHED)],
        ).create()
    return {"automation": WATCH_NAME}
