"""How a word training is shared among workers; see ``vecmill.distributed``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vecmill.config.base import NOT_IN_KEY, Config


class DistributedConfig(Config):
    """Several workers, each with a model of its own, that exchange what they changed."""

    workers: int = Field(
        1,
        ge=1,
        le=1_024,
        description="workers, each a process that trains its own part of the text; 1: this process alone (our choice). "
        "In deterministic mode they share the shards of each round, so that their number does not change the result",
    )
    sync_words: int = Field(
        16_384,
        ge=64,
        le=1 << 24,
        description="words that each worker trains between two exchanges of the commonest rows; fewer in a small "
        "corpus (our choice, see docs/scale.md)",
    )
    tiers: int = Field(
        3,
        ge=1,
        le=6,
        description="frequency tiers of rows: those of tier t travel in every 4^t-th exchange, all of them in the last "
        "tier's and at the end of an epoch; 1: every touched row in every exchange (our choice, see docs/scale.md)",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="numbers in which changes travel; what the shorter ones round off stays with the worker and is "
        "sent with the row's next change (float32: nothing is rounded)",
    )
    transport: Literal["processes", "one_process"] = Field(
        "processes",
        description="processes: each worker is a process of its own, and torch.distributed (gloo) carries the rows; "
        "one_process: this process does the work of all workers, one after the other, with the same result on one "
        "thread each: to try settings out (our choice)",
        json_schema_extra=NOT_IN_KEY,
    )
    timeout_seconds: float = Field(
        300.0,
        ge=5,
        le=86_400,
        allow_inf_nan=False,
        description="a worker that is waited for longer than this is taken for lost (our choice; torch waits 1800)",
        json_schema_extra=NOT_IN_KEY,
    )
    restarts: int = Field(
        2,
        ge=0,
        le=1_000,
        description="how often all workers are started again from the last checkpoint when one was lost (our choice)",
        json_schema_extra=NOT_IN_KEY,
    )
