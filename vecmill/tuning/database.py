"""The database behind a search: opening it, Optuna's names for what a search is told, and workers that died."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vecmill.errors import ConfigError, VecmillError
from vecmill.registry.config import without_password
from vecmill.tuning.config import Dimension, SearchConfig

# A trial on another host is given up, and its candidate drawn again, after this long without a sign of life.
_HEARTBEAT_SECONDS, _GRACE_SECONDS = 30, 120

# An address that nobody answers at is refused after this long rather than after the minutes that TCP takes.
_CONNECT_SECONDS = 20
# The advisory lock of PostgreSQL behind :func:`one_at_a_time`; any number will do that no other program uses.
_LOCK_NUMBER = 0x7665636D696C6C
_INSTALL = "install the driver: pip install 'vecmill[postgres]'"

_WORKER = "worker"
# Which process of this host; a container that was started again has the same name and the same process number.
_MARK = secrets.token_hex(4)


def open_database(uri: str) -> Any:
    """An ``optuna.storages.RDBStorage``; an SQLite file is made if missing.

    Call it under :func:`one_at_a_time`: of two processes that begin with an empty database both would make its tables.

    Raises
    ------
    ConfigError : it cannot be opened, or the driver is missing; the message holds no password
    """
    import optuna

    is_file = uri.startswith("sqlite")
    with usable(uri):
        storage = optuna.storages.RDBStorage(
            _with_driver(uri),
            engine_kwargs={"connect_args": {"timeout": 60}} if is_file else _server_settings(uri),
            heartbeat_interval=_HEARTBEAT_SECONDS,
            grace_period=_GRACE_SECONDS,
        )
        if is_file:
            _write_ahead(storage.engine)
    return storage


def _with_driver(uri: str) -> str:
    """The URI with the driver that is installed; SQLAlchemy takes ``postgresql://`` to mean psycopg2."""
    scheme, separator, rest = uri.partition("://")
    _, plus, driver = scheme.partition("+")
    if driver == "asyncpg":
        raise ConfigError(
            "search.storage names the driver asyncpg, which answers to asynchronous programs only",
            expected="postgresql://… or postgresql+psycopg://…",
            todo="leave +asyncpg out",
        )
    if scheme != "postgresql" or plus:
        return uri
    if find_spec("psycopg") is not None:
        return f"postgresql+psycopg{separator}{rest}"
    if find_spec("psycopg2") is not None:
        return uri
    raise ConfigError(
        f"search.storage is {without_password(uri)}, and no driver for PostgreSQL is installed",
        expected="psycopg",
        todo=f"{_INSTALL}; or leave search.storage out to use .vecmill/search.db",
    )


def _server_settings(uri: str) -> dict[str, Any]:
    """Engine settings for a database server: a connection for each question and none in between.

    Trainings last longer than firewalls keep silent connections, and the idle ones of many workers would use up what
    the server admits.
    """
    import sqlalchemy

    driver = uri.partition("://")[0].partition("+")[2]
    arguments = {"connect_timeout": _CONNECT_SECONDS} if driver in ("", "psycopg", "psycopg2") else {}
    return {"poolclass": sqlalchemy.NullPool, "connect_args": arguments}


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Keep other workers on the same database out of the block; on PostgreSQL those of other hosts too.

    The lock ends with the process that holds it.

    Raises
    ------
    ConfigError : the database cannot be reached
    """
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///"))
        try:
            stream = path.with_name(f"{path.name}.lock").open("w")
        except OSError as error:
            raise _unusable(uri, error) from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield
        return
    import sqlalchemy

    with usable(uri):
        connection = sqlalchemy.create_engine(_with_driver(uri), **_server_settings(uri)).connect()
    with closing(connection):
        with usable(uri):
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:number)"), {"number": _LOCK_NUMBER})
        yield  # the lock goes with the connection


@contextmanager
def usable(uri: str) -> Iterator[None]:
    """Turn what a database refuses inside the block into a ConfigError without the password."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError, OSError) as error:
        raise _unusable(uri, error) from error


@contextmanager
def still_there(uri: str) -> Iterator[None]:
    """The same for a search under way, in which SQLAlchemy and the disk have more to do than trials."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except Exception as error:
        # Optuna stumbles over its own clearing up when the database is gone; the cause stands further down.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, StorageInternalError):
            cause = cause.__cause__ or cause.__context__
        if cause is None or isinstance(error, VecmillError):
            raise
        raise ConfigError(
            f"search.storage {without_password(uri)} failed while the search ran ({_reason(cause)})",
            expected="a database that answers until the search has ended",
            todo="see that it runs, and start the search again: what was scored is kept",
        ) from error


def _unusable(uri: str, error: Exception) -> ConfigError:
    todo = "correct search.storage, or leave it out to use .vecmill/search.db"
    return ConfigError(
        f"search.storage {without_password(uri)} cannot be used ({_reason(error)})",
        expected="a database that can be written, and its driver installed",
        todo=f"{_INSTALL}; or {todo}" if isinstance(error, ImportError) else todo,
    )


def _reason(error: BaseException) -> str:
    """The first line of what a driver says; Optuna keeps that behind its own words."""
    said = error.__cause__ or error
    return (without_password(str(said)).splitlines() or [type(said).__name__])[0]


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
