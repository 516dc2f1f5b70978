"""The long-lived form: deployments on a real Prefect server, a process worker, schedules, and processes that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.settings import PREFECT_API_URL, temporary_settings

from servers import ROOT, start_worker, stop, wait_until
from tasks.deployment import WATCH_NAME
from vecmill.store.artifact_store import ArtifactStore, StoreConfig

pytestmark = [pytest.mark.server, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def client(deployed: dict[str, str]) -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings({PREFECT_API_URL: deployed["PREFECT_API_URL"]}),
        get_client(sync_client=True) as open_client,
    ):
        yield open_client


@pytest.fixture(scope="module")
def workers() -> Iterator[list[subprocess.Popen[Any]]]:
    started: list[subprocess.Popen[Any]] = []
    yield started
    for each in started:
        stop(each)


@pytest.fixture
def worker(workers: list[subprocess.Popen[Any]], deployed: dict[str, str], tmp_path: Path) -> subprocess.Popen[Any]:
    """The worker of the tests before, or another where a test killed it."""
    if not workers or workers[-1].poll() is not None:
        workers.append(start_worker(deployed, tmp_path / "worker.log"))
    return workers[-1]


def trigger(client: SyncPrefectClient, config: dict[str, Any]) -> Any:
    deployment = client.read_deployment_by_name("words/words")
    return client.create_flow_run_from_deployment(deployment.id, parameters={"config": config}).id


def state_of(client: SyncPrefectClient, run_id: Any) -> str:
    state = client.read_flow_run(run_id).state
    return state.name if state else ""


def retry_until_completed(client: SyncPrefectClient, run_id: Any, environment: dict[str, str]) -> None:
    """Retry a crashed run until it completes.

    Prefect reports a killed process twice, seconds apart on a busy machine: from the process and from the worker. The
    second report ends whatever state the run has by then, a retry that was quicker included; that retry may go on all
    the same, and then the run is in no state to be retried once more.
    """
    n_retries = 0

    def completed() -> bool:
        nonlocal n_retries
        if state_of(client, run_id) == "Crashed":
            command = [sys.executable, "-m", "prefect", "flow-run", "retry", str(run_id)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
            said = " ".join((done.stdout + done.stderr).split())
            assert done.returncode == 0 or "terminal states" in said, said
            n_retries += done.returncode == 0
            assert n_retries < 4, "the run crashed after each retry"
        return state_of(client, run_id) == "Completed"

    wait_until(completed, 400, lambda: f"the retried run completes, not {state_of(client, run_id)}")


def finished(client: SyncPrefectClient, run_id: Any) -> bool:
    state = client.read_flow_run(run_id).state
    return bool(state and state.is_final())


def states_in_order(client: SyncPrefectClient, run_id: Any) -> dict[str, list[str]]:
    """By task: the last state of each time that it ran, in order; they reach the API a moment after the flow's."""
    from prefect.client.schemas.filters import FlowRunFilterId

    runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
    found: dict[str, list[str]] = {}
    for each in sorted(runs, key=lambda each: each.start_time or datetime.min.replace(tzinfo=UTC)):
        if each.state:
            found.setdefault(each.name.rsplit("-", 1)[0], []).append(each.state.name)
    return found


def task_states(client: SyncPrefectClient, run_id: Any) -> dict[str, str]:
    """Name of each task's last state."""
    return {name: states[-1] for name, states in states_in_order(client, run_id).items()}


STAGES = {"ingest", "contract", "contamination", "vocabulary", "encode", "train", "evaluate", "register"}


def test_scheduled_runs_appear_at_two_in_their_zone(client: SyncPrefectClient) -> None:
    deployment = client.read_deployment_by_name("words/words-nightly")
    assert deployment.concurrency_options is not None or deployment.global_concurrency_limit is not None

    def runs() -> list[Any]:
        found = client.read_flow_runs()
        return [each for each in found if each.deployment_id == deployment.id]

    scheduled = wait_until(runs, 200, "the scheduler creates runs of words-nightly")
    times = sorted(each.expected_start_time.astimezone(ZoneInfo("Europe/Berlin")) for each in scheduled)
    assert {(each.hour, each.minute) for each in times} == {(2, 0)}
    assert times[0] > datetime.now(UTC)
    assert (times[0] - datetime.now(UTC)).total_seconds() <= 25 * 3600


