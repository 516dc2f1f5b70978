"""What a better model must not cost: coverage, size, latency, and chosen benchmarks, each with a margin."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vecmill.evaluation.comparison import Comparison
from vecmill.evaluation.items import ModelItems
from vecmill.registry.config import PromotionConfig
from vecmill.vectors.word_vectors import WordVectors

_N_QUERIES = 5  # words asked for in one timing
_N_TIMINGS = 7  # the shortest counts: whatever else the machine does only makes them longer
_UNNOTICED_SECONDS = 1e-3
READ = "was trained on text that holds"


@dataclass(frozen=True)
class Guard:
    """One guard: what it compared, and whether the challenger passes.

    ``text`` says it in words that follow "version 2 is better, but".
    """

    name: str
    champion: float | None
    challenger: float | None
    margin: float
    passed: bool
    text: str


def coverage_guard(config: PromotionConfig, champion: ModelItems, challenger: ModelItems) -> Guard:
    """Mean share of the benchmarks' pairs that are covered, as ``mean_coverage``; nothing is estimated here."""
    old, new = (sum(side[name].coverage for name in challenger) / len(challenger) for side in (champion, challenger))
    return Guard(
        "coverage",
        old,
        new,
        config.coverage_margin,
        new >= old - config.coverage_margin,
        f"covers {100 * new:.1f} % of the benchmarks' pairs against {100 * old:.1f} %; "
        f"{100 * config.coverage_margin:g} points less are allowed (coverage_margin)",
    )


def contamination_guard(config: PromotionConfig, found: str) -> Guard:
    """Whether the challenger has read rows of the benchmarks; ``found`` says which, empty for none."""
    return Guard(
        "contamination",
        None,
        None,
        0.0,
        not found or config.contamination == "allow",
        f"{READ} {found}; take those documents out of the corpus (contamination.parquet lists them), leave the "
        "benchmark out of evaluate.benchmarks, or allow it (registry.promotion.contamination)",
    )


def size_guard(config: PromotionConfig, champion_bytes: int, challenger_bytes: int) -> Guard:
    """Bytes of the vectors' files."""
    return Guard(
        "size",
        champion_bytes,
        challenger_bytes,
        config.size_ratio,
        challenger_bytes <= config.size_ratio * champion_bytes,
        f"takes {challenger_bytes / 1e6:,.1f} MB against {champion_bytes / 1e6:,.1f}; "
        f"{config.size_ratio:g} times as much is allowed (size_ratio)",
    )


def latency_guard(config: PromotionConfig, champion: WordVectors, challenger: WordVectors) -> Guard | None:
    """Seconds of an exact query for ten neighbours; None where the policy does not ask."""
    if config.latency_ratio is None:
        return None
    old, new = _query_seconds((champion, challenger))
    return Guard(
        "latency",
        old,
        new,
        config.latency_ratio,
        new <= config.latency_ratio * old or new - old < _UNNOTICED_SECONDS,
        f"takes {1e3 * new:.1f} ms for a neighbour query against {1e3 * old:.1f}; "
        f"{config.latency_ratio:g} times as long is allowed (latency_ratio)",
    )


def benchmark_guards(config: PromotionConfig, comparison: Comparison) -> list[Guard]:
    """Non-inferiority: the lower end of the difference's interval lies above minus the margin.

    Every guard has to hold, so none is corrected for there being several (intersection-union test, Berger 1982).
    """
    by_name = {each.name: each for each in comparison.separations}
    found = []
    for name in config.guard_benchmarks:
        each = by_name.get(name)
        if each is None:
            why = comparison.left_out.get(name, "it is none of the compared benchmarks")
            text = f"cannot be shown to be no worse on {name}: {why}"
            found.append(Guard(name, None, None, config.benchmark_margin, False, text))
            continue
        found.append(
            Guard(
                name,
                each.champion,
                each.challenger,
                config.benchmark_margin,
                each.lower > -config.benchmark_margin,
                f"may be worse on {name} by up to {max(0.0, -each.lower):.4f}; the margin is "
                f"{config.benchmark_margin:g} (benchmark_margin)",
            )
        )
    return found


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _query_seconds(models: Sequence[WordVectors]) -> list[float]:
    """Shortest time of a query by each model, taken in turns."""
    queries: list[Callable[[], object]] = [_asking(model) for model in models]
    shortest = [float("inf")] * len(models)
    for query in queries:
        query()  # maps files into memory
    for _ in range(_N_TIMINGS):
        for at, query in enumerate(queries):
            started = time.perf_counter()
            query()
            shortest[at] = min(shortest[at], (time.perf_counter() - started) / _N_QUERIES)
    return shortest


def _asking(model: WordVectors) -> Callable[[], object]:
    words = model.words[:_N_QUERIES]

    def ask() -> None:
        for word in words:
            model.neighbours(word, 10)

    return ask
