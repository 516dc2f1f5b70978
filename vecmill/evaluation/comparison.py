"""Is one model better than another, or was it luckier? The statistics of docs/promotion.md.

Two sides, champion and challenger, each with one or more *replicas*: trainings of one recipe that differ in nothing but
the seed. All are scored on the same items. The difference of the sides' mean scores has two sources of noise:

- *Items*: another set of rated pairs would have given another difference. Its variance comes from the paired bootstrap
  over the items, stratified by benchmark and by which side covers a pair; it contains what a seed does to single pairs.
- *Seeds*: a training may be better or worse on all pairs at once. That variance s^2 counts as s^2 (1/R1 + 1/R2) with R1
  and R2 replicas. It is a known value (``seed_sd``, from earlier trainings), updated by what the replicas at hand show:
  their variance less what the bootstrap explains (a variance component, Searle, Casella, McCulloch 1992), weighted by
  degrees of freedom as in Smyth 2004.

Resampling replicas and items together would count the noise of single pairs up to three times (Owen 2007), and with two
or three replicas it would miss a part of the variance between them; hence the two parts are found apart and added.

The difference over its standard error follows Student's t, with degrees of freedom after Satterthwaite 1946. Several
benchmarks, and their mean, are corrected together after Holm 1979.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.evaluation.comparison_config import ComparisonConfig
from vecmill.evaluation.items import MIN_PAIRS, BenchmarkItems, ModelItems, filled_cosines
from vecmill.evaluation.lost_pairs import ranked_against
from vecmill.evaluation.resampling import paired_resamples
from vecmill.evaluation.statistics import Floats, spearman

MEAN = "mean"
# Strata of fewer items than this would be repeated nearly as they are in every resample.
_SMALLEST_STRATUM = 10


@dataclass(frozen=True)
class Separation:
    """Champion and challenger on one benchmark, or in the mean of all.

    Attributes
    ----------
    name, title : the benchmark, or ``mean``
    champion, challenger : Spearman's coefficient on all pairs, mean over the side's replicas; pairs that the champion
        covers and the challenger does not count against it (:mod:`vecmill.evaluation.lost_pairs`)
    difference, lower, upper : challenger minus champion, and its interval of confidence 1 - 2 alpha, uncorrected
    standard_error, item_error, seed_error : of the difference, and the two parts that it is made of (as squares)
    degrees_of_freedom : of the t distribution
    p, p_worse : probability of such a gain, of such a loss, between two models of one quality
    p_holm, p_worse_holm : the same, corrected for all that is compared
    power : probability of finding ``relevant_gain``, at the strictest level of the correction
    detectable : the smallest difference that is found with probability ``wanted_power``, likewise
    n_items, n_common : pairs of two different words, and those that both sides cover
    champion_covered, challenger_covered : Spearman's coefficient on the pairs that each side covers itself, mean over
        its replicas; of the mean, over the benchmarks that have one; None where there is none. For people: losing hard
        words raises it, so it decides nothing
    champion_common, challenger_common : the same on the pairs that all replicas of both sides cover
    n_champion_covered, n_challenger_covered : pairs that the sides cover
    n_lost : pairs that the champion covers and the challenger does not
    """

    name: str
    title: str
    champion: float
    challenger: float
    difference: float
    lower: float
    upper: float
    standard_error: float
    item_error: float
    seed_error: float
    degrees_of_freedom: float
    p: float
    p_worse: float
    p_holm: float
    p_worse_holm: float
    power: float
    detectable: float
    n_items: int
    n_common: int
    champion_covered: float | None
    challenger_covered: float | None
    champion_common: float | None
    challenger_common: float | None
    n_champion_covered: int
    n_challenger_covered: int
    n_lost: int


@dataclass(frozen=True)
class _Shown:
    """Of both sides, champion's first: scores on covered and on common pairs, and how many pairs each covers."""

    covered: tuple[float | None, float | None]
    common: tuple[float | None, float | None]
    n_covered: tuple[int, int]
    n_lost: int