def test_lost_hosts_are_watched(client: SyncPrefectClient) -> None:
    assert [each.name for each in client.read_automations_by_name(WATCH_NAME)] == [WATCH_NAME]


def test_plain_prefect_deploys_the_file_as_it_is(deployed: dict[str, str], client: SyncPrefectClient) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", "pipelines.yaml", "--all"],
        cwd=ROOT,
        env=deployed,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(client.read_automations_by_name(WATCH_NAME)) == 1
    names = {each.name for each in client.read_deployments()}
    assert names == {"words", "words-nightly", "words-search", "words-s3"}


def test_a_run_completes_and_the_next_is_all_cached(
    client: SyncPrefectClient, worker: subprocess.Popen[Any], small_config: dict[str, Any]
) -> None:
    for expected in ("Completed", "Cached"):
        run_id = trigger(client, small_config)
        wait_until(lambda run_id=run_id: finished(client, run_id), 400, "the run ends", worker)
        assert state_of(client, run_id) == "Completed"
        wait_until(
            lambda run_id=run_id, expected=expected: task_states(client, run_id) == dict.fromkeys(STAGES, expected),
            200,
            lambda run_id=run_id, expected=expected: f"all tasks are {expected}: {task_states(client, run_id)}",
        )


def test_a_killed_flow_crashes_and_its_retry_resumes_where_it_died(
    client: SyncPrefectClient, worker: subprocess.Popen[Any], small_config: dict[str, Any], deployed: dict[str, str]
) -> None:
    small_config["train"]["epochs"] = 5_000  # long enough to be killed in the middle
    small_config["train"]["dim"] = 100
    run_id = trigger(client, small_config)
    store = ArtifactStore(StoreConfig(**small_config["store"]))

    def manifests_of(stage: str) -> list[Any]:
        return sorted(store.manifests(stage), key=repr)

    wait_until(lambda: list(store.manifests("encode")), 200, "the run reaches training", worker)
    wait_until(lambda: task_states(client, run_id).get("train") == "Running", 200, "training runs")
    (record,) = Path(small_config["store"]["uri"]).glob("runs/words/*.json")
    os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    wait_until(lambda: state_of(client, run_id) == "Crashed", 200, "the worker reports the crash", worker)
    assert list(store.manifests("train")) == []
    finished_before = {name: manifests_of(name) for name in ("ingest", "contract", "vocabulary", "encode")}

    retry_until_completed(client, run_id, deployed)

    def resumed() -> bool:
        """A run that was retried twice may have run twice, one beside the other: what one built is the other's hit."""
        states = states_in_order(client, run_id)
        return all("Cached" in states.get(name, ()) for name in finished_before) and all(
            {"Completed", "Cached"} & set(states.get(name, ())) for name in ("train", "evaluate", "register")
        )

    wait_until(resumed, 200, lambda: f"what was done is cached, the rest built: {states_in_order(client, run_id)}")
    assert {name: manifests_of(name) for name in finished_before} == finished_before
    for name in ("train", "evaluate", "register"):
        assert len(list(store.manifests(name))) == 1


def test_a_run_whose_host_is_lost_ends_crashed(
    client: SyncPrefectClient, worker: subprocess.Popen[Any], small_config: dict[str, Any]
) -> None:
    """Worker and flow die together, so nobody is left to report it: the heartbeat automation does. Comes last here."""
    small_config["train"] |= {"epochs": 10_000, "dim": 300}  # not done before it is killed, however late that is
    run_id = trigger(client, small_config)
    wait_until(lambda: task_states(client, run_id).get("train") == "Running", 200, "training runs", worker)
    (record,) = Path(small_config["store"]["uri"]).glob("runs/words/*.json")
    # At one stroke: a worker that goes on would report the flow, and a flow that goes on would report itself.
    os.killpg(worker.pid, signal.SIGSTOP)
    os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert state_of(client, run_id) == "Running"
    wait_until(lambda: state_of(client, run_id) == "Crashed", 400, "it is noticed that heartbeats are missing", every=2)
