"""Trials: Optuna draws candidates, a function scores them on growing shares of the text, a pruner drops the weak.

The database of trials makes a search go on where it was stopped. It holds no models: each training is an artifact of
the store, so a trial that was cut off, or that another search has run already, costs no second training. A candidate
whose process died is drawn again and resumes its training from the store's checkpoints.
"""

from __future__ import annotations

import contextvars
import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vecmill.errors import ConfigError, TrainingDiverged, VecmillError, VocabularyError
from vecmill.progress import track
from vecmill.store.digest import digest_json
from vecmill.tuning.config import SearchConfig
from vecmill.tuning.database import (
    distribution_of,
    give_up_dead_trials,
    one_at_a_time,
    open_database,
    pruner_of,
    quiet_optuna,
    sampler_of,
    sign_trial,
    still_there,
    usable,
)
from vecmill.tuning.objective import Evaluation, objective_score
from vecmill.tuning.space import Value

_SAME, _REASON, _SECONDS, _STAGES, _AGAIN = "same", "reason", "seconds", "stages", "again"
_SURPLUS = "surplus"
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Trial:
    """One candidate as the database knows it.

    Attributes
    ----------
    number : from 0, in the order in which they were drawn
    values : the fields of the space, by path
    scores : by share of the documents; the trial's own score is the one on the largest share
    state : ``complete``, ``pruned``, ``failed``, ``cut off`` (its process ended; it is drawn again), ``running`` or
        ``waiting``
    seconds : of its trainings in this search, 0 for a trial that an earlier search has paid for
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

    @property
    def judged(self) -> bool:
        """Whether it came to an end that counts towards the search's ``n_trials``."""
        return self.state in ("complete", "pruned", "failed")


# Values of the space and a share of the documents -> what came of it.
Evaluator = Callable[[Mapping[str, Value], float], Evaluation]
# Values of a space and further paths -> the values that these have in that candidate, as far as they exist there.
Reader = Callable[[Mapping[str, Value], list[str]], Mapping[str, Value]]


