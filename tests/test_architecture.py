"""The floor plan, drawn from the real imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vecmill

ROOT = Path(vecmill.__file__).parent.parent
HEAVY_OR_ABOVE = ("prefect", "mlflow", "ray", "great_expectations", "torch", "matplotlib")

# Rooms by floor, as docs/architecture.md lists them. A module may import from its own room and from lower floors;
# rooms on one floor know nothing of each other, except on the ground floor, which has its own order below.
FLOORS: list[list[str]] = [
    ["errors", "progress", "quiet"],
    ["config"],
    ["store", "vectors", "kernels"],
    ["text"],
    ["corpus"],
    ["vocabulary"],
    ["words"],
    ["distributed", "gpu"],
    ["evaluation", "diff"],
    ["report"],
    ["registry"],
    ["tuning"],
    ["pipelines"],
    ["engine"],
    ["cli"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, module_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if module_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(dotted(path)) for path in modules("vecmill")} - {"", "__main__"}
    assert rooms == set(FLOOR_OF)


def test_imports_only_go_down() -> None:
    wrong = []
    for path in modules("vecmill"):
        here = room_of(dotted(path))
        for target in imports(path):
            if target.startswith("vecmill.") and here not in ("", "__main__", room_of(target)):
                there = room_of(target)
                if FLOOR_OF[there] >= FLOOR_OF[here]:
                    wrong.append(f"{dotted(path)} imports {target}: {here} is not above {there}")
    assert wrong == []


def test_the_library_knows_nothing_of_what_stands_on_it() -> None:
    wrong = [
        f"{dotted(path)} imports {target}"
        for path in modules("vecmill")
        for target in imports(path)
        if target.split(".")[0] in {"tasks", "flows", "tests"}
    ]
    assert wrong == []


def test_tasks_know_no_flows() -> None:
    wrong = [f"{dotted(path)} imports {t}" for path in modules("tasks") for t in imports(path) if t.startswith("flows")]
    assert wrong == []


def test_no_orchestrator_at_module_level() -> None:
    wrong = [
        f"{dotted(path)} imports {target}"
        for path in modules("vecmill")
        for target in imports(path, module_level_only=True)
        if target.split(".")[0] in HEAVY_OR_ABOVE and path.name != "pyfunc_model.py"
    ]
    assert wrong == []


def test_no_circles() -> None:
    names = {dotted(path) for path in modules("vecmill")}
    graph: dict[str, set[str]] = {}
    for path in modules("vecmill"):
        found = set()
        for target in imports(path, module_level_only=True):
            while target and target not in names:
                target = target.rpartition(".")[0]
            if target and target != dotted(path) and target != "vecmill":
                found.add(target)
        graph[dotted(path)] = found
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail, name))
        if name not in done:
            for each in sorted(graph[name]):
                visit(each, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_importing_any_core_module_loads_no_orchestrator() -> None:
    """In a fresh interpreter, all of them, one after the other."""
    names = [dotted(path) for path in modules("vecmill") if path.name != "pyfunc_model.py"]
    code = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
    found = [each for each in {HEAVY_OR_ABOVE!r} if each in sys.modules]
    assert not found, (name, found)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["vecmill.cli.main", "vecmill.pipelines.words", "vecmill.store.plan"])
def test_planning_imports_nothing_heavy(module: str) -> None:
    """A cached run answers from the store; what it imports is what everybody waits for."""
    heavy = ["polars", "pyarrow", "numba", "gensim", "duckdb", "scipy", "pandas", "s3fs", *HEAVY_OR_ABOVE]
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_stay_small() -> None:
    lengths = {dotted(path): len(path.read_text().splitlines()) for path in modules("vecmill")}
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_nothing_reads_pickle() -> None:
    wrong = [
        f"{dotted(path)}: {target}"
        for package in ("vecmill", "tasks", "flows")
        for path in modules(package)
        for target in imports(path)
        if target.split(".")[0] in {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    ]
    assert wrong == []
