"""The evaluate stage: what it writes and reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.config.base import key_config
from vecmill.errors import ConfigError, FormatError
from vecmill.evaluation.benchmarks import load_benchmark
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.evaluate import evaluate_words, neighbour_queries
from vecmill.evaluation.metric_names import numeric_metrics
from vecmill.store.stage import StageIO
from vecmill.vectors.word_vectors import WordVectors


def stage_io(tmp_path: Path, model: WordVectors, seed: int = 0) -> StageIO:
    train, output = tmp_path / "train", tmp_path / f"output-{len(list(tmp_path.iterdir()))}"
    output.mkdir()
    model.save(train / "vectors")
    return StageIO(inputs={"train": train}, output=output, seed=seed)


@pytest.fixture(scope="module")
def model() -> WordVectors:
    """Every word of WordSim-353 and function words before them, with random vectors."""
    pairs = load_benchmark("wordsim353")
    words = ["the", "of", *sorted({word.lower() for word in (*pairs.words1, *pairs.words2)})]
    rows = np.random.default_rng(3).normal(size=(len(words), 10)).astype(np.float32)
    return WordVectors(words, rows, counts=np.arange(len(words), 0, -1))


def test_files_metrics_and_table(model: WordVectors, tmp_path: Path) -> None:
    io = stage_io(tmp_path, model)
    config = EvaluationConfig(benchmarks=("wordsim353", "rw"), n_resamples=100, n_neighbours=3, n_neighbour_words=4)
    report = evaluate_words(config, io)
    assert sorted(path.name for path in io.output.iterdir()) == [
        *("analogies.json", "items.parquet", "neighbours.parquet", "scores.json", "statistics.json")
    ]

    wordsim, rare = json.loads((io.output / "scores.json").read_text(encoding="utf-8"))
    assert wordsim["benchmark"] == "wordsim353" and wordsim["coverage"] == 1.0 and wordsim["n_covered"] == 353
    assert wordsim["scale"] == [0.0, 10.0] and len(wordsim["digest"]) == 64 and wordsim["reason"] == ""
    assert wordsim["lower"] < wordsim["spearman"] < wordsim["upper"]
    assert rare["coverage"] < 0.05 and rare["n_missing_words"] > 2000 and len(rare["missing_words"]) == 20

    metrics = report.metrics
    for name in ("spearman", "lower", "upper", "pearson", "spearman_all_pairs", "coverage"):
        assert metrics[f"wordsim353_{name}"] == wordsim[name]
    assert metrics["mean_coverage"] == (wordsim["coverage"] + rare["coverage"]) / 2
    assert (metrics["n_words"], metrics["dim"], metrics["space_id"]) == (len(model), 10, model.space_id)

    known = numeric_metrics(config, held_out=False)
    assert set(metrics) - {"space_id"} <= set(known)
    assert all(name.startswith("rw_") for name in set(known) - set(metrics)), "two covered pairs have no correlation"

    [google] = json.loads((io.output / "analogies.json").read_text(encoding="utf-8"))
    assert google["n_questions"] == 19_544 and google["n_words"] == len(model) and len(google["sections"]) == 14
    assert metrics["google_analogies_accuracy_all"] == google["n_correct"] / 19_544
    assert metrics["google_analogies_accuracy"] == google["accuracy"] and google["n_covered"] > 0
    statistics = json.loads((io.output / "statistics.json").read_text(encoding="utf-8"))
    assert statistics["n_words"] == len(model) == statistics["n_hubness_words"]
    for name in ("cosine_mean", "isotropy", "effective_dim", "hubness_skewness", "norm_median"):
        assert metrics[name] == statistics[name] != 0

    table = pq.read_table(io.output / "neighbours.parquet")
    assert table.schema.types == [pa.string(), pa.int32(), pa.string(), pa.float32()]
    assert report.rows == {"items.parquet": 353 + 2034, "neighbours.parquet": 12} and table.num_rows == 12
    rows = table.to_pylist()
    assert [row["rank"] for row in rows] == [1, 2, 3] * 4
    assert [(row["neighbour"], row["cosine"]) for row in rows[:3]] == [
        (word, pytest.approx(cosine, abs=1e-7)) for word, cosine in model.neighbours(rows[0]["word"], 3)
    ]
    assert [row["benchmark"] for row in report.table] == ["WordSim-353", "Rare Words"]
    assert len({tuple(row) for row in report.table}) == 1
    json.dumps(report.table, allow_nan=False)
    assert f"right of {google['n_covered']:,} questions" in report.markdown
    assert rows[0]["word"] in report.markdown and "95 %" in report.markdown


def test_the_same_input_gives_the_same_bytes(model: WordVectors, tmp_path: Path) -> None:
    config = EvaluationConfig(benchmarks=("wordsim353",), n_resamples=100)
    outputs = []
    for seed in (4, 4, 5):
        io = stage_io(tmp_path, model, seed)
        evaluate_words(config, io)
        outputs.append({path.name: path.read_bytes() for path in io.output.iterdir()})
    assert outputs[0] == outputs[1]
    assert outputs[0]["scores.json"] != outputs[2]["scores.json"]
    assert outputs[0]["neighbours.parquet"] == outputs[2]["neighbours.parquet"]
    assert outputs[0]["items.parquet"] == outputs[2]["items.parquet"]


def test_the_mean_counts_every_benchmark(model: WordVectors, tmp_path: Path) -> None:
    """Losing a benchmark altogether must not raise the score that models are compared by."""
    without = tmp_path / "other.tsv"
    without.write_text("word1\tword2\tscore\nqq\tzz\t1\nqq\tyy\t2\nzz\tyy\t3\n")
    config = EvaluationConfig(benchmarks=("wordsim353", str(without)), n_resamples=100)
    report = evaluate_words(config, stage_io(tmp_path, model))
    metrics = report.metrics
    assert "other_spearman" not in metrics and metrics["other_coverage"] == 0.0
    assert metrics["mean_spearman"] == metrics["wordsim353_spearman_all_pairs"] / 2
    assert metrics["mean_spearman_covered"] == metrics["wordsim353_spearman"]
    assert (metrics["n_benchmarks"], metrics["n_benchmarks_scored"]) == (2, 1)
    assert report.table[1]["spearman"] is None and report.table[1]["note"].startswith("0 pairs have vectors")


def test_a_model_that_knows_no_benchmark_word(tmp_path: Path) -> None:
    model = WordVectors(["qq", "zz"], np.eye(2, dtype=np.float32))
    io = stage_io(tmp_path, model)
    report = evaluate_words(EvaluationConfig(n_resamples=100), io)
    assert report.metrics["mean_spearman"] == 0.0 and "mean_spearman_covered" not in report.metrics
    assert all(score["spearman"] is None for score in json.loads((io.output / "scores.json").read_text()))
    assert pq.read_table(io.output / "neighbours.parquet")["word"].to_pylist() == ["qq", "zz"]


def test_neighbour_words_are_the_frequent_rated_ones(model: WordVectors) -> None:
    benchmarks = [load_benchmark("wordsim353")]
    words, unknown = neighbour_queries(model, benchmarks, EvaluationConfig(n_neighbour_words=3))
    assert words == list(model.words[2:5]) and unknown == []
    by_count = WordVectors(model.words, model.vectors, counts=np.arange(len(model)))
    words, _ = neighbour_queries(by_count, benchmarks, EvaluationConfig(n_neighbour_words=2))
    assert words == [model.words[-1], model.words[-2]]
    assert neighbour_queries(model, benchmarks, EvaluationConfig(n_neighbour_words=0)) == ([], [])


def test_configured_neighbour_words(model: WordVectors, tmp_path: Path) -> None:
    config = EvaluationConfig(
        benchmarks=("wordsim353",), neighbour_words=("Tiger", "unheard", "love", "tiger"), n_resamples=100
    )
    io = stage_io(tmp_path, model)
    report = evaluate_words(config, io)
    words = pq.read_table(io.output / "neighbours.parquet")["word"].to_pylist()
    assert list(dict.fromkeys(words)) == ["tiger", "love"]
    assert "Without vector, so without neighbours: unheard." in report.markdown


def test_odd_words_do_not_break_the_table(tmp_path: Path) -> None:
    model = WordVectors(["a|b", "c\\d"], np.eye(2, dtype=np.float32) + np.float32(0.1))
    report = evaluate_words(EvaluationConfig(n_resamples=100), stage_io(tmp_path, model))
    assert "| a\\|b | c\\\\d |" in report.markdown


def test_missing_input_is_named(model: WordVectors, tmp_path: Path) -> None:
    config = EvaluationConfig(benchmarks=(str(tmp_path / "gone.tsv"),))
    with pytest.raises(ConfigError, match=r"gone\.tsv is missing"):
        evaluate_words(config, stage_io(tmp_path, model))
    (tmp_path / "train" / "vectors" / "meta.json").unlink()
    with pytest.raises(FormatError, match=r"vectors holds no meta\.json"):
        evaluate_words(EvaluationConfig(), StageIO(inputs={"train": tmp_path / "train"}, output=tmp_path))


def test_every_field_decides_the_key() -> None:
    assert set(key_config(EvaluationConfig())) == set(EvaluationConfig.model_fields)
