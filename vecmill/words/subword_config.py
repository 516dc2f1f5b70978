"""What the subword trainers can be told: skip-gram and CBOW, each with the n-grams of fastText."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from vecmill.errors import ConfigError
from vecmill.words.config import WordTrainerConfig


class SubwordConfig(WordTrainerConfig):
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

    mode: Literal["hogwild", "deterministic"] = Field(
        "hogwild",
        description="hogwild: `threads` threads share one model without locks (Recht et al. 2011), so two runs differ "
        "a little; deterministic: one thread, the same bytes from the same seed on the same kind of processor "
        "(round_shards and shard_tokens play no part)",
    )
    pretrained: str = Field(
        "",
        description="words and n-grams to start from: the folder of a train artifact with subwords (continues its "
        "context vectors too), or a saved SubwordVectors folder, of the same n-grams and buckets; empty: random rows",
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


def subwords_folder(config: SubwordConfig) -> Path:
    """The folder of the saved ``SubwordVectors`` that ``pretrained`` means; it may not exist."""
    path = Path(config.pretrained)
    return path / "subwords" if (path / "subwords").is_dir() else path


def pretrained_subword_files(config: SubwordConfig) -> list[Path]:
    """The files that ``pretrained`` stands for, in a fixed order; empty where it is not set.

    Raises
    ------
    ConfigError : there is no saved ``SubwordVectors``
    """
    if not config.pretrained:
        return []
    folder = subwords_folder(config)
    if not (folder / "subwords.json").is_file():
        raise ConfigError(
            f"train.pretrained = {config.pretrained!r} holds no n-grams: there is no {folder / 'subwords.json'}",
            expected="the folder of a train artifact with subwords, or a saved SubwordVectors folder",
            todo="correct the path, or leave train.pretrained empty to start from random rows",
        )
    context = Path(config.pretrained) / "context_vectors.npy"
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    return files + ([context] if folder.name == "subwords" and context.is_file() else [])
