"""The section ``engine``: on which machines a pipeline's stages run. Nothing in it counts towards a key."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.config.sizes import ByteSize

_HOST_AND_PORT = re.compile(r"(ray://)?([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")


class StageResources(Config):
    """What a stage takes of a node while it runs there."""

    cpus: int = Field(
        1,
        ge=1,
        le=4096,
        description="cores that are kept free for it on a node; it works with as many threads unless its section says "
        "otherwise. Default: 1, so that a node takes as many stages or trials as it has cores",
        json_schema_extra=NOT_IN_KEY,
    )
    memory: ByteSize = Field(
        0,
        ge=0,
        description="bytes of a node's memory that are kept free for it (4GB, 512MiB); 0 keeps none. Ray places by "
        "this number and does not enforce it. Pieces of a stage keep what they may take (vocabulary.memory, "
        "contract.memory_limit_mb) free by themselves, but not where this is set. Default: 0",
        json_schema_extra=NOT_IN_KEY,
    )
    gpus: int = Field(
        0, ge=0, le=64, description="GPUs of a node that it alone sees. Default: 0", json_schema_extra=NOT_IN_KEY
    )


def check_stage_name(name: str, known: list[str]) -> None:
    """Raise a ValueError for a stage that a pipeline does not have."""
    if name not in known:
        raise ValueError(f"resources name the stage {name!r}; expected some of {', '.join(known)}")


class EngineConfig(Config):
    """On which machines the stages run; the artifacts and their keys are the same on all of them.

    ``engine: ray`` is short for ``engine: {kind: ray}``.
    """

    kind: Literal["local", "ray"] = Field(
        "local",
        description="local: in the process of the run. ray: on the nodes of a Ray cluster (extra `ray`). "
        "Default: local, which needs nothing else",
        json_schema_extra=NOT_IN_KEY,
    )
    address: str = Field(
        "",
        description="which Ray cluster: empty for one on this machine that is started for the run; auto for the one "
        "that this machine is a node of; HOST:PORT of a head node (this machine is a node too); ray://HOST:PORT from "
        "outside the cluster. Default: empty",
        json_schema_extra=NOT_IN_KEY,
    )
    resources: dict[str, StageResources] = Field(
        default_factory=dict,
        description="what a stage takes of a node, by the stage's name: {train: {cpus: 2, memory: 4GB}}. Default: one "
        "core for each stage",
        json_schema_extra=NOT_IN_KEY,
    )
    retries: int = Field(
        2,
        ge=0,
        le=100,
        description="how often a stage is begun again after its node or process was lost. Default: 2, as Prefect's "
        "documentation retries what may pass",
        json_schema_extra=NOT_IN_KEY,
    )
    wait_seconds: float = Field(
        300.0,
        ge=0,
        le=86_400,
        description="seconds that a stage waits for a node that is large enough, when there is none; a cluster that "
        "grows by itself needs some minutes. Default: 300",
        json_schema_extra=NOT_IN_KEY,
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("address")
    @classmethod
    def _an_address(cls, value: str) -> str:
        value = value.strip()
        if value in ("", "auto") or _HOST_AND_PORT.fullmatch(value):
            return value
        raise ValueError("expected nothing, auto, HOST:PORT or ray://HOST:PORT")

    @model_validator(mode="after")
    def _address_has_a_use(self) -> Self:
        if self.address and self.kind == "local":
            raise ValueError(f"address is {self.address!r}, which only kind: ray uses; set kind to ray")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema by which forms and Prefect's server check a section; the short form is one word."""
        return {"anyOf": [handler(core_schema), {"type": "string", "enum": ["local", "ray"]}]}

    def of_stage(self, name: str) -> StageResources:
        """What the stage of this name takes."""
        return self.resources.get(name) or StageResources()
