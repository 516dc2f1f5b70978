"""Searches over a function whose best value is known, in a real database of trials."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest

from vecmill.config.validate import validate
from vecmill.errors import ConfigError, TrainingDiverged
from vecmill.tuning import database
from vecmill.tuning.config import SearchConfig
from vecmill.tuning.objective import Evaluation
from vecmill.tuning.space import Value
from vecmill.tuning.storage import storage_uri
from vecmill.tuning.trials import Study, contradiction

SPACE = {"train.x": {"low": -1.0, "high": 1.0}, "train.n": {"low": 1, "high": 4}}


def search_of(**changes: object) -> SearchConfig:
    return SearchConfig.model_validate({"space": SPACE, "pilot_shares": [0.1, 1.0], "n_trials": 12, **changes})


def hill(values: Mapping[str, object], share: float) -> Evaluation:
    """Best at x = 0.5, n = 2; a small share says the same with less contrast."""
    x, n = values["train.x"], values["train.n"]
    assert isinstance(x, float) and isinstance(n, int)
    return Evaluation({"mean_spearman": share * (1 - (x - 0.5) ** 2 - 0.1 * abs(n - 2))}, 1.0, 3, 1)


class Counting:
    """An evaluator that knows how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[tuple[str, object], ...], float]] = []

    def __call__(self, values: Mapping[str, object], share: float) -> Evaluation:
        self.asked.append((tuple(sorted(values.items())), share))
        return hill(values, share)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/search.db"


def test_tpe_finds_a_better_place_than_most_random_ones(storage: str) -> None:
    study = Study(search_of(n_trials=40, pruner="none"), storage, "base", seed=1)
    study.run(hill)
    best = study.best(1)[0]
    assert best.values["train.n"] == 2
    assert best.score is not None and best.score > 0.95
    assert sum(study.importances().values()) == pytest.approx(1, abs=1e-3)


def test_a_search_goes_on_where_it_was_stopped(storage: str) -> None:
    counting = Counting()

    def stopped(values: Mapping[str, object], share: float) -> Evaluation:
        if len(counting.asked) == 7:
            raise KeyboardInterrupt
        return counting(values, share)

    with pytest.raises(KeyboardInterrupt):
        Study(search_of(pruner="none"), storage, "base", seed=1).run(stopped)
    study = Study(search_of(pruner="none"), storage, "base", seed=1)
    finished = [each for each in study.trials() if each.state == "complete"]
    assert len(finished) == 3
    study.run(counting)
    complete = [each for each in study.trials() if each.state == "complete"]
    assert [each.values for each in complete[:3]] == [each.values for each in finished]
    assert len(complete) == 12
    (cut_off,) = [each for each in study.trials() if each.state == "cut off"]
    assert complete[3].values == cut_off.values  # drawn again, so that its training may resume
    assert len({repr(each.values) for each in complete}) == 12  # and nothing else is drawn twice
    before = len(counting.asked)
    Study(search_of(pruner="none"), storage, "base", seed=1).run(counting)
    assert len(counting.asked) == before


def test_the_same_seed_draws_the_same_candidates(tmp_path: Path) -> None:
    drawn = []
    for name in ("a", "b"):
        study = Study(search_of(), f"sqlite:///{tmp_path}/{name}.db", "base", seed=7)
        study.run(hill)
        drawn.append([(each.values, each.scores) for each in study.trials()])
    assert drawn[0] == drawn[1]


def test_a_grid_asks_each_combination_once(storage: str) -> None:
    space = {"train.x": {"low": 0.0, "high": 1.0, "step": 0.5}, "train.n": {"choices": [1, 2]}}
    counting = Counting()
    search = search_of(space=space, sampler="grid", pruner="none", n_trials=50, pilot_shares=[1.0])
    study = Study(search, storage, "base", seed=1)
    study.run(counting)
    asked = [values for values, _ in counting.asked]
    assert len(asked) == 6 == len(set(asked))
    assert {dict(values)["train.x"] for values in asked} == {0.0, 0.5, 1.0}
    study.run(counting)
    assert len(counting.asked) == 6


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_pruner_saves_the_large_share_of_weak_candidates(storage: str, pruner: str) -> None:
    counting = Counting()
    study = Study(search_of(pruner=pruner, sampler="random", n_trials=30), storage, "base", seed=3)
    study.run(counting)
    trials = study.trials()
    pruned = [each for each in trials if each.state == "pruned"]
    assert pruned and all(list(each.scores) == [0.1] for each in pruned)
    assert sum(share == 1.0 for _, share in counting.asked) == len(trials) - len(pruned)
    best = max(each.score or 0 for each in trials if each.state == "complete")
    assert best == study.best(1)[0].score


