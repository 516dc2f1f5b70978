"""Does a search find a better configuration than the default one, and what does it cost?

    python benchmarks/search.py --quick|--full [--keep FOLDER] [--write]

`vecmill run words-search` on the reviews, as a user runs it. The grid that an exhaustive sweep would have to train is
SPACE with VALUES_OF_A_RANGE values for each range. The search may cost a quarter of that sweep, its finalists
included: pilots train on a part of the documents, and the best one and the default configuration on all of them from
three seeds each. Whether the best is better is said by the statistics of the gate, on all bundled benchmarks.

What the sweep costs is measured by a quarter of it, trained beside the search in the same minutes (two cores, a thread
each), so that whatever else keeps the machine busy slows both. This quarter has every combination of the fields that a
training's length depends on, at one learning rate, and is a grid search of its own by the same command. Costs are
seconds of all trials and finalists, and beside them passes over the documents (a pilot on a quarter counts as a
quarter). What search and sweep need once and alike, before the first training, counts for neither: reading and counting
the corpus, and compiling the trainer.

Then the search is repeated with wider bounds and more trials, which has to train the new ones alone.

Prints a table and, as its last line, RESULT and one JSON object: `search_vs_default` (difference of the mean Spearman
over all pairs and benchmarks, best candidate less default), its interval, p and verdict, `cost_seconds_frac` (of the
sweep), `cost_frac` (the same in passes), `trials_cached_frac` (of the widened search). With ``--keep`` store and trials
stay in a folder, and a benchmark that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from reviews import CORPUS_VARIABLE, USUAL_PLACE

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results/search.json"

SPACE: dict[str, Any] = {
    "train.learning_rate": {"low": 0.0125, "high": 0.1, "log": True},
    "train.window": {"low": 2, "high": 10},
    "train.negative_samples": {"choices": [5, 10]},
    "train.sample": {"choices": [1e-3, 1e-4]},
}
# Wider on two sides; every trial of SPACE fits into it.
WIDER: dict[str, Any] = SPACE | {
    "train.learning_rate": {"low": 0.00625, "high": 0.2, "log": True},
    "train.window": {"low": 2, "high": 12},
}
VALUES_OF_A_RANGE = 4
# What the length of a training depends on: all of the grid but the learning rate.
SWEPT: dict[str, Any] = {
    "train.window": {"choices": [2, 5, 7, 10]},
    "train.negative_samples": SPACE["train.negative_samples"],
    "train.sample": SPACE["train.sample"],
}
N_SEEDS = 3
SIZES: dict[str, dict[str, Any]] = {
    "full": {"part": 0.25, "pilots": 10, "random": 5, "more": 2, "epochs": 5, "share": 0.5},
    "quick": {"part": 0.01, "pilots": 6, "random": 3, "more": 2, "epochs": 2, "share": 0.25},
}


def n_cells(space: dict[str, Any]) -> int:
    """Trainings of an exhaustive sweep."""
    return math.prod(len(each.get("choices", ())) or VALUES_OF_A_RANGE for each in space.values())


def reviews_of(folder: Path, part: float) -> Path:
    """Every n-th review as a Parquet file of its own."""
    path = Path(os.environ.get(CORPUS_VARIABLE, USUAL_PLACE))
    if not path.exists():
        sys.exit(f"no corpus at {path}; set {CORPUS_VARIABLE} to a Parquet file with a column `text`")
    target = folder / f"reviews-{part:g}.parquet"
    if not target.exists():
        texts = pq.read_table(path, columns=["text"])["text"]
        kept = [at for at in range(len(texts)) if int((at + 1) * part) > int(at * part)]
        partial = target.with_suffix(".partial")
        pq.write_table(pa.table({"text": texts.take(pa.array(kept))}), partial)
        partial.replace(target)
    return target


def start(
    folder: Path, name: str, corpus: Path, size: dict[str, Any], search: dict[str, Any]
) -> subprocess.Popen[bytes] | None:
    """Begin a search in a folder of its own, where it leaves ``NAME.json`` and a log; None where it is done."""
    if _found(folder, name) is not None:
        return None
    config = {
        "corpus": {"sources": [str(corpus)]},
        "train": {"kind": "skipgram", "epochs": size["epochs"], "threads": 1},
        "registry": {"model_name": "reviews"},
        "search": {"pruner": "none", "n_finalists": 1, **search},
    }
    deployment = {"name": "words-search", "entrypoint": "flows/search.py:search", "parameters": {"config": config}}
    folder.mkdir(exist_ok=True)
    (folder / "pipelines.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}), encoding="utf-8")
    with (folder / f"{name}.json").open("wb") as found, (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "vecmill", "run", "words-search", "--json"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            stdout=found,
            stderr=log,
        )


def finish(folder: Path, name: str, process: subprocess.Popen[bytes] | None) -> dict[str, Any]:
    """What a search found, in the words of ``--json``."""
    code = process.wait() if process else 0
    found = _found(folder, name)
    if code or found is None:
        lines = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        sys.exit("\n".join([*lines[-20:], f"{name} ended with exit code {code}; with --keep it goes on there"]))
    return found


def _found(folder: Path, name: str) -> dict[str, Any] | None:
    try:
        summary: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    found: dict[str, Any] = summary["search"]
    return found


def search_and_sweep(
    folder: Path, corpus: Path, size: dict[str, Any], wanted: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The search, and at the same time a quarter of the exhaustive sweep, each in a folder of its name."""
    grid = {"space": SWEPT, "sampler": "grid", "n_trials": n_cells(SWEPT), "pilot_shares": [1.0], "n_seeds": 1}
    began: dict[str, subprocess.Popen[bytes] | None] = {}
    try:
        for name, each in (("search", wanted), ("sweep", grid)):
            began[name] = start(folder / name, name, corpus, size, each)
        searched, swept = (finish(folder / name, name, process) for name, process in began.items())
    finally:
        for process in began.values():
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait()
    return searched, swept


