"""Settling who is champion: the gate's verdict, where it is written down, and the aliases."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vecmill.registry.card import write_card
from vecmill.registry.config import RegistryConfig
from vecmill.registry.gate import GATE_NAME, Challenger, gate_markdown, gate_tags, judge
from vecmill.registry.ledger import Overtaken, open_ledger
from vecmill.registry.promotion import CHAMPION, Verdict, current_champion, move_aliases
from vecmill.registry.release import release_against, ship, stored_release
from vecmill.registry.session import calling, registry_lock
from vecmill.registry.stored import stored_json

DESCRIPTION_CHARS = 5000  # MLflow's limit
# How often a decision is made again because another host moved aliases meanwhile.
_MOST_ATTEMPTS = 5


@dataclass(frozen=True)
class Version:
    """A version in the registry, with the run and the logged model behind it."""

    number: str
    run_id: str
    model_id: str


@dataclass(frozen=True)
class Settled:
    """The champion before, the verdict, where the ledger says so, and what the version means for the champion's users.

    ``release`` is what release.json holds; empty where there was no champion.
    """

    champion_before: str | None
    verdict: Verdict
    ledger: dict[str, Any]
    release: Mapping[str, Any] = field(default_factory=dict)


def settle(client: Any, config: RegistryConfig, version: Version, new: Challenger, uri: str) -> Settled:
    """Judge a stored version against the champion, write the verdict down and move the aliases; end its run.

    Raises
    ------
    RegistryError : the registry failed, or keeps a champion that cannot be read; the run is marked FAILED, the version
        has no verdict, and the champion is what it was (or what the ledger says, which the next call carries out)
    """
    # The lock keeps a second registration on this host from judging by a champion that is just being replaced; the
    # ledger notices one on another host.
    with (
        calling(
            uri,
            f"set the aliases of {config.model_name}, whose version {version.number} is stored,",
            todo=f"run again: the next run finishes version {version.number} instead of adding another one, "
            "and the champion stays what it is until then",
        ),
        registry_lock(uri),
    ):
        try:
            for attempts_left in reversed(range(_MOST_ATTEMPTS)):
                try:
                    settled = _settle_once(client, config, version, new)
                    break
                except Overtaken:
                    if not attempts_left:
                        raise
        except BaseException:
            with contextlib.suppress(Exception):
                client.set_terminated(version.run_id, "FAILED")
            raise
        client.set_terminated(version.run_id, "FINISHED")
    return settled


def _settle_once(client: Any, config: RegistryConfig, version: Version, new: Challenger) -> Settled:
    """Judge, write the verdict down, and move the aliases, unless all of that was done and only we broke off."""
    name = config.model_name
    ledger = open_ledger(client, name)
    champion = current_champion(client, name, config.primary_metric)
    before = None if champion is None else champion.version
    row = ledger.settled(version.number)
    if row is not None:
        before, now = row.moves.get(CHAMPION, (before, None))
        verdict = Verdict(
            now == version.number, row.reason, row.verdict, stored_json(client, version.run_id, GATE_NAME)
        )
        release: Mapping[str, Any] = stored_release(client, version.run_id)
    else:
        verdict = judge(client, config, new, champion)
        client.update_model_version(name, version.number, description=gate_markdown(verdict)[:DESCRIPTION_CHARS])
        for tag, text in gate_tags(verdict).items():
            client.set_model_version_tag(name, version.number, tag, text)
        if verdict.gate:
            client.log_text(version.run_id, json.dumps(verdict.gate, indent=1, ensure_ascii=False), GATE_NAME)
        release = {}
        if before is not None and before != version.number:
            found = release_against(client, config.release, name, before, new)
            ship(client, name, version.number, version.run_id, found)
            release = found.facts
        write_card(client, name, version.number, verdict.text)
        _name_run(client, name, version, verdict, new)
        # Last: what has its aliases has everything else.
        row = move_aliases(client, name, version.number, verdict, ledger)
    return Settled(before, verdict, {"run_id": ledger.run_id, "row": row.n, "digest": row.digest}, release)


def _name_run(client: Any, name: str, version: Version, verdict: Verdict, new: Challenger) -> None:
    """Name the run after the version, whose number nobody knows when the run begins, and describe both in it."""
    note = (
        f"Version {version.number} of {name}; when it was registered, {verdict.text}. "
        "Card, scores, contract report, manifests, neighbours and learning curve are among this run's artifacts; the "
        f"model is `models:/{name}/{version.number}`, made from `{new.vectors.parent}` on the host that registered it."
    )
    client.update_run(version.run_id, name=f"{name} v{version.number}")
    client.set_tag(version.run_id, "mlflow.note.content", note[:DESCRIPTION_CHARS])