def test_a_widened_space_takes_over_what_was_scored(storage: str) -> None:
    counting = Counting()
    Study(search_of(pruner="none"), storage, "base", seed=1).run(counting)
    wider = SPACE | {"train.x": {"low": -2.0, "high": 2.0}}
    study = Study(search_of(pruner="none", space=wider, n_trials=15), storage, "base", seed=1)
    assert len(study.trials()) == 12
    study.run(counting)
    assert len(counting.asked) == 2 * 15
    assert {each.seconds for each in study.trials()[:12]} == {0.0}  # paid for by the first search
    assert Study(search_of(space=wider), storage, "another base", seed=1).trials() == []
    elsewhere = search_of(pruner="none", space=SPACE | {"train.x": {"low": 5.0, "high": 6.0}})
    assert Study(elsewhere, storage, "base", seed=1).trials() == []


def test_a_field_that_only_one_space_has_fits_where_the_configuration_agrees(storage: str) -> None:
    Study(search_of(pruner="none"), storage, "base", seed=1).run(hill)
    more = SPACE | {"train.m": {"low": 1, "high": 9}}

    def read(values: Mapping[str, object], paths: list[str]) -> dict[str, Value]:
        return {path: {"train.m": 4, "train.n": 2}[path] for path in paths}

    wider = Study(search_of(space=more), storage, "base", seed=1, read=read)
    assert {each.values["train.m"] for each in wider.trials()} == {4} and len(wider.trials()) == 12
    assert Study(search_of(space=more | {"train.m": {"low": 5, "high": 9}}), storage, "base", 1, read).trials() == []
    narrower = Study(search_of(space={"train.x": SPACE["train.x"]}), storage, "base", seed=1, read=read)
    assert 0 < len(narrower.trials()) < 12
    kept = {each.values["train.x"] for each in wider.trials() if each.values["train.n"] == 2}
    assert {each.values["train.x"] for each in narrower.trials()} == kept


def test_scores_on_other_shares_are_not_taken_over(storage: str) -> None:
    Study(search_of(pruner="none"), storage, "base", seed=1).run(hill)
    wider = SPACE | {"train.x": {"low": -2.0, "high": 2.0}}
    assert Study(search_of(space=wider, pilot_shares=[0.2, 1.0]), storage, "base", seed=1).trials() == []


@pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")
@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_a_trial_whose_process_died_is_drawn_again(storage: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    search = search_of(n_trials=2, sampler="random", pruner="none")
    with database.quiet_optuna():
        study = Study(search, storage, "base", seed=1)
        trial = study._study.ask()
        trial.set_user_attr("worker", [host, dead.pid, "mark"])
        trial._suggest("train.n", database.distribution_of(search.space["train.n"]))
        trial._suggest("train.x", database.distribution_of(search.space["train.x"]))
    waited = []

    def wait(seconds: float) -> None:  # the other host's worker comes to its end meanwhile
        waited.append(seconds)
        with database.quiet_optuna():
            study._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    monkeypatch.setattr("vecmill.tuning.trials.time.sleep", wait)
    again = Study(search, storage, "base", seed=1)
    again.run(hill)
    states = [each.state for each in again.trials()]
    if host == "elsewhere":
        assert waited and states == ["cut off", "complete", "complete"]  # it was waited for, and not repeated
    else:
        assert not waited and states == ["cut off", "complete", "complete"]
        assert again.trials()[1].values == trial.params


def test_a_widened_grid_asks_the_new_cells_alone(storage: str) -> None:
    counting = Counting()
    settings = {"sampler": "grid", "pruner": "none", "n_trials": 50, "pilot_shares": [1.0]}
    space = {"train.x": {"choices": [0.0, 0.5]}, "train.n": {"choices": [1, 2]}}
    Study(search_of(space=space, **settings), storage, "base", seed=1).run(counting)
    assert len(counting.asked) == 4
    space["train.x"] = {"choices": [0.0, 0.5, 1.0]}
    study = Study(search_of(space=space, **settings), storage, "base", seed=1)
    study.run(counting)
    assert len(counting.asked) == 6 == len(set(counting.asked))
    assert study.paid == {4, 5}


def test_a_candidate_that_fails_does_not_end_the_search(storage: str) -> None:
    def fragile(values: Mapping[str, object], share: float) -> Evaluation:
        if values["train.n"] == 4:
            raise TrainingDiverged("the loss is infinite", todo="lower the rate")
        if values["train.n"] == 3:
            raise contradiction(ConfigError("min_learning_rate is above learning_rate"))
        return hill(values, share)

    study = Study(search_of(sampler="random", pruner="none", n_trials=16), storage, "base", seed=2)
    study.run(fragile)
    trials = study.trials()
    assert len(trials) == 16
    failed = [each for each in trials if each.state == "failed"]
    assert {each.values["train.n"] for each in failed} == {3, 4}
    assert all("infinite" in each.reason or "min_learning_rate" in each.reason for each in failed)
    assert all(each.values["train.n"] in (1, 2) for each in study.best(5))


def test_another_fault_ends_the_search_and_keeps_what_is_finished(storage: str) -> None:
    calls = []

    def broken(values: Mapping[str, object], share: float) -> Evaluation:
        calls.append(share)
        if len(calls) > 4:
            raise OSError("no space left")
        return hill(values, share)

    study = Study(search_of(pruner="none"), storage, "base", seed=1)
    with pytest.raises(OSError, match="no space left"):
        study.run(broken)
    assert sum(each.state == "complete" for each in study.trials()) == 2


def test_trials_run_side_by_side(storage: str) -> None:
    together = threading.Barrier(2, timeout=200)

    def meet(values: Mapping[str, object], share: float) -> Evaluation:
        together.wait()
        return hill(values, share)

    search = search_of(sampler="random", pruner="none", parallel_trials=2, pilot_shares=[1.0], n_trials=6)
    study = Study(search, storage, "base", seed=1)
    study.run(meet)
    assert [each.state for each in study.trials()] == ["complete"] * 6


def test_an_objective_may_weigh_several_metrics(storage: str) -> None:
    search = search_of(objective={"a": 1, "b": 3}, pilot_shares=[1.0], n_trials=1)
    study = Study(search, storage, "base", seed=1)
    study.run(lambda values, share: Evaluation({"a": 0.0, "b": 1.0}))
    assert study.trials()[0].score == pytest.approx(0.75)


@pytest.mark.parametrize("metrics", [{"other": 0.5}, {"mean_spearman": float("nan"), "other": 0.5}])
def test_an_objective_that_is_not_there_is_refused(storage: str, metrics: dict[str, float]) -> None:
    study = Study(search_of(), storage, "base", seed=1)
    with pytest.raises(ConfigError, match=r"'mean_spearman'.*one of .*other"):
        study.run(lambda values, share: Evaluation(metrics))


def test_a_file_where_none_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"search\.storage sqlite:///.*/file/x\.db cannot be made"):
        storage_uri(search_of(storage=f"sqlite:///{tmp_path}/file/x.db"))


