"""The stages from ingest to encode with a store: full runs, and nights on which one of ten files is new.

A part of ``benchmarks/corpus.py``, which says what the figures mean.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from vecmill.corpus import division
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome, run_stage

NIGHT_STAGES = ("ingest", "contract", "contamination", "vocabulary", "encode")
NIGHT_FILES = 10


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def processor_seconds(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and processor time of all threads."""
    started = time.process_time()
    wall, result = seconds(work)
    return wall, time.process_time() - started, result


def nights(folder: Path, texts: Path, rounds: int, min_count: int) -> dict[str, Any]:
    """Full runs with a store, and nights on which one of ten files is new; medians."""
    sources = folder / "in"
    sources.mkdir(parents=True)
    table = pl.read_parquet(texts)
    for number in range(NIGHT_FILES):
        table.gather_every(NIGHT_FILES, number).write_ndjson(sources / f"{number}.jsonl")
    # As files of 8 MiB are: those of the quick corpus are smaller, and would all be one group.
    division.LARGE_BYTES = 1
    new, aside = sources / f"{NIGHT_FILES // 2}.jsonl", folder / "new.jsonl"
    taken: dict[str, list[dict[str, tuple[float, float]]]] = {"full": [], "night": []}
    outcomes: dict[str, StageOutcome] = {}
    for _ in range(rounds):
        new.rename(aside)
        run_stages(folder / "store", sources, min_count)  # also compiles, and imports Great Expectations
        aside.rename(new)
        taken["night"].append(run_stages(folder / "store", sources, min_count)[0])
        shutil.rmtree(folder / "store")
        found, outcomes = run_stages(folder / "store", sources, min_count)
        taken["full"].append(found)
        shutil.rmtree(folder / "store")
    shutil.rmtree(folder)

    def median(run: str, clock: int, *stages: str) -> float:
        return statistics.median(sum(found[stage][clock] for stage in stages) for found in taken[run])

    n_words = outcomes["vocabulary"].metrics["n_tokens"]
    return {
        "stored_count_mwords_per_second": n_words / median("full", 0, "vocabulary") / 1e6,
        "stored_encode_pass_mwords_per_second": n_words / median("full", 0, "encode") / 1e6,
        "stored_encode_mwords_per_second": n_words / median("full", 0, "vocabulary", "encode") / 1e6,
        "night_share": median("night", 0, *NIGHT_STAGES) / median("full", 0, *NIGHT_STAGES),
        "night_processor_share": median("night", 1, *NIGHT_STAGES) / median("full", 1, *NIGHT_STAGES),
        "night_processor_seconds": {
            stage: [round(median(run, 1, stage), 2) for run in ("full", "night")] for stage in NIGHT_STAGES
        },
    }


def run_stages(
    store_folder: Path, sources: Path, min_count: int
) -> tuple[dict[str, tuple[float, float]], dict[str, StageOutcome]]:
    """Run the stages up to the token store; wall and processor seconds of each, and what it came to."""
    config = WordsConfig.model_validate(
        {
            "store": {"uri": str(store_folder), "cache": str(store_folder / "cache")},
            "corpus": {"sources": [str(sources)], "id_column": "doc_id"},
            "vocabulary": {"token_pattern": "ascii", "min_count": min_count},
            "train": {"kind": "skipgram"},
        }
    )
    store = ArtifactStore(config.store)
    outcomes: dict[str, StageOutcome] = {}
    found: dict[str, tuple[float, float]] = {}
    for name in NIGHT_STAGES:
        stage = WORDS.stage(name)
        inputs = {each: outcomes[each].ref for each in stage.inputs}
        wall, busy, outcomes[name] = processor_seconds(lambda: run_stage(stage, config, store, inputs))  # noqa: B023
        found[name] = wall, busy
    return found, outcomes
