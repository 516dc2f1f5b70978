"""The word trainers there are: one configuration for ``train``, and which function follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from vecmill.words.config import WholeWordConfig, WordTrainerConfig, pretrained_files
from vecmill.words.device import device_of
from vecmill.words.device_config import (
    SECTIONS,
    CbowSection,
    SkipgramSection,
    SubwordCbowSection,
    SubwordSkipgramSection,
)
from vecmill.words.glove_config import GloveConfig
from vecmill.words.subword_config import SubwordConfig, pretrained_subword_files


def _kind(value: Any) -> Any:
    """The kind that a section names; one that names none is a skip-gram, so that ``--set train.dim=50`` works."""
    if isinstance(value, dict):
        return value.get("kind", "skipgram")
    return getattr(value, "kind", None)


def _section(value: Any) -> Any:
    """The section of a trainer's own model: the same settings, on the processor."""
    return value.model_dump() if type(value) in SECTIONS else value


WordsTrainConfig = Annotated[
    Annotated[SkipgramSection, Tag("skipgram")]
    | Annotated[CbowSection, Tag("cbow")]
    | Annotated[SubwordSkipgramSection, Tag("subword_skipgram")]
    | Annotated[SubwordCbowSection, Tag("subword_cbow")]
    | Annotated[GloveConfig, Tag("glove")],
    Discriminator(_kind),
    BeforeValidator(_section),
]

_FUNCTIONS = {
    "skipgram": "vecmill.words.train:train_words",
    "cbow": "vecmill.words.train:train_words",
    "subword_skipgram": "vecmill.words.subword_train:train_subwords",
    "subword_cbow": "vecmill.words.subword_train:train_subwords",
    "glove": "vecmill.words.glove_train:train_glove",
}
_ON_GPU = {
    "words": "vecmill.gpu.train:train_words_on_gpu",
    "subwords": "vecmill.gpu.train:train_subwords_on_gpu",
}


def trainer_of(config: Any) -> str:
    """``module:name`` of the core function of the ``train`` stage for a configuration of one of the kinds."""
    if device_of(config) == "cuda":
        return _ON_GPU["subwords" if isinstance(config, SubwordConfig) else "words"]
    if isinstance(config, WholeWordConfig) and config.distributed.workers > 1:
        return "vecmill.distributed.train:train_words_distributed"
    return _FUNCTIONS[config.kind]


def trainer_files(config: Any) -> list[Path]:
    """The files outside the store that training reads: those of pretrained vectors, where some are named."""
    if isinstance(config, SubwordConfig):
        return pretrained_subword_files(config)
    return pretrained_files(config) if isinstance(config, WordTrainerConfig) else []
