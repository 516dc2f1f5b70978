"""A pipeline of three tiny stages, for tests of the store: numbers -> doubled -> total."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pydantic import Field

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.store.artifact_store import StoreConfig
from vecmill.store.plan import ExternalFile, FileDigest, Pipeline, Stage
from vecmill.store.stage import StageIO, StageReport


class NumbersConfig(Config):
    source: str = ""
    count: int = 3
    noise: bool = False
    threads: int = Field(1, json_schema_extra=NOT_IN_KEY)


class DoubledConfig(Config):
    factor: int = 2


class TotalConfig(Config):
    label: str = "total"
    noise: bool = False


class ToyConfig(Config):
    seed: int = 7
    store: StoreConfig = StoreConfig()
    numbers: NumbersConfig = NumbersConfig()
    doubled: DoubledConfig = DoubledConfig()
    total: TotalConfig = TotalConfig()


def numbers(config: NumbersConfig, io: StageIO) -> StageReport:
    text = Path(config.source).read_text() if config.source else "\n".join(map(str, range(config.count)))
    if config.noise:  # like training on several threads: other bytes each time
        text += f"\n{int.from_bytes(os.urandom(4))}"
    (io.output / "part").mkdir()
    (io.output / "part" / "numbers.txt").write_text(text)
    return StageReport(metrics={"n": len(text.split())}, rows={"part/numbers.txt": len(text.split())})


def doubled(config: DoubledConfig, io: StageIO) -> StageReport:
    values = (io.inputs["numbers"] / "part" / "numbers.txt").read_text().split()
    (io.output / "doubled.txt").write_text(" ".join(str(config.factor * int(value)) for value in values))
    return StageReport(table=[{"n": len(values)}])


def total(config: TotalConfig, io: StageIO) -> StageReport:
    values = (io.inputs["doubled"] / "doubled.txt").read_text().split()
    noise = f" {os.urandom(4).hex()}" if config.noise else ""
    (io.output / "total.txt").write_text(f"{config.label} {sum(map(int, values))} {io.seed}{noise}")
    return StageReport(metrics={"lineage": sorted(io.lineage)})


def slow(config: DoubledConfig, io: StageIO) -> StageReport:
    """Like ``doubled``, but writes half, waits to be killed, and leaves word that it got there."""
    (io.output / "doubled.txt").write_text("0 2")
    Path(os.environ["TOY_STARTED"]).write_text("yes")
    time.sleep(float(os.environ.get("TOY_SECONDS", "60")))
    return doubled(config, io)


def _source(config: ToyConfig, file_digest: FileDigest) -> list[ExternalFile]:
    if not config.numbers.source:
        return []
    path = Path(config.numbers.source)
    return [ExternalFile(path.name, path.stat().st_size, file_digest(path))]


def pipeline(doubled_function: str = "doubled") -> Pipeline:
    here = "reference.toy_stages"
    return Pipeline(
        "toy",
        ToyConfig,
        (
            Stage("numbers", f"{here}:numbers", "numbers", external=_source),
            Stage("doubled", f"{here}:{doubled_function}", "doubled", inputs=("numbers",), libraries=("numpy",)),
            Stage("total", f"{here}:total", "total", inputs=("doubled",), seeded=True),
        ),
    )
