"""Which files of a code tree count: those that git knows or would add, where there is git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_TIMEOUT_SECONDS = 120


def files_known_to_git(folder: Path) -> list[str] | None:
    """Names below a folder of the files that git tracks or that no ``.gitignore`` keeps out, None where git cannot say.

    Git cannot say where it is not installed, where the folder lies in no working tree, or where it mistrusts the tree
    because somebody else owns it. Links and submodules are left out.
    """
    if not any((place / ".git").exists() for place in (folder.resolve(), *folder.resolve().parents)):
        return None
    # A repository's own configuration may name a program to watch its files; it must not be started here.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    # Variables of a hook that this process may run in would point at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(command, capture_output=True, env=environment, timeout=_TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    names = {os.fsdecode(name) for name in answer.stdout.split(b"\0") if name}
    return sorted(name for name in names if (folder / name).is_file() and not (folder / name).is_symlink())
