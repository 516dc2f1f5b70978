"""Where a search keeps its trials."""

from __future__ import annotations

from pathlib import Path

from vecmill.errors import ConfigError
from vecmill.tuning.config import SearchConfig


def storage_uri(search: SearchConfig, state: Path | None = None) -> str:
    """The database of trials, with an SQLite path made absolute and its folder made.

    Parameters
    ----------
    state : state folder for the default database; None means ``.vecmill`` below the current folder

    Raises
    ------
    ConfigError : an in-memory database, which would forget the trials when the process ends
    """
    uri = search.storage or f"sqlite:///{(state or Path('.vecmill')).absolute() / 'search.db'}"
    if not uri.startswith("sqlite:///"):
        return uri
    path = Path(uri.removeprefix("sqlite:///")).absolute()
    if path.name == ":memory:":
        raise ConfigError(
            f"search.storage is {uri!r}, a database that ends with the process",
            expected="sqlite:///PATH of a file",
            todo="name a file, or leave search.storage out to use .vecmill/search.db",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"search.storage {uri} cannot be made: {path.parent}: {error.strerror}",
            expected="a folder that can be written",
            todo="name another file, or leave search.storage out to use .vecmill/search.db",
        ) from error
    return f"sqlite:///{path}"
