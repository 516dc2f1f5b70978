"""How fast many machines would be: what words and rows cost is measured, and the prediction held against simulations.

The cost model is ``vecmill/distributed/cost.py``. Trainings of one epoch by 2, 4, 8 and 16 logical workers of one
process take turns, each number of workers twice in a row with different seeds: from the first follows what a word and a
row cost, the second is the simulation that is compared with a prediction. All seconds are processor time. All this is
done several times over, and medians are taken, so that what else the machine does disturbs both sides alike.

A round lasts as long as its slowest worker, in the simulation as on machines, so a machine's speed is that of the
slowest of a round. ``cost_model_error_frac`` is the largest error of a prediction from what was measured with the other
numbers of workers. The replicas of 16 workers in one machine's caches make rows dearer than those of 4, which machines
would not; ``cost_model_error_frac_same`` leaves that out, it is of predictions from what the same number had cost.
``cost_model_error_frac_worst_run`` compares with single simulations in place of their median.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from reviews import Corpus

MACHINES = (1, 2, 4, 8, 16, 32, 64)
WORKERS = (2, 4, 8, 16)
LINKS = {"10 Gbit/s": (10e9 / 8, 50e-6), "100 Gbit/s": (100e9 / 8, 10e-6)}
_COLD_FRAC = 0.05


def measured_cost(corpus: Corpus, part: float, repeats: int) -> dict[str, Any]:
    """Take turns, ``repeats`` times; ``part`` is the share of the reviews that the corpus is."""
    runs = []
    for repeat in range(1, repeats + 1):
        for workers in WORKERS:
            for side, seed in (("measured", 2 * repeat - 1), ("simulated", 2 * repeat)):
                run = {"workers": workers, "repeat": repeat, "side": side} | _trained(corpus, workers, seed)
                print(
                    f"{workers} workers, {side}: {run['words_per_second']:,} words a second each, "
                    f"{run['row_nanoseconds']:.0f} ns a row, {run['bytes_per_word']:.0f} bytes a word "
                    f"(load {run['load']})",
                    flush=True,
                )
                runs.append(run)
    return {"part": part, "counts": json.dumps(histogram(corpus.counts)), "runs": runs}


def _trained(corpus: Corpus, workers: int, seed: int) -> dict[str, Any]:
    """One epoch: what it cost, and how fast machines would have been by the workers' own clocks."""
    from vecmill.distributed.trainer import train_shared
    from vecmill.distributed.transport import OneProcess
    from vecmill.distributed.worker import compile_exchange
    from vecmill.words.config import SkipgramConfig
    from vecmill.words.distributed_config import DistributedConfig
    from vecmill.words.trainer import prepared_run

    config = SkipgramConfig(epochs=1, threads=1, distributed=DistributedConfig(workers=workers))
    run = prepared_run(corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=seed)
    run.compile_kernel()
    compile_exchange(run)
    shared = train_shared(run, config, corpus.counts, OneProcess(workers))
    traffic, rounds = shared.traffic, shared.rounds
    assert traffic is not None
    warm = rounds[round(len(rounds) * _COLD_FRAC) :]
    words = sum(each.words for each in warm)
    slowest = sum(max(each.compute_seconds) for each in warm)
    # Rounds do not say how many rows went; their bytes do, but for what is added to each message.
    n_rows = traffic.n_rows * sum(sum(each.halves) for each in warm) / sum(sum(each.halves) for each in rounds)
    return {
        "load": round(os.getloadavg()[0], 1),
        "words_per_second": round(words / workers / slowest),
        "slowest_frac": round(slowest * workers / sum(sum(each.compute_seconds) for each in warm) - 1, 4),
        "row_nanoseconds": round(1e9 * sum(each.exchange_seconds for each in warm) / n_rows, 1),
        "bytes_per_word": round(float(traffic.sent.sum()) / corpus.token_ids.size, 2),
        "simulated": {name: simulated(rounds, workers, *link) for name, link in LINKS.items()},
    }


def simulated(rounds: Sequence[Any], workers: int, bytes_per_second: float, latency: float) -> float:
    """Words a second by the workers' own clocks: each round lasts as long as its slowest worker and its messages.

    The first rounds, in which caches are cold, are left out.
    """
    from vecmill.distributed.cost import Link

    link, seconds = Link(bytes_per_second, latency), 0.0
    kept = rounds[round(len(rounds) * _COLD_FRAC) :]
    for each in kept:
        seconds += max(each.compute_seconds)
        if workers > 1:
            seconds += each.exchange_seconds / workers + link.seconds(each.halves)
    return round(sum(each.words for each in kept) / seconds, 1)


