"""The database behind a search: opening it, Optuna's names for what a search is told, and workers that died."""

from __future__ import annotations

import os
import secrets
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vecmill.errors import ConfigError
from vecmill.registry.config import without_password
from vecmill.tuning.config import Dimension, SearchConfig

# A trial on another host is given up, and its candidate drawn again, after this long without a sign of life.
_HEARTBEAT_SECONDS, _GRACE_SECONDS = 30, 120

_WORKER = "worker"
# Which process of this host; a container that was started again has the same name and the same process number.
_MARK = secrets.token_hex(4)


def open_database(uri: str) -> Any:
    """An ``optuna.storages.RDBStorage``; an SQLite file is made if missing.

    Raises
    ------
    ConfigError : it cannot be opened; the message holds no password
    """
    import optuna

    is_file = uri.startswith("sqlite")
    with usable(uri):
        storage = optuna.storages.RDBStorage(
            uri,
            engine_kwargs={"connect_args": {"timeout": 60}} if is_file else None,
            heartbeat_interval=_HEARTBEAT_SECONDS,
            grace_period=_GRACE_SECONDS,
        )
        if is_file:
            _write_ahead(storage.engine)
    return storage


@contextmanager
def usable(uri: str) -> Iterator[None]:
    """Turn what a database refuses inside the block into a ConfigError without the password."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise ConfigError(
            f"search.storage {without_password(uri)} cannot be used ({without_password(str(error)).splitlines()[0]})",
            expected="a database that can be written, and its driver installed",
            todo="correct search.storage, or leave it out to use .vecmill/search.db",
        ) from error


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


def sampler_of(search: SearchConfig, seed: int) -> Any:
    """An Optuna sampler. The cells of a grid are enqueued, so that nothing is left to sample there."""
    from optuna import samplers

    if search.sampler == "tpe":
        return samplers.TPESampler(
            seed=seed, n_startup_trials=search.startup_trials, constant_liar=search.parallel_trials > 1
        )
    return samplers.RandomSampler(seed=seed)


def pruner_of(search: SearchConfig) -> Any:
    """An Optuna pruner; its steps are the shares, counted from 1."""
    from optuna import pruners

    if search.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=len(search.pilot_shares))
    if search.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=min(5, search.n_trials // 2))
    return pruners.NopPruner()


def distribution_of(dimension: Dimension) -> Any:
    """An Optuna distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.is_whole:
        return IntDistribution(
            int(dimension.low or 0), int(dimension.high or 0), dimension.log, int(dimension.step or 1)
        )
    return FloatDistribution(float(dimension.low or 0), float(dimension.high or 0), dimension.log, dimension.step)


def sign_trial(trial: Any) -> None:
    """Write down which process works on a trial."""
    trial.set_user_attr(_WORKER, [socket.gethostname(), os.getpid(), _MARK])


def give_up_dead_trials(study: Any) -> None:
    """End the trials whose process is gone: at once on this host, after the time of grace on others."""
    import optuna
    from optuna.trial import TrialState

    optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, pid, mark = trial.user_attrs.get(_WORKER, ("", 0, ""))
        if host == socket.gethostname() and not _alive(pid, mark):
            try:
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            except optuna.exceptions.UpdateFinishedTrialError:  # another process was quicker
                continue


def _alive(pid: int, mark: str) -> bool:
    if pid == os.getpid():
        return mark == _MARK
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log lines and its remarks on what is experimental away; not from threads beside the main one."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
