"""What the word trainers can be told: one model a kind, told apart by ``kind``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from vecmill.config.base import NOT_IN_KEY, Config


class NegativeSamplingConfig(Config):
    """What skip-gram and CBOW with negative sampling have in common."""

    dim: int = Field(100, ge=1, le=10_000, description="numbers in a word vector (word2vec.c: 100)")
    window: int = Field(
        5,
        ge=1,
        le=1_000,
        description="words to each side of the centre word, counted after sub-sampling (word2vec.c: 5)",
    )
    dynamic_window: bool = Field(
        True,
        description="draw the window of each centre word evenly from 1 to `window`, so that near words count more "
        "(Mikolov et al. 2013a, sec. 3.2); false: always `window`",
    )
    negative_samples: int = Field(
        5,
        ge=1,
        le=1_000,
        description="negatives drawn for each centre word and shared by its window (5-20 for small corpora, "
        "Mikolov et al. 2013b, sec. 2.2; word2vec.c: 5)",
    )
    negative_exponent: float = Field(
        0.75,
        ge=-2,
        le=2,
        allow_inf_nan=False,
        description="negatives are drawn in proportion to count ** this (Mikolov et al. 2013b, sec. 2.2)",
    )
    sample: float = Field(
        1e-3,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="sub-sampling threshold, a relative frequency; words above it are dropped at random, "
        "0 drops none (word2vec.c: 1e-3)",
    )
    learning_rate: float = Field(
        0.025, gt=0, allow_inf_nan=False, description="learning rate at the start (word2vec.c: 0.025)"
    )
    min_learning_rate: float = Field(
        1e-4,
        ge=0,
        allow_inf_nan=False,
        description="learning rate at the end, reached on a straight line over the tokens of all epochs (gensim: 1e-4)",
    )
    epochs: int = Field(5, ge=1, le=10_000, description="passes over the corpus (word2vec.c: 5)")
    mode: Literal["hogwild", "deterministic"] = Field(
        "hogwild",
        description="hogwild: `threads` threads share one model without locks (Recht et al. 2011), so two runs differ "
        "a little; deterministic: one thread, the same bytes from the same seed on the same kind of processor",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1_024,
        description="threads in hogwild mode, 0 for one on each processor core this process may use; "
        "a corpus too small to share is trained on fewer",
        json_schema_extra=NOT_IN_KEY,
    )

    @model_validator(mode="after")
    def _rates_fall(self) -> NegativeSamplingConfig:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate:g} is above learning_rate {self.learning_rate:g}; "
                "lower the first or raise the second"
            )
        return self


class SkipgramConfig(NegativeSamplingConfig):
    """Skip-gram with negative sampling (Mikolov et al. 2013b)."""

    kind: Literal["skipgram"] = Field("skipgram", description="each word of the window tells the centre word by itself")


class CbowConfig(NegativeSamplingConfig):
    """CBOW with negative sampling (Mikolov et al. 2013a), context gradient after Irsoy et al. 2021."""

    # Without a default on purpose: a section that names no kind is skip-gram, and fits one branch of the schema only.
    kind: Literal["cbow"] = Field(description="the mean of the window tells the centre word")
    learning_rate: float = Field(
        0.1,
        gt=0,
        allow_inf_nan=False,
        description="learning rate at the start (0.1 suits the exact gradient: against 0.05 higher on WordSim-353, "
        "SimLex-999 and MEN, one seed, 23 M words of reviews; with the word2vec gradient take 0.05, as word2vec.c)",
    )
    cbow_gradient: Literal["exact", "word2vec"] = Field(
        "exact",
        description="exact: each context word gets 1/n of the gradient of the mean of n (Irsoy et al. 2021); "
        "word2vec: each gets all of it, as word2vec.c and gensim do",
    )


def _kind(value: Any) -> Any:
    return value.get("kind", "skipgram") if isinstance(value, dict) else getattr(value, "kind", None)


# The `train` section of the words pipeline; a section that names no kind is skip-gram.
WordsTrainConfig = Annotated[
    Annotated[SkipgramConfig, Tag("skipgram")] | Annotated[CbowConfig, Tag("cbow")], Discriminator(_kind)
]
