"""Python's start on the nodes of the tests' cluster: faults that cannot be caused from outside.

A worker shuts its connections, and stays alive, when a file ``cut`` appears in its job's folder; a node that was
started with VECMILL_TEST_WITHOUT has no package of that name.
"""

import os
import socket
import sys
import threading
import time
from pathlib import Path


def _cut_when_asked(folder: Path) -> None:
    while not (folder / "cut").exists():
        time.sleep(0.05)
    for each in Path("/proc/self/fd").iterdir():
        try:
            connection = socket.socket(fileno=os.dup(int(each.name)))
        except OSError:
            continue  # no socket
        with connection:
            if connection.family != socket.AF_UNIX:
                connection.shutdown(socket.SHUT_RDWR)
    (folder / "cut").unlink()


if os.environ.get("VECMILL_TEST_WITHOUT"):
    sys.modules[os.environ["VECMILL_TEST_WITHOUT"]] = None  # type: ignore[assignment]
if len(sys.orig_argv) > 4 and "vecmill.distributed.member" in sys.orig_argv[2]:
    threading.Thread(target=_cut_when_asked, args=(Path(sys.orig_argv[3]),), daemon=True).start()
