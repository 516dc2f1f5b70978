"""What of a run is written down in MLflow, and in which shape its limits allow."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecmill.evaluation.contamination import CONTAMINATION_NAME, ROWS_NAME, said
from vecmill.registry.config import without_password
from vecmill.registry.promotion import shortened
from vecmill.store.digest import digest_json
from vecmill.store.stage import StageIO

# MLflow refuses what is longer, or cuts it without a mark.
_PARAM_VALUE_CHARS = 6000
_DATASET_DIGEST_CHARS = 36
_DATASET_SOURCE_CHARS = 65_000
_PARAMS_PER_CALL = 100
_METRICS_PER_CALL = 1000
_MOST_TICKS = 10
_SCORE_FIGURES = ("spearman", "lower", "upper", "pearson", "spearman_all_pairs", "coverage", "n_pairs", "n_covered")
# Of these, what may decide between two versions.
_DECIDING_FIGURES = ("spearman", "spearman_all_pairs")


@dataclass(frozen=True)
class Record:
    """Everything of a run that MLflow is told, gathered before the first call.

    Attributes
    ----------
    params : configuration of every stage, flattened ("train.dim"), as text
    metrics : one number each: means over the benchmarks, ``BENCHMARK/figure``, then ``stage/name`` for what the other
        stages counted and measured
    scores : what may decide between versions, None where the evaluation could not give a number: its means over the
        benchmarks ("mean_spearman"), and ``BENCHMARK/spearman`` and ``BENCHMARK/spearman_all_pairs``
    benchmarks : shortened digest of each benchmark's file, by its name
    curves : (step, value) by metric name
    corpus : the dataset's name, digest, source and profile
    lineage_digest : what the model was made from, as one digest over all upstream artifacts
    data_digest : digest of the ingest artifact
    space_id : stamp of the vector space
    contamination : which benchmarks stand in the corpus, in words; empty for none, None where nobody looked
    """

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    scores: Mapping[str, float | None]
    benchmarks: Mapping[str, str]
    curves: Mapping[str, list[tuple[int, float]]]
    corpus: Mapping[str, str]
    lineage_digest: str
    data_digest: str
    space_id: str
    contamination: str | None


def gather(io: StageIO) -> Record:
    """Read the input artifacts and manifests."""
    scores = json.loads((io.inputs["evaluate"] / "scores.json").read_text(encoding="utf-8"))
    meta = json.loads((io.inputs["train"] / "vectors" / "meta.json").read_text(encoding="utf-8"))
    digests = {name: manifest["digest"] for name, manifest in io.lineage.items()}
    return Record(
        params=_params(io.lineage),
        metrics=_metrics(io.lineage, scores),
        scores=_scores(io.lineage["evaluate"]["metrics"], scores),
        benchmarks={score["benchmark"]: shortened(score["digest"]) for score in scores},
        curves=_curves(io.inputs["train"] / "losses.parquet", io.lineage["train"]["metrics"]),
        corpus=_corpus(io.lineage["ingest"]),
        lineage_digest=digest_json(digests),
        data_digest=digests["ingest"],
        space_id=str(meta["space_id"]),
        contamination=_contamination(io),
    )


def write(client: Any, run_id: str, record: Record) -> None:
    """Tell MLflow the parameters, metrics and dataset of a run; ``client`` is an ``mlflow.MlflowClient``."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    now = int(time.time() * 1000)
    params = [Param(name, value) for name, value in record.params.items()]
    metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
    metrics += [Metric(name, value, now, step) for name, curve in record.curves.items() for step, value in curve]
    for start in range(0, len(params), _PARAMS_PER_CALL):
        client.log_batch(run_id, params=params[start : start + _PARAMS_PER_CALL])
    for start in range(0, len(metrics), _METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + _METRICS_PER_CALL])
    dataset = Dataset(source_type="vecmill", **record.corpus)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def write_files(folder: Path, io: StageIO, record: Record) -> None:
    """Fill a folder with the files that a run keeps: scores, contract report, manifest chain, learning curve."""
    (folder / "manifests").mkdir()
    for name, manifest in io.lineage.items():
        text = without_password(json.dumps(manifest, indent=1, ensure_ascii=False))
        (folder / "manifests" / f"{name}.json").write_text(text, encoding="utf-8")
    for name in ("scores.json", "analogies.json", "statistics.json", "validation.json"):
        if (io.inputs["evaluate"] / name).exists():
            (folder / name).write_bytes((io.inputs["evaluate"] / name).read_bytes())
    if "contamination" in io.inputs:
        for name in (CONTAMINATION_NAME, ROWS_NAME):
            (folder / name).write_bytes((io.inputs["contamination"] / name).read_bytes())
    (folder / "contract").mkdir()
    (folder / "contract" / "report.json").write_bytes((io.inputs["contract"] / "report.json").read_bytes())
    loss = record.curves.get("train/loss", [])
    if loss:
        draw_learning_curve(loss, folder / "learning_curve.png")


