"""What sharing a training among workers costs in quality, bytes and time.

    python benchmarks/scale.py --quick | --full [--workers 1 2 4 8 16] [--ways touches mean] [--seeds 3] [--write]
                               [--report] [--seed N]
    python benchmarks/scale.py --cost [--part 0.5] [--repeats 3] [--write]

Quality: skip-gram of 100 dimensions on the reviews (``benchmarks/reviews.py``), trained by 1 to 16 logical workers of
one process, one thread each, with changes combined by touches and, beside it, by a plain mean. Scores are Spearman
correlations. The loss of n workers is the score of one worker minus that of n, means over seeds, mean over
WordSim-353, SimLex-999 and MEN.

Cost: bytes are counted as they would travel. The cost model (``vecmill/distributed/cost.py``) predicts words a second
of 1 to 64 machines at 10 and 100 Gbit/s. A simulation lets every worker of a real training keep a clock of its own,
adds the delay of each message as it really was to those clocks, and is compared with the prediction for 2 to 16
workers. ``--cost`` measures that alone, see ``scale_cost.py``; nothing else should be at work then.

Text beyond memory is ``benchmarks/beyond_memory.py``'s: what it kept is taken over, and with ``--quick`` it runs on
little text, of which starting takes most.

The last line is RESULT and one JSON object: ``linearity_ratio``, ``spearman_loss_8``, ``spearman_loss_16``,
``cost_model_error_frac`` (the largest, see ``scale_cost.py``),
``bytes_per_word`` (of 8 workers, what all send for a word that one of them trains). With ``--write`` each training is
kept in results/scale.json at once, and one that stands there is not repeated; ``--report`` trains nothing and draws
table and plot from what is kept; ``--seed`` trains one seed alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from beyond_memory import RESULTS as BEYOND_RESULTS
from beyond_memory import measured, result_of
from reviews import Corpus, read_corpus
from scale_cost import LINKS, described, expanded, histogram, measured_cost, predict, simulated

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/scale.json"
PLOT = ROOT / "docs/images/scale.svg"
SIMILARITY = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "men": "MEN"}
WAYS = {"touches": "by touches", "mean": "plain mean"}
# In less text rounds are shorter than those that machines have, and what each exchange costs in any case would show.
QUICK_COST_PART = 0.3
COST_BEGINS = "Cost: what words and rows cost, by 2 to 16 workers, each twice: measured, and simulated"
QUICK = {"part": 0.05, "epochs": 1, "seeds": 1, "workers": [1, 4, 8, 16]}


def train(corpus: Corpus, workers: int, way: Any, epochs: int, seed: int) -> dict[str, Any]:
    """Train, score, and say what travelled and how long it took."""
    from vecmill.distributed.trainer import train_shared
    from vecmill.distributed.transport import OneProcess
    from vecmill.evaluation.benchmarks import load_benchmark
    from vecmill.evaluation.similarity import word_similarity
    from vecmill.vectors.word_vectors import WordVectors
    from vecmill.words.config import SkipgramConfig
    from vecmill.words.distributed_config import DistributedConfig
    from vecmill.words.trainer import prepared_run

    config = SkipgramConfig(epochs=epochs, threads=1, distributed=DistributedConfig(workers=workers))
    run = prepared_run(corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=seed)
    shared = train_shared(run, config, corpus.counts, OneProcess(workers), way=way)
    vectors = WordVectors(corpus.words, np.ascontiguousarray(shared.training.center_vectors))
    scores = {name: word_similarity(vectors, load_benchmark(name), n_resamples=10).spearman for name in SIMILARITY}
    traffic, n_words = shared.traffic, int(corpus.token_ids.size) * epochs
    assert traffic is not None
    return {
        "scores": {name: round(float(score or 0), 5) for name, score in scores.items()},
        "loss": round(shared.training.epochs[-1].loss, 5),
        "bytes_per_word": round(float(traffic.sent.sum()) / n_words, 2),
        "bytes_per_sync": round(float(traffic.sent.mean()) / max(traffic.n_exchanges, 1)),
        "n_exchanges": traffic.n_exchanges,
        "n_rows": traffic.n_rows,
        "n_words": n_words,
        "compute_seconds": round(sum(sum(each.compute_seconds) for each in shared.rounds), 2),
        "exchange_seconds": round(sum(each.exchange_seconds for each in shared.rounds), 2),
        "simulated": {name: simulated(shared.rounds, workers, *link) for name, link in LINKS.items()},
    }


class Runs:
    """What each training came to; kept in a file where there is one."""

    def __init__(self, kept: list[dict[str, Any]], keep: Callable[[list[dict[str, Any]]], None] | None) -> None:
        self.kept, self._keep = kept, keep

    def find(self, place: dict[str, Any]) -> dict[str, Any] | None:
        return next((each for each in self.kept if {name: each.get(name) for name in place} == place), None)

    def run(self, corpus: Callable[[], Corpus], place: dict[str, Any], code: str) -> dict[str, Any]:
        found = self.find(place)
        if found is not None and found["code"] == code:
            return found
        started = time.perf_counter()
        made = train(corpus(), place["workers"], place["way"], place["epochs"], place["seed"])
        took = f"{time.perf_counter() - started:.0f} s, load {os.getloadavg()[0]:.1f}"
        scores = ", ".join(f"{title} {made['scores'][name]:.4f}" for name, title in SIMILARITY.items())
        workers = f"{place['workers']} workers, {WAYS[place['way']]}" if place["workers"] > 1 else "1 worker"
        print(
            f"{workers}, seed {place['seed']}: {scores}; {made['bytes_per_word']:.0f} bytes a word ({took})", flush=True
        )
        self.kept = [each for each in self.kept if each is not found] + [place | {"code": code} | made]
        if self._keep:
            self._keep(self.kept)
        return self.kept[-1]


def place_of(options: argparse.Namespace, workers: int, way: str, seed: int) -> dict[str, Any]:
    # one worker combines nothing: it is the same training on both sides
    kept_way = "touches" if workers == 1 else way
    return {"workers": workers, "way": kept_way, "part": options.part, "epochs": options.epochs, "seed": seed}


def measure(runs: Runs, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of the runs that there are."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for way in options.ways:
        for workers in options.workers:
            each = [runs.find(place_of(options, workers, way, seed)) for seed in range(1, options.seeds + 1)]
            if any(each):
                found[way, workers] = [one for one in each if one is not None]
    curve: dict[str, Any] = {}
    for (way, workers), mine in found.items():
        alone = {each["seed"]: each for each in found.get((way, 1), [])}
        paired = [each for each in mine if each["seed"] in alone]
        row: dict[str, Any] = {"seeds": len(mine)}
        for name in SIMILARITY:
            values = [each["scores"][name] for each in mine]
            row[name] = round(statistics.mean(values), 4)
            row[f"{name}_sd"] = round(statistics.stdev(values), 4) if len(values) > 1 else 0.0
            if paired:
                differences = [alone[each["seed"]]["scores"][name] - each["scores"][name] for each in paired]
                row[f"{name}_loss"] = round(statistics.mean(differences), 4)
        if paired:
            losses = [
                statistics.mean(alone[each["seed"]]["scores"][name] - each["scores"][name] for name in SIMILARITY)
                for each in paired
            ]
            row["spearman_loss"] = round(statistics.mean(losses), 4)
            row["spearman_loss_sd"] = round(statistics.stdev(losses), 4) if len(losses) > 1 else 0.0
        for name in ("loss", "bytes_per_word", "bytes_per_sync"):
            row[name] = round(statistics.mean(each[name] for each in mine), 4)
        curve.setdefault(way, {})[str(workers)] = row
    result: dict[str, Any] = {}
    for workers in (8, 16):
        for way, name in (("touches", "spearman_loss"), ("mean", "mean_spearman_loss")):
            if "spearman_loss" in (row := curve.get(way, {}).get(str(workers), {})):
                result[f"{name}_{workers}"] = row["spearman_loss"]
    if "8" in curve.get("touches", {}):
        result["bytes_per_word"] = curve["touches"]["8"]["bytes_per_word"]
    result["curve"] = curve
    return result


def beyond_memory(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of the pipeline on text beyond memory: those kept, or new ones where there are none."""
    if not options.quick and BEYOND_RESULTS.exists():
        kept: dict[str, Any] = json.loads(BEYOND_RESULTS.read_text(encoding="utf-8"))["result"]
        return kept
    if options.report:
        return {}
    print("Text beyond memory: a Ray cluster and two runs of the pipeline on text in an S3 server", flush=True)
    return result_of(measured(["sizes"], not options.quick))


