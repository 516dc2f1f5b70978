"""Which of pytest's processes runs which tests: a file each, but for files that share something costly."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# They share a Ray cluster (tests/engine/conftest.py): a process that gets one of these files starts one.
_TOGETHER = ("tests/engine/test_ray_",)


class FilesTogether(LoadScopeScheduling):
    """``--dist loadscope``, by which a process gets whole files, with files that belong together given as one."""

    def _split_scope(self, nodeid: str) -> str:
        return next((each for each in _TOGETHER if nodeid.startswith(each)), super()._split_scope(nodeid))
