"""Which metrics an evaluation will have, known from its configuration, before anything has been trained.

Only the standard library is imported: the planner reads it to refuse a metric that nobody will measure.
"""

from __future__ import annotations

from pathlib import Path

from vecmill.evaluation.config import EvaluationConfig, is_path, metric_name

# Of each benchmark, of each file of questions, of the vectors themselves, and of held-out text.
SIMILARITY = ("spearman", "lower", "upper", "pearson", "spearman_all_pairs", "coverage")
ANALOGY = ("accuracy", "accuracy_all", "coverage")
STATISTICS = ("cosine_mean", "isotropy", "effective_dim", "hubness_skewness", "norm_median")
VALIDATION = (
    *("auc", "auc_all_pairs", "auc_by_frequency", "accuracy", "precision", "recall", "f1", "mean_true", "mean_sampled"),
    *("pair_coverage", "n_scored"),
)
_SUMS = (
    *("mean_spearman", "mean_spearman_covered", "mean_coverage", "n_benchmarks", "n_benchmarks_scored"),
    *("n_words", "dim", "quality", "quality_similarity"),
)


def numeric_metrics(config: EvaluationConfig, *, held_out: bool) -> tuple[str, ...]:
    """Names of the metrics of :func:`vecmill.evaluation.evaluate.evaluate_words` that are numbers, as far as defined.

    Parameters
    ----------
    held_out : whether documents are held out, so that there is a validation
    """
    names = [*_SUMS, *STATISTICS]
    for entry in config.benchmarks:
        names += [f"{_named(entry)}_{each}" for each in SIMILARITY]
    for entry in config.analogies:
        names += [f"{_named(entry)}_{each}" for each in ANALOGY]
    names += ["quality_analogies"] * bool(config.analogies)
    if held_out:
        names += ["quality_contexts", *(f"validation_{each}" for each in VALIDATION)]
    return tuple(dict.fromkeys(names))


def from_analogies(config: EvaluationConfig) -> frozenset[str]:
    """Names of the metrics that the questions of ``config.analogies`` enter."""
    scores = {f"{_named(entry)}_{each}" for entry in config.analogies for each in ANALOGY}
    return frozenset(scores | {"quality", "quality_analogies"})


def benchmark_names(config: EvaluationConfig) -> tuple[str, ...]:
    """What the benchmarks of rated pairs will be called."""
    return tuple(_named(entry) for entry in config.benchmarks)


def _named(entry: str) -> str:
    return metric_name(Path(entry)) if is_path(entry) else entry