def render(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as Markdown."""
    lines = [
        f"Reviews, {options.epochs} epoch{'s' if options.epochs > 1 else ''}, skip-gram of 100 dimensions, one thread "
        "a worker; Spearman correlation, "
        "mean ± standard deviation over seeds. Loss: the score of one worker minus this one, seed by seed, mean of the "
        "three tests. Bytes: what all workers send for a word that one trains, and what one sends in an exchange.",
        "",
        "| workers | combined | seeds | WordSim-353 | SimLex-999 | MEN | loss | bytes a word | bytes a sync |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for way, rows in result["curve"].items():
        for workers, row in rows.items():
            if workers == "1" and way != "touches":
                continue
            scores = " | ".join(
                f"{row[name]:.4f}" + (f" ± {row[f'{name}_sd']:.4f}" if row["seeds"] > 1 else "") for name in SIMILARITY
            )
            loss = f"{row['spearman_loss']:+.4f}" if "spearman_loss" in row and workers != "1" else ""
            sent = f"{row['bytes_per_word']:.0f} | {row['bytes_per_sync']:,.0f}" if workers != "1" else "0 | 0"
            title = WAYS[way] if workers != "1" else ""
            lines.append(f"| {workers} | {title} | {row['seeds']} | {scores} | {loss} | {sent} |")
    if "predicted" in result:
        lines += ["", *described(result)]
    return "\n".join(lines)


def draw(result: dict[str, Any]) -> None:
    """The quality curve as a picture."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "vecmill"
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for way, rows in result["curve"].items():
        points = [
            (int(n), row["spearman_loss"], row["spearman_loss_sd"]) for n, row in rows.items() if "spearman_loss" in row
        ]
        if points:
            axes.errorbar(*zip(*points, strict=True), marker="o", capsize=3, label=WAYS[way])
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xticks([int(n) for n in result["curve"]["touches"]], list(result["curve"]["touches"]))
    axes.set_xlabel("workers")
    axes.set_ylabel("loss of Spearman correlation")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="changes combined")
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a part of the corpus, one epoch, one seed")
    size.add_argument("--full", action="store_true", help="everything; the default")
    parser.add_argument("--part", type=float, default=1.0, help="share of the reviews, 0-1")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, help="train this one alone")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--cost", action="store_true", help="measure what words and rows cost, and nothing else")
    parser.add_argument("--repeats", type=int, default=3, help="for --cost: of all trainings")
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    written: dict[str, Any] = {}
    if (options.write or options.report) and RESULTS.exists():
        written = json.loads(RESULTS.read_text(encoding="utf-8"))

    def keep(runs: list[dict[str, Any]]) -> None:
        order = ("part", "epochs", "way", "workers", "seed")
        written["runs"] = sorted(runs, key=lambda each: [each[name] for name in order])
        partial = RESULTS.with_suffix(".partial")
        partial.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        partial.replace(RESULTS)

    runs = Runs(written.get("runs", []), keep if options.write else None)
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        corpora: list[Corpus] = []

        def corpus() -> Corpus:
            if not corpora:
                corpora.append(read_corpus(Path(name), part=options.part))
                written.setdefault("counts", {})[str(options.part)] = histogram(corpora[0].counts)
            return corpora[0]

        if options.cost:
            print(COST_BEGINS, flush=True)
            written["cost"] = measured_cost(corpus(), options.part, options.repeats)
            if options.write:
                keep(runs.kept)
            figures = predict(written["cost"], expanded(_counts_of(written)))
            print("\n".join(described(figures)))
            print(f"RESULT {json.dumps(figures)}")
            return
        if options.quick:
            (Path(name) / "cost").mkdir()
            print(COST_BEGINS, flush=True)
            larger = read_corpus(Path(name) / "cost", part=QUICK_COST_PART)
            written["cost"] = measured_cost(larger, QUICK_COST_PART, 1)
        if not options.report:
            from vecmill.store.closure import code_digest

            code = code_digest(("vecmill.distributed.trainer:train_shared",)).digest[:16]
            seeds = [options.seed] if options.seed else range(1, options.seeds + 1)
            print("Quality: trainings by so many logical workers", flush=True)
            for seed in seeds:
                for way in options.ways:
                    for workers in options.workers:
                        runs.run(corpus, place_of(options, workers, way, seed), code)
    if options.write and runs.kept:  # what is kept, and not only what was asked for this time, is drawn
        mine = [each for each in runs.kept if (each["part"], each["epochs"]) == (options.part, options.epochs)]
        every = {"ways": list(WAYS), "workers": sorted({each["workers"] for each in mine})}
        vars(options).update(every, seeds=max(each["seed"] for each in mine))
    result = measure(runs, options)
    if "cost" in written:
        result |= predict(written["cost"], expanded(_counts_of(written)))
    result |= beyond_memory(options)
    table = render(result, options)
    print(table)
    if options.write:
        written.update(table=table, result={name: each for name, each in result.items() if name != "checks"})
        keep(runs.kept)
        if not options.quick:
            draw(result)
    print(f"RESULT {json.dumps(result)}")


def _counts_of(written: dict[str, Any]) -> Any:
    """Those of all reviews, where they are known: the prediction is for them."""
    return written.get("counts", {}).get("1.0") or json.loads(written["cost"]["counts"])


if __name__ == "__main__":
    main()
