"""Finalists are told apart by what several seeds say, and the report repeats no more than was found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from vecmill.evaluation.comparison_config import ComparisonConfig
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.items import BenchmarkItems, ModelItems
from vecmill.tuning.config import SearchConfig
from vecmill.tuning.finalists import Finalist, judge, train_finalists
from vecmill.tuning.objective import Evaluation, without_the_unread
from vecmill.tuning.report import search_markdown, search_report
from vecmill.tuning.trials import Study

N_ITEMS = 400


def items_of(quality: float, seed: int) -> ModelItems:
    """A model whose answers follow the ratings as far as ``quality`` says."""
    ratings = np.random.default_rng(0).normal(size=N_ITEMS)
    noise = np.random.default_rng(seed).normal(size=N_ITEMS)
    words = tuple(f"w{i}" for i in range(N_ITEMS))
    others = tuple(f"v{i}" for i in range(N_ITEMS))
    return {"toy": BenchmarkItems("toy", "Toy", "0" * 64, words, others, ratings, quality * ratings + noise)}


def search_of() -> SearchConfig:
    space = {"train.quality": {"low": 0.0, "high": 1.0}}
    return SearchConfig.model_validate(
        {"space": space, "pilot_shares": [1.0], "n_trials": 8, "n_finalists": 2, "n_seeds": 3, "pruner": "none"}
    )


def run(tmp_path: Path) -> tuple[SearchConfig, Study, list[Finalist]]:
    search = search_of()

    def quality(values: Mapping[str, object]) -> float:
        return float(str(values.get("train.quality", 0.1)))

    def score(values: Mapping[str, object], index: int) -> Evaluation:
        return Evaluation({"mean_spearman": quality(values) + 0.001 * index}, 2.0, 6, 3, (quality(values), index))

    study = Study(search, f"sqlite:///{tmp_path}/search.db", "base", seed=3)
    study.run(lambda values, share: score(values, 0))
    return search, study, train_finalists(search, study, score)


def items(finalist: Finalist) -> Sequence[ModelItems]:
    return [items_of(each.outcome[0], 100 + each.outcome[1]) for each in finalist.evaluations]


def test_the_best_trials_and_the_baseline_are_trained_from_every_seed(tmp_path: Path) -> None:
    search, study, finalists = run(tmp_path)
    assert [each.label for each in finalists] == [*(f"trial {each.number}" for each in study.best(2)), "baseline"]
    assert all(len(each.scores) == search.n_seeds for each in finalists)
    assert all(each.sd == pytest.approx(0.001) for each in finalists)


def test_a_better_recipe_is_told_from_the_baseline(tmp_path: Path) -> None:
    _, _, finalists = run(tmp_path)
    finding = judge(finalists[0], finalists[-1], items, ComparisonConfig())
    assert finding.verdict == "better"
    assert "is better than the baseline" in finding.text and "3 seeds each" in finding.text


def test_two_equal_recipes_are_not(tmp_path: Path) -> None:
    _, _, finalists = run(tmp_path)
    first = finalists[0]
    twin = Finalist(99, first.values, first.evaluations, first.scores)

    def other_luck(finalist: Finalist) -> Sequence[ModelItems]:
        shift = 500 if finalist.trial == 99 else 900
        return [items_of(each.outcome[0], shift + each.outcome[1]) for each in finalist.evaluations]

    finding = judge(first, twin, other_luck, ComparisonConfig())
    assert finding.verdict == "not separable"
    assert "not separable" in finding.text


def test_the_report_is_json_and_its_page_names_what_was_found(tmp_path: Path) -> None:
    search, study, finalists = run(tmp_path)
    findings = [judge(finalists[0], other, items, ComparisonConfig()) for other in finalists[1:]]
    report = search_report(search, study, finalists, findings)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["winner"] == finalists[0].label
    cost = report["cost"]
    assert (cost["n_trials"], cost["trial_seconds"], cost["finalist_seconds"]) == (8, 16.0, 18.0)
    assert cost["trials_cached_frac"] == 0  # each built something
    assert (cost["n_finalist_trainings"], cost["n_finalist_trainings_cached"]) == (9, 0)
    assert report["findings"][0]["tests"][0]["p_holm"] == findings[0].comparison.separations[0].p_holm
    assert report["options"].startswith("--set train.quality=0.")
    page = search_markdown(report)
    assert findings[0].text in page and "| train.quality |" in page
    assert page.count("| baseline | as configured |") == 1


@pytest.mark.parametrize(
    ("objective", "has_analogies", "has_hubs"),
    [
        ("mean_spearman", False, False),
        ({"men_spearman": 2, "rw_spearman": 1}, False, False),
        ("validation_auc", False, False),
        ("quality", True, False),
        ({"men_spearman": 2, "google_analogies_accuracy": 1}, True, False),
        ({"men_spearman": 2, "hubness_skewness": 1}, False, True),
    ],
)
def test_a_trial_measures_what_the_objective_reads(objective: object, has_analogies: bool, has_hubs: bool) -> None:
    space = {"train.window": {"low": 2, "high": 9}}
    search = SearchConfig.model_validate({"space": space, "objective": objective, "folds": 2})
    config = EvaluationConfig.model_validate({"neighbour_words": ["cat"], "n_resamples": 300})
    found = without_the_unread(config, search)
    assert (bool(found.analogies), bool(found.statistics_words)) == (has_analogies, has_hubs)
    assert (found.neighbour_words, found.n_neighbour_words) == ((), 0)
    assert (found.benchmarks, found.n_resamples, found.validation) == (config.benchmarks, 300, config.validation)
