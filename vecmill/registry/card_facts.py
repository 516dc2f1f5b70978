"""What a model card is written from, gathered from what the registry keeps of a version."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vecmill.registry.history import Version
from vecmill.registry.stored import run_lineage

_FILES = ("scores.json", "gate.json", "release.json", "contamination.json")


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes
    ----------
    model_name, version : which version
    verdict : the sentence by which it was registered
    lineage : manifests by stage, as the run keeps them
    scores : one object a benchmark, as ``scores.json`` has them
    contract : the contract's ``report.json``
    gate, release : ``gate.json`` and ``release.json``, empty where there is none
    contamination : one object a benchmark, as ``contamination.json`` has them; None where nobody looked
    """

    model_name: str
    version: Version
    verdict: str
    lineage: Mapping[str, Mapping[str, Any]]
    scores: Sequence[Mapping[str, Any]] = ()
    contract: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    release: Mapping[str, Any] = field(default_factory=dict)
    contamination: Sequence[Mapping[str, Any]] | None = None

    def metrics(self, stage: str) -> Mapping[str, Any]:
        """The metrics of a stage, as its manifest has them; empty where there is none."""
        found: Mapping[str, Any] = self.lineage.get(stage, {}).get("metrics", {})
        return found

    def config(self, stage: str) -> Mapping[str, Any]:
        """The one section of the configuration that a stage has."""
        config = self.lineage.get(stage, {}).get("parts", {}).get("config", {})
        return next((each for each in config.values() if isinstance(each, Mapping)), {})


def card_facts(client: Any, model_name: str, version: Version, verdict: str = "") -> CardFacts:
    """Gather what the registry knows of a version; what its run lacks is left empty."""
    verdict = verdict or version.description.partition("\n")[0]
    if version.run_id is None:
        return CardFacts(model_name, version, verdict, {})
    standing = {each.path for each in client.list_artifacts(version.run_id)}
    with tempfile.TemporaryDirectory(prefix="vecmill-card-") as folder:
        files = {
            name: _json(Path(client.download_artifacts(version.run_id, name, folder)))
            for name in _FILES
            if name in standing
        }
        lineage = run_lineage(client, version.run_id) if "manifests" in standing else {}
        contract = {}
        if "contract" in standing:
            contract = _json(Path(client.download_artifacts(version.run_id, "contract/report.json", folder)))
    return CardFacts(
        model_name,
        version,
        verdict,
        lineage,
        files.get("scores.json", ()),
        contract,
        files.get("gate.json", {}),
        files.get("release.json", {}),
        files.get("contamination.json"),
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
