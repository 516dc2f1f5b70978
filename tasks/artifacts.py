"""What people see of a stage in Prefect: one artifact a stage, under a key that Prefect accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from vecmill.store.execute import StageOutcome

# Prefect publishes no event for larger ones, and its database keeps each of them.
_MAX_BYTES = 500_000
_REPORT = "report.html"


def artifact_key(*parts: str) -> str:
    """Join names into a key of lowercase letters, digits and single dashes, the only ones Prefect accepts.

    >>> artifact_key("words", "Train: CBOW", "Größe_2")
    'words-train-cbow-gr-e-2'

    Raises
    ------
    ValueError : nothing usable is left
    """
    key = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
    if not key:
        raise ValueError(f"no artifact key can be made from {parts!r}: it needs a letter a-z or a digit")
    return key


def publish(pipeline: str, store_uri: str, outcome: StageOutcome) -> None:
    """Show a stage's report as a Prefect artifact: its table, described by its text and where the files lie."""
    key = artifact_key(pipeline, outcome.stage)
    description = "\n\n".join(part for part in (outcome.markdown, _facts(store_uri, outcome)) if part)
    rows = outcome.table
    if rows and len(json.dumps(rows, default=str)) <= _MAX_BYTES:
        create_table_artifact(table=rows, key=key, description=description)
    else:
        create_markdown_artifact(markdown=description, key=key, description=f"Stage {outcome.stage}")

    link = report_link(store_uri, outcome)
    if link:
        create_link_artifact(
            link=link,
            link_text="Report of the model",
            key=artifact_key(pipeline, "report"),
            description="One HTML page",
        )


def report_link(store_uri: str, outcome: StageOutcome) -> str | None:
    """Where a browser finds the report that a stage wrote: on the MLflow server if there is one, else on this disk."""
    tracking_uri = str(outcome.metrics.get("tracking_uri") or "")
    if tracking_uri.startswith(("http://", "https://")) and outcome.metrics.get("run_id"):
        return f"{tracking_uri.rstrip('/')}/get-artifact?path={_REPORT}&run_uuid={outcome.metrics['run_id']}"
    path = Path(store_uri, outcome.stage, outcome.ref.key, _REPORT)
    return path.absolute().as_uri() if path.is_file() else None


def _facts(store_uri: str, outcome: StageOutcome) -> str:
    metrics = {name: value for name, value in outcome.metrics.items() if not isinstance(value, dict | list)}
    lines = ["| metric | value |", "| --- | --- |"]
    lines += [f"| {name} | {_shown(value)} |" for name, value in metrics.items()]
    place = f"{store_uri}/{outcome.stage}/{outcome.ref.key}"
    return "\n".join(lines) + f"\n\nFiles and manifest: `{place}` ({'cached' if outcome.cached else 'built'})"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
