"""What a run came to: the one object that ``--json`` prints, flows return and the terminal's table shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vecmill.registry.config import RegistryConfig, resolve_tracking_uri
from vecmill.registry.probe import registered
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome
from vecmill.store.plan import Pipeline


def summarise(
    pipeline: Pipeline, config: Any, store: ArtifactStore, outcomes: Sequence[StageOutcome], seconds: float
) -> dict[str, Any]:
    """Summarise a finished run as plain JSON values.

    Returns
    -------
    ``pipeline``, ``stages`` (each with stage, key, digest, cached, seconds, core_seconds, n_pieces_built,
    n_pieces_taken_over, and a note on what was taken over), ``remarks`` (what somebody should know although the run
    went through), ``scores`` (a row a benchmark), ``model`` (name, version, aliases as the registry has them now,
    tracking URI, outcome and verdict of the gate, what was compared, and what release.json says), ``store``,
    ``seconds``
    """
    by_stage = {outcome.stage: outcome for outcome in outcomes}
    return {
        "pipeline": pipeline.name,
        "stages": [
            {
                "stage": outcome.stage,
                "key": outcome.ref.key,
                "digest": outcome.ref.digest,
                "cached": outcome.cached,
                "seconds": outcome.seconds,
                "core_seconds": outcome.core_seconds,
                "n_pieces_built": outcome.n_pieces_built,
                "n_pieces_taken_over": outcome.n_pieces_taken_over,
                "note": "" if outcome.cached else _note(outcome),
            }
            for outcome in outcomes
        ],
        "remarks": _remarks(by_stage),
        "scores": _read_json(store, by_stage["evaluate"], "scores.json") if "evaluate" in by_stage else [],
        "model": _model(store, by_stage["register"], config.registry) if "register" in by_stage else None,
        "store": store.uri,
        "seconds": round(seconds, 3),
    }


def _note(outcome: StageOutcome) -> str:
    """How much of what a stage reads was new, where it is built from pieces."""
    n_files, n_read = outcome.metrics.get("n_source_files"), outcome.metrics.get("n_source_files_read")
    if n_files is not None and n_read is not None and n_read != n_files:
        return f"{n_read:,} of {n_files:,} files read, {n_files - n_read:,} taken over"
    n_built, n_taken = outcome.n_pieces_built, outcome.n_pieces_taken_over
    if n_taken:
        return f"{n_built:,} of {n_built + n_taken:,} pieces, {n_taken:,} taken over"
    return f"{n_built:,} pieces" if n_built > 1 else ""


def _remarks(by_stage: Mapping[str, StageOutcome]) -> list[str]:
    found = []
    contract = by_stage["contract"].metrics if "contract" in by_stage else {}
    if contract.get("n_quarantined"):
        found.append(
            f"{contract['n_quarantined']:,} of {contract['n_documents']:,} documents broke the data contract and were "
            "left out: quarantine.parquet in the contract artifact says which and why"
        )
    elif contract.get("n_failed_rules"):
        found.append(
            f"{contract['n_failed_rules']} rules of the data contract do not hold (warnings only): report.json in the "
            "contract artifact says which"
        )
    leaked = by_stage["contamination"].metrics.get("said") if "contamination" in by_stage else ""
    if leaked:
        found.append(
            f"the corpus holds {leaked}, which its models are judged by: contamination.parquet in the contamination "
            "artifact lists the rows"
        )
    ingest = by_stage["ingest"].metrics if "ingest" in by_stage else {}
    if ingest.get("n_malformed"):
        found.append(f"{ingest['n_malformed']:,} malformed records were skipped, as corpus.malformed says")
    if ingest.get("n_other_language"):
        found.append(
            f"{ingest['n_other_language']:,} of {ingest['n_read']:,} documents are in other languages than "
            "corpus.languages names and were left out: dropped.parquet in the ingest artifact says which"
        )
    n_repeated = ingest.get("n_exact_duplicates", 0) + ingest.get("n_near_duplicates", 0)
    if n_repeated:
        found.append(
            f"{n_repeated:,} of {ingest['n_read']:,} documents repeat an earlier one and were left out, as "
            "corpus.duplicates says: dropped.parquet in the ingest artifact names the twin of each"
        )
    return found


def _model(store: ArtifactStore, outcome: StageOutcome, config: RegistryConfig) -> dict[str, Any]:
    registration = _read_json(store, outcome, "registration.json")
    # By the configured address, which may hold the password that the registration leaves out.
    found = registered(registration, resolve_tracking_uri(config))
    return {
        "name": registration["model_name"],
        "version": registration["model_version"],
        "aliases": list(found.aliases) if found else [],
        "tracking_uri": registration["tracking_uri"],
        "outcome": registration.get("outcome", ""),
        "verdict": registration.get("verdict", ""),
        "tests": registration.get("gate", {}).get("tests", []),
        "space": registration.get("space", {}),
    }


def _read_json(store: ArtifactStore, outcome: StageOutcome, name: str) -> Any:
    return json.loads((store.folder(outcome.ref) / name).read_text(encoding="utf-8"))
