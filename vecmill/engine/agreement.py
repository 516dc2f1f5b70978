"""Whether two processes would make the same artifact: code, versions of libraries, and the files they see.

An artifact's key promises what it was made from. A node that has another version of vecmill, or of a library that
counts, would break that promise, so nothing runs there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from vecmill.store.closure import code_digest
from vecmill.store.plan import Pipeline

# What runs around a stage on a node: both ends have to speak the same language.
_AROUND = ("vecmill.engine.on_node:*", "vecmill.engine.ray_workers:*", "vecmill.store.execute:run_stage")
_MOST_NAMED = 3


def traits(pipeline: Pipeline, config: Any) -> dict[str, dict[str, str]]:
    """What of this process decides the artifacts of a pipeline.

    Returns
    -------
    ``versions`` (of Python and of each library that counts, "missing" for one that is not installed) and
    ``definitions`` (digest of each definition that some stage reaches), as plain JSON values
    """
    roots = dict.fromkeys(_AROUND)
    libraries: set[str] = set()
    for stage in pipeline.stages:
        roots.update(dict.fromkeys((stage.core_function(config), *stage.also_code)))
        libraries.update(stage.libraries)
    versions = {name: version_of(name) for name in ("python", *sorted(libraries))}
    return {"versions": versions, "definitions": code_digest(tuple(roots)).definitions}


def disagreement(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """How the traits of another process differ from ours, in words; empty if they do not."""
    found = [
        f"{name} is {there['versions'].get(name, 'missing')} there and {version} here"
        for name, version in here["versions"].items()
        if there["versions"].get(name) != version
    ]
    mine, other = here["definitions"], there["definitions"]
    changed = sorted(name for name in mine.keys() | other.keys() if mine.get(name) != other.get(name))
    if changed:
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        found.append(f"its code is another one ({', '.join(changed[:_MOST_NAMED])}{more})")
    return "; ".join(found)


def version_of(name: str) -> str:
    """Version of an installed distribution, or of Python; "missing" where there is none."""
    if name == "python":
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
