"""Candidates are configurations that somebody could have written by hand, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from vecmill.config.validate import validate
from vecmill.errors import ConfigError
from vecmill.pipelines.words import WordsConfig
from vecmill.pipelines.words_search import WordsSearchConfig
from vecmill.tuning.config import Dimension, SearchConfig
from vecmill.tuning.space import with_values

BASE: dict[str, Any] = {"train": {"kind": "cbow", "dim": 50}, "vocabulary": {"min_count": 2}}


def base() -> WordsConfig:
    return WordsConfig.model_validate(BASE)


def test_a_candidate_is_the_base_with_the_values_set() -> None:
    found = with_values(base(), {"train.window": 7, "vocabulary.min_count": 9}, "test")
    written = WordsConfig.model_validate({"train": {**BASE["train"], "window": 7}, "vocabulary": {"min_count": 9}})
    assert found == written


def test_a_space_may_be_changed_by_full_paths_on_the_command_line() -> None:
    given = {"train.window": {"low": 2, "high": 10}, "train.sample": {"choices": [1e-3]}}
    nested = {"train": {"window": {"high": 12}, "sample": {"low": 1e-5, "high": 1e-3}, "dim": {"choices": [50, 100]}}}
    search = SearchConfig.model_validate({"space": given | nested})
    assert {path: each.model_dump(exclude_defaults=True) for path, each in search.space.items()} == {
        "train.window": {"low": 2, "high": 12},
        "train.sample": {"low": 1e-5, "high": 1e-3},
        "train.dim": {"choices": (50, 100)},
    }
    with pytest.raises(ConfigError, match=r"train\.window.*low 2 is above high 1"):
        validate(SearchConfig, {"space": given | {"train": {"window": {"high": 1}}}}, "pipelines.yaml")


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        ({"primary_metric": "men"}, r"registry\.primary_metric names 'men'.*one of mean_spearman, .*men/spearman"),
        (
            {"promotion": {"guard_benchmarks": ["men", "foo"]}},
            r"registry\.promotion\.guard_benchmarks names 'foo'.*one of wordsim353, .*add the benchmark",
        ),
    ],
)
def test_a_score_that_nobody_will_measure_is_refused_before_anything_runs(
    registry: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(WordsConfig, {**BASE, "registry": registry}, "pipelines.yaml")


def test_no_values_leave_the_base_as_it_is() -> None:
    assert with_values(base(), {}, "test") == base()


def test_defaults_follow_a_kind_that_the_search_sets() -> None:
    """CBOW's learning rate is 0.1 where nobody set one; a skip-gram candidate starts from skip-gram's."""
    assert base().train.learning_rate == pytest.approx(0.1)
    assert with_values(base(), {"train.kind": "skipgram"}, "test").train.learning_rate == pytest.approx(0.025)


def test_a_registry_password_stays_in_a_candidate() -> None:
    registry = {"tracking_uri": "postgresql://ann:sesame@127.0.0.1/registry"}
    config = WordsConfig.model_validate({**BASE, "registry": registry})
    assert "sesame" in str(with_values(config, {"train.dim": 20}, "test").registry.tracking_uri)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.windw": {"low": 1, "high": 2}}, r"train\.windw.*did you mean 'train\.window'"),
        ({"train.window": {"low": 0, "high": 2}}, r"train\.window = 0"),
        ({"train.window": {"low": 1, "high": 10**6}}, r"train\.window = 1000000"),
        ({"train.window": {"low": 1.5, "high": 2.5}}, r"train\.window = 1\.5"),
        ({"train.cbow_gradient": {"choices": ["exact", "wrong"]}}, r"train\.cbow_gradient = 'wrong'"),
        ({"train.kind": {"choices": ["skipgram", "word3vec"]}}, "word3vec"),
        ({"train.dim": {"choices": ["wide"]}}, r"train\.dim"),
    ],
)
def test_a_space_that_the_configuration_does_not_allow_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(WordsSearchConfig, {**BASE, "search": {"space": space}}, "pipelines.yaml")


def test_values_that_only_clash_together_are_left_to_the_trials() -> None:
    space = {"train.min_learning_rate": {"low": 0.001, "high": 0.2}, "train.learning_rate": {"low": 0.01, "high": 0.5}}
    config = validate(WordsSearchConfig, {**BASE, "search": {"space": space}}, "pipelines.yaml")
    with pytest.raises(ConfigError, match="min_learning_rate"):
        with_values(config.base(), {"train.min_learning_rate": 0.2, "train.learning_rate": 0.01}, "candidate")


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        ({"low": 1, "high": 4}, [1, 2, 3, 4]),
        ({"low": 1, "high": 4, "step": 2}, [1, 3]),
        ({"low": 0.0, "high": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"choices": ["a", 2, False]}, ["a", 2, False]),
        ({"low": 0.0, "high": 1.0}, None),
        ({"low": 1, "high": 8, "log": True}, None),
    ],
)
def test_the_values_of_a_grid(dimension: dict[str, Any], values: list[Any] | None) -> None:
    found = Dimension.model_validate(dimension).grid()
    assert found == (values if values is None else pytest.approx(values) if 0.1 in values else values)


@pytest.mark.parametrize(
    ("objective", "changes", "message"),
    [
        (
            "mean_spearmn",
            {},
            r"'mean_spearmn', which the evaluation will not have\. Expected: one of mean_spearman, .*",
        ),
        (
            "mean_spearmn",
            {},
            r"men_pearson.*isotropy|isotropy.*men_pearson.* What to do: did you mean 'mean_spearman'\?",
        ),
        ({"men_spearman": 1, "men_sperman": 2}, {}, "names 'men_sperman'.*did you mean 'men_spearman'"),
        ("men_spearman", {"evaluate": {"benchmarks": ["rw"]}}, "names 'men_spearman'.*one of .*rw_spearman"),
        ("accuracy of all", {}, "correct search.objective, or add the benchmark to evaluate.benchmarks"),
        ("validation_auc", {}, r"hold documents out \(search.folds, or encode.validation_share\)"),
    ],
)
def test_an_objective_that_nobody_will_measure_is_refused(
    objective: Any, changes: dict[str, Any], message: str
) -> None:
    search = {"space": {"train.window": {"choices": [2, 5]}}, "objective": objective}
    with pytest.raises(ConfigError, match=message):
        validate(WordsSearchConfig, {**BASE, **changes, "search": search}, "pipelines.yaml")


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        ("quality", {}),
        ("google_analogies_accuracy", {}),
        ({"my_ratings_spearman": 1}, {"evaluate": {"benchmarks": ["data/My ratings.tsv"]}}),
        ("validation_auc", {"encode": {"validation_share": 0.1}}),
    ],
)
def test_objectives_that_will_be_measured(objective: Any, changes: dict[str, Any]) -> None:
    search = {"space": {"train.window": {"choices": [2, 5]}}, "objective": objective}
    validate(WordsSearchConfig, {**BASE, **changes, "search": search}, "pipelines.yaml")
