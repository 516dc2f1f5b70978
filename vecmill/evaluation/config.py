"""Configuration of the evaluate stage."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vecmill.config.base import Config

BUNDLED_BENCHMARKS = ("wordsim353", "simlex999", "men", "rw", "scws")
GOOGLE_ANALOGIES = "google_analogies"


def is_path(benchmark: str) -> bool:
    """Whether an entry of ``benchmarks`` is a file: it has a dot or a separator, which no bundled name has."""
    return any(mark in benchmark for mark in "./\\")


def metric_name(path: Path) -> str:
    """A benchmark's name from that of its file: lower case, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "benchmark"


def _known_or_path(benchmark: str) -> str:
    return _checked(benchmark, BUNDLED_BENCHMARKS, "the path of a TSV file, such as ratings.tsv")


def _known_questions_or_path(questions: str) -> str:
    return _checked(questions, (GOOGLE_ANALOGIES,), "the path of a file of questions, such as questions.txt")


def _checked(benchmark: str, bundled: tuple[str, ...], or_else: str) -> str:
    if "://" in benchmark:
        raise ValueError(f"the benchmark {benchmark!r} is not a local file. Copy it beside the configuration first")
    if benchmark in bundled or is_path(benchmark):
        return benchmark
    near = difflib.get_close_matches(benchmark.lower(), bundled, n=1)
    raise ValueError(
        f"no benchmark is named {benchmark!r}. "
        + (f"Did you mean {near[0]!r}? " if near else "")
        + f"Expected: one of {', '.join(bundled)}, or {or_else}"
    )


class ValidationConfig(Config):
    """How vectors are judged by text that they were not trained on."""

    window: int = Field(
        default=5,
        ge=1,
        le=100,
        description="words to each side of a word that are its true neighbours. Default: word2vec.c's window",
    )
    n_pairs: int = Field(
        default=200_000,
        ge=100,
        le=50_000_000,
        description="true pairs drawn from the text, and as many sampled ones. Default: our choice; the standard error "
        "of an accuracy from so many is a tenth of a percentage point",
    )
    score: Literal["cosine", "dot"] = Field(
        default="cosine",
        description="what a pair is judged by: cosine of the two vectors, or dot, the product with the neighbour's "
        "context vector. Default: cosine, since that is what vectors are compared by in use",
    )
    negative_exponent: float = Field(
        default=0.75,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="sampled neighbours are drawn in proportion to count ** this. Default: 0.75, Mikolov et al. 2013b, "
        "sec. 2.2",
    )


class EvaluationConfig(Config):
    """How finished word vectors are scored and shown."""

    benchmarks: tuple[Annotated[str, AfterValidator(_known_or_path)], ...] = Field(
        default=BUNDLED_BENCHMARKS,
        min_length=1,
        description="Word-similarity benchmarks: names of bundled ones, or paths of TSV files with the header "
        "word1, word2, score. Default: every bundled one",
    )
    analogies: tuple[Annotated[str, AfterValidator(_known_questions_or_path)], ...] = Field(
        default=(GOOGLE_ANALOGIES,),
        description="Analogy questions: google_analogies, or paths of files in the same format (lines `: section`, and "
        "four words a line). Default: Google's, Mikolov et al. 2013a",
    )
    analogy_method: Literal["3cosadd", "3cosmul"] = Field(
        default="3cosadd",
        description="How analogies are answered: 3cosadd (Mikolov, Yih and Zweig 2013; word2vec.c and gensim) or "
        "3cosmul (Levy and Goldberg 2014). Default: word2vec's",
    )
    analogy_words: int = Field(
        default=30_000,
        ge=4,
        le=10_000_000,
        description="Analogies are asked and answered among this many words from the top of the vocabulary. Default: "
        "word2vec's demo-word-accuracy.sh",
    )
    contamination_rows: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Different pairs of a benchmark that must stand near each other in the corpus before rows that are "
        "not exact count as a part of it (vecmill/evaluation/contamination.py). Default: our choice; in 100,000 film "
        "reviews three stood near each other once, more never",
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
    statistics_words: int = Field(
        default=5_000,
        ge=0,
        le=100_000,
        description="Words from the top of the vocabulary whose neighbourhoods are counted for the hubness statistics, "
        "each compared with each. Default: our choice, well below a second",
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
    validation: ValidationConfig = Field(
        default=ValidationConfig(),
        description="How vectors are judged by the documents that encode.validation_share holds out. Default: as "
        "negative sampling trains them",
    )
