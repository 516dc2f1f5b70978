"""Does the comparison keep its promises? Counted on simulated models, of which the truth is known.

The same is counted with more draws by benchmarks/gate.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vecmill.evaluation.comparison import Comparison, compare
from vecmill.evaluation.comparison_config import ComparisonConfig
from vecmill.evaluation.simulation import SimulatedBenchmarks

N_PAIRS = 400
WORLD = SimulatedBenchmarks((353, 250), shift_sd=0.015)
SHIFTING = SimulatedBenchmarks((353, 250), shift_sd=0.04)


def compared(world: SimulatedBenchmarks, n_pairs: int, seed: int, known_sd: float, **more: float) -> list[Comparison]:
    config = ComparisonConfig(n_resamples=300, seed_sd={}, other_seed_sd=known_sd, relevant_gain=0.05)
    rng = np.random.default_rng(seed)
    return [compare(*world.draw(rng, **more), config) for _ in range(n_pairs)]  # type: ignore[arg-type]


def promoted(found: list[Comparison]) -> int:
    return sum(bool(each.gains) and not each.losses for each in found)


@pytest.fixture(scope="module")
def equal_models() -> list[Comparison]:
    return compared(WORLD, N_PAIRS, seed=5, known_sd=WORLD.seed_sd)


def test_equal_models_are_rarely_promoted(equal_models: list[Comparison]) -> None:
    """At most 5 %: no more than a binomial with that probability exceeds once in a thousand."""
    assert promoted(equal_models) <= stats.binom.ppf(0.999, N_PAIRS, 0.05)
    assert sum(bool(each.losses) for each in equal_models) <= stats.binom.ppf(0.999, N_PAIRS, 0.05)


def test_the_higher_score_promotes_every_second_one(equal_models: list[Comparison]) -> None:
    naive = sum(each.separations[0].difference > 0 for each in equal_models)
    assert 0.42 < naive / N_PAIRS < 0.58
    assert naive > 5 * promoted(equal_models)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_p_values_of_equal_models_are_uniform(equal_models: list[Comparison], which: int) -> None:
    p = [each.separations[which].p for each in equal_models]
    assert stats.kstest(p, "uniform").pvalue > 0.005


def test_intervals_hold_the_truth_as_often_as_they_say(equal_models: list[Comparison]) -> None:
    inside = sum(each.separations[0].lower < 0 < each.separations[0].upper for each in equal_models)
    assert abs(inside / N_PAIRS - 0.9) < 4 * np.sqrt(0.9 * 0.1 / N_PAIRS)


def test_lucky_seeds_are_not_promoted_and_would_be_without_the_seeds_noise() -> None:
    known = promoted(compared(SHIFTING, 100, seed=6, known_sd=SHIFTING.seed_sd))
    ignored = promoted(compared(SHIFTING, 100, seed=6, known_sd=0.0))
    assert known <= stats.binom.ppf(0.999, 100, 0.05) < ignored


def test_replicas_make_up_for_a_prior_that_is_too_small() -> None:
    """Five trainings a side show that seeds matter, whatever was believed before."""
    config = ComparisonConfig(n_resamples=300, seed_sd={}, other_seed_sd=0.0, seed_trainings=2)
    rng = np.random.default_rng(7)
    found = [compare(*SHIFTING.draw(rng, n_champion=5, n_challenger=5), config) for _ in range(60)]
    assert promoted(found) <= stats.binom.ppf(0.999, 60, 0.07)
    assert np.median([each.separations[0].seed_error for each in found]) > 0


def test_a_planted_gain_is_found_with_the_stated_power() -> None:
    gain = 0.12
    world = SimulatedBenchmarks((353, 250), shift_sd=0.015)
    config = ComparisonConfig(
        n_resamples=300, seed_sd={}, other_seed_sd=world.seed_sd, relevant_gain=world.gain_in_score(gain)
    )
    rng = np.random.default_rng(8)
    found = [compare(*world.draw(rng, gain=gain), config) for _ in range(120)]
    means = [each.separations[0] for each in found]
    # the mean alone at its strictest level, which is what the stated power is about
    seen = np.mean([each.p <= config.alpha / 3 for each in means])
    stated = np.mean([each.power for each in means])
    assert 0.2 < stated < 0.95
    assert abs(seen - stated) < 4 * np.sqrt(stated * (1 - stated) / len(found))
    assert np.mean([each.difference for each in means]) == pytest.approx(config.relevant_gain, abs=0.01)