def draw_learning_curve(loss: list[tuple[int, float]], path: Path) -> None:
    """Draw loss by epoch as a PNG."""
    from matplotlib.figure import Figure  # without pyplot: no window system, no global figures

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([step for step, _ in loss], [value for _, value in loss], marker="o", color="#1f6f8b")
    axes.set(xlabel="epoch", ylabel="mean loss per pair", title="Learning curve")
    axes.grid(alpha=0.3)
    axes.set_xticks(epoch_ticks(min(step for step, _ in loss), max(step for step, _ in loss)))
    figure.savefig(path, dpi=120)


def epoch_ticks(first: int, last: int) -> list[int]:
    """Up to eleven epochs to mark on an axis: the first, the last, and round ones between, none too near to another.

    >>> epoch_ticks(1, 20)
    [1, 5, 10, 15, 20]
    """
    span = last - first
    if span <= _MOST_TICKS:
        return list(range(first, last + 1))
    step = next(
        step for power in range(len(str(span)) + 1) for step in (10**power * n for n in (1, 2, 5)) if span / step <= 8
    )
    between = range((first // step + 1) * step, last, step)
    return [first, *(each for each in between if min(each - first, last - each) > step / 2), last]


def _params(lineage: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    params: dict[str, str] = {}
    for stage, manifest in lineage.items():
        params |= _flat(manifest["parts"]["config"])
        if manifest["parts"]["seed"] is not None:
            params[f"{stage}.seed"] = str(manifest["parts"]["seed"])
    return dict(sorted(params.items()))


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        leaves: dict[str, str] = {}
        for name, each in value.items():
            leaves |= _flat(each, f"{prefix}.{name}" if prefix else str(name))
        return leaves
    text = without_password(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return {prefix: text if len(text) <= _PARAM_VALUE_CHARS else text[: _PARAM_VALUE_CHARS - 1] + "…"}


def _contamination(io: StageIO) -> str | None:
    if "contamination" not in io.inputs:
        return None
    return said(json.loads((io.inputs["contamination"] / CONTAMINATION_NAME).read_text(encoding="utf-8")))


def _metrics(lineage: Mapping[str, Mapping[str, Any]], scores: list[dict[str, Any]]) -> dict[str, float]:
    metrics: dict[str, Any] = _means(lineage["evaluate"]["metrics"])
    for figure in _SCORE_FIGURES:
        metrics |= {f"{score['benchmark']}/{figure}": score.get(figure) for score in scores}
    for stage, manifest in lineage.items():
        measured = _measured(manifest)
        if stage == "evaluate":  # analogies and statistics; the rest stands there already
            repeated = ("mean_", "n_", "dim", *(f"{score['benchmark']}_" for score in scores))
            measured = {name: value for name, value in measured.items() if not name.startswith(repeated)}
        metrics |= {f"{stage}/{name}": value for name, value in measured.items()}
    return {name: float(value) for name, value in metrics.items() if _is_number(value)}


def _scores(summary: Mapping[str, Any], scores: list[dict[str, Any]]) -> dict[str, float | None]:
    found = {"mean_spearman": None, "mean_spearman_covered": None, **_means(summary)}
    for score in scores:
        found |= {f"{score['benchmark']}/{figure}": score.get(figure) for figure in _DECIDING_FIGURES}
    return {name: float(value) if _is_number(value) else None for name, value in found.items()}


def _measured(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's metrics without those that repeat a setting ("dim") and so are among the parameters."""
    settings = {(path.rpartition(".")[2], text) for path, text in _flat(manifest["parts"]["config"]).items()}
    return {name: value for name, value in manifest["metrics"].items() if (name, json.dumps(value)) not in settings}


def _means(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the evaluation sums up over its benchmarks; the rest of its metrics repeats single scores."""
    return {name: value for name, value in summary.items() if name.startswith("mean_")}


def _curves(losses: Path, summary: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """What changed from epoch to epoch; not what goes by the name of a metric of the whole training (``n_pairs``)."""
    import pyarrow.parquet as pq

    table = pq.read_table(losses).to_pydict()
    return {
        f"train/{name}": [
            (int(step), value) for step, value in zip(table["epoch"], values, strict=True) if _is_number(value)
        ]
        for name, values in table.items()
        if name != "epoch" and name not in summary
    }


def _corpus(ingest: Mapping[str, Any]) -> dict[str, str]:
    config = ingest["parts"]["config"]
    sources = json.dumps(_find(config, "sources"), ensure_ascii=False)
    facts = {name: value for name, value in ingest["metrics"].items() if _is_number(value)}
    schema = {"mlflow_colspec": [{"name": name, "type": kind, "required": True} for name, kind in _COLUMNS]}
    return {
        "name": "corpus",
        "digest": str(ingest["digest"])[:_DATASET_DIGEST_CHARS],
        "source": json.dumps(
            {"sources": without_password(sources)[:_DATASET_SOURCE_CHARS], "ingest": ingest["digest"]}
        ),
        "schema": json.dumps(schema),
        "profile": json.dumps(facts),
    }


# Columns of the ingest artifact, with MLflow's names for the types.
_COLUMNS = (
    ("doc_id", "string"),
    ("source_uri", "string"),
    ("title", "string"),
    ("text", "string"),
    ("n_chars", "long"),
)


def _find(config: Any, name: str) -> Any:
    """The first value of that name in a nested configuration, None if there is none."""
    if not isinstance(config, Mapping):
        return None
    if name in config:
        return config[name]
    return next((found for each in config.values() if (found := _find(each, name)) is not None), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