@dataclass(frozen=True)
class Comparison:
    """All that is compared between champion and challenger.

    Attributes
    ----------
    separations : the mean first, where several benchmarks could be compared on; then each of them
    alpha : level of the corrected tests
    left_out : why a benchmark was left out, by its name
    n_champion, n_challenger : replicas
    n_common : most pairs of a benchmark that both sides cover
    """

    separations: tuple[Separation, ...]
    alpha: float
    left_out: dict[str, str]
    n_champion: int
    n_challenger: int
    n_common: int

    @property
    def gains(self) -> tuple[Separation, ...]:
        """Where the challenger is better, after correction."""
        return tuple(each for each in self.separations if each.p_holm <= self.alpha)

    @property
    def losses(self) -> tuple[Separation, ...]:
        """Where the challenger is worse, after correction."""
        return tuple(each for each in self.separations if each.p_worse_holm <= self.alpha)


@dataclass(frozen=True)
class _Scored:
    """Replicas of both sides on one benchmark: scores[replica], resamples[resample, replica], champion's first."""

    name: str
    title: str
    scores: Floats
    resamples: Floats
    n_items: int
    n_common: int
    shown: _Shown


@dataclass(frozen=True)
class _Noise:
    """Standard error of a difference and what it is made of."""

    total: float
    items: float
    seeds: float
    degrees_of_freedom: float


def compare(champion: Sequence[ModelItems], challenger: Sequence[ModelItems], config: ComparisonConfig) -> Comparison:
    """Compare two sides on the benchmarks of the challenger's first replica.

    Parameters
    ----------
    champion, challenger : the items of each replica, at least one a side, all with the same benchmarks

    Raises
    ------
    FormatError : a replica lacks a benchmark, or has it from other bytes
    """
    if not champion or not challenger:
        raise FormatError("a side of the comparison has no replica", expected="the items of at least one training")
    left_out: dict[str, str] = {}
    scored: list[_Scored] = []
    for name, items in challenger[0].items():
        columns = [_same_benchmark(model, items) for model in (*champion, *challenger)]
        if reason := _unusable(columns, config):
            left_out[name] = reason
        else:
            scored.append(_score(columns, len(champion), config))
    if len(scored) > 1:
        scored.insert(0, _mean_of(scored))
    found = _holm_corrected([_separate(each, len(champion), len(scored), config) for each in scored])
    n_common = max((each.n_common for each in scored), default=0)
    return Comparison(tuple(found), config.alpha, left_out, len(champion), len(challenger), n_common)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected after Holm 1979: the smallest times m, the next times m - 1, …, never falling, at most 1."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for n_before, at in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p_values) - n_before) * p_values[at]))
        corrected[at] = largest
    return corrected


def seed_variance(scores: Floats, resamples: Floats) -> tuple[float, int]:
    """Variance between trainings of one recipe that the noise of items does not explain; and its degrees of freedom.

    Parameters
    ----------
    scores : float64[n_replicas]
    resamples : float64[n_resamples, n_replicas], the scores in each bootstrap resample of the items

    Returns
    -------
    An unbiased estimate, which may be negative, and n_replicas - 1. (0, 0) for a single replica.
    """
    n = len(scores)
    if n < 2:
        return 0.0, 0
    covariances = np.cov(resamples, rowvar=False)
    # What two replicas do not share of the items' noise, per replica.
    own = np.trace(covariances) / n - (covariances.sum() - np.trace(covariances)) / (n * (n - 1))
    return float(np.var(scores, ddof=1) - own), n - 1


def _same_benchmark(model: ModelItems, items: BenchmarkItems) -> BenchmarkItems:
    found = model.get(items.benchmark)
    if found is None or found.digest != items.digest or len(found) != len(items):
        raise FormatError(
            f"a model to compare has {'other bytes' if found else 'no items'} of the benchmark {items.benchmark!r}",
            expected="models that were scored on the same items",
            todo="evaluate both with the same benchmarks",
        )
    return found


