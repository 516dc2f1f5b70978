"""The one decorator around every kernel: what numba may assume, and where compiled code may be kept.

Kernels compile at their first call, never at import. Their disk cache is off unless the environment variable
``VECMILL_KERNEL_CACHE`` names a folder: numba's own cache looks only at the file of the function it compiles, so an
edit to a helper in another file would go unseen, and sharing it between processes has a record of crashes. Where it
is on, compiled code lies in a subfolder named by a digest of the sources of this whole room and of numba's version,
and processes that share it write one after the other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numba
from numba.core.caching import FunctionCache

# Sums may be reordered and multiplications fused; NaN and infinity stay what they are, because the trainers look for
# them (`nnan` and `ninf` would let the compiler assume that they never occur).
FASTMATH_FLAGS = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})

# False where NUMBA_DISABLE_JIT has kernels run as plain Python, which cannot call LLVM instructions.
COMPILES = not numba.config.DISABLE_JIT

CACHE_VARIABLE = "VECMILL_KERNEL_CACHE"

F = TypeVar("F", bound=Callable[..., object])


class _SharedCache(FunctionCache):  # type: ignore[misc]
    """numba's cache of one function on disk, to which one process writes at a time.

    numba numbers the files of a function's signatures by an index that it reads, changes and writes. Two processes that
    do so at the same moment give two signatures one number, and the next process calls the code of the wrong one.
    """

    def save_overload(self, sig: object, data: object) -> None:
        folder = Path(self.cache_path)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".writing").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            super().save_overload(sig, data)


def kernel(function: F) -> F:
    """Compile ``function`` with numba at its first call: without the GIL, with NumPy's division, with our flags.

    The function takes flat typed arrays (or named tuples of them) and scalars, trusts what it is given, and writes
    results into its arguments; checks and allocation are its caller's work.
    """
    return _compiled(function)


def inlined_kernel(function: F) -> F:
    """A :func:`kernel` that becomes part of each kernel that calls it, and so knows the constants it is called with.

    Kernels only may call it: it has no entry for Python, which would take its share of the time of compiling.
    """
    return _compiled(function, forceinline=True, no_cpython_wrapper=True)


def _compiled(function: F, **more: bool) -> F:
    # Without the entry for C code, which nobody uses and which takes its time to compile.
    options = {"nogil": True, "fastmath": set(FASTMATH_FLAGS), "error_model": "numpy", "no_cfunc_wrapper": True, **more}
    cache_folder = os.environ.get(CACHE_VARIABLE)
    if not cache_folder:
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
    # numba reads its cache folder while it decorates; put back at once, other users of numba keep their own.
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(Path(cache_folder) / _room_digest())
    try:
        compiled = numba.njit(**options)(function)
        if COMPILES:
            compiled._cache = _SharedCache(function)
        return compiled  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before


def _room_digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
