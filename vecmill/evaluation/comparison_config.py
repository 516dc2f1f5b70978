"""How two models are told apart: error rates, resamples, and what is known of noise between trainings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vecmill.config.base import Config

# Standard deviation over training seeds of a benchmark's score, as far as no number of items averages it out: of eight
# skip-gram trainings on the reviews corpus (docs/promotion.md). Where none was seen, what eight trainings could have
# missed stands here (one standard error of the variance), since they cannot show that there is none.
MEASURED_SEED_SD = {
    "mean": 0.002,
    "wordsim353": 0.008,
    "simlex999": 0.003,
    "men": 0.005,
    "rw": 0.005,
    "scws": 0.002,
}


class ComparisonConfig(Config):
    """How two models are compared on the same benchmark items."""

    alpha: float = Field(
        default=0.05,
        gt=0.0,
        lt=0.5,
        description="Largest probability of calling models of one quality different in one direction, over all "
        "benchmarks together, a fraction. Default: the customary 5 %",
    )
    n_resamples: int = Field(
        default=10_000,
        ge=200,
        le=1_000_000,
        description="Bootstrap resamples of the items. Default: leaves the standard error uncertain by 0.7 % of itself "
        "(1 / sqrt(2 n)), and takes about a second for all bundled benchmarks",
    )
    min_items: int = Field(
        default=30,
        ge=10,
        description="Pairs of different words that a benchmark needs to be compared on, and of them pairs that both "
        "models cover on at least one benchmark. Default: rule of thumb for a mean to be near normal",
    )
    relevant_gain: float = Field(
        default=0.01,
        gt=0.0,
        le=1.0,
        description="Difference of correlations that somebody would promote a model for; the stated power is the "
        "probability of finding it. It does not decide. Default: one point of 100, as papers report them",
    )
    wanted_power: float = Field(
        default=0.8,
        gt=0.0,
        lt=1.0,
        description="Power at which the smallest detectable difference is stated, a fraction. Default: Cohen 1988",
    )
    seed_sd: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        default=MEASURED_SEED_SD,
        description="What is known beforehand of noise between trainings: by benchmark, and as `mean` of their mean, "
        "the standard deviation over training seeds of the correlation, without what the items' own noise adds. "
        "Default: measured on eight trainings, docs/promotion.md",
    )
    other_seed_sd: float = Field(
        default=0.008,
        ge=0.0,
        le=1.0,
        description="The same for a benchmark that seed_sd does not name. Default: the largest that was measured",
    )
    seed_trainings: int = Field(
        default=8,
        ge=2,
        description="Trainings behind seed_sd; it weighs as much as so many replicas. Default: as many as measured it",
    )
