"""How long the words pipeline takes cold and cached, and what of it is orchestration.

    python benchmarks/pipeline.py [--runs 3] [--write]

Runs `vecmill run words --json` as a user would, in a fresh folder each time: once cold, then again with everything
cached. Prints a table and, as its last line, RESULT and one JSON object:

    cold_seconds       wall time of the first run
    cached_seconds     wall time of an identical second run (median over several)
    overhead_seconds   cold wall time outside the core functions, as the manifests time them
    peak_rss_bytes     largest resident memory of the cold run's process
    help_seconds       wall time of `vecmill --help`
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PIPELINES = ROOT / "pipelines.yaml"
RESULTS = ROOT / "benchmarks/results/pipeline.json"


def vecmill(folder: Path, *arguments: str) -> tuple[float, str, int]:
    """Wall seconds, stdout and peak resident bytes of one command."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "vecmill", *arguments], cwd=folder, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        if status:
            sys.exit(f"vecmill {' '.join(arguments)} failed:\n{err.read()}")
        return seconds, out.read(), usage.ru_maxrss * 1024


def measure(cached_runs: int) -> dict[str, Any]:
    """One cold run, then cached ones, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        folder = Path(name)
        run = ("run", "words", "--json", "--file", str(PIPELINES))
        cold_seconds, printed, peak = vecmill(folder, *run)
        summary = json.loads(printed)
        cached = []
        for _ in range(cached_runs):
            seconds, printed, _ = vecmill(folder, *run)
            assert all(stage["cached"] for stage in json.loads(printed)["stages"]), printed
            cached.append(seconds)
        helped = [vecmill(folder, "--help")[0] for _ in range(cached_runs)]
        return {
            "stages": summary["stages"],
            "cold_seconds": cold_seconds,
            "cached_seconds": statistics.median(cached),
            "overhead_seconds": cold_seconds - sum(stage["core_seconds"] for stage in summary["stages"]),
            "peak_rss_bytes": peak,
            "help_seconds": statistics.median(helped),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=3, help="cold runs; figures are medians")
    parser.add_argument("--cached-runs", type=int, default=5, help="cached runs after each cold one")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    found = [measure(arguments.cached_runs) for _ in range(arguments.runs)]
    middle = {
        name: statistics.median(each[name] for each in found)
        for name in ("cold_seconds", "cached_seconds", "overhead_seconds", "peak_rss_bytes", "help_seconds")
    }
    table = render(found, middle, arguments.runs)
    result = {name: round(value, 3) for name, value in middle.items()}
    print(table)
    if arguments.write:
        RESULTS.write_text(json.dumps({"table": table, "result": result}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


def render(found: list[dict[str, Any]], middle: dict[str, float], n_runs: int) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("prefect", "mlflow", "numba", "polars"))
    lines = [f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}", ""]
    lines += [f"| stage of `words` on the built-in text | seconds (cold, median of {n_runs}) |", "| --- | ---: |"]
    for index, stage in enumerate(found[0]["stages"]):
        seconds = statistics.median(each["stages"][index]["core_seconds"] for each in found)
        lines.append(f"| {stage['stage']} | {seconds:.2f} |")
    lines += ["", "| figure | measured | aim |", "| --- | ---: | ---: |"]
    lines += [
        f"| cold run | {middle['cold_seconds']:.1f} s | |",
        f"| of it outside core functions | {middle['overhead_seconds']:.1f} s | ≤ 15 s |",
        f"| cached run | {middle['cached_seconds']:.2f} s | < 3 s |",
        f"| `vecmill --help` | {middle['help_seconds']:.2f} s | < 0.5 s |",
        f"| peak memory, cold | {middle['peak_rss_bytes'] / 1e6:.0f} MB | |",
    ]
    return "\n".join(lines)


def processor() -> str:
    """The processor's name, as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
