"""Reading YAML without its traps."""

from __future__ import annotations

import re
from typing import Any

import yaml

from vecmill.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice; otherwise as Prefect reads the same file."""


class _ValueLoader(_Loader):
    """For single values: numbers as people write them (YAML 1.2), so that ``012``, ``12:30`` and ``no`` stay text."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                raise ConfigError(
                    f"the key {key.value!r} is given twice, the second time in line {key.start_mark.line + 1}",
                    todo="remove one of them",
                )
            seen.add(key.value)
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_RETYPED = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}
_ValueLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in _RETYPED]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_ValueLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$", re.IGNORECASE), list("tTfF")
)
_ValueLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_ValueLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def load_file(text: str) -> Any:
    """The value of a YAML document.

    Raises
    ------
    ConfigError : a key is given twice
    yaml.YAMLError : not YAML
    """
    return yaml.load(text, Loader=_Loader)


def load_value(text: str) -> Any:
    """The value of one setting, such as ``3``, ``1e-3``, ``[a, b]`` or ``no`` (a text).

    Raises
    ------
    ConfigError, yaml.YAMLError : as for :func:`load_file`
    """
    return yaml.load(text, Loader=_ValueLoader)
