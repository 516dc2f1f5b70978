"""Importing Great Expectations without what two of its expectations need and contracts seldom name.

It imports SciPy's statistics and Altair, a third of its time, for a Kolmogorov-Smirnov test, a Kullback-Leibler
divergence and its chart; both are named nowhere but inside the functions that compute. While it is imported, each of
the two is a module that imports the real one when somebody first asks it for something: those expectations work, and
only their users wait.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

_lock = threading.RLock()


class _Later(ModuleType):
    """Stands for a module that is imported when it is first asked for something."""

    def __init__(self, name: str, load: Callable[[], ModuleType]) -> None:
        super().__init__(name)
        self._load = load

    def __getattr__(self, name: str) -> Any:
        # Python's own questions about a module are no reason to import it, but for where its parts are to be found.
        if name.startswith("__") and name.endswith("__") and name != "__path__":
            raise AttributeError(name)
        self.step_aside()
        return getattr(self._load(), name)

    def stand_in(self) -> None:
        if self.__name__ not in sys.modules:
            sys.modules[self.__name__] = self

    def step_aside(self) -> None:
        """From here on, whoever imports the module gets the real one."""
        with _lock:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]


def _scipy_stats() -> ModuleType:
    import scipy.stats  # noqa: F401

    return sys.modules["scipy.stats"]


def _altair() -> ModuleType:
    import altair  # noqa: F401

    return sys.modules["altair"]


def import_great_expectations() -> None:
    """Import Great Expectations and all of its expectations, once; later calls cost nothing."""
    with _lock, warnings.catch_warnings():
        if "great_expectations.expectations.core" in sys.modules:
            return
        # Its import pulls in sre_constants and sre_parse, which the standard library has deprecated.
        warnings.filterwarnings("ignore", message="module 'sre_.*' is deprecated", category=DeprecationWarning)
        # It tries Google's client, which Ray brings along, and that misses a part of its own.
        warnings.filterwarnings("ignore", message="Please install grpcio-status", category=ImportWarning)
        later = [_Later("scipy.stats", _scipy_stats), _Later("altair", _altair)]
        for each in later:
            each.stand_in()
        try:
            import great_expectations  # noqa: F401
        finally:
            for each in later:
                each.step_aside()
