"""Fixtures for reading sources: a user who may not read everything."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534


@pytest.fixture
def unprivileged() -> Callable[[Path], AbstractContextManager[None]]:
    """A context in which file permissions count, also where the tests run as root."""

    @contextmanager
    def drop(folder: Path) -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        # pytest's own folders are closed to others.
        for parent in [folder, *folder.parents]:
            if parent.owner() == "root" and parent.stat().st_mode & 0o077 == 0:
                parent.chmod(0o755)
        os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    return drop
