"""Which documents count as the same."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vecmill.config.base import Config

_MOST_HASHES = 512


class DuplicatesConfig(Config):
    """Documents that repeat an earlier one; of each group the first in the order of the sources stays."""

    drop: Literal["none", "exact", "near"] = Field(
        "none",
        description=(
            "none keeps all; exact drops documents whose cleaned text occurred before; near also those that share most "
            "shingles with an earlier one. Default: our choice, counts are of the text as it was given"
        ),
    )
    shingle_unit: Literal["words", "characters"] = Field(
        "words",
        description=(
            "what a shingle is made of; characters for scripts without spaces and for short texts. Default: words, "
            "as in Broder 1997"
        ),
    )
    shingle: int = Field(
        5,
        ge=1,
        le=50,
        description="units in a row that make a shingle. Default: 5, as in Lee et al. 2022 for web text",
    )
    threshold: float = Field(
        0.8,
        ge=0.3,
        le=1.0,
        description=(
            "Jaccard similarity of two sets of shingles, as estimated from signatures, from which on they are twins. "
            "Default: 0.8, as in Lee et al. 2022"
        ),
    )
    bands: int = Field(
        20,
        ge=1,
        le=256,
        description=(
            "bands of a signature; two texts are compared when one band agrees, which happens with probability "
            "1 - (1 - similarity ** rows) ** bands. Default: 20, our choice, 0.998 at the default threshold"
        ),
    )
    rows: int = Field(6, ge=1, le=32, description="hash functions in a band. Default: 6, our choice, see bands")

    @model_validator(mode="after")
    def _bounded_signature(self) -> DuplicatesConfig:
        if self.bands * self.rows > _MOST_HASHES:
            raise ValueError(
                f"bands * rows is {self.bands * self.rows}, and a signature has at most {_MOST_HASHES} hash functions; "
                "lower corpus.duplicates.bands or corpus.duplicates.rows"
            )
        return self
