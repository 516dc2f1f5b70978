"""Configuration of the evaluate stage."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import AfterValidator, Field

from vecmill.config.base import Config

BUNDLED_BENCHMARKS = ("wordsim353", "simlex999", "men", "rw", "scws")


def is_path(benchmark: str) -> bool:
    """Whether an entry of ``benchmarks`` is a file: it has a dot or a separator, which no bundled name has."""
    return any(mark in benchmark for mark in "./\\")


def _known_or_path(benchmark: str) -> str:
    if "://" in benchmark:
        raise ValueError(f"the benchmark {benchmark!r} is not a local file. Copy it beside the configuration first")
    if benchmark in BUNDLED_BENCHMARKS or is_path(benchmark):
        return benchmark
    near = difflib.get_close_matches(benchmark.lower(), BUNDLED_BENCHMARKS, n=1)
    raise ValueError(
        f"no benchmark is named {benchmark!r}. "
        + (f"Did you mean {near[0]!r}? " if near else "")
        + f"Expected: one of {', '.join(BUNDLED_BENCHMARKS)}, or the path of a TSV file, such as ratings.tsv"
    )


class EvaluationConfig(Config):
    """How finished word vectors are scored and shown."""

    benchmarks: tuple[Annotated[str, AfterValidator(_known_or_path)], ...] = Field(
        default=BUNDLED_BENCHMARKS,
        min_length=1,
        description="Word-similarity benchmarks: names of bundled ones, or paths of TSV files with the header "
        "word1, word2, score. Default: every bundled one",
    )
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        lt=1.0,
        description="Share of resamples that an interval holds, a fraction. Default: the customary 95 %",
    )
    n_resamples: int = Field(
        default=1000,
        ge=100,
        le=1_000_000,
        description="Bootstrap resamples behind each interval. Default: Efron and Tibshirani 1993, section 13.3, "
        "advise 1,000 for percentiles",
    )
    neighbour_words: tuple[str, ...] = Field(
        default=(),
        description="Words whose neighbours are listed for people to look at. Default: none named, so the most "
        "frequent words that a benchmark rates are taken",
    )
    n_neighbour_words: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="How many words are taken where neighbour_words names none. Default: as many as one screen shows",
    )
    n_neighbours: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Neighbours listed for each word. Default: customary in embedding viewers",
    )
