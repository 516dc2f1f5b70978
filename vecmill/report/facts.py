"""What a model's report is drawn from, gathered from its artifacts before anything is drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.vectors.word_vectors import WordVectors

Floats = npt.NDArray[np.float64]

# Words of the map and of the heat map; more would cover each other on a screen.
_N_MAP_WORDS = 60
_N_HEAT_WORDS = 12
_N_NEIGHBOURS = 8


@dataclass(frozen=True)
class WordMap:
    """Words in the plane of their first two principal components.

    Attributes
    ----------
    words : n words;  places : float64[n, 2];  shown_frac : share of their variance that the plane holds, 0 to 1
    """

    words: tuple[str, ...]
    places: Floats
    shown_frac: float


@dataclass(frozen=True)
class ReportFacts:
    """Everything that a report says; what an artifact does not have is empty.

    Attributes
    ----------
    title : the model's name, with its version where it has one
    scores, analogies : one object a benchmark, as scores.json and analogies.json have them
    statistics, validation : as the files of these names have them
    metrics : metrics of each stage, by stage
    config : configuration of each stage, by stage
    losses : columns of losses.parquet by name
    neighbours : by word, nearest first, with cosines
    word_map : words in a plane; None with fewer than three
    heat_words, heat : n words, float64[n, n] their cosines
    contamination : one object a benchmark, as contamination.json has them; empty where nobody looked
    registration : registration.json without what only machines read; empty before the model is registered
    keys : the artifact's key by stage
    """

    title: str
    scores: Sequence[Mapping[str, Any]] = ()
    analogies: Sequence[Mapping[str, Any]] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    neighbours: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    word_map: WordMap | None = None
    heat_words: Sequence[str] = ()
    heat: Floats = field(default_factory=lambda: np.empty((0, 0)))
    contamination: Sequence[Mapping[str, Any]] = ()
    registration: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)


def gather_facts(
    evaluate_dir: Path,
    train_dir: Path,
    lineage: Mapping[str, Mapping[str, Any]],
    registration: Mapping[str, Any] | None = None,
    contamination_dir: Path | None = None,
) -> ReportFacts:
    """Read the artifacts of one model.

    Parameters
    ----------
    evaluate_dir, train_dir : folders of these artifacts
    lineage : manifests (as JSON values) of the artifacts behind the model, by stage
    registration : what the register stage writes down, once the model is registered
    contamination_dir : folder of that artifact, where somebody looked for the benchmarks in the corpus

    Raises
    ------
    FormatError : the vectors are not what they should be
    """
    vectors = WordVectors.load(train_dir / "vectors")
    neighbours = _neighbours(evaluate_dir / "neighbours.parquet")
    heat_words = [word for word in _heat_words(neighbours) if word in vectors]
    ids = np.array([vectors.id_of(word) for word in heat_words], dtype=np.int64)
    n = len(ids)
    registered = dict(registration or {})
    version = f", version {registered['model_version']}" if "model_version" in registered else ""
    return ReportFacts(
        title=f"{registered.get('model_name', 'Word vectors')}{version}",
        scores=_read(evaluate_dir / "scores.json", []),
        analogies=_read(evaluate_dir / "analogies.json", []),
        statistics=_read(evaluate_dir / "statistics.json", {}),
        validation=_read(evaluate_dir / "validation.json", {}),
        metrics={stage: manifest.get("metrics", {}) for stage, manifest in lineage.items()},
        config={stage: _section(manifest) for stage, manifest in lineage.items()},
        losses=_columns(train_dir / "losses.parquet"),
        neighbours={word: found[:_N_NEIGHBOURS] for word, found in neighbours.items()},
        word_map=word_map(vectors, [word for word in _map_words(neighbours) if word in vectors]),
        heat_words=heat_words,
        heat=vectors.similarities(np.repeat(ids, n), np.tile(ids, n)).reshape(n, n),
        contamination=[] if contamination_dir is None else _read(contamination_dir / "contamination.json", []),
        registration=registered,
        keys={stage: str(manifest.get("key", "")) for stage, manifest in lineage.items()},
    )


def word_map(vectors: WordVectors, words: Sequence[str]) -> WordMap | None:
    """Directions of words in the plane of their first two principal components; None with fewer than three words.

    Lengths are divided out, since cosines do not see them. The sign of an axis is arbitrary; here the largest
    coordinate on it is positive, so that the same vectors give the same map.
    """
    ids = [vectors.id_of(word) for word in words]
    if len(ids) < 3:
        return None
    norms = vectors.norms[ids]
    rows = vectors.vectors[ids].astype(np.float64) / np.where(norms > 0, norms, 1.0)[:, None]
    rows -= rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    places = np.zeros((len(ids), 2))
    n_axes = min(2, len(sizes))
    places[:, :n_axes] = left[:, :n_axes] * sizes[:n_axes]
    for axis in range(2):
        if places[np.abs(places[:, axis]).argmax(), axis] < 0:
            places[:, axis] *= -1
    total = float((sizes**2).sum())
    return WordMap(tuple(words), places, float((sizes[:2] ** 2).sum()) / total if total > 0 else 0.0)


def _map_words(neighbours: Mapping[str, Sequence[tuple[str, float]]]) -> list[str]:
    """Listed words and their nearest ones, so that the map has groups to show; alternating, each word once."""
    found: dict[str, None] = {}
    for rank in range(-1, 3):
        for word, near in neighbours.items():
            if len(found) < _N_MAP_WORDS and rank < len(near):
                found[word if rank < 0 else near[rank][0]] = None
    return list(found)


def _heat_words(neighbours: Mapping[str, Sequence[tuple[str, float]]]) -> list[str]:
    """Listed words, each followed by its nearest: by themselves, frequent words have little to do with each other."""
    found: dict[str, None] = {}
    for word, near in neighbours.items():
        found |= dict.fromkeys([word, *(each for each, _ in near[:1])])
    return list(found)[:_N_HEAT_WORDS]


def _neighbours(path: Path) -> dict[str, list[tuple[str, float]]]:
    found: dict[str, list[tuple[str, float]]] = {}
    columns = _columns(path)
    for word, neighbour, cosine in zip(
        *(columns.get(name, []) for name in ("word", "neighbour", "cosine")), strict=True
    ):
        found.setdefault(word, []).append((neighbour, cosine))
    return found


def _columns(path: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = pq.read_table(path).to_pydict() if path.is_file() else {}
    return columns


def _read(path: Path, missing: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else missing


def _section(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one section of the configuration that a stage has."""
    config = manifest.get("parts", {}).get("config", {})
    return next((each for each in config.values() if isinstance(each, Mapping)), {})
