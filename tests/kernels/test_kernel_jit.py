import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vecmill.kernels
from vecmill.kernels.jit import FASTMATH_FLAGS

ROOM = Path(vecmill.kernels.__file__).parent
TESTS = Path(__file__).parents[1]

LIST_KERNELS = """
import importlib, pkgutil, numba, vecmill.kernels
for found in pkgutil.iter_modules(vecmill.kernels.__path__):
    module = importlib.import_module(f"vecmill.kernels.{found.name}")
    made = {f"{name}(6)": value(6, 7, 0.0, 0.0) for name, value in vars(module).items() if name.startswith("_vector_")}
    for name, value in (vars(module) | made).items():
        if isinstance(value, numba.core.registry.CPUDispatcher) and value.py_func.__module__ == module.__name__:
            options = value.targetoptions
            print(module.__name__, name, len(value.signatures), options["nogil"], sorted(options["fastmath"]), sep="|")
"""

CALL_ONE = """
import numpy as np
from vecmill.kernels.sampling import mix64
print(int(mix64(np.uint64(7))), sum(mix64.stats.cache_hits.values()))
"""

# A process that has read the index of a kernel's files waits for the other one to have read it too.
DOUBLE_SLOWLY = """
import pathlib, sys, time
from numba.core.caching import IndexDataCacheFile
from doubling import double
name, mine, other = sys.argv[1], *map(pathlib.Path, sys.argv[2:])
read = IndexDataCacheFile._load_index
def read_and_wait(self):
    found = read(self)
    if mine.exists():  # not at the first reading, which looks for compiled code
        until = time.monotonic() + 2
        mine.with_suffix(".read").touch()
        while not other.with_suffix(".read").exists() and time.monotonic() < until:
            time.sleep(0.01)
    mine.touch()
    return found
IndexDataCacheFile._load_index = read_and_wait
double(int(name) if name.isdigit() else float(name))
"""
DOUBLE_TWO = """
from doubling import double
print(double(3), double(1.5), sum(double.stats.cache_hits.values()))
"""


def run_python(code, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "VECMILL_KERNEL_CACHE"} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_compiles_nothing_and_every_kernel_has_our_options():
    kernels = [line.split("|") for line in run_python(LIST_KERNELS).splitlines()]
    assert {"_plain_skipgram", "_plain_cbow", "_vector_skipgram(6)", "_vector_cbow(6)", "mix64"} <= {
        name for _, name, *_ in kernels
    }
    for module, name, n_compiled, nogil, fastmath in kernels:
        assert (n_compiled, nogil, fastmath) == ("0", "True", str(sorted(FASTMATH_FLAGS))), f"{module}.{name}"


def test_few_modules_speak_to_numba():
    speakers = [
        path.name for path in ROOM.glob("*.py") if re.search(r"^\s*(import|from) numba", path.read_text(), re.M)
    ]
    assert sorted(speakers) == [
        *("byte_bits.py", "jit.py", "subword_pairs.py", "subword_steps.py", "vector_code.py", "vector_steps.py"),
    ]


def test_kernels_without_an_entry_for_python_are_called_by_kernels_only():
    inlined = {
        f"vecmill.kernels.{path.stem}.{node.name}"
        for path in ROOM.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(each, ast.Name) and each.id == "inlined_kernel" for each in node.decorator_list)
    }
    assert len(inlined) > 10
    outside = [path for path in (*ROOM.parent.rglob("*.py"), *TESTS.rglob("*.py")) if path.parent != ROOM]
    imported = {
        (path.name, f"{node.module}.{alias.name}")
        for path in outside
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert not [each for each in imported if each[1] in inlined]


def test_nan_and_infinity_are_not_assumed_away():
    assert not FASTMATH_FLAGS & {"fast", "nnan", "ninf"}


def test_disk_cache_is_used_where_it_is_asked_for(tmp_path):
    number, hits = run_python(CALL_ONE, VECMILL_KERNEL_CACHE=str(tmp_path)).split()
    assert hits == "0"
    assert len(list(tmp_path.iterdir())) == 1
    assert run_python(CALL_ONE, VECMILL_KERNEL_CACHE=str(tmp_path)).split() == [number, "1"]


def test_processes_that_share_a_disk_cache_keep_signatures_apart(tmp_path):
    (tmp_path / "doubling.py").write_text(
        "from vecmill.kernels.jit import kernel\n\n\n@kernel\ndef double(x):\n    return x + x\n"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    variables = {"PYTHONPATH": paths, "VECMILL_KERNEL_CACHE": str(tmp_path / "kernels")}
    marks = [str(tmp_path / "one"), str(tmp_path / "other")]
    both = [
        subprocess.Popen([sys.executable, "-c", DOUBLE_SLOWLY, number, *order], env={**os.environ, **variables})
        for number, order in (("3", marks), ("1.5", marks[::-1]))
    ]
    assert [each.wait() for each in both] == [0, 0]
    assert run_python(DOUBLE_TWO, **variables).split() == ["6", "3.0", "2"]


@pytest.mark.parametrize("name", ["skipgram", "cbow"])
def test_plain_python_gives_the_same_answers(name):
    """Without compilation every index is checked, and a negative one would show as a wrong row."""
    done = subprocess.run(
        # NumPy warns where an unsigned product wraps, which is what these products are for
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "twin"),
            *("-W", "ignore:overflow encountered:RuntimeWarning", f"kernels/test_kernel_{name}.py"),
        ],
        cwd=TESTS,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
