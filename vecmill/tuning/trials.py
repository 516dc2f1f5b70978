"""Trials: Optuna draws candidates, a function scores them on growing shares of the text, a pruner drops the weak.

The database of trials makes a search go on where it was stopped. It holds no models: each training is an artifact of
the store, so a trial that was cut off, or that another search has run already, costs no second training.
"""

from __future__ import annotations

import contextvars
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vecmill.errors import ConfigError, TrainingDiverged, VecmillError
from vecmill.progress import track
from vecmill.registry.config import without_password
from vecmill.store.digest import digest_json
from vecmill.tuning.config import Dimension, SearchConfig
from vecmill.tuning.space import Value

# A trial whose process died is given up, and drawn again, after this long without a sign of life.
_HEARTBEAT_SECONDS, _GRACE_SECONDS = 30, 120

_BASE, _OBJECTIVE, _REASON, _SECONDS, _CACHED = "base", "objective", "reason", "seconds", "cached_stages"


@dataclass(frozen=True)
class Evaluation:
    """What training and scoring one candidate came to.

    Attributes
    ----------
    metrics : of the evaluate stage
    seconds : wall time, cached stages included
    n_stages, n_cached : stages that the candidate went through, and how many of them stood already
    outcome : whatever the caller wants to find again
    """

    metrics: Mapping[str, Any]
    seconds: float = 0.0
    n_stages: int = 0
    n_cached: int = 0
    outcome: Any = None


@dataclass(frozen=True)
class Trial:
    """One candidate as the database knows it.

    Attributes
    ----------
    number : from 0, in the order in which they were drawn
    values : the fields of the space, by path
    scores : by share of the documents; the trial's own score is the one on the largest share
    state : ``complete``, ``pruned``, ``failed`` or ``running``
    reason : why it failed, otherwise empty
    """

    number: int
    values: dict[str, Value]
    scores: dict[float, float]
    state: str
    seconds: float = 0.0
    n_cached: int = 0
    n_stages: int = 0
    reason: str = ""

    @property
    def score(self) -> float | None:
        """The score on the largest share that it reached, None for a trial without one."""
        return self.scores[max(self.scores)] if self.scores else None


# Values of the space and a share of the documents -> what came of it.
Evaluator = Callable[[Mapping[str, Value], float], Evaluation]


def objective_score(search: SearchConfig, metrics: Mapping[str, Any]) -> float:
    """The number that the search maximises: one metric, or the weighted mean of several.

    Raises
    ------
    ConfigError : the evaluation has no such metric, or it is no number
    """
    weights = search.objective if isinstance(search.objective, dict) else {search.objective: 1.0}
    total = 0.0
    for name, weight in weights.items():
        value = metrics.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            numbers = sorted(key for key, each in metrics.items() if isinstance(each, float))
            raise ConfigError(
                f"search.objective names {name!r}, which the evaluation "
                + ("lacks" if value is None else f"has as {value!r}"),
                expected="one of " + ", ".join(numbers),
                todo="correct search.objective, or add the benchmark to evaluate.benchmarks",
            )
        total += weight * value
    return total / sum(weights.values())


