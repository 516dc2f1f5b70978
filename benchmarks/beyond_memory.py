"""The whole ``words`` pipeline on text that lies on S3, on a Ray cluster whose nodes have little memory.

    python benchmarks/beyond_memory.py --quick | --full [--parts sizes kills] [--text-mb N] [--write] [--keep FOLDER]

Text of 20 shards is generated (``benchmarks/planted_text.py``: Zipf, with groups of words that share documents) and put
into a bucket of an S3 server on loopback that keeps objects as files (localbucket). A Ray cluster of two nodes of one
core each, and a driver as a user starts it (``vecmill run``), then take it from raw text to a registered model, with
the store in the same bucket.

- ``sizes``: once half of the shards, once all of them.
- ``kills``, on less text: once unbroken, then in a fresh store, while the driver is killed at a random moment of each
  stage and started again.

Where the machine lets us make control groups for memory (root), the kernel holds each node, with all its processes and
what it caches of files, to ``NODE_BYTES``. What each Ray worker process holds is sampled besides: memory that cannot
be dropped and read again (RssAnon and RssShmem of /proc/PID/status), without pages of mapped files.

With ``--write`` the figures of the parts that ran replace theirs in results/beyond_memory.json. The last line is RESULT
and one JSON object:

    linearity_ratio            wall time of all text over that of half of it; of little text starting takes most of both
    linearity_ratio_processor  the same of the processor time of the nodes
    peak_worker_bytes          largest that a Ray worker held; under ``budget_bytes``
    neighbours_in_group        of the 10 nearest neighbours of planted words, the share that is of their group
    resumed_same_bytes         whether the run that was killed in each stage came to the same vectors
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beyond_memory_table import BUDGET_BYTES, N_SHARDS, NODE_BYTES, STAGES, render
from node_memory import MemoryLimit, Watch
from planted_text import neighbours_in_group, write_ratings, write_shards

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/beyond_memory.json"
# Megabytes of text for each part.
FULL_MB, QUICK_MB = {"sizes": 3200, "kills": 400}, {"sizes": 24, "kills": 24}
BUCKET = "beyond"
KEY = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "on-loopback", "AWS_DEFAULT_REGION": "us-east-1"}


def configuration(name: str, sources: str, ratings: Path, address: str) -> dict[str, Any]:
    """The pipelines file of a run: what counts is the size of things, everything else is the default."""
    config = {
        "store": {"uri": f"s3://{BUCKET}/store-{name}"},
        "corpus": {"sources": [f"s3://{BUCKET}/{sources}"], "txt_unit": "line"},
        "vocabulary": {"memory": "256MB", "max_size": 100_000, "min_count": 5},
        "train": {"kind": "skipgram", "dim": 64, "epochs": 1, "threads": 1, "checkpoint_minutes": 0.25},
        "evaluate": {"benchmarks": [str(ratings)], "analogies": []},
        "registry": {"model_name": f"beyond-{name}"},
        "engine": {
            "kind": "ray",
            "address": address,
            "resources": {stage: {"memory": BUDGET_BYTES} for stage in STAGES[:-1]},
        },
    }
    return {
        "name": "beyond",
        "deployments": [{"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": config}}],
    }


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[tuple[Any, int]]:
    """An S3 server that keeps objects as files below ``folder``: a client of it, and its process id."""
    import boto3

    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "localbucket", "--host", "127.0.0.1", "--port", str(port), str(folder)]
    with (folder.parent / "s3.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        os.environ.update(KEY, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", AWS_EC2_METADATA_DISABLED="true")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client, server.pid
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def ray_nodes(folder: Path) -> Iterator[tuple[str, list[MemoryLimit]]]:
    """A cluster of a head without cores and two nodes of one core: its address, and the memory of each node."""
    os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    os.environ["PYTHONPATH"] = str(ROOT)
    from ray.cluster_utils import Cluster

    from vecmill.engine.ray_cluster import give_time_to_start, import_ray

    give_time_to_start(import_ray())
    common = {"object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
    Path("/tmp/ray").mkdir(exist_ok=True)  # Ray writes a cluster's address there and does not make the folder
    cluster = Cluster()
    cluster.add_node(num_cpus=0, include_dashboard=False, temp_dir=str(folder), **common)
    limits: list[MemoryLimit] = []
    try:
        for number in range(2):
            limit = MemoryLimit(f"vecmill-{os.getpid()}-{number}", NODE_BYTES)
            with limit.around_children():
                node = cluster.add_node(num_cpus=1, memory=NODE_BYTES, **common)
            limit.root = next(each for each in node.all_processes["raylet"]).process.pid
            limits.append(limit)
        yield cluster.address, limits
    finally:
        cluster.shutdown()
        for limit in limits:
            limit.remove()


class Driver:
    """``vecmill run words --json`` in a folder, as a user would start it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._log = (place / "driver.log").open("ab")
        self._out = place / "summary.json"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vecmill", "run", "words", "--json"],
                cwd=place,
                stdout=out,
                stderr=self._log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """As a power cut would: the driver and what it started on its machine, which is Prefect's server."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self._log.close()

    def summary(self) -> dict[str, Any]:
        """What the run came to, when it has ended."""
        code = self.process.wait()
        self._log.close()
        if code:
            sys.exit(f"vecmill run ended with {code}:\n{(self.place / 'driver.log').read_text()[-4000:]}")
        found: dict[str, Any] = json.loads(self._out.read_text(encoding="utf-8"))
        return found


class Bench:
    """A server with text, and a cluster to work on it."""

    def __init__(self, folder: Path, client: Any, address: str, watch: Watch) -> None:
        self.folder, self.client, self.address, self.watch = folder, client, address, watch

    def place(self, name: str, sources: str) -> Path:
        """A folder for drivers, with the pipelines file of a run."""
        place = self.folder / name
        place.mkdir()
        values = configuration(name, sources, self.folder / "planted.tsv", self.address)
        (place / "pipelines.yaml").write_text(json.dumps(values), encoding="utf-8")
        return place

    def keys(self, name: str, below: str = "") -> list[str]:
        """Manifests in the store of a run."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"store-{name}/{below}")
        found = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return [key for key in found if key.endswith("/manifest.json")]

    def manifest(self, name: str, stage: str) -> dict[str, Any]:
        (key,) = self.keys(name, f"{stage}/")
        found: dict[str, Any] = json.loads(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        return found

    def run(self, name: str, sources: str) -> dict[str, Any]:
        """One unbroken run, and what it took."""
        place = self.place(name, sources)
        self.watch.reset()
        busy, started = self.watch.processor_seconds(), time.perf_counter()
        summary = Driver(place).summary()
        seconds = time.perf_counter() - started
        manifests = {stage: self.manifest(name, stage) for stage in STAGES}
        return {
            "seconds": round(seconds, 2),
            "processor_seconds": round(self.watch.processor_seconds() - busy, 2),
            "stage_seconds": {each["stage"]: each["seconds"] for each in summary["stages"]},
            "n_source_bytes": manifests["ingest"]["metrics"]["n_source_bytes"],
            "n_chars": manifests["ingest"]["metrics"]["n_chars"],
            "n_tokens": manifests["encode"]["metrics"]["n_tokens"],
            "n_words": manifests["vocabulary"]["metrics"]["n_words"],
            "token_store_bytes": sum(each["bytes"] for each in manifests["encode"]["files"]),
            "corpus_bytes": sum(each["bytes"] for each in manifests["ingest"]["files"]),
            "spearman": manifests["evaluate"]["metrics"]["planted_spearman"],
            "digests": {stage: each["digest"] for stage, each in manifests.items() if stage != "register"},
            "peaks": self.watch.peaks(),
            "node_peaks": self.watch.node_peaks(),
            "cache_bytes": sum(each.stat().st_size for each in _inodes(place / ".vecmill/cache")),
        }

    def _wait_for(self, driver: Driver, name: str, stage: str, before: str) -> None:
        """Until a stage is at work; the last one works in the driver, where nobody sees it but by what stands."""
        while not (self.keys(name, f"{before}/") if stage == STAGES[-1] else stage in self.watch.running()):
            if driver.process.poll() is not None:
                driver.summary()
                sys.exit(f"the run ended before stage {stage} began")
            time.sleep(0.05)

    def killed(self, name: str, sources: str, unbroken: dict[str, Any], seed: int) -> dict[str, Any]:
        """Kill the driver in each stage, start it again, and say what was taken over each time."""
        place, rng = self.place(name, sources), random.Random(seed)
        kills = []
        for number, stage in enumerate(STAGES):
            driver = Driver(place)
            self._wait_for(driver, name, stage, STAGES[number - 1] if number else "")
            moment = time.monotonic() + (delay := rng.random() * unbroken["stage_seconds"][stage])
            # Not into the next stage, where this run is faster than the unbroken one was.
            while time.monotonic() < moment and driver.process.poll() is None and not self.keys(name, f"{stage}/"):
                time.sleep(0.05)
            driver.kill()
            after = delay + time.monotonic() - moment
            stands = {each.split("/")[1] for each in self.keys(name)}
            checkpoints = sorted(each.name for each in (place / ".vecmill/cache/checkpoints").glob("*"))
            kills.append(
                {
                    "stage": stage,
                    "after_seconds": round(after, 1),
                    "stands": [each for each in STAGES if each in stands],
                    "n_pieces": len(self.keys(name, "ingest.read/")),
                    "checkpoints": [each.rpartition("-")[0] for each in checkpoints],
                }
            )
            print(f"killed: {kills[-1]}", flush=True)
            self.watch.wait_for_quiet()
        summary = Driver(place).summary()
        digests = {stage: self.manifest(name, stage)["digest"] for stage in unbroken["digests"]}
        return {
            "kills": kills,
            "n_pieces": len(self.keys(name, "ingest.read/")),
            "last_run_seconds": round(summary["seconds"], 1),
            "same_bytes": {stage: digests[stage] == digest for stage, digest in unbroken["digests"].items()},
            "resumed_at_epoch": self.manifest(name, "train")["metrics"]["resumed_at_epoch"],
        }


def _inodes(folder: Path) -> list[Path]:
    """Files below a folder, of those that share their content only one."""
    return list({path.stat().st_ino: path for path in folder.rglob("*") if path.is_file()}.values())


def measure(folder: Path, part: str, n_bytes: int, seed: int) -> dict[str, Any]:
    """One part, in a folder that has room for some six times the text."""
    with s3_server(folder / "s3") as (client, server_pid):
        place = folder / "shards"
        place.mkdir()
        for path in write_shards(place, N_SHARDS, n_bytes):
            client.upload_file(str(path), BUCKET, f"text/{path.name}")
            path.unlink()
        write_ratings(folder / "planted.tsv")
        (folder / "ray").mkdir()
        with ray_nodes(folder / "ray") as (address, limits), Watch(limits, server_pid) as watch:
            bench = Bench(folder, client, address, watch)
            found: dict[str, Any] = {"text_bytes": n_bytes, "load_before": round(os.getloadavg()[0], 1)}
            if part == "sizes":
                found["half"] = bench.run("half", "text/shard-0*.txt.zst")
                found["whole"] = bench.run("whole", "text/shard-*.txt.zst")
                vectors = _fetched(client, bench.manifest("whole", "train"), "store-whole", folder / "vectors")
                found["neighbours_in_group"] = round(neighbours_in_group(vectors), 4)
            else:
                found["unbroken"] = bench.run("unbroken", "text/shard-*.txt.zst")
                found |= bench.killed("killed", "text/shard-*.txt.zst", found["unbroken"], seed)
            found |= {"server_peak_bytes": watch.server_peak, "limited": all(limit.holds for limit in limits)}
    return found


def result_of(parts: dict[str, Any]) -> dict[str, Any]:
    """The figures that count, of the parts that there are."""
    result: dict[str, Any] = {}
    if "sizes" in parts:
        half, whole = parts["sizes"]["half"], parts["sizes"]["whole"]
        result |= {
            "linearity_ratio": round(whole["seconds"] / half["seconds"], 4),
            "linearity_ratio_processor": round(whole["processor_seconds"] / half["processor_seconds"], 4),
            "peak_worker_bytes": max(held for run in (half, whole) for held in run["peaks"].values()),
            "budget_bytes": BUDGET_BYTES,
            "neighbours_in_group": parts["sizes"]["neighbours_in_group"],
        }
    if "kills" in parts:
        result["resumed_same_bytes"] = all(parts["kills"]["same_bytes"].values())
    return result


def _fetched(client: Any, manifest: dict[str, Any], store: str, folder: Path) -> Path:
    """The saved vectors of a training."""
    for each in manifest["files"]:
        if each["path"].startswith("vectors/"):
            target = folder / Path(each["path"]).name
            target.parent.mkdir(exist_ok=True)
            key = f"{store}/train/{manifest['key']}/{manifest['prefix']}/{each['path']}"
            client.download_file(BUCKET, key, str(target))
    return folder


def measured(parts: list[str], full: bool, text_mb: int | None = None, seed: int = 1, keep: Path | None = None) -> Any:
    """Some parts, each on a server and a cluster of its own."""
    found = {}
    for part in parts:
        n_bytes = 1_000_000 * (text_mb or (FULL_MB if full else QUICK_MB)[part])
        folder = Path(tempfile.mkdtemp(prefix="vecmill-beyond-", dir=keep))
        try:
            found[part] = measure(folder, part, n_bytes, seed)
        finally:
            if keep is None:
                shutil.rmtree(folder, ignore_errors=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="little text; the default")
    size.add_argument(
        "--full", action="store_true", help=f"{FULL_MB['sizes']} MB of text, {FULL_MB['kills']} for kills"
    )
    parser.add_argument("--parts", nargs="+", choices=list(FULL_MB), default=list(FULL_MB))
    parser.add_argument("--text-mb", type=int, help="another size")
    parser.add_argument("--seed", type=int, default=1, help="decides when drivers are killed")
    parser.add_argument("--keep", type=Path, help="work below this folder and leave it there")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    options = parser.parse_args()
    parts = measured(options.parts, options.full, options.text_mb, options.seed, options.keep)
    if options.write:
        kept = json.loads(RESULTS.read_text(encoding="utf-8"))["parts"] if RESULTS.exists() else {}
        parts = {name: found for name, found in (kept | parts).items() if name in FULL_MB}
        written = {"table": render(parts), "result": result_of(parts), "parts": parts}
        RESULTS.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(render(parts))
    print(f"RESULT {json.dumps(result_of(parts))}")


if __name__ == "__main__":
    main()
