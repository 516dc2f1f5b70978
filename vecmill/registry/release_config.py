"""When vectors of the version before may stay in use beside a new version."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from vecmill.config.base import Config


class ReleaseConfig(Config):
    """What makes a release *patch* (drop in), *minor* (use the shipped map) or *major* (index again)."""

    patch_recall: float = Field(
        default=0.95,
        gt=0.0,
        le=1.0,
        description="patch: share of the new version's nearest words that are found without a map, with an index of "
        "the champion's vectors and with queries of the champion's vectors, whichever is less. Default: one answer in "
        "twenty may change, as a different order of near ties would do",
    )
    minor_recall: float = Field(
        default=0.33,
        gt=0.0,
        le=1.0,
        description="minor: the same with the map. Default: below what training again from another seed got on four "
        "corpora and settings (0.37 to 0.65), docs/space.md",
    )
    min_shared_frac: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Words that both versions must have for patch or minor, a fraction of either's words. Default: "
        "shared words say little about a version that consists mostly of others",
    )
    n_neighbours: int = Field(default=10, ge=1, le=1000, description="Nearest words compared a query. Default: custom")
    n_queries: int = Field(
        default=1000,
        ge=10,
        le=100_000,
        description="Words asked for, spread evenly over frequency. Default: leaves a recall uncertain by about 0.01",
    )
    n_indexed: int = Field(
        default=50_000,
        ge=100,
        description="Most frequent shared words that make up the index. Default: 40 MB for 100 dimensions on two sides",
    )
    n_anchors: int = Field(
        default=10_000,
        ge=10,
        description="Most frequent shared words that the map is fitted and told on, a fifth of them held out. "
        "Default: the frequent ones are stable, and this many determine 1000 dimensions",
    )
    trim_frac: float = Field(
        default=0.2,
        ge=0.0,
        le=0.5,
        description="Share of the anchors, those that fit worst, that the map does not follow. Default: our choice; "
        "more words than that rarely move",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minor_recall > self.patch_recall:
            raise ValueError(
                f"minor_recall {self.minor_recall:g} is above patch_recall {self.patch_recall:g}; what needs no map "
                "must be at least as good as what needs one"
            )
        return self
