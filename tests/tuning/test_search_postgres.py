"""Searches whose trials stand in a real PostgreSQL, as many workers on many hosts have them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from servers import POSTGRES_PASSWORD
from vecmill.errors import ConfigError
from vecmill.tuning import database
from vecmill.tuning.config import SearchConfig
from vecmill.tuning.objective import Evaluation
from vecmill.tuning.trials import Study

pytestmark = pytest.mark.server

WORKER = """
import json, os, sys, time
from vecmill.quiet import be_quiet
be_quiet()
from vecmill.tuning.config import SearchConfig
from vecmill.tuning.objective import Evaluation
from vecmill.tuning.trials import Study

search, storage, begin = SearchConfig.model_validate(json.loads(sys.argv[1])), sys.argv[2], sys.argv[3]
while not os.path.exists(begin):
    time.sleep(0.01)

def evaluate(values, share):
    time.sleep(0.02)
    print(json.dumps([sorted(values.items()), share]), flush=True)
    return Evaluation({"mean_spearman": share * (1 - (values["train.x"] - 0.5) ** 2)}, 0.1, 3, 0)

study = Study(search, storage, "base", seed=1)
study.run(evaluate)
"""


def search_of(**changes: object) -> SearchConfig:
    space = {"train.x": {"low": 0.0, "high": 1.0}}
    return SearchConfig.model_validate({"space": space, "pilot_shares": [0.1, 1.0], "pruner": "none", **changes})


def hill(values: Mapping[str, object], share: float) -> Evaluation:
    x = values["train.x"]
    assert isinstance(x, float)
    return Evaluation({"mean_spearman": share * (1 - (x - 0.5) ** 2)}, 0.1, 3, 0)


def workers(search: SearchConfig, storage: str, n: int, folder: Path) -> list[str]:
    """What ``n`` processes that begin at once were asked for, one line each."""
    begin = folder / "begin"
    command = [sys.executable, "-c", WORKER, search.model_dump_json(exclude={"storage"}), storage, str(begin)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(n)]
    begin.touch()
    asked = []
    for each in started:
        out, errors = each.communicate(timeout=200)
        assert each.returncode == 0, errors
        asked += out.splitlines()
    return asked


@pytest.mark.parametrize(("kind", "sampler"), [("postgres", "grid"), ("sqlite", "tpe")])
def test_many_workers_on_an_empty_database_share_the_trials(
    kind: str, sampler: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    storage = request.getfixturevalue("postgres_database") if kind == "postgres" else f"sqlite:///{tmp_path}/s.db"
    space = {"train.x": {"low": 0.0, "high": 1.0, "step": 0.1}} if sampler == "grid" else {}
    search = search_of(sampler=sampler, n_trials=11, startup_trials=3, **({"space": space} if space else {}))
    asked = workers(search, storage, 3, tmp_path)
    assert len(asked) == 22 and len(set(asked)) == 22, "each candidate on each share once, none by two workers"
    study = Study(search, storage, "base", seed=1)
    assert [each.state for each in study.trials()] == ["complete"] * 11
    before = len(study.trials())
    study.run(hill)
    assert len(study.trials()) == before


# Optuna is kept quiet by a filter of warnings, which threads cannot have each of their own.
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_workers_that_widen_a_search_at_once_take_it_over_once(postgres_database: str) -> None:
    Study(search_of(n_trials=5), postgres_database, "base", seed=1).run(hill)
    wider = search_of(space={"train.x": {"low": -1.0, "high": 2.0}}, n_trials=8)
    with ThreadPoolExecutor(4) as pool:
        studies = list(pool.map(lambda _: Study(wider, postgres_database, "base", seed=1), range(4)))
    assert [len(each.trials()) for each in studies] == [5] * 4


def test_threads_of_one_process_share_a_postgres(postgres_database: str) -> None:
    together = threading.Barrier(4, timeout=200)

    def meet(values: Mapping[str, object], share: float) -> Evaluation:
        together.wait()
        return hill(values, share)

    search = search_of(parallel_trials=4, n_trials=8, sampler="random", pilot_shares=[1.0])
    study = Study(search, postgres_database, "base", seed=1)
    study.run(meet)
    assert [each.state for each in study.trials()] == ["complete"] * 8
    assert len({repr(each.values) for each in study.trials()}) == 8


def test_no_connection_is_held_while_a_candidate_trains(postgres_database: str) -> None:
    held = []

    def looking(values: Mapping[str, object], share: float) -> Evaluation:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with psycopg.connect(postgres_database) as connection:
            held.extend(connection.execute(query).fetchall()[0])
        return hill(values, share)

    study = Study(search_of(n_trials=2), postgres_database, "base", seed=1)
    study.run(looking)
    assert min(held) == 0, held  # a heartbeat may fall into one of the four looks


def test_a_database_that_goes_away_ends_the_search_with_what_to_do(
    postgres_database: str, postgres_server: str
) -> None:
    name = postgres_database.rpartition("/")[2]

    def removing(values: Mapping[str, object], share: float) -> Evaluation:
        with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        return hill(values, share)

    study = Study(search_of(n_trials=3), postgres_database, "base", seed=1)
    with pytest.raises(
        ConfigError, match=r"failed while the search ran .*start the search again: what was scored"
    ) as told:
        study.run(removing)
    assert "sesame" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("open%20sesame%40home", "sesame"), "password authentication failed"),
        (("/d", "/none"), "does not exist"),
        (("postgresql:", "postgresql+asyncpg:"), "asynchronous programs only.*leave.*asyncpg out"),
        (("postgresql:", "postgresql+pg8000:"), r"pip install 'vecmill\[postgres\]'"),
    ],
)
def test_what_a_postgres_refuses_is_said_without_the_password(
    postgres_database: str, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as told:
        Study(search_of(), postgres_database.replace(*change, 1), "base", seed=1)
    assert "sesame" not in str(told.value) and POSTGRES_PASSWORD not in str(told.value)


def test_without_a_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"no driver for PostgreSQL.*pip install 'vecmill\[postgres\]'") as told:
        Study(search_of(), "postgresql://ann:sesame@127.0.0.1/trials", "base", seed=1)
    assert "sesame" not in str(told.value)


def test_only_one_worker_at_a_time_is_let_into_a_block(postgres_database: str) -> None:
    inside, most = [0], [0]

    def enter(_: int) -> None:
        with database.one_at_a_time(postgres_database):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.05)
            inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert most == [1]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")
def test_a_trial_of_another_host_is_drawn_again_after_the_time_of_grace(postgres_database: str) -> None:
    search = search_of(n_trials=2, sampler="random")
    with database.quiet_optuna():
        study = Study(search, postgres_database, "base", seed=1)
        trial = study._study.ask()
        trial.set_user_attr("worker", ["elsewhere", 1, "mark"])
        trial._suggest("train.x", database.distribution_of(search.space["train.x"]))
        study._study._storage.record_heartbeat(trial._trial_id)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '10 minutes'")
    again = Study(search, postgres_database, "base", seed=1)
    again.run(hill)
    assert [each.state for each in again.trials()] == ["cut off", "complete", "complete"]
    assert again.trials()[1].values == trial.params
