"""Digests: of JSON values in one canonical spelling, and of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """One spelling for equal JSON values: sorted keys, no blanks, UTF-8 kept, NaN refused.

    Raises
    ------
    TypeError, ValueError : the value holds something that JSON cannot say (a set, NaN…); such a value has no digest
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_json(value: Any) -> str:
    """sha256 of the canonical JSON of ``value``, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 of a file's content, as 64 hex digits, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
