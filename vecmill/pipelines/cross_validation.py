"""A pipeline run several times with other documents: k-fold cross-validation, and a curve over shares of the text.

Every run goes through the store stage by stage, so folds share what comes before ``encode``, and whatever stands is not
built again. Nothing is registered.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vecmill.errors import ConfigError
from vecmill.progress import track
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.manifest import ArtifactRef
from vecmill.store.plan import Pipeline, Stage
from vecmill.vocabulary.config import EncodeConfig

# Runs a stage of a pipeline as `run_stage` does: stage, configuration, store, references to its inputs.
StageRunner = Callable[[Stage, Any, ArtifactStore, Mapping[str, ArtifactRef]], StageOutcome]

_LAST = "evaluate"
_METRICS = (
    *("validation_auc", "validation_accuracy", "validation_f1", "validation_mean_true"),
    *("mean_spearman", "google_analogies_accuracy_all", "quality"),
)


@dataclass(frozen=True)
class Fold:
    """One fold: its number (from 0), the metrics of its evaluation, the evaluate artifact's key, whether it stood."""

    number: int
    metrics: dict[str, Any]
    key: str
    cached: bool


@dataclass(frozen=True)
class CrossValidation:
    """The folds of one pipeline, and means over them.

    Attributes
    ----------
    pipeline : its name
    folds : one entry a fold
    metrics : names of the metrics worth a column, those that every fold has
    """

    pipeline: str
    folds: tuple[Fold, ...]
    metrics: tuple[str, ...]

    def mean(self, metric: str) -> float:
        """Mean over the folds."""
        return statistics.fmean(float(fold.metrics[metric]) for fold in self.folds)

    def sd(self, metric: str) -> float:
        """Standard deviation over the folds (n - 1). Their training texts overlap, so it is too small for a test."""
        return statistics.stdev(float(fold.metrics[metric]) for fold in self.folds)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values: folds with all metrics, and mean and sd of every number that all of them have."""
        names = [name for name, value in self.folds[0].metrics.items() if _in_all(name, value, self.folds)]
        return {
            "pipeline": self.pipeline,
            "folds": [asdict(fold) for fold in self.folds],
            "mean": {name: self.mean(name) for name in names},
            "sd": {name: self.sd(name) for name in names},
        }


@dataclass(frozen=True)
class CurvePoint:
    """A share of the documents, the words of text that were trained on, and the metrics of the evaluation."""

    share: float
    n_tokens: int
    metrics: dict[str, Any]
    key: str
    cached: bool

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def cross_validated(
    pipeline: Pipeline, config: Any, store: ArtifactStore, n_folds: int, run: StageRunner = run_stage
) -> CrossValidation:
    """Train on the documents outside each fold and judge by those inside it.

    Parameters
    ----------
    config : the pipeline's; ``encode.validation_share`` and ``validation_fold`` are set for each fold
    n_folds : 2 to 100
    run : runs a stage; another one than the default runs it elsewhere

    Raises
    ------
    ConfigError : the number of folds
    VecmillError : what a stage refuses; finished stages stay
    """
    if not 2 <= n_folds <= 100:
        raise ConfigError(f"{n_folds} folds", expected="2 to 100", todo="name another number with --folds")
    folds = []
    with track("folds", n_folds, "folds") as bar:
        for number in range(n_folds):
            encode = _encode(config, validation_share=1.0 / n_folds, validation_fold=number)
            outcomes = run_through(pipeline, config.model_copy(update={"encode": encode}), store, run=run)
            last = outcomes[_LAST]
            folds.append(Fold(number, dict(last.metrics), last.ref.key, all(each.cached for each in outcomes.values())))
            bar.advance()
    names = tuple(name for name in _METRICS if _in_all(name, folds[0].metrics.get(name), folds))
    return CrossValidation(pipeline.name, tuple(folds), names)


def learning_curve(
    pipeline: Pipeline, config: Any, store: ArtifactStore, shares: Sequence[float], run: StageRunner = run_stage
) -> list[CurvePoint]:
    """Score the pipeline on growing shares of the documents, each a part of the next.

    Parameters
    ----------
    shares : of the documents, each above 0 and at most 1
    run : runs a stage; another one than the default runs it elsewhere

    Raises
    ------
    ConfigError : a share, or none
    VecmillError : what a stage refuses; finished stages stay
    """
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ConfigError(
            f"shares of the text {list(shares)}", expected="numbers above 0, up to 1", todo="correct --share"
        )
    points = []
    with track("shares of the text", len(shares), "shares") as bar:
        for share in sorted(set(shares)):
            varied = config.model_copy(update={"encode": _encode(config, documents_share=share)})
            outcomes = run_through(pipeline, varied, store, run=run)
            last = outcomes[_LAST]
            cached = all(each.cached for each in outcomes.values())
            metrics = {name: last.metrics[name] for name in _METRICS if name in last.metrics}
            points.append(CurvePoint(share, outcomes["encode"].metrics["n_tokens"], metrics, last.ref.key, cached))
            bar.advance()
    return points


def run_through(
    pipeline: Pipeline, config: Any, store: ArtifactStore, last: str = _LAST, run: StageRunner = run_stage
) -> dict[str, StageOutcome]:
    """Run a pipeline's stages up to ``last``, by stage name. Raises what the stages raise."""
    outcomes: dict[str, StageOutcome] = {}
    for stage in pipeline.stages:
        outcomes[stage.name] = run(stage, config, store, {name: outcomes[name].ref for name in stage.inputs})
        if stage.name == last:
            break
    return outcomes


def _encode(config: Any, **changes: Any) -> EncodeConfig:
    return EncodeConfig.model_validate({**config.encode.model_dump(), **changes})


def _in_all(name: str, value: Any, folds: Sequence[Fold]) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and all(name in fold.metrics for fold in folds)