def predict(cost: dict[str, Any], counts: Any) -> dict[str, Any]:
    """Predicted words a second with a vocabulary of such counts, and how far simulations are from their predictions."""
    measured = [each for each in cost["runs"] if each["side"] == "measured"]
    of_all = _model_of(counts, measured)
    models = {n: of_all(n) for n in MACHINES}
    result: dict[str, Any] = {
        "words_per_second_alone": round(models[1].words_per_second),
        "row_nanoseconds": round(models[1].row_seconds * 1e9, 1),
        "predicted": {name: {str(n): round(_speed(model, n, name)) for n, model in models.items()} for name in LINKS},
    }
    smaller = expanded(json.loads(cost["counts"]))
    checks: list[dict[str, Any]] = []
    for workers in sorted({each["workers"] for each in measured}):
        found = [each for each in cost["runs"] if each["side"] == "simulated" and each["workers"] == workers]
        same, others = (
            _model_of(smaller, [each for each in measured if (each["workers"] == workers) == wanted])(workers)
            for wanted in (True, False)
        )
        sent = sum(others.bytes_per_round(workers)) / others.sync_words
        known = statistics.median(each["bytes_per_word"] for each in found)
        checks.append({"workers": workers, "bytes_per_word": known, "predicted_bytes_per_word": round(sent, 2)})
        for name in LINKS:
            speeds = [each["simulated"][name] for each in found]
            middle, predicted = statistics.median(speeds), _speed(others, workers, name)
            checks.append({"workers": workers, "link": name, "simulated": round(middle), "predicted": round(predicted)})
            checks[-1] |= {
                "error_frac": round(predicted / middle - 1, 4),
                "error_frac_same": round(_speed(same, workers, name) / middle - 1, 4),
                "error_frac_worst_run": round(max((predicted / each - 1 for each in speeds), key=abs), 4),
            }
    for figure in ("", "_same", "_worst_run"):
        errors = [abs(each[f"error_frac{figure}"]) for each in checks if "link" in each]
        result[f"cost_model_error_frac{figure}"] = round(max(errors), 4)
    result["cost_load"] = max(each["load"] for each in cost["runs"])
    return result | {"cost_part": cost["part"], "cost_repeats": len(measured) // len(WORKERS), "checks": checks}


def _model_of(counts: Any, runs: list[dict[str, Any]]) -> Callable[[int], Any]:
    """Cost models, by the number of machines, of what some trainings cost in the middle."""
    from vecmill.distributed.cost import CostModel
    from vecmill.distributed.replicas import round_words
    from vecmill.words.config import SkipgramConfig
    from vecmill.words.touch_rates import touch_rates

    config = SkipgramConfig()
    distributed = config.distributed
    rates = touch_rates(counts, sample=config.sample, negative_exponent=config.negative_exponent, negative_samples=5)
    speed = statistics.median(each["words_per_second"] for each in runs)
    row_seconds = statistics.median(each["row_nanoseconds"] for each in runs) / 1e9

    def model(machines: int) -> CostModel:
        words = round_words(distributed.sync_words, int(counts.sum()) // machines)
        return CostModel(rates, config.dim, words, distributed.tiers, distributed.precision, speed, row_seconds)

    return model


def _speed(model: Any, machines: int, link: str) -> float:
    from vecmill.distributed.cost import Link

    return float(model.speed(machines, Link(*LINKS[link])))


def described(result: dict[str, Any]) -> list[str]:
    """The figures as Markdown."""
    numbers = ", ".join(sorted({str(each["workers"]) for each in result["checks"]}, key=int))
    error, same, worst = (
        f"{100 * result[f'cost_model_error_frac{figure}']:.1f} %" for figure in ("", "_same", "_worst_run")
    )
    lines = [
        "Predicted words a second of machines with one training thread each: "
        f"{result['words_per_second_alone']:,} words a second alone, {result['row_nanoseconds']:.0f} ns of processor "
        f"time for a row in an exchange. Simulations with {numbers} workers, each held against a prediction from what "
        f"the other numbers of workers had cost: off by {error} at most (medians of {result['cost_repeats']}; {worst} "
        f"from a single one; {same} from what the same number had cost). {100 * result['cost_part']:g} % of the "
        f"reviews, one epoch, load {result['cost_load']:.1f} at most.",
        "",
        f"| machines | {' | '.join(LINKS)} |",
        f"| ---: |{' ---: |' * len(LINKS)}",
    ]
    for n in MACHINES:
        speeds = (result["predicted"][name][str(n)] for name in LINKS)
        alone = result["predicted"]["10 Gbit/s"]["1"]
        lines.append(f"| {n} | {' | '.join(f'{each:,} ({each / alone:.1f} ×)' for each in speeds)} |")
    return lines


def histogram(counts: Any) -> list[list[int]]:
    """How many words occur how often: all that the cost model needs of a vocabulary."""
    return [each.tolist() for each in np.unique(counts, return_counts=True)]


def expanded(counts: list[list[int]]) -> Any:
    """The inverse of :func:`histogram`: int64[n_words], falling."""
    return np.repeat(*(np.array(each, np.int64) for each in counts))[::-1]
