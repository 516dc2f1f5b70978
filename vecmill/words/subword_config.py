"""What the subword trainers can be told: skip-gram and CBOW, each with the n-grams of fastText."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vecmill.words.config import NegativeSamplingConfig


class SubwordConfig(NegativeSamplingConfig):
    """What both kinds have in common: n-grams, their buckets, and how a word's gradient reaches its rows."""

    min_n: int = Field(
        3,
        ge=0,
        le=50,
        description="characters of the shortest n-gram of <word>, the marks < and > included (Bojanowski et al. 2017, "
        "sec. 4.1; fastText: 3)",
    )
    max_n: int = Field(
        6,
        ge=0,
        le=50,
        description="characters of the longest n-gram, 0 for no n-grams (Bojanowski et al. 2017, sec. 4.1: 6)",
    )
    subword_buckets: int = Field(
        2_000_000,
        ge=1,
        le=2**31 - 1,
        description="buckets that n-grams are hashed into; only those that a word of the vocabulary uses take memory "
        "(fastText: 2,000,000)",
    )
    learning_rate: float = Field(
        0.05, gt=0, allow_inf_nan=False, description="learning rate at the start (fastText: 0.05)"
    )
    subword_gradient: Literal["fasttext", "exact"] = Field(
        "fasttext",
        description="fasttext: each of the n rows whose mean is the input gets the whole change of the mean; exact: "
        "1/n of it, the derivative, which wants a learning rate some n times as high",
    )

    @model_validator(mode="after")
    def _lengths_rise(self) -> SubwordConfig:
        if 0 < self.max_n < self.min_n:
            raise ValueError(
                f"min_n {self.min_n} is above max_n {self.max_n}; lower the first, raise the second, or set max_n to 0 "
                "for no n-grams"
            )
        return self


class SubwordSkipgramConfig(SubwordConfig):
    """Skip-gram with subwords (Bojanowski et al. 2017, fastText)."""

    kind: Literal["subword_skipgram"] = Field(
        description="a word and its character n-grams together tell each word of the window"
    )


class SubwordCbowConfig(SubwordConfig):
    """CBOW with subwords (fastText)."""

    kind: Literal["subword_cbow"] = Field(
        description="the mean of the rows of all words of the window, n-grams included, tells the centre word"
    )
