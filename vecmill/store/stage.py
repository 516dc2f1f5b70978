"""What a stage is: one core function from a configuration and input folders to an output folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StageIO:
    """Where a stage finds its inputs and puts its output.

    Attributes
    ----------
    inputs : local folder of each input artifact, by the name of the stage that made it; read only
    output : an empty local folder; what stands in it when the stage returns is the artifact
    seed : seed of the run, an integer >= 0; every random stream of the stage is derived from it
    checkpoints : a local folder of this very artifact that outlives a killed process, for a stage that can resume; it
        may not exist yet, is removed when the artifact is published, and is None where nothing is kept
    lineage : manifests (as JSON values) of every artifact that the output descends from, by stage name
    """

    inputs: Mapping[str, Path]
    output: Path
    seed: int = 0
    lineage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checkpoints: Path | None = None


@dataclass(frozen=True)
class StageReport:
    """What a stage says about its output; kept in the manifest, shown in Prefect, on the terminal and in MLflow.

    Attributes
    ----------
    metrics : numbers and short texts worth keeping, by snake_case name with unit suffix (``n_documents``, ``seconds``)
    rows : number of rows of each output file that has rows, by path relative to the output folder
    table : a few rows for people to look at (every row the same keys, plain JSON values)
    markdown : a description in Markdown that goes with the table
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    markdown: str = ""


# (config section, io) -> report. The function writes into io.output and nowhere else.
StageFunction = Callable[[Any, StageIO], StageReport]


def replica_seed(seed: int, replica: int) -> int:
    """The seed of a replica, a stage that is run again with other random numbers and all else equal.

    Replica 0 has the run's own seed, so that it is what a plain run gives.
    """
    if replica == 0:
        return seed
    digest = hashlib.sha256(f"vecmill replica {seed} {replica}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