class Study:
    """The trials of one search, in a database.

    A study belongs to what its scores depend on: the configuration that the search starts from, the space, the
    objective and the shares. With any of them changed it is another study; trials of earlier studies of the same base,
    objective and shares whose values fit into the new space are taken over, scores and all.

    Parameters
    ----------
    search : the search
    storage : database URI
    base : digest of everything that the scores depend on beside the space's fields
    seed : of the sampler

    Raises
    ------
    ConfigError : the database cannot be opened
    """

    def __init__(self, search: SearchConfig, storage: str, base: str, seed: int) -> None:
        self.search = search
        self._base = base
        self._storage_uri = storage
        definition = search.model_dump(mode="json", include={"space", "sampler", "pruner", "pilot_shares", "objective"})
        self.name = f"vecmill-{digest_json({'base': base, 'seed': seed, **definition})[:16]}"
        with _quiet_optuna():
            self._study = self._open(seed)
            if not self._study.trials:
                self._take_over()

    def _open(self, seed: int) -> Any:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        try:
            storage = optuna.storages.RDBStorage(
                self._storage_uri,
                engine_kwargs={"connect_args": {"timeout": 60}} if self._storage_uri.startswith("sqlite") else None,
                heartbeat_interval=_HEARTBEAT_SECONDS,
                grace_period=_GRACE_SECONDS,
            )
            if self._storage_uri.startswith("sqlite"):
                _write_ahead(storage.engine)
            study = optuna.create_study(
                storage=storage,
                study_name=self.name,
                sampler=self._sampler(seed),
                pruner=self._pruner(),
                direction="maximize",
                load_if_exists=True,
            )
            study.set_user_attr(_BASE, self._base)
            study.set_user_attr(_OBJECTIVE, digest_json(self.search.model_dump(mode="json")["objective"]))
        except (SQLAlchemyError, ImportError, OSError) as error:
            raise ConfigError(
                f"search.storage {without_password(self._storage_uri)} cannot be used "
                f"({without_password(str(error)).splitlines()[0]})",
                expected="a database that can be written, and its driver installed",
                todo="correct search.storage, or leave it out to use .vecmill/search.db",
            ) from error
        return study

    def _sampler(self, seed: int) -> Any:
        from optuna import samplers

        # Optuna wants 32 bits; the fold keeps all 64 of ours in play.
        seed = (seed ^ (seed >> 32)) & 0x7FFFFFFF
        if self.search.sampler == "grid":
            values = {path: dimension.grid() for path, dimension in sorted(self.search.space.items())}
            return samplers.GridSampler(values, seed=seed)  # type: ignore[arg-type]
        if self.search.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, n_startup_trials=self.search.startup_trials)

    def _pruner(self) -> Any:
        from optuna import pruners

        if self.search.pruner == "hyperband":
            return pruners.HyperbandPruner(min_resource=1, max_resource=len(self.search.pilot_shares))
        if self.search.pruner == "median":
            return pruners.MedianPruner(n_startup_trials=min(5, self.search.n_trials // 2))
        return pruners.NopPruner()

    def _take_over(self) -> None:
        """Copy finished trials of earlier studies with the same base, objective and shares that fit into the space."""
        import optuna

        storage = self._study._storage
        distributions = {path: _distribution(each) for path, each in sorted(self.search.space.items())}
        mine = {name: self._study.user_attrs[name] for name in (_BASE, _OBJECTIVE)}
        seen: set[str] = set()
        for summary in optuna.get_all_study_summaries(storage):
            if summary.study_name == self.name or {name: summary.user_attrs.get(name) for name in mine} != mine:
                continue
            for trial in optuna.load_study(study_name=summary.study_name, storage=storage).get_trials(deepcopy=False):
                fits = trial.params.keys() == distributions.keys() and all(
                    each._contains(each.to_internal_repr(trial.params[path])) for path, each in distributions.items()
                )
                if trial.state != optuna.trial.TrialState.COMPLETE or not fits:
                    continue
                if len(trial.intermediate_values) != len(self.search.pilot_shares) or repr(trial.params) in seen:
                    continue
                seen.add(repr(trial.params))
                self._study.add_trial(
                    optuna.trial.create_trial(
                        params=trial.params,
                        distributions=distributions,
                        value=trial.value,
                        intermediate_values=trial.intermediate_values,
                        user_attrs={**trial.user_attrs, _SECONDS: 0.0},
                    )
                )

    def run(self, evaluate: Evaluator) -> None:
        """Draw and score candidates until there are ``n_trials``, those of earlier runs included.

        A candidate whose training diverges, or whose values contradict each other, counts as failed and the search
        goes on; anything else ends it, and what is finished stays.
        """
        import optuna

        shares = self.search.pilot_shares
        left = self.search.n_trials - sum(each.state != "running" for each in self.trials())
        if self.search.sampler == "grid":
            cells = 1
            for dimension in self.search.space.values():
                cells *= len(dimension.grid() or ())
            left = min(left, cells - len(self.trials()))
        surroundings = contextvars.copy_context()  # Prefect finds its run there; Optuna's threads begin without
        lock = threading.Lock()
        if left <= 0:
            return

        def objective(trial: Any) -> float:
            values = {path: _suggest(trial, path, each) for path, each in sorted(self.search.space.items())}
            spent, n_cached, n_stages = 0.0, 0, 0
            score = 0.0
            for step, share in enumerate(shares, start=1):
                found = evaluate(values, share)
                spent, n_cached, n_stages = spent + found.seconds, n_cached + found.n_cached, n_stages + found.n_stages
                trial.set_user_attr(_SECONDS, round(spent, 3))
                trial.set_user_attr(_CACHED, [n_cached, n_stages])
                score = objective_score(self.search, found.metrics)
                trial.report(score, step)
                if step < len(shares) and trial.should_prune():
                    raise optuna.TrialPruned
            return score

        def in_surroundings(trial: Any) -> float:
            try:
                score: float = surroundings.copy().run(objective, trial)
            except (TrainingDiverged, _Contradiction) as error:
                trial.set_user_attr(_REASON, str(error))
                raise _Failed from error
            finally:
                with lock:
                    bar.advance()
            return score

        with track("trials", left, "trials") as bar, _quiet_optuna():
            self._study.optimize(
                in_surroundings,
                n_trials=left,
                n_jobs=self.search.parallel_trials,
                catch=(_Failed,),
                gc_after_trial=False,
            )

    def trials(self) -> list[Trial]:
        """All trials, in the order in which they were drawn."""
        with _quiet_optuna():
            return [self._trial(each) for each in self._study.get_trials(deepcopy=False)]

    def _trial(self, found: Any) -> Trial:
        shares = self.search.pilot_shares
        n_cached, n_stages = found.user_attrs.get(_CACHED, (0, 0))
        state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(found.state.name, "running")
        return Trial(
            number=found.number,
            values=dict(found.params),
            scores={shares[step - 1]: value for step, value in sorted(found.intermediate_values.items())},
            state=state,
            seconds=found.user_attrs.get(_SECONDS, 0.0),
            n_cached=n_cached,
            n_stages=n_stages,
            reason=found.user_attrs.get(_REASON, ""),
        )

    def best(self, n: int) -> list[Trial]:
        """The ``n`` best complete trials, different from one another, best first."""
        complete = [each for each in self.trials() if each.state == "complete" and each.score is not None]
        found: dict[str, Trial] = {}
        for trial in sorted(complete, key=lambda each: (-(each.score or 0.0), each.number)):
            found.setdefault(repr(sorted(trial.values.items())), trial)
        return list(found.values())[:n]

    def importances(self) -> dict[str, float]:
        """Share of each field in what sets good trials apart (PED-ANOVA, Watanabe et al. 2023); sums to 1.

        Empty while there are too few complete trials, or all of them scored the same.
        """
        import optuna

        complete = [each for each in self.trials() if each.state == "complete"]
        if len(complete) < 4 or len({each.score for each in complete}) < 2:
            return {}
        with _quiet_optuna():
            found = optuna.importance.get_param_importances(
                self._study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        return {path: round(float(value), 4) for path, value in found.items()}


def _write_ahead(engine: Any) -> None:
    """Let SQLite append to a log instead of waiting for the disk some twenty times a trial.

    What a killed process had committed stays; after a power cut the last trials may be missing, never half of one.
    """
    from sqlalchemy import event

    def configure(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    engine.dispose()  # those that were open would keep the old manner
    event.listen(engine, "connect", configure)


class _Failed(Exception):
    """A candidate that cannot be scored; the search goes on."""


class _Contradiction(VecmillError):
    """A candidate whose values contradict each other."""


def contradiction(error: ConfigError) -> VecmillError:
    """``error`` as one that fails a trial rather than the search, since another combination of values will do."""
    return _Contradiction(str(error))


def _suggest(trial: Any, path: str, dimension: Dimension) -> Value:
    value: Value = trial._suggest(path, _distribution(dimension))
    return value


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.is_whole:
        return IntDistribution(
            int(dimension.low or 0), int(dimension.high or 0), dimension.log, int(dimension.step or 1)
        )
    return FloatDistribution(float(dimension.low or 0), float(dimension.high or 0), dimension.log, dimension.step)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
