"""How a subword tokenizer is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from vecmill.config.base import Config

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"


class SubwordTokenizerConfig(Config):
    """What the pieces are, and how many."""

    kind: Literal["bpe", "wordpiece"] = Field(
        default="bpe",
        description="bpe: byte pairs as in GPT-2, which spell any text and decode to it again; wordpiece: as in BERT, "
        "characters never seen become [UNK], and decoding restores words but not their spacing. Default: bpe",
    )
    size: int = Field(
        default=30_000,
        ge=300,
        le=1_000_000,
        description="pieces in the vocabulary, special tokens included; fewer where the text has no more. Default: "
        "30000, BERT's size, rounded",
    )
    min_count: int = Field(
        default=2,
        ge=1,
        description="times that two pieces must stand side by side to become one. Default: 2, our choice: what occurs "
        "once teaches nothing",
    )
    lowercase: bool = Field(
        default=False,
        description="lower-case text before cutting it. Default: false, so that decoding gives the text back",
    )
    alphabet_size: int = Field(
        default=6_000,
        ge=30,
        le=100_000,
        description="wordpiece: different characters kept, the most frequent ones. Default: 6000, our choice: Chinese "
        "text in daily use has some 4000",
    )
    more_special_tokens: tuple[str, ...] = Field(
        default=(),
        description="tokens that are never cut, numbered after [PAD] (0), [UNK], [CLS], [SEP], [MASK]. Default: none",
    )

    @field_validator("more_special_tokens")
    @classmethod
    def _different(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        every = [PAD, UNK, CLS, SEP, MASK, *tokens]
        for token in tokens:
            if not token.strip() or every.count(token) > 1:
                raise ValueError(f"special token {token!r} is empty or comes twice")
        return tokens

    @property
    def special_tokens(self) -> list[str]:
        return [PAD, UNK, CLS, SEP, MASK, *self.more_special_tokens]