def _unusable(columns: Sequence[BenchmarkItems], config: ComparisonConfig) -> str:
    """Why nothing can be compared on these items; empty if something can."""
    different = columns[0].different
    ratings = columns[0].ratings[different]
    if len(ratings) < config.min_items:
        return f"{len(ratings)} pairs of different words; a comparison needs {config.min_items} (min_items)"
    if ratings.min() == ratings.max():
        return f"the ratings of all {len(ratings)} pairs are equal"
    if all(np.ptp(filled_cosines(each)) == 0 for each in columns):
        return "no model has vectors that rank its pairs"
    return ""


def _score(columns: Sequence[BenchmarkItems], n_champion: int, config: ComparisonConfig) -> _Scored:
    items, different = columns[0], columns[0].different
    ranked = [filled_cosines(each) for each in columns[:n_champion]]
    ranked += [ranked_against(each, items.covered) for each in columns[n_champion:]]
    covered = [side.covered[different] for side in (columns[0], columns[n_champion])]
    # The draws depend on the benchmark's content alone, so that every comparison on it uses the same resamples.
    seed = [int.from_bytes(hashlib.sha256(items.digest.encode()).digest()[:8])]
    return _Scored(
        name=items.benchmark,
        title=items.title,
        scores=np.array([spearman(each, items.ratings[different]) or 0.0 for each in ranked]),
        resamples=paired_resamples(
            items.ratings[different], np.array(ranked), _strata(covered[0], covered[1]), config.n_resamples, seed
        ),
        n_items=int(different.sum()),
        n_common=int((covered[0] & covered[1]).sum()),
        shown=_shown(columns, n_champion),
    )


def _shown(columns: Sequence[BenchmarkItems], n_champion: int) -> _Shown:
    different = columns[0].different
    common = different & np.all([each.covered for each in columns], axis=0)
    sides = columns[:n_champion], columns[n_champion:]

    def scores(pairs: Callable[[BenchmarkItems], npt.NDArray[np.bool_]]) -> tuple[float | None, float | None]:
        one, other = (_mean([_spearman_on(pairs(each), each) for each in side]) for side in sides)
        return one, other

    covered = [int((different & side[0].covered).sum()) for side in sides]
    lost = int((different & sides[0][0].covered & ~sides[1][0].covered).sum())
    on_covered = scores(lambda each: different & each.covered)
    return _Shown(on_covered, scores(lambda _: common), (covered[0], covered[1]), lost)


def _spearman_on(pairs: npt.NDArray[np.bool_], items: BenchmarkItems) -> float | None:
    # As in the similarity score: two pairs correlate by definition.
    return spearman(items.cosines[pairs], items.ratings[pairs]) if pairs.sum() >= MIN_PAIRS else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) / len(known) if known else None


