"""Comparing models: the parts of the noise by hand, Holm's correction, and what cannot be compared."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from vecmill.errors import FormatError
from vecmill.evaluation.comparison import MEAN, Separation, compare, holm, seed_variance
from vecmill.evaluation.comparison_config import ComparisonConfig
from vecmill.evaluation.items import BenchmarkItems, all_pairs_score, filled_cosines
from vecmill.evaluation.lost_pairs import ranked_against
from vecmill.evaluation.simulation import SimulatedBenchmarks

CONFIG = ComparisonConfig(n_resamples=500, seed_sd={"mean": 0.01}, other_seed_sd=0.02, seed_trainings=6)
WORLD = SimulatedBenchmarks((200, 150))


def drawn(seed: int = 1, **more: float) -> tuple[list[dict[str, BenchmarkItems]], list[dict[str, BenchmarkItems]]]:
    return WORLD.draw(np.random.default_rng(seed), **more)  # type: ignore[arg-type]


# --- Holm -------------------------------------------------------------------------------------------------------------

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def closed_testing(p: list[float]) -> list[float]:
    """Holm's procedure as the closed test of Bonferroni's: the largest over all subsets that hold the hypothesis."""
    n = len(p)
    return [
        max(
            min(1.0, size * min(p[at] for at in subset))
            for size in range(1, n + 1)
            for subset in itertools.combinations(range(n), size)
            if each in subset
        )
        for each in range(n)
    ]


@given(p_values)
def test_holm_is_the_closed_test(p: list[float]) -> None:
    assert holm(p) == pytest.approx(closed_testing(p))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


# --- noise ------------------------------------------------------------------------------------------------------------


def test_seed_variance_is_what_the_items_do_not_explain() -> None:
    """Scores = seed's shift + noise that a bootstrap of known covariance describes; unbiased over many draws."""
    rng = np.random.default_rng(2)
    shared, own, shift, n_replicas = 0.5, 0.3, 0.2, 4
    found = []
    for _ in range(3000):
        scores = shift * rng.normal(size=n_replicas) + shared * rng.normal() + own * rng.normal(size=n_replicas)
        resamples = shared * rng.normal(size=(200, 1)) + own * rng.normal(size=(200, n_replicas))
        variance, dof = seed_variance(scores, resamples)
        assert dof == 3
        found.append(variance)
    assert np.mean(found) == pytest.approx(shift**2, abs=4 * np.std(found) / np.sqrt(len(found)))
    assert min(found) < 0, "unbiased, so not cut off at zero"


def test_one_replica_says_nothing_of_seeds() -> None:
    assert seed_variance(np.ones(1), np.ones((5, 1))) == (0.0, 0)


def test_parts_add_up_and_the_prior_stands_in_for_replicas() -> None:
    champion, challenger = drawn()
    found = {each.name: each for each in compare(champion, challenger, CONFIG).separations}
    assert list(found) == [MEAN, "simulated0", "simulated1"]
    for each in found.values():
        sd = 0.01 if each.name == MEAN else 0.02
        assert each.seed_error == pytest.approx(sd * np.sqrt(2)), "one training a side"
        assert each.standard_error == pytest.approx(np.hypot(each.item_error, each.seed_error))
        squares = each.item_error**4 / (each.n_items - 1) + each.seed_error**4 / 5
        dof = each.standard_error**4 / squares
        assert each.degrees_of_freedom == pytest.approx(dof)
        t = each.difference / each.standard_error
        assert each.p == pytest.approx(stats.t.sf(t, dof)) and each.p_worse == pytest.approx(stats.t.cdf(t, dof))
        reach = stats.t.ppf(0.95, dof) * each.standard_error
        assert (each.lower, each.upper) == pytest.approx((each.difference - reach, each.difference + reach))
        strictest = stats.t.ppf(1 - 0.05 / 3, dof)
        assert each.power == pytest.approx(stats.t.sf(strictest - 0.01 / each.standard_error, dof))
        assert each.detectable == pytest.approx((strictest + stats.t.ppf(0.8, dof)) * each.standard_error)
    mean = found[MEAN]
    assert mean.difference == pytest.approx(np.mean([found[f"simulated{n}"].difference for n in (0, 1)]))
    # resampled independently; 500 resamples know a standard error to 3 %
    assert mean.item_error == pytest.approx(
        np.hypot(found["simulated0"].item_error, found["simulated1"].item_error) / 2, rel=0.15
    )
    corrected = holm([each.p for each in found.values()])
    assert [each.p_holm for each in found.values()] == pytest.approx(corrected)


def test_replicas_narrow_both_parts() -> None:
    one = compare(*drawn(n_champion=1, n_challenger=1), CONFIG).separations[0]
    many = compare(*drawn(n_champion=4, n_challenger=4), CONFIG).separations[0]
    assert many.item_error < 0.7 * one.item_error and many.seed_error < 0.7 * one.seed_error
    assert many.degrees_of_freedom > 5


