"""The base of every configuration model, and what of it counts towards an artifact's key."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

# For the `json_schema_extra` of a field that changes how fast or where the work is done, never its result.
NOT_IN_KEY: dict[str, Any] = {"vecmill_key": False}


class Config(BaseModel):
    """A frozen configuration model that refuses keys it does not know.

    Every field states a description with its unit, a bound where one makes sense, and the source of its default.
    The model is the only definition: YAML, command line, flow parameters and README table come from it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, ser_json_inf_nan="constants")


def key_config(config: BaseModel) -> dict[str, Any]:
    """The part of a configuration that decides a result, as plain JSON values.

    Fields marked with :data:`NOT_IN_KEY` (threads, progress, retries…) are left out at every depth, so that
    changing them never invalidates a finished artifact.
    """
    plain: dict[str, Any] = {}
    dumped = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("vecmill_key") is False:
            continue
        value = getattr(config, name)
        plain[name] = key_config(value) if isinstance(value, BaseModel) else dumped[name]
    return plain
