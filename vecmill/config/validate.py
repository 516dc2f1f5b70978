"""Turning plain values into configuration models, with refusals that name the path and the nearest valid name."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import pydantic

from vecmill.errors import ConfigError

Model = TypeVar("Model", bound=pydantic.BaseModel)


def validate(
    model: type[Model],
    values: Mapping[str, Any],
    origin: str,
    *,
    todo: str = "correct the value; `vecmill config NAME` prints all of them",
) -> Model:
    """Build a configuration model from plain values.

    Parameters
    ----------
    origin : where the values come from ("pipelines.yaml, deployment words"), for the message
    todo : what to do about a bad value, for the message

    Raises
    ------
    ConfigError : naming the path of each bad value, what was found there, what was expected, and for an unknown key
        the nearest valid one
    """
    try:
        return model.model_validate(dict(values))
    except pydantic.ValidationError as error:
        lines = [_explain(model, each) for each in error.errors(include_url=False)]
        found = "; ".join(line[0] for line in lines[:5])
        if len(lines) > 5:
            found += f"; and {len(lines) - 5} more"
        nearest = next((line[1] for line in lines if line[1]), todo)
        raise ConfigError(f"{origin}: {found}", todo=nearest) from error


def _explain(model: type[pydantic.BaseModel], error: Any) -> tuple[str, str]:
    """What was found wrong, and what to do, for one of pydantic's errors."""
    path, parent, secretive = _walk(model, error["loc"])
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        names = sorted(parent) if parent else []
        nearest = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
        todo = f"did you mean {_sibling(path, nearest[0])!r}?" if nearest else f"valid names here: {', '.join(names)}"
        return f"unknown key {path!r}", todo
    if error["type"].startswith("union_tag"):
        tag = error["ctx"].get("tag", "missing")
        field = error["ctx"]["discriminator"].strip("'")
        field = "kind" if field.endswith("()") else field  # a function that looks for the kind, in all our unions
        return f"{path}.{field} is {tag!r}, expected one of {error['ctx'].get('expected_tags', '')}", ""
    found = _shorten(error.get("input"))
    message = error["msg"][0].lower() + error["msg"][1:]
    message = message.removeprefix("value error, ")
    if error["type"] == "missing":
        return f"{path!r} is missing", f"set {path}"
    return f"{path}: {message}" if secretive else f"{path} = {found}: {message}", ""


def _walk(model: Any, loc: tuple[int | str, ...]) -> tuple[str, set[str], bool]:
    """Where an error is.

    Returns
    -------
    The path as a user writes it (without the tags of unions), the names that are valid at its last step, and whether
    a model on the way keeps what was given out of messages (``hide_input_in_errors``).
    """
    parts: list[str] = []
    candidates: list[Any] = [model]
    names: set[str] = set()
    secretive = False
    for step in loc:
        if isinstance(step, int):  # a place in a list; what may stand there is what the list holds
            parts.append(str(step))
            continue
        models = [each for each in candidates if isinstance(each, type) and issubclass(each, pydantic.BaseModel)]
        tagged = [each for each in models if step in _tags(each)]
        if tagged and not any(step in each.model_fields for each in models):
            candidates = tagged
            continue
        names = {name for each in models for name in each.model_fields}
        secretive = secretive or any(each.model_config.get("hide_input_in_errors") for each in models)
        parts.append(str(step))
        candidates = [
            inner
            for each in models
            if str(step) in each.model_fields
            for inner in _alternatives(each.model_fields[str(step)].annotation)
        ]
    # The error may be about the section itself: then all of what was given is in its input.
    secretive = secretive or any(
        issubclass(each, pydantic.BaseModel) and bool(each.model_config.get("hide_input_in_errors"))
        for each in candidates
        if isinstance(each, type)
    )
    return ".".join(parts), names, secretive


def _tags(model: type[pydantic.BaseModel]) -> set[object]:
    """Values of the Literal fields of a model: one of them is its tag in a discriminated union."""
    return {
        value
        for each in model.model_fields.values()
        if typing.get_origin(each.annotation) is typing.Literal
        for value in typing.get_args(each.annotation)
    }


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types that an annotation may stand for: members of unions, items of collections."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _alternatives(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType, list, tuple, dict, set, frozenset):
        for inner in typing.get_args(annotation):
            yield from _alternatives(inner)
    else:
        yield annotation


def _sibling(path: str, name: str) -> str:
    head, _, _ = path.rpartition(".")
    return f"{head}.{name}" if head else name


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
