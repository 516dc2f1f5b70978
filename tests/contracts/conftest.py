"""Small corpora as ingest writes them, and the stage run over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vecmill.corpus.contract import check_contract
from vecmill.corpus.contract_config import ContractConfig
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.store.stage import StageIO, StageReport

GOOD_TEXT = "The mill stands by the river, and grinds what the village brings."


def document(number: int, **changes: Any) -> dict[str, Any]:
    """A row that keeps every rule of the corpus contract, but for the changes."""
    text = changes.get("text", f"{GOOD_TEXT} ({number})") or ""
    row = {"doc_id": f"d{number:03d}", "source_uri": "village.txt", "title": "", "text": text, "n_chars": len(text)}
    return {**row, **changes}


def write_shards(folder: Path, rows: list[dict[str, Any]], n_shards: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n_shards):
        table = pa.Table.from_pylist(rows[number::n_shards], schema=CORPUS_SCHEMA)
        pq.write_table(table, folder / f"part-{number:05d}.parquet")
    return folder


@pytest.fixture
def run_contract(tmp_path: Path) -> Callable[..., tuple[StageReport, Path]]:
    """Run the stage over rows (or a folder of shards); gives its report and its output folder."""
    runs = 0

    def run(rows: list[dict[str, Any]] | Path, **config: Any) -> tuple[StageReport, Path]:
        nonlocal runs
        runs += 1
        source = rows if isinstance(rows, Path) else write_shards(tmp_path / f"ingest-{runs}", rows)
        output = tmp_path / f"contract-{runs}"
        output.mkdir()
        return check_contract(ContractConfig(**config), StageIO(inputs={"ingest": source}, output=output)), output

    return run


@pytest.fixture
def rows() -> Callable[..., list[dict[str, Any]]]:
    """Forty good documents, with some replaced: ``rows({3: {"text": ""}})``."""

    def build(changes: dict[int, dict[str, Any]] | None = None, n: int = 40) -> list[dict[str, Any]]:
        return [document(number, **(changes or {}).get(number, {})) for number in range(n)]

    return build