def test_sides_can_be_exchanged() -> None:
    champion, challenger = drawn(gain=0.2, n_challenger=2)
    there, back = compare(champion, challenger, CONFIG), compare(challenger, champion, CONFIG)
    for one, other in zip(there.separations, back.separations, strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert one.p == pytest.approx(other.p_worse, abs=1e-9)
    assert [each.name for each in there.gains] == [each.name for each in back.losses] != []


def test_a_model_against_itself() -> None:
    champion, _ = drawn()
    quiet = CONFIG.model_copy(update={"seed_sd": {}, "other_seed_sd": 0.0})
    for config in (CONFIG, quiet):
        found = compare(champion, champion, config)
        assert not found.gains and not found.losses
        assert all(each.difference == 0 and each.p == pytest.approx(0.5) for each in found.separations)


def test_lost_vocabulary_is_a_loss() -> None:
    champion, _ = drawn()
    rng = np.random.default_rng(4)
    lost = {}
    for name, items in champion[0].items():
        cosines = items.cosines.copy()
        cosines[rng.random(len(items)) < 0.7] = np.nan
        lost[name] = replace(items, cosines=cosines)
    found = compare(champion, [lost], CONFIG)
    assert MEAN in [each.name for each in found.losses] and not found.gains
    nothing = {name: replace(items, cosines=np.full(len(items), np.nan)) for name, items in champion[0].items()}
    against_nothing = compare([nothing], champion, CONFIG)
    assert all(each.champion == 0 for each in against_nothing.separations) and against_nothing.n_common == 0


# --- what cannot be compared ------------------------------------------------------------------------------------------


def items(n: int, *, ratings: str = "different", cosines: str = "different", name: str = "mine") -> BenchmarkItems:
    values = np.random.default_rng(n).normal(size=(2, n))
    if ratings == "equal":
        values[0] = 3.0
    if cosines == "none":
        values[1] = np.nan
    words = tuple(f"a{at}" for at in range(n)), tuple(f"b{at}" for at in range(n))
    return BenchmarkItems(name, name, "d", *words, values[0], values[1])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (items(1), "1 pairs of different words; a comparison needs 30 (min_items)"),
        (items(0), "0 pairs of different words; a comparison needs 30 (min_items)"),
        (items(50, ratings="equal"), "the ratings of all 50 pairs are equal"),
        (items(50, cosines="none"), "no model has vectors that rank its pairs"),
    ],
)
def test_benchmarks_that_say_nothing_are_left_out(bad: BenchmarkItems, why: str) -> None:
    found = compare([{"mine": bad}], [{"mine": bad}], CONFIG)
    assert found.separations == () and found.left_out == {"mine": why} and found.n_common == 0
    good = items(40, name="good")
    found = compare([{"mine": bad, "good": good}], [{"mine": bad, "good": good}], CONFIG)
    assert [each.name for each in found.separations] == ["good"], "no mean of one"


def test_other_items_are_refused() -> None:
    one = {"mine": items(40)}
    with pytest.raises(FormatError, match="a model to compare has no items of the benchmark 'mine'"):
        compare([{}], [one], CONFIG)
    with pytest.raises(FormatError, match="has other bytes of the benchmark 'mine'"):
        compare([{"mine": replace(one["mine"], digest="e")}], [one], CONFIG)
    with pytest.raises(FormatError, match="a side of the comparison has no replica"):
        compare([], [one], CONFIG)


