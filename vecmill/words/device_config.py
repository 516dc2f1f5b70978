"""Where a word trainer works: the sections of a pipeline, which have a device beside what the trainer is told.

The trainers' own models know nothing of devices, so that what is set here changes nothing about the keys of vectors
that the processor trains. Those of a GPU get what counts there from ``vecmill.words.device.gpu_parts``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.words.config import CbowConfig, SkipgramConfig, WholeWordConfig, WordTrainerConfig
from vecmill.words.subword_config import SubwordCbowConfig, SubwordSkipgramConfig


class GpuConfig(Config):
    """How a GPU goes over the text; part of the key of what it trains."""

    block_words: int = Field(
        4_096,
        ge=32,
        le=1 << 20,
        description="words, after sub-sampling, that learn from the same vectors before any of them changes; fewer in "
        "a small corpus. More are faster, and from some size on worse (our choice, see docs/scale.md)",
    )
    group_words: int = Field(
        32,
        ge=1,
        le=1_024,
        description="neighbouring words that share negatives (our choice, see docs/scale.md)",
    )
    shared_negatives: int = Field(
        64,
        ge=1,
        le=4_096,
        description="negatives drawn for each group; each counts negative_samples / shared_negatives (our choice, see "
        "docs/scale.md)",
    )
    holds_back: bool = Field(
        True,
        description="changes of rows that a block touches often are held back, along each direction as far as many "
        "small steps would go; false: they are added up as they are, for small blocks (our choice, see docs/scale.md)",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="numbers that products are worked out in; the vectors themselves are float32 (our choice)",
    )


class OnDevice(Config):
    """The device of a trainer with negative sampling."""

    device: Literal["cpu", "cuda", "auto"] = Field(
        "cpu",
        description="cpu: the processor; cuda: an NVIDIA GPU through torch, and the processor where there is none; "
        "auto: the same, and the processor too where a setting asks for what the GPU cannot do, and for subwords, "
        "which it trains less well. A GPU gives other vectors, under another key (cpu: the same key on every machine)",
        json_schema_extra=NOT_IN_KEY,
    )
    gpu: GpuConfig = Field(
        GpuConfig(),
        description="settings of training on a GPU; without one they play no part",
        json_schema_extra=NOT_IN_KEY,
    )

    @model_validator(mode="after")
    def _cuda_can_do_it(self) -> OnDevice:
        if self.device == "cuda" and (found := not_on_gpu(self)):
            raise ValueError(f"a GPU cannot train with {found}; leave that out, or set device to cpu")
        return self


def not_on_gpu(config: object) -> str:
    """The first setting that only the processor's trainers follow, as ``name value``; empty where there is none."""
    assert isinstance(config, WordTrainerConfig)
    for name in ("l2", "gradient_clip", "round_shards", "shard_tokens"):
        value, default = getattr(config, name), type(config).model_fields[name].default
        if value != default:
            return f"{name} {value:g}"
    if isinstance(config, WholeWordConfig) and config.distributed.workers > 1:
        return f"distributed.workers {config.distributed.workers}"
    return ""


class SkipgramSection(OnDevice, SkipgramConfig):
    """Skip-gram with negative sampling (Mikolov et al. 2013b)."""


class CbowSection(OnDevice, CbowConfig):
    """CBOW with negative sampling (Mikolov et al. 2013a), context gradient after Irsoy et al. 2021."""


class SubwordSkipgramSection(OnDevice, SubwordSkipgramConfig):
    """Skip-gram with subwords (Bojanowski et al. 2017, fastText)."""


class SubwordCbowSection(OnDevice, SubwordCbowConfig):
    """CBOW with subwords (fastText)."""


SECTIONS: dict[type[WordTrainerConfig], type[OnDevice]] = {
    SkipgramConfig: SkipgramSection,
    CbowConfig: CbowSection,
    SubwordSkipgramConfig: SubwordSkipgramSection,
    SubwordCbowConfig: SubwordCbowSection,
}