class Study:
    """The trials of one search, in a database.

    A study belongs to what its scores depend on: the configuration that the search starts from, the space, the
    objective and the shares. With any of them changed it is another study; judged trials of earlier studies of the
    same base, objective and shares whose values fit into the new space are taken over, scores and all. A field that
    only one of the two spaces has fits if the other's candidates have the same value there.

    Parameters
    ----------
    search : the search
    storage : database URI
    base : digest of everything that the scores depend on beside the space's fields
    seed : each candidate is drawn from it and its own number, so that a search that was stopped draws no candidate
        twice
    read : what fields outside the space are in a candidate; None takes over trials of the same fields only

    Raises
    ------
    ConfigError : the database cannot be opened
    """

    def __init__(self, search: SearchConfig, storage: str, base: str, seed: int, read: Reader | None = None) -> None:
        import optuna

        self.search = search
        self._storage = storage
        self._seed = seed
        self._read = read
        self._lock = threading.Lock()
        # Numbers of the trials that something had to be built for, in this process.
        self.paid: set[int] = set()
        fields = {"space", "sampler", "pruner", "pilot_shares", "objective", "folds"}
        definition = search.model_dump(mode="json", include=fields)
        self.name = f"vecmill-{digest_json({'base': base, 'seed': seed, **definition})[:16]}"
        with quiet_optuna(), one_at_a_time(storage), usable(storage):
            self._study = optuna.create_study(
                storage=open_database(storage),
                study_name=self.name,
                sampler=sampler_of(search, 0),
                pruner=pruner_of(search),
                direction="maximize",
                load_if_exists=True,
            )
            scored_alike = {name: definition[name] for name in ("objective", "pilot_shares", "folds")} | {"base": base}
            self._study.set_user_attr(_SAME, digest_json(scored_alike))
            if not self._study.trials:
                self._take_over()
            if storage.startswith("sqlite:"):
                self._ask_one_by_one()

    def _ask_one_by_one(self) -> None:
        """On SQLite, which locks no rows, two workers read the same waiting trial before either takes it.

        The second of them then failed with "Cannot tell a COMPLETE trial".
        """
        ask = self._study.ask

        def ask_alone(*arguments: Any, **named: Any) -> Any:
            with one_at_a_time(self._storage):
                return ask(*arguments, **named)

        self._study.ask = ask_alone  # type: ignore[method-assign]

    def _take_over(self) -> None:
        """Copy judged trials of earlier studies that were scored alike and fit into the space."""
        import optuna
        from optuna.trial import TrialState

        storage = self._study._storage
        distributions = {path: distribution_of(each) for path, each in sorted(self.search.space.items())}
        mine = self._study.user_attrs[_SAME]
        seen: set[str] = set()
        for summary in optuna.get_all_study_summaries(storage):
            if summary.study_name == self.name or summary.user_attrs.get(_SAME) != mine:
                continue
            earlier = optuna.load_study(study_name=summary.study_name, storage=storage)
            for trial in earlier.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
                params = self._translated(trial.params)
                fits = params is not None and all(
                    each._contains(each.to_internal_repr(params[path])) for path, each in distributions.items()
                )
                if params is None or not fits or not trial.intermediate_values or repr(params) in seen:
                    continue
                seen.add(repr(params))
                self._study.add_trial(
                    optuna.trial.create_trial(
                        state=trial.state,
                        params=params,
                        distributions=distributions,
                        value=trial.value if trial.state == TrialState.COMPLETE else None,
                        intermediate_values=trial.intermediate_values,
                        user_attrs={_STAGES: trial.user_attrs.get(_STAGES, [0, 0]), _SECONDS: 0.0},
                    )
                )

    def _translated(self, params: Mapping[str, Value]) -> dict[str, Value] | None:
        """A candidate of another space in terms of this one, None where the two differ."""
        wanted = sorted(self.search.space)
        found = {path: params[path] for path in wanted if path in params}
        missing = [path for path in wanted if path not in params]
        surplus = [path for path in params if path not in self.search.space]
        if not missing and not surplus:
            return found
        if self._read is None:
            return None
        found.update(self._read(params, missing))
        if found.keys() != set(wanted) or self._read(found, surplus) != {path: params[path] for path in surplus}:
            return None
        return {path: found[path] for path in wanted}

    def run(self, evaluate: Evaluator) -> None:
        """Draw and score candidates until there are ``n_trials``, those of earlier runs and other workers included.

        A candidate whose training diverges, that leaves no vocabulary, or whose values contradict each other counts as
        failed and the search goes on; anything else ends it, and what is finished stays.
        """
        with quiet_optuna(), still_there(self._storage):
            give_up_dead_trials(self._study)
            while (left := self._left()) > 0:
                with one_at_a_time(self._storage):  # else each worker would put the same to the front
                    self._enqueue(left)
                self._draw(evaluate, left)
                self._wait_for_other_workers()

    def _wanted(self) -> int:
        wanted = self.search.n_trials
        return min(wanted, len(self._cells())) if self.search.sampler == "grid" else wanted

    def _left(self) -> int:
        return self._wanted() - sum(self._trial(each).judged for each in self._study.get_trials(deepcopy=False))

    def _is_surplus(self, number: int) -> bool:
        """Whether enough trials were drawn before this one; workers that draw the last ones at once all ask."""
        earlier = [self._trial(each) for each in self._study.get_trials(deepcopy=False) if each.number < number]
        return sum(each.judged or each.state == "running" for each in earlier) >= self._wanted()

    def _cells(self) -> list[dict[str, Value]]:
        """All combinations of a grid, in an order of its own for each seed."""
        paths = sorted(self.search.space)
        grids = [self.search.space[path].grid() or [] for path in paths]
        cells = [dict(zip(paths, values, strict=True)) for values in itertools.product(*grids)]
        random.Random(self._seed).shuffle(cells)
        return cells

    def _enqueue(self, left: int) -> None:
        """Put what is known beforehand to the front: candidates that were cut off, and the next cells of a grid."""
        trials = self._study.get_trials(deepcopy=False)
        again = {each.user_attrs.get(_AGAIN) for each in trials}
        for each in trials:
            is_whole = each.params.keys() == self.search.space.keys()
            if self._trial(each).state == "cut off" and each.number not in again and is_whole:
                self._study.enqueue_trial(each.params, user_attrs={_AGAIN: each.number})
        if self.search.sampler == "grid":
            waiting = sum(each.state.name == "WAITING" for each in self._study.get_trials(deepcopy=False))
            known = {
                repr(sorted(each.system_attrs.get("fixed_params", each.params).items()))
                for each in trials
                if _SURPLUS not in each.user_attrs
            }
            new = [cell for cell in self._cells() if repr(sorted(cell.items())) not in known]
            for cell in new[: max(left - waiting, 0)]:
                self._study.enqueue_trial(cell, skip_if_exists=True)

    def _draw(self, evaluate: Evaluator, left: int) -> None:
        import optuna

        shares = self.search.pilot_shares
        surroundings = contextvars.copy_context()  # Prefect finds its run there; Optuna's threads begin without

        def score_of(trial: Any, values: Mapping[str, Value]) -> float:
            spent, n_cached, n_stages = 0.0, 0, 0
            score = 0.0
            with track(f"trial {trial.number}", len(shares), "trainings") as bar:
                for step, share in enumerate(shares, start=1):
                    found = evaluate(values, share)
                    spent += found.seconds
                    n_cached += found.n_cached
                    n_stages += found.n_stages
                    if found.n_cached < found.n_stages:
                        self.paid.add(trial.number)
                    trial.set_user_attr(_SECONDS, round(spent, 3))
                    trial.set_user_attr(_STAGES, [n_cached, n_stages])
                    score = objective_score(self.search, found.metrics)
                    trial.report(score, step)
                    bar.advance()
                    bar.note(f"{score:.4f} on {100 * share:g} % of the documents")
                    if step < len(shares) and trial.should_prune():
                        raise optuna.TrialPruned
            return score

        def objective(trial: Any) -> float:
            sign_trial(trial)
            if self._is_surplus(trial.number):
                trial.set_user_attr(_SURPLUS, True)
                bar.advance()
                raise _Failed
            with self._lock:
                # A sampler of its own: one that went on from trial to trial would begin anew with each process.
                digest = digest_json({"seed": self._seed, "trial": trial.number})
                self._study.sampler = sampler_of(self.search, int(digest[:8], 16))
                values = {
                    path: trial._suggest(path, distribution_of(each))
                    for path, each in sorted(self.search.space.items())
                }
            try:
                score: float = surroundings.copy().run(score_of, trial, values)
            except (TrainingDiverged, VocabularyError, _Contradiction) as error:
                trial.set_user_attr(_REASON, str(error))
                raise _Failed from error
            finally:
                bar.advance()
            return score

        def enough(study: Any, trial: Any) -> None:
            if _SURPLUS in trial.user_attrs or self._left() <= 0:  # other workers do, or have done, the rest
                study.stop()

        with track("trials", left, "trials") as bar:
            self._study.optimize(
                objective,
                n_trials=left,
                n_jobs=min(self.search.parallel_trials, left),
                catch=(_Failed,),
                callbacks=[enough],
            )

    def _wait_for_other_workers(self) -> None:
        def n_running() -> int:
            return sum(each.state.name == "RUNNING" for each in self._study.get_trials(deepcopy=False))

        if n_running():
            with track("waiting for other workers", None, "looks") as bar:
                while n_running():
                    give_up_dead_trials(self._study)
                    time.sleep(_POLL_SECONDS)
                    bar.advance()

    def trials(self) -> list[Trial]:
        """All trials, in the order in which they were drawn."""
        with quiet_optuna():
            found = self._study.get_trials(deepcopy=False)
        return [self._trial(each) for each in found if _SURPLUS not in each.user_attrs]

    def _trial(self, found: Any) -> Trial:
        shares = self.search.pilot_shares
        n_cached, n_stages = found.user_attrs.get(_STAGES, (0, 0))
        reason = found.user_attrs.get(_REASON, "")
        state = {
            "COMPLETE": "complete",
            "PRUNED": "pruned",
            "FAIL": "failed" if reason else "cut off",
            "RUNNING": "running",
        }.get(found.state.name, "waiting")
        return Trial(
            number=found.number,
            values=dict(found.params),
            scores={shares[step - 1]: value for step, value in sorted(found.intermediate_values.items())},
            state=state,
            seconds=found.user_attrs.get(_SECONDS, 0.0),
            n_cached=n_cached,
            n_stages=n_stages,
            reason=reason,
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
        with quiet_optuna():
            found = optuna.importance.get_param_importances(
                self._study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        return {path: round(float(value), 4) for path, value in found.items()}


class _Failed(Exception):
    """A candidate that cannot be scored; the search goes on."""


class _Contradiction(VecmillError):
    """A candidate whose values contradict each other."""


def contradiction(error: ConfigError) -> VecmillError:
    """``error`` as one that fails a trial rather than the search, since another combination of values will do."""
    return _Contradiction(str(error))
