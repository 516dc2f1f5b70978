"""Configuration of the vocabulary and encode stages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vecmill.config.base import NOT_IN_KEY, Config


class VocabularyConfig(Config):
    """How words are told apart, counted and kept."""

    min_count: int = Field(
        default=5,
        ge=1,
        description="occurrences below which a word is left out. Default: 5, Mikolov et al. 2013 (word2vec tool)",
    )
    max_size: int | None = Field(
        default=None,
        ge=2,
        description="keep at most this many words, the most frequent ones; null keeps all that reach min_count. "
        "Default: null, as in the word2vec tool",
    )
    token_pattern: Literal["unicode", "ascii", "whitespace"] = Field(
        default="unicode",
        description="what a word is: unicode (letters, marks and digits of any script, inner apostrophes), ascii "
        "([a-z0-9]+(?:'[a-z]+)?), whitespace (text that comes tokenised). Default: unicode, our choice",
    )
    lowercase: bool = Field(
        default=True,
        description="lower-case words (Unicode). Default: true, since the word similarity benchmarks are in lower case",
    )
    reservoir_size: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="documents in the uniform random sample kept beside the vocabulary. Default: 1000, our choice: "
        "a share of the corpus estimated from it has a standard error of at most 1.6 points",
    )
    reservoir_text_chars: int = Field(
        default=20_000,
        ge=1,
        description="characters of a sampled document's text that are kept; the rest is cut off. Default: 20000, our "
        "choice: few documents are longer, and 1000 of them stay below 80 MB",
    )
    memory_mb: int = Field(
        default=256,
        ge=1,
        json_schema_extra=NOT_IN_KEY,
        description="MiB for the table of distinct words while counting; beyond it the table is spilled to disk. "
        "Counts are exact either way. Default: 256, our choice, some 1 million distinct words",
    )
    threads: int = Field(
        default=0,
        ge=0,
        json_schema_extra=NOT_IN_KEY,
        description="threads that tokenise and count; 0 means one for each available core. Default: 0",
    )


class EncodeConfig(Config):
    """How the corpus becomes sentences of word ids, by the token rules of the vocabulary."""

    sentence_unit: Literal["sentence", "line", "document"] = Field(
        default="sentence",
        description="what training windows never cross: sentence (line ends, and end marks before white space), line, "
        "or document. Default: sentence, as in Mikolov et al. 2013, whose corpora hold one sentence a line",
    )
    threads: int = Field(
        default=0,
        ge=0,
        json_schema_extra=NOT_IN_KEY,
        description="threads that tokenise and look up ids; 0 means one for each available core. Default: 0",
    )