def seconds_of_trials(folder: Path, found: dict[str, Any]) -> float:
    """Seconds of all trials, less what the first of them did but for training: it reads and counts the corpus."""
    manifests = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (folder / ".vecmill/store/train").glob("*/manifest.json")
    ]
    first = min(manifests, key=lambda each: str(each["finished_at"]))
    training = first["seconds"] - first["metrics"]["compile_seconds"]
    return float(training + sum(row["seconds"] for row in found["trials"] if row["trial"] > 0))


def measure(folder: Path, size: dict[str, Any]) -> dict[str, Any]:
    """Search, sweep and widened search, and what they come to."""
    corpus = reviews_of(folder, size["part"])
    wanted = {
        "space": SPACE,
        "n_trials": size["pilots"],
        "startup_trials": size["random"],
        "pilot_shares": [size["share"]],
        "n_seeds": N_SEEDS,
    }
    found, swept = search_and_sweep(folder, corpus, size, wanted)
    load = folder / "load.txt"
    if not load.exists():
        load.write_text(f"{os.getloadavg()[2]:.1f}")
    seconds = seconds_of_trials(folder / "search", found) + found["cost"]["finalist_seconds"]
    sweep_seconds = seconds_of_trials(folder / "sweep", swept) * n_cells(SPACE) / n_cells(SWEPT)
    more = wanted | {"space": WIDER, "n_trials": size["pilots"] + size["more"]}
    wider = finish(folder / "search", "wider", start(folder / "search", "wider", corpus, size, more))
    passes = size["pilots"] * size["share"] + len(found["finalists"]) * N_SEEDS
    # The finding is about the better one of the two; the figure is about the search.
    sign = 1 if found["winner"] != "baseline" else -1
    tests = [_about_the_search(test, sign) for test in found["findings"][0]["tests"]]
    return {
        "winner": found["winner"],
        "values": found["winner_values"],
        "finalists": found["finalists"],
        "tests": tests,
        "finding": found["findings"][0]["text"],
        "importances": found["importances"],
        "search_vs_default": tests[0]["difference"],
        "lower": tests[0]["lower"],
        "upper": tests[0]["upper"],
        "p": tests[0]["p_holm"],
        "verdict": found["findings"][0]["verdict"] if sign == 1 else "the default configuration won",
        "n_trials": found["cost"]["n_trials"],
        "n_failed": found["cost"]["n_failed"],
        "sweep_trainings": n_cells(SPACE),
        "swept_trainings": n_cells(SWEPT),
        "cost_frac": round(passes / n_cells(SPACE), 4),
        "search_seconds": round(seconds, 1),
        "sweep_seconds": round(sweep_seconds, 1),
        "cost_seconds_frac": round(seconds / sweep_seconds, 4),
        "load": float(load.read_text()),
        "trials_cached_frac": wider["cost"]["trials_cached_frac"],
        "widened_trials": wider["cost"]["n_trials"],
    }


