"""The evaluate stage: scores with intervals and coverage, analogies, statistics, and neighbours to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vecmill.evaluation.analogies import AnalogyScore, score_analogies
from vecmill.evaluation.analogy_questions import evaluation_files, load_analogies
from vecmill.evaluation.benchmarks import Benchmark, load_benchmark
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.geometry import vector_statistics
from vecmill.evaluation.held_out import VALIDATION_NAME, validate_held_out
from vecmill.evaluation.items import ITEMS_NAME, benchmark_items, write_items
from vecmill.evaluation.metric_names import STATISTICS, VALIDATION
from vecmill.evaluation.quality_score import quality_score
from vecmill.evaluation.similarity import SimilarityScore, find_word, word_similarity
from vecmill.evaluation.validation import ValidationScore
from vecmill.progress import track
from vecmill.store.stage import StageIO, StageReport
from vecmill.vectors.word_vectors import WordVectors

# Neighbour lists shown in the report; all of them are in the file.
_N_LISTS_SHOWN = 10
_N_NEIGHBOURS_SHOWN = 6


def evaluate_words(config: EvaluationConfig, io: StageIO) -> StageReport:
    """Score the vectors of the train stage on every configured benchmark and list neighbours of a few words.

    Reads ``vectors/`` of the input ``train``, the files that
    :func:`vecmill.evaluation.analogy_questions.evaluation_files` names, and, where the input ``encode`` holds documents
    out, these documents of ``ingest``. Writes

    - ``scores.json``: one object per benchmark with the fields of :class:`SimilarityScore`, undefined numbers null
    - ``items.parquet``: what the model made of every single pair (:func:`vecmill.evaluation.items.write_items`), by
      which it is compared with other models
    - ``analogies.json``: one object per file of questions with the fields of :class:`AnalogyScore`
    - ``statistics.json``: the fields of :class:`vecmill.evaluation.geometry.VectorStatistics`
    - ``neighbours.parquet``: ``word`` (string), ``rank`` (int32, from 1), ``neighbour`` (string), ``cosine`` (float32)
    - ``validation.json``, only with held-out documents: the fields of :class:`ValidationScore`

    Metrics
    -------
    ``BENCHMARK_spearman``, ``…_lower``, ``…_upper``, ``…_pearson``, ``…_spearman_all_pairs`` : left out where undefined
    ``BENCHMARK_coverage`` : share of pairs with two vectors, 0 to 1
    ``mean_spearman`` : the score to compare models by. The mean over *all* configured benchmarks of
        ``spearman_all_pairs``, a benchmark without a score counting as 0. A mean over covered pairs would rise when a
        model loses the words it is bad at, and a mean over scored benchmarks when it loses a whole benchmark.
    ``mean_spearman_covered`` : mean of ``spearman`` over the benchmarks that have one, for comparison with literature
    ``QUESTIONS_accuracy`` (left out where undefined), ``…_accuracy_all``, ``…_coverage`` : of analogies
    ``cosine_mean``, ``isotropy``, ``effective_dim``, ``hubness_skewness``, ``norm_median`` : of the vectors themselves
    ``validation_auc``, ``validation_accuracy``, … : of held-out documents, where there are any
    ``quality``, ``quality_similarity``, … : see :mod:`vecmill.evaluation.quality_score`
    ``mean_coverage``, ``n_benchmarks``, ``n_benchmarks_scored``, ``n_words``, ``dim``, ``space_id``

    Raises
    ------
    ConfigError : a benchmark's file is missing
    FormatError : a benchmark or the vectors are not what they should be
    """
    evaluation_files(config)  # refuses missing files and names that collide
    benchmarks = [load_benchmark(entry) for entry in config.benchmarks]
    questions = [load_analogies(entry) for entry in config.analogies]
    vectors = WordVectors.load(io.inputs["train"] / "vectors")

    scores = []
    analogies = []
    with track("scoring benchmarks", len(benchmarks) + len(questions), "benchmarks") as bar:
        for benchmark in benchmarks:
            scores.append(
                word_similarity(
                    vectors,
                    benchmark,
                    confidence=config.confidence,
                    n_resamples=config.n_resamples,
                    seed=io.seed,
                )
            )
            bar.advance()
        for each in questions:
            analogies.append(score_analogies(vectors, each, method=config.analogy_method, n_words=config.analogy_words))
            bar.advance()
    statistics = vector_statistics(vectors, n_hubness_words=config.statistics_words).as_json()
    _write_json(io.output / "scores.json", [score.as_json() for score in scores])
    _write_json(io.output / "analogies.json", [score.as_json() for score in analogies])
    _write_json(io.output / "statistics.json", statistics)

    validation = validate_held_out(vectors, io, config.validation)
    if validation is not None:
        _write_json(io.output / VALIDATION_NAME, validation.as_json())

    n_items = write_items(io.output / ITEMS_NAME, [benchmark_items(vectors, benchmark) for benchmark in benchmarks])

    queries, unknown = neighbour_queries(vectors, benchmarks, config)
    neighbours = dict(zip(queries, vectors.neighbours_of_words(queries, config.n_neighbours), strict=True))
    n_rows = _write_neighbours(io.output / "neighbours.parquet", neighbours)

    return StageReport(
        metrics={
            **_metrics(scores),
            **_analogy_metrics(analogies),
            **_validation_metrics(validation),
            **_quality_metrics(scores, analogies, validation),
            **{name: statistics[name] for name in STATISTICS if statistics[name] is not None},
            "n_words": len(vectors),
            "dim": vectors.dim,
            "space_id": vectors.space_id,
        },
        rows={ITEMS_NAME: n_items, "neighbours.parquet": n_rows},
        table=[_table_row(score) for score in scores],
        markdown=_markdown(scores, analogies, validation, neighbours, unknown),
    )


def neighbour_queries(
    vectors: WordVectors, benchmarks: list[Benchmark], config: EvaluationConfig
) -> tuple[list[str], list[str]]:
    """The words whose neighbours are listed, and the configured ones that have no vector.

    Without configured words, the most frequent words that a benchmark rates: those are content words, in whatever
    language the benchmarks are, which no list of function words has to sort out. Without any of these, the most
    frequent words.
    """
    if config.neighbour_words:
        found = {word: find_word(vectors, word) for word in config.neighbour_words}
        known = dict.fromkeys(spelling for spelling in found.values() if spelling is not None)
        return list(known), [word for word, spelling in found.items() if spelling is None]
    rated = {word for benchmark in benchmarks for word in (*benchmark.words1, *benchmark.words2)}
    spellings = {find_word(vectors, word) for word in rated}
    counts = vectors.counts
    by_frequency = range(len(vectors)) if counts is None else np.argsort(-counts, kind="stable").tolist()
    words = [vectors.words[word_id] for word_id in by_frequency]
    content_words = [word for word in words if word in spellings]
    return (content_words or words)[: config.n_neighbour_words], []


def _write_neighbours(path: Path, neighbours: dict[str, list[tuple[str, float]]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        (word, rank, neighbour, cosine)
        for word, found in neighbours.items()
        for rank, (neighbour, cosine) in enumerate(found, start=1)
    ]
    names_and_types = {"word": pa.string(), "rank": pa.int32(), "neighbour": pa.string(), "cosine": pa.float32()}
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in names_and_types.items()])
    columns = [[row[at] for row in rows] for at in range(len(names_and_types))]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), path, compression="zstd")
    return len(rows)


def _metrics(scores: list[SimilarityScore]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for score in scores:
        numbers = {
            "spearman": score.spearman,
            "lower": score.lower,
            "upper": score.upper,
            "pearson": score.pearson,
            "spearman_all_pairs": score.spearman_all_pairs,
            "coverage": score.coverage,
        }
        metrics |= {f"{score.benchmark}_{name}": value for name, value in numbers.items() if value is not None}
    covered = [score.spearman for score in scores if score.spearman is not None]
    metrics["mean_spearman"] = sum(score.spearman_all_pairs or 0.0 for score in scores) / len(scores)
    if covered:
        metrics["mean_spearman_covered"] = sum(covered) / len(covered)
    metrics["mean_coverage"] = sum(score.coverage for score in scores) / len(scores)
    return metrics | {"n_benchmarks": len(scores), "n_benchmarks_scored": len(covered)}


def _analogy_metrics(scores: list[AnalogyScore]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for score in scores:
        if score.accuracy is not None:
            metrics[f"{score.benchmark}_accuracy"] = score.accuracy
        metrics[f"{score.benchmark}_accuracy_all"] = score.accuracy_all
        metrics[f"{score.benchmark}_coverage"] = score.coverage
    return metrics


def _validation_metrics(score: ValidationScore | None) -> dict[str, Any]:
    found = {} if score is None else score.as_json()
    return {f"validation_{name}": found[name] for name in VALIDATION if found.get(name) is not None}


def _quality_metrics(
    scores: list[SimilarityScore], analogies: list[AnalogyScore], validation: ValidationScore | None
) -> dict[str, float]:
    score = quality_score(
        [each.spearman_all_pairs for each in scores],
        [each.accuracy_all for each in analogies],
        None if validation is None else validation.auc_all_pairs,
    )
    parts = {"similarity": score.similarity, "analogies": score.analogies, "contexts": score.contexts}
    metrics = {f"quality_{name}": value for name, value in parts.items() if value is not None}
    return metrics if score.quality is None else {"quality": score.quality, **metrics}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _table_row(score: SimilarityScore) -> dict[str, Any]:
    return {
        "benchmark": score.title,
        "spearman": _rounded(score.spearman),
        "lower": _rounded(score.lower),
        "upper": _rounded(score.upper),
        "pearson": _rounded(score.pearson),
        "spearman_all_pairs": _rounded(score.spearman_all_pairs),
        "n_covered": score.n_covered,
        "n_pairs": score.n_pairs,
        "coverage_pct": round(100 * score.coverage, 1),
        "note": score.reason,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _markdown(
    scores: list[SimilarityScore],
    analogies: list[AnalogyScore],
    validation: ValidationScore | None,
    neighbours: dict[str, list[tuple[str, float]]],
    unknown: list[str],
) -> str:
    paragraphs = [
        "Spearman's rank correlation of cosines with human ratings, on the pairs whose words both have vectors, with "
        f"its {100 * scores[0].confidence:g} % interval ({scores[0].n_resamples:,} bootstrap resamples). "
        "`spearman_all_pairs` puts the other pairs in the middle of the ranks, so that lost vocabulary costs, and "
        "leaves out pairs of a word with itself, which any vectors get right; `mean_spearman` is its mean."
    ]
    paragraphs += [
        f"{score.title}: {score.n_correct:,} right of {score.n_covered:,} questions that the first {score.n_words:,} "
        f"words cover, of {score.n_questions:,} in all ({score.method})."
        for score in analogies
    ]
    if validation is not None:
        paragraphs.append(
            f"Held-out text ({validation.n_documents:,} documents): {100 * validation.accuracy:.1f} % of "
            f"{2 * validation.n_scored:,} true and sampled context pairs told apart, AUC {validation.auc:.4f}; counts "
            f"alone would give {validation.auc_by_frequency:.4f}."
        )
    if unknown:
        paragraphs.append(f"Without vector, so without neighbours: {', '.join(unknown)}.")
    shown = list(neighbours.items())[:_N_LISTS_SHOWN]
    lists = [
        f"| {_cell(word)} | {_cell(', '.join(neighbour for neighbour, _ in found[:_N_NEIGHBOURS_SHOWN]))} |"
        for word, found in shown
    ]
    if lists:
        paragraphs.append("\n".join(["| word | nearest words |", "| --- | --- |", *lists]))
    return "\n\n".join(paragraphs)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