def test_a_small_alpha_is_harder() -> None:
    champion, challenger = drawn(gain=0.1)
    strict, usual = (
        compare(champion, challenger, CONFIG.model_copy(update={"alpha": alpha})).separations[0]
        for alpha in (0.001, 0.05)
    )
    assert isinstance(strict, Separation)
    assert strict.power < usual.power and strict.detectable > usual.detectable and strict.lower < usual.lower


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"seed_sd": {"men": -1}}, {"min_items": 3}, {"replicas": 2}])
def test_configuration_has_bounds(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ComparisonConfig.model_validate(wrong)


# --- three scores -----------------------------------------------------------------------------------------------------


def test_covered_all_and_common_pairs_by_hand() -> None:
    """Losing the pairs that it is bad at raises the covered score, and the score that decides falls."""
    rng = np.random.default_rng(3)
    ratings = rng.normal(size=200)
    good = ratings + 0.3 * rng.normal(size=200)
    good[100:] = rng.normal(size=100)
    words = tuple(f"a{at}" for at in range(200)), tuple(f"b{at}" for at in range(200))
    champion = {"m": BenchmarkItems("m", "M", "0", *words, ratings, good)}
    lost = np.where(np.arange(200) < 100, good, np.nan)
    challenger = {"m": replace(champion["m"], cosines=lost)}
    (each,) = compare([champion], [challenger], CONFIG).separations
    assert each.champion_covered == pytest.approx(stats.spearmanr(ratings, good)[0])
    assert each.challenger_covered == pytest.approx(stats.spearmanr(ratings[:100], good[:100])[0])
    assert each.champion_common == each.challenger_common == each.challenger_covered
    assert (each.n_champion_covered, each.n_challenger_covered, each.n_common, each.n_items) == (200, 100, 100, 200)
    assert each.challenger_covered > each.champion_covered and each.difference < -0.5
    assert (each.n_lost, each.champion) == (100, pytest.approx(each.champion_covered))
    strangers = {"m": replace(champion["m"], cosines=np.where(np.arange(200) < 100, np.nan, good))}
    (apart,) = compare([strangers], [challenger], CONFIG).separations
    assert (apart.champion_common, apart.challenger_common, apart.n_common) == (None, None, 0)


# --- lost pairs -------------------------------------------------------------------------------------------------------


def without(items: BenchmarkItems, lost: object) -> BenchmarkItems:
    return replace(items, cosines=np.where(np.asarray(lost), np.nan, items.cosines))


rated_pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=4, max_size=6)


@settings(max_examples=50, deadline=None)
@given(rated_pairs, st.randoms(use_true_random=False))
def test_lost_pairs_stand_where_they_cost_most(pairs: list[tuple[int, int]], rng: random.Random) -> None:
    """Against every order of all pairs in which those that are left keep theirs; a rating or a state may repeat."""
    n = len(pairs)
    ratings, states = np.array([[*each] for each in pairs], dtype=float).T
    words = tuple(f"a{at}" for at in range(n)), tuple(f"b{at}" for at in range(n))
    whole = BenchmarkItems("m", "M", "0", *words, ratings, np.array(rng.sample(range(n), n), dtype=float))
    lost = states == 0
    part = without(whole, lost)
    placed = ranked_against(part, whole.covered)
    kept = filled_cosines(part)[~lost]
    assert (np.sign(np.subtract.outer(placed[~lost], placed[~lost])) == np.sign(np.subtract.outer(kept, kept))).all()
    centred = stats.rankdata(ratings) - (n + 1) / 2
    order = np.argsort(np.argsort(kept, kind="stable"), kind="stable") if len(set(kept.tolist())) == len(kept) else None
    if order is None:
        return  # fewer than three known pairs are all ties
    costs = []
    for ranks in itertools.permutations(range(n)):
        mine = np.array(ranks)
        if (np.argsort(np.argsort(mine[~lost])) == order).all():
            costs.append(float(mine @ centred))
    assert float(stats.rankdata(placed) @ centred) == pytest.approx(min(costs))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 2.0), st.floats(0.01, 0.9))
def test_forgetting_what_the_champion_knows_never_raises_the_score(seed: int, quality: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    ratings = np.round(rng.normal(size=60), 1)
    words = tuple(f"a{at}" for at in range(60)), tuple(f"b{at}" for at in range(60))
    champion = BenchmarkItems("m", "M", "0", *words, ratings, rng.normal(size=60))
    whole = replace(champion, cosines=quality * ratings + rng.normal(size=60))
    wrong = np.abs(stats.rankdata(whole.cosines) - stats.rankdata(ratings))
    for lost in (rng.random(60) < share, wrong >= np.quantile(wrong, 1 - share)):
        part = ranked_against(without(whole, lost), champion.covered)
        assert stats.spearmanr(part, ratings)[0] <= all_pairs_score(whole) + 1e-12


def test_the_champion_less_its_worst_words_is_no_better() -> None:
    champion, _ = drawn()
    cut = {}
    for name, items in champion[0].items():
        cosines = filled_cosines(items)
        share = (stats.rankdata(cosines) - len(items) / 2) * (stats.rankdata(items.ratings) - len(items) / 2)
        cut[name] = without(items, share <= np.quantile(share, 0.02))
    assert all(all_pairs_score(cut[name]) > all_pairs_score(items) for name, items in champion[0].items())
    found = compare(champion, [cut], CONFIG)
    assert not found.gains and all(each.difference < 0 and each.n_lost > 0 for each in found.separations)
    back = compare([cut], champion, CONFIG)
    assert all(each.n_lost == 0 for each in back.separations), "what the challenger alone knows is not lost"


def test_without_a_lost_pair_the_cosines_rank() -> None:
    champion, challenger = drawn()
    for name, items in challenger[0].items():
        both_lack = without(items, np.arange(len(items)) % 5 == 0)
        ranked = ranked_against(both_lack, both_lack.covered)
        assert np.array_equal(ranked, filled_cosines(both_lack)) and len(ranked) == len(champion[0][name])
