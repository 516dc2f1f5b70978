"""``--set path.to.field=value``: changes to a configuration from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from vecmill.config.yaml_values import load_value
from vecmill.errors import ConfigError

# Sections that may be written as one word.
_NAMED_BY_KIND = frozenset({"engine"})


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of ``values`` with each ``path=value`` put in place.

    Values are YAML, so ``train.epochs=3`` is a number and ``corpus.sources=["a.txt", "b/*.csv"]`` a list. Whether a
    path exists is not decided here but when the whole is validated, since defaults need not be spelt out.

    >>> apply_overrides({"train": {"dim": 100}}, ["train.epochs=3"])
    {'train': {'dim': 100, 'epochs': 3}}

    Raises
    ------
    ConfigError : no ``=``, an empty path, a value that is not YAML, or a path that goes through a plain value
    """
    changed = _copy(values)
    for override in overrides:
        path, equals, text = override.partition("=")
        steps = [step.strip() for step in path.split(".")]
        if not equals or not all(steps):
            raise ConfigError(
                f"--set got {override!r}", expected="path=value", todo="write for example --set train.epochs=3"
            )
        try:
            value = load_value(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(
                f"--set {path}: {text!r} is not a YAML value ({(str(error).splitlines() or ['?'])[0]})",
                expected='a number, a text, or a list such as ["a.txt", "b/*.csv"]',
                todo="quote the whole option for your shell: --set 'path=[…]'",
            ) from error
        put(changed, steps, value, override)
    return changed


def put(tree: dict[str, Any], steps: list[str], value: Any, override: str) -> None:
    """Set the value at a path of nested dictionaries in place, making those that are missing.

    Raises
    ------
    ConfigError : the path goes through a plain value; ``override`` is how the user wrote it
    """
    place = tree
    for depth, step in enumerate(steps[:-1]):
        inner = place.setdefault(step, {})
        if step in _NAMED_BY_KIND and isinstance(inner, str):  # `engine: ray` is short for `engine: {kind: ray}`
            inner = place[step] = {"kind": inner}
        if not isinstance(inner, dict):
            raise ConfigError(
                f"{override!r} goes through {'.'.join(steps[: depth + 1])!r}, which is {inner!r}",
                expected="a section of the configuration",
                todo="set that value itself, or correct the path",
            )
        place = inner
    place[steps[-1]] = value


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}