def _strata(champion: npt.NDArray[np.bool_], challenger: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Which side covers a pair: neither, one, the other, both; what is too small joins the largest stratum."""
    strata = champion + 2 * challenger.astype(np.int64)
    sizes = np.bincount(strata, minlength=4)
    strata[sizes[strata] < _SMALLEST_STRATUM] = int(sizes.argmax())
    return strata


def _mean_of(scored: Sequence[_Scored]) -> _Scored:
    return _Scored(
        name=MEAN,
        title=f"mean of {len(scored)}",
        scores=np.mean([each.scores for each in scored], axis=0),
        resamples=np.mean([each.resamples for each in scored], axis=0),  # benchmarks are resampled independently
        n_items=sum(each.n_items for each in scored),
        n_common=sum(each.n_common for each in scored),
        shown=_Shown(
            (_mean(each.shown.covered[0] for each in scored), _mean(each.shown.covered[1] for each in scored)),
            (_mean(each.shown.common[0] for each in scored), _mean(each.shown.common[1] for each in scored)),
            (sum(each.shown.n_covered[0] for each in scored), sum(each.shown.n_covered[1] for each in scored)),
            sum(each.shown.n_lost for each in scored),
        ),
    )


def _separate(scored: _Scored, n_champion: int, n_tests: int, config: ComparisonConfig) -> Separation:
    from scipy.special import stdtr, stdtrit  # Student's t: distribution function and its inverse

    champion, challenger = scored.scores[:n_champion], scored.scores[n_champion:]
    difference = float(challenger.mean() - champion.mean())
    noise = _noise(scored, n_champion, config)
    error, dof = noise.total, noise.degrees_of_freedom
    # Two models of equal answers have no noise and no difference; then there is nothing to tell them by.
    p = float(stdtr(dof, -difference / error)) if error > 0 else (0.5 if difference == 0 else float(difference < 0))
    reach = float(stdtrit(dof, 1.0 - config.alpha)) * error
    strictest = float(stdtrit(dof, 1.0 - config.alpha / n_tests))
    power = float(stdtr(dof, config.relevant_gain / error - strictest)) if error > 0 else 1.0
    return Separation(
        name=scored.name,
        title=scored.title,
        champion=float(champion.mean()),
        challenger=float(challenger.mean()),
        difference=difference,
        lower=difference - reach,
        upper=difference + reach,
        standard_error=error,
        item_error=noise.items,
        seed_error=noise.seeds,
        degrees_of_freedom=dof,
        p=p,
        p_worse=1.0 - p,
        p_holm=p,
        p_worse_holm=1.0 - p,
        power=power,
        detectable=(strictest + float(stdtrit(dof, config.wanted_power))) * error,
        n_items=scored.n_items,
        n_common=scored.n_common,
        champion_covered=scored.shown.covered[0],
        challenger_covered=scored.shown.covered[1],
        champion_common=scored.shown.common[0],
        challenger_common=scored.shown.common[1],
        n_champion_covered=scored.shown.n_covered[0],
        n_challenger_covered=scored.shown.n_covered[1],
        n_lost=scored.shown.n_lost,
    )


def _noise(scored: _Scored, n_champion: int, config: ComparisonConfig) -> _Noise:
    n_challenger = len(scored.scores) - n_champion
    resamples = scored.resamples[~np.isnan(scored.resamples).any(axis=1)]
    differences = resamples[:, n_champion:].mean(axis=1) - resamples[:, :n_champion].mean(axis=1)
    # n / (n - 1): a bootstrap's variance is that of the sample, which is a little too small (Efron, Tibshirani 1993).
    items = float(np.var(differences)) * scored.n_items / (scored.n_items - 1)

    prior = config.seed_sd.get(scored.name, config.other_seed_sd) ** 2
    prior_dof = config.seed_trainings - 1
    sides = (slice(None, n_champion), slice(n_champion, None))
    seen = [seed_variance(scored.scores[side], resamples[:, side]) for side in sides]
    seed_dof = prior_dof + sum(dof for _, dof in seen)
    one = max(0.0, (prior_dof * prior + sum(dof * variance for variance, dof in seen)) / seed_dof)
    seeds = one * (1 / n_champion + 1 / n_challenger)

    total = items + seeds
    uncertainty = items**2 / (scored.n_items - 1) + seeds**2 / seed_dof
    dof = total**2 / uncertainty if uncertainty > 0 else float(scored.n_items - 1)
    return _Noise(float(np.sqrt(total)), float(np.sqrt(items)), float(np.sqrt(seeds)), dof)


def _holm_corrected(separations: list[Separation]) -> list[Separation]:
    better = holm([each.p for each in separations])
    worse = holm([each.p_worse for each in separations])
    return [
        replace(each, p_holm=p_holm, p_worse_holm=p_worse_holm)
        for each, p_holm, p_worse_holm in zip(separations, better, worse, strict=True)
    ]
