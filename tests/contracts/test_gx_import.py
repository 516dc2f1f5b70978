"""Great Expectations is imported without what two of its expectations need, and they have it when they ask."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from vecmill.corpus.contracts.gx_import import _Later

CODE = """
import sys
from vecmill.corpus.contracts.gx_import import import_great_expectations
import_great_expectations()
assert not {"scipy.stats", "altair"} & set(sys.modules)
import great_expectations.expectations.core.expect_column_kl_divergence_to_be_less_than as divergence
assert not {"scipy.stats", "altair"} & set(sys.modules)
assert divergence.stats.entropy([0.5, 0.5], [0.25, 0.75]) > 0.14
import scipy.stats
assert divergence.stats.entropy is scipy.stats.entropy
assert divergence.alt.Chart is sys.modules["altair"].Chart
"""


def test_statistics_and_charts_are_imported_when_they_are_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> _Later:
    """Stands for a package that nobody has imported."""
    for name in [each for each in sys.modules if each.startswith("wsgiref")]:
        monkeypatch.delitem(sys.modules, name)

    def load() -> ModuleType:
        import wsgiref

        return wsgiref

    stand_in = _Later("wsgiref", load)
    monkeypatch.setitem(sys.modules, "wsgiref", stand_in)
    return stand_in


def test_another_who_imports_a_part_meanwhile_gets_it(later: _Later) -> None:
    from wsgiref.headers import Headers

    assert Headers([("a", "b")])["A"] == "b"
    assert sys.modules["wsgiref"] is not later
    assert later.headers.Headers is Headers


def test_what_the_real_module_does_not_have_is_missing(later: _Later) -> None:
    with pytest.raises(AttributeError, match=r"module 'wsgiref' has no attribute 'nothing'"):
        assert later.nothing
