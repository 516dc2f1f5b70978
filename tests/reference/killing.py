"""When to kill a training so that there is something to go on from: by its work, not by the clock of a busy machine."""

from __future__ import annotations

import os
import time
from pathlib import Path


def wait_for_checkpoint(child: int, checkpoints: Path) -> None:
    """Return when a checkpoint stands that whoever comes after ``child`` can go on from, or the child has ended."""
    while not any(checkpoints.glob("checkpoint-????????")):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.002)
