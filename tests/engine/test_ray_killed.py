"""A process of the tests that is killed leaves no cluster behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from reference.ray_nodes import arguments_of
from servers import processes_with, wait_until

HOLDS_A_CLUSTER = """
import sys
from pathlib import Path
from servers import end_with_this_process
print(end_with_this_process(), flush=True)
from reference.ray_nodes import Nodes
nodes = Nodes()
nodes.start(Path(sys.argv[1]))
with nodes.client_server():
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.mark.server
def test_a_cluster_ends_with_a_killed_test_run() -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    folder = tempfile.mkdtemp(prefix="vr-")
    command = [sys.executable, "-c", HOLDS_A_CLUSTER, folder]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as holder:
            assert holder.stdout is not None
            entry = holder.stdout.readline().strip()
            assert holder.stdout.readline() == "up\n"
            started = {" ".join(arguments_of(pid)) for pid in processes_with(entry)}
            for name in ("gcs_server", "raylet", "ray.util.client.server"):
                assert any(name in each for each in started), name
            holder.kill()
            holder.wait()
        wait_until(lambda: not processes_with(entry), 200, "nothing is left of it")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