def _about_the_search(test: dict[str, Any], sign: int) -> dict[str, Any]:
    """A test as one of the search's best candidate against the default."""
    lower, upper = sorted((sign * test["lower"], sign * test["upper"]))
    return {
        "title": test["title"],
        "difference": round(sign * test["difference"], 5),
        "lower": round(lower, 5),
        "upper": round(upper, 5),
        "p_holm": test["p_holm"] if sign == 1 else test["p_worse_holm"],
    }


def render(found: dict[str, Any], size: dict[str, Any]) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("optuna", "numba", "numpy"))
    paths = sorted(SPACE)
    lines = [
        f"{size['part']:.0%} of the reviews, skip-gram with {size['epochs']} epochs; {found['n_trials']} trials on "
        f"{size['share']:.0%} of the documents, finalists on all from {N_SEEDS} seeds; {versions}, {os.cpu_count()} "
        f"cores, load {found['load']:.1f}.",
        "",
        f"| configuration | {' | '.join(paths)} | mean Spearman, all pairs | sd over seeds |",
        f"| --- | {' | '.join(['---:'] * len(paths))} | ---: | ---: |",
    ]
    for row in found["finalists"]:
        values = [f"{row['values'][path]:.4g}" if path in row["values"] else "default" for path in paths]
        lines.append(f"| {row['label']} | {' | '.join(values)} | {row['mean']:.4f} | {row['sd'] or 0:.4f} |")
    lines += ["", "| benchmark | difference | 90 % interval | p (Holm) |", "| --- | ---: | --- | ---: |"]
    for test in found["tests"]:
        interval = f"{test['lower']:+.4f} to {test['upper']:+.4f}"
        lines.append(f"| {test['title']} | {test['difference']:+.4f} | {interval} | {test['p_holm']:.2g} |")
    lines += [
        "",
        f"Verdict: {found['verdict']}. Cost: {found['cost_seconds_frac']:.0%} of the seconds of a sweep over "
        f"{found['sweep_trainings']} configurations ({found['search_seconds']:,.0f} of "
        f"{found['sweep_seconds']:,.0f}; {found['swept_trainings']} of them were trained beside the search, on all "
        f"documents from one seed), {found['cost_frac']:.0%} of its passes. The same search with wider bounds and "
        f"{found['widened_trials'] - found['n_trials']} trials more had {found['trials_cached_frac']:.0%} of its "
        f"{found['widened_trials']} trials already.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--quick", action="store_const", dest="size", const="quick", help="a small part, few trials")
    group.add_argument("--full", action="store_const", dest="size", const="full", help="what the figures are from")
    parser.add_argument("--keep", type=Path, help="folder in which a benchmark that was stopped goes on")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="vecmill-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = measure(folder.resolve(), size)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    table = render(found, size)
    result = {name: value for name, value in found.items() if name not in ("finalists", "tests")}
    print(table)
    if arguments.write:
        RESULTS.write_text(json.dumps({"table": table, "result": found}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
