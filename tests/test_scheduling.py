"""Files that share a Ray cluster go to one process of pytest; all others are given one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def test_each_file_of_the_cluster_is_in_the_one_group() -> None:
    scheduling = pytest.importorskip("scheduling", reason="pytest-xdist is not installed")
    scheduler = object.__new__(scheduling.FilesTogether)
    groups: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        name = path.relative_to(TESTS.parent).as_posix()
        groups.setdefault(scheduler._split_scope(f"{name}::test_it[a]"), []).append(path.name)
    together = [names for names in groups.values() if len(names) > 1]
    assert len(together) == 1
    sharing = {path.name for path in TESTS.glob("engine/test_*.py") if "nodes: Nodes" in path.read_text("utf-8")}
    assert sharing and sharing <= set(together[0])