def test_a_database_that_cannot_be_opened_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"search\.storage") as refusal:
        Study(search_of(), "postgresql://ann:sesame@127.0.0.1:1/none", "base", seed=1)
    assert "sesame" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {}}, "space"),
        ({"space": {"train.x": {"low": 1}}}, "both low and high"),
        ({"space": {"train.x": {"low": 1, "high": 2, "choices": [1]}}}, "either low and high, or choices"),
        ({"space": {"train.x": {"low": 2, "high": 1}}}, "low 2 is above high 1"),
        ({"space": {"train.x": {"low": 0, "high": 1, "log": True}}}, "begins above 0"),
        ({"space": {"train.x": {"low": 1, "high": 5, "step": 0.5}}}, "no whole number"),
        ({"space": {"train.x": {"choices": [1, 1]}}}, "stands there twice"),
        ({"space": {"evaluate.n_resamples": {"choices": [1, 2]}}}, "a search varies fields of corpus"),
        ({"space": {"train": {"choices": [1, 2]}}}, "for example train.learning_rate"),
        ({"pilot_shares": [0.5, 0.2]}, "must rise"),
        ({"pilot_shares": [0.0]}, "must rise"),
        ({"folds": 1}, "folds is 1"),
        ({"space": {"encode.documents_share": {"low": 0.1, "high": 1.0}}}, "pilot_shares and folds set for each trial"),
        ({"objective": {"a": 0}}, "a weight above 0"),
        ({"sampler": "grid"}, "cannot list the values of train.x"),
        ({"storage": "mysql://ann:sesame@host/db"}, "storage"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        validate(SearchConfig, {"space": SPACE, **changes}, "pipelines.yaml")
    assert "sesame" not in str(refusal.value)


def test_workers_of_one_database_never_take_the_same_candidate(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of a grid wait in the database; looking whether one still waits and taking it are two steps on SQLite."""
    from optuna.storages import RDBStorage
    from optuna.trial import TrialState

    real = RDBStorage.check_trial_is_updatable
    both = threading.Barrier(2)

    def late(self: RDBStorage, trial_id: int, state: TrialState) -> None:
        real(self, trial_id, state)
        if state == TrialState.WAITING:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(2)  # both have looked before either takes, if nobody keeps them apart

    monkeypatch.setattr(RDBStorage, "check_trial_is_updatable", late)
    space = {"train.x": {"choices": [0.1, 0.5]}, "train.n": {"choices": [1, 2]}}
    counting = Counting()
    search = search_of(space=space, sampler="grid", pruner="none", parallel_trials=2, pilot_shares=[1.0], n_trials=4)
    study = Study(search, storage, "base", seed=1)
    study.run(counting)
    assert len({values for values, _ in counting.asked}) == len(counting.asked) == 4
    assert [each.state for each in study.trials()] == ["complete"] * 4
