"""Sizes in bytes as people write them."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from vecmill.config.base import Config, key_config
from vecmill.config.sizes import ByteSize


class Sized(Config):
    size: ByteSize = Field(default=1000, ge=10)


@pytest.mark.parametrize(
    ("written", "n_bytes"),
    [
        (4096, 4096), ("4096", 4096), ("256MB", 256_000_000), ("1.5 GiB", 1_610_612_736), ("64kib", 65_536),
        (" 10 b ", 10), ("2TB", 2 * 10**12),
    ],
)  # fmt: skip
def test_sizes_with_and_without_units(written: object, n_bytes: int) -> None:
    assert Sized.model_validate({"size": written}).size == n_bytes
    assert key_config(Sized.model_validate({"size": written})) == {"size": n_bytes}


@pytest.mark.parametrize("written", ["256 megs", "", "MB", "-5MB", "1e3", "9", True])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        Sized.model_validate({"size": written})


def test_the_schema_knows_both_ways_to_write_a_size() -> None:
    kinds = {each["type"] for each in Sized.model_json_schema()["properties"]["size"]["anyOf"]}
    assert kinds == {"integer", "string"}
