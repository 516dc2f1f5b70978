"""Keeping credentials out of configurations: they are stored in manifests and shown in logs and web pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_SECRET_WORDS = frozenset(
    {
        "auth",
        "authorization",
        "bearer",
        "credential",
        "credentials",
        "key",
        "passwd",
        "password",
        "pwd",
        "secret",
        "sig",
        "signature",
        "token",
    }
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return options for a remote file system as they are.

    Raises
    ------
    ValueError : one of them is named like a credential; its value is not repeated
    """
    for name in _secret_names(options):
        raise ValueError(
            f"{name!r} looks like a credential, which a configuration must not hold (it is stored and shown); set "
            "the environment variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, "
            "AWS_SESSION_TOKEN instead"
        )
    return options


def holds_credentials(url: str) -> bool:
    """Whether a URL carries a user name, a password, or a query parameter named like a credential."""
    if "://" not in url:
        return False
    # Brackets are a glob's here, and would be taken for a malformed IPv6 address.
    parts = urlsplit(url.replace("[", "%5B").replace("]", "%5D"))
    return "@" in parts.netloc or any(_secret_names(dict(parse_qsl(parts.query))))


def _secret_names(options: Mapping[str, Any]) -> Iterator[str]:
    """Names, at every depth, that say "key", "secret" or the like, or whose value is a URL with credentials."""
    for name, value in options.items():
        words = {word.lower() for word in _WORD.findall(name)}
        if words & _SECRET_WORDS or any(name.lower().endswith(word) for word in _SECRET_WORDS):
            yield name
        if isinstance(value, str) and holds_credentials(value):
            yield name
        if isinstance(value, Mapping):
            yield from _secret_names(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Mapping):
                    yield from _secret_names(item)
