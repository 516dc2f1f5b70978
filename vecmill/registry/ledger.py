"""The ledger of a registered model: who is champion, since when, why, and on whose word.

It lives in MLflow itself, so that every host that uses the registry sees the same one: as parameters ``row.000001``,
``row.000002`` … of a run of its own, to which a tag of the registered model points. MLflow never changes a parameter
that has been logged, and its database admits one value per run and name: logging row n is a compare-and-swap that the
first writer wins, on one host or on many.

A change of aliases is written ahead: the intent as a row, the aliases, the version's tags, the row that settles it.
Whoever finds an intent open carries it out (the steps may be repeated), so a registry that dies half-way leaves no half
promotion for longer than until the next command that writes. After it has set aliases a writer reads the chain again
and repeats with the newest intent if it was overtaken; when all have finished the aliases are those of the last row.

What a reader can tell: each single row that was changed, removed or moved, a chain cut off at its end (a tag of the
registered model keeps the last digest), two chains for one model, and aliases that somebody moved past vecmill. What
nobody can tell: a chain rewritten as a whole, with that tag; each artifact's ``registration.json`` has a digest.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vecmill.errors import RegistryError
from vecmill.registry.chain import (
    DONE,
    FOUND,
    INTENT,
    VOID,
    Move,
    Row,
    aliases_after,
    changes,
    open_intent,
    read_rows,
    row_name,
    sealed,
    utc_now,
)
from vecmill.store.digest import canonical_json

# The aliases whose moves are kept; others are nobody's business here.
WATCHED = ("champion", "challenger")
RUN_TAG = "vecmill.ledger"
HEAD_TAG = "vecmill.ledger_head"
OF_TAG = "vecmill.ledger_of"
REPLACED_TAG = "vecmill.ledger_replaced_by"
_REASON_CHARS = 3000  # a parameter takes 6000 in all


class Overtaken(RegistryError):
    """Somebody else changed the aliases since the ledger was opened; open it again and decide again."""


@dataclass(frozen=True)
class Change:
    """A change of aliases that is to be made.

    Attributes
    ----------
    action : what makes it ("register", "rollback", "promote")
    version : what it is about
    aliases : alias -> version that is to carry it
    verdict, reason : in one word, and in a sentence
    tags : tags that the version gets when everything else is done
    """

    action: str
    version: str
    aliases: Mapping[str, str]
    verdict: str
    reason: str
    tags: Mapping[str, str] = field(default_factory=dict)


class Ledger:
    """The ledger as :func:`open_ledger` found it. What MLflow raises passes through.

    Attributes
    ----------
    run_id : the run that holds the rows
    rows : all rows
    completed : the intent that had broken off and was carried out when the ledger was opened, None if there was none
    """

    def __init__(self, client: Any, model_name: str, run_id: str) -> None:
        self._client, self._model_name, self.run_id = client, model_name, run_id
        self.rows: list[Row] = []
        self.completed: Row | None = None
        # Before the rows: a head that is read first can only be older than they are.
        self._read(client.get_registered_model(model_name).tags.get(HEAD_TAG, ""))

    def settled(self, version: str) -> Row | None:
        """The intent of the last registration of a version, if it was carried out."""
        found = [why for why, _ in changes(self.rows) if why.action == "register" and why.version == str(version)]
        return found[-1] if found else None

    def change(self, change: Change) -> Row:
        """Move aliases and write it down; gives the intent's row.

        Raises
        ------
        Overtaken : another writer was faster; nothing has been changed
        RegistryError : a version that is to carry an alias is not in the registry
        """
        before = aliases_after(self.rows)
        for version in {change.version, *change.aliases.values()}:
            if not _version_stands(self._client, self._model_name, version):
                raise RegistryError(
                    f"{self._model_name} has no version {version}",
                    expected="a version that is in the registry",
                    todo="`vecmill registry list` shows them",
                )
        intent = self._append(
            INTENT,
            action=change.action,
            version=str(change.version),
            verdict=change.verdict,
            reason=change.reason,
            moves={alias: (before.get(alias), str(version)) for alias, version in change.aliases.items()},
            tags=change.tags,
        )
        self._carry_out()
        return intent

    def refresh(self) -> None:
        """Finish what broke off and write down what was moved past vecmill."""
        self.completed = open_intent(self.rows)
        if self.completed is not None:
            self._carry_out()
        if moves := drift(self.rows, registered_aliases(self._client, self._model_name)):
            reason = "the aliases stood like this when vecmill looked; they were moved past it, some time before"
            self._append(FOUND, reason=reason, moves=moves)
            self._keep_head()

    def _carry_out(self) -> None:
        """Make the registry agree with the newest intent, and settle it."""
        applied = 0
        while True:
            newest = next((row for row in reversed(self.rows) if row.kind == INTENT), None)
            pending = open_intent(self.rows)
            if newest is None or (pending is None and applied in (0, newest.n)):
                break
            gone = self._apply(newest)
            applied = newest.n
            self._read()
            pending = open_intent(self.rows)
            if pending is not None and pending.n == applied:
                try:
                    if gone:
                        reason = f"version {gone} is no longer in the registry"
                        self._append(VOID, of=applied, version=newest.version, reason=reason)
                    else:
                        self._append(DONE, of=applied, version=newest.version)
                except Overtaken:
                    self._read()  # somebody who found it open has carried it out as well
        self._keep_head()

    def _apply(self, intent: Row) -> str | None:
        """Set the aliases and tags of an intent; the version that is gone, if one is (then nothing is set)."""
        targets = {alias: after for alias, (_, after) in intent.moves.items() if after is not None}
        for version in (*targets.values(), intent.version):
            if not _version_stands(self._client, self._model_name, version):
                return version
        # The champion last: when it moves, everything else is in place.
        for alias in sorted(targets, key=lambda alias: alias == WATCHED[0]):
            _twice(self._client.set_registered_model_alias, self._model_name, alias, targets[alias])
        for name, text in intent.tags.items():
            _twice(self._client.set_model_version_tag, self._model_name, intent.version, name, text)
        return None

    def _append(
        self,
        kind: str,
        *,
        action: str = "",
        version: str = "",
        verdict: str = "",
        reason: str = "",
        moves: Mapping[str, Move] | None = None,
        tags: Mapping[str, str] | None = None,
        of: int = 0,
    ) -> Row:
        last = self.rows[-1] if self.rows else None
        row = sealed(
            {
                "n": len(self.rows) + 1,
                "kind": kind,
                "time": max(utc_now(), last.time if last else ""),
                "host": socket.gethostname(),
                "user": _user(),
                "action": action,
                "version": version,
                "verdict": verdict,
                "reason": reason if len(reason) <= _REASON_CHARS else reason[: _REASON_CHARS - 1] + "…",
                "moves": {alias: list(move) for alias, move in (moves or {}).items()},
                "tags": dict(tags or {}),
                "of": of,
                "previous": last.digest if last else "",
                "nonce": secrets.token_hex(8),
            }
        )
        _log_once(self._client, self.run_id, row_name(row.n), canonical_json(row.to_json()), self._model_name)
        self.rows.append(row)
        return row

    def _read(self, head: str = "") -> None:
        self.rows, problems = read_rows(self._client.get_run(self.run_id).data.params)
        problems += head_problems(self.run_id, self.rows, head)
        if problems:
            raise RegistryError(
                f"the ledger of {self._model_name} (run {self.run_id}) is damaged: {problems[0]}",
                expected="rows as vecmill wrote them",
                todo="find out who changed it (`vecmill registry verify` lists everything that is wrong), restore the "
                "registry's database from a backup, or go on with a new ledger: `vecmill registry verify --restart`",
            )

    def _keep_head(self) -> None:
        if self.rows:
            text = f"{self.run_id}:{self.rows[-1].n}:{self.rows[-1].digest}"
            _twice(self._client.set_registered_model_tag, self._model_name, HEAD_TAG, text)


def open_ledger(client: Any, model_name: str, experiment_id: str | None = None) -> Ledger:
    """The ledger of a registered model, made if it has none, with nothing left open.

    Call it under :func:`vecmill.registry.session.registry_lock`, which spares processes of one host from overtaking
    each other.

    Parameters
    ----------
    client : an ``mlflow.MlflowClient``
    model_name : a registered model with at least one version
    experiment_id : where a new ledger's run goes; None: beside the run of the model's oldest version

    Raises
    ------
    RegistryError : the chain is damaged
    """
    run_id = find_ledger(client, model_name) or _begin(client, model_name, experiment_id)
    for _ in range(10):
        ledger = Ledger(client, model_name, run_id)
        try:
            ledger.refresh()
        except Overtaken:
            continue  # somebody else writes down the same
        return ledger
    raise Overtaken(
        f"others kept changing the aliases of {model_name}", todo="run again when fewer processes register models"
    )


def find_ledger(client: Any, model_name: str) -> str | None:
    """The run that holds the model's ledger, None if it has none."""
    tagged = client.get_registered_model(model_name).tags.get(RUN_TAG)
    return str(tagged) if tagged else claimed_ledger(client, model_name)


def claimed_ledger(client: Any, model_name: str) -> str | None:
    """The ledger that the run of the model's oldest version names; unlike the tag it cannot be changed."""
    oldest = _oldest_run(client, model_name)
    return None if oldest is None else client.get_run(oldest).data.params.get(RUN_TAG)


def registered_aliases(client: Any, model_name: str) -> dict[str, str]:
    """Which version carries which of the watched aliases now."""
    aliases = client.get_registered_model(model_name).aliases
    return {alias: str(aliases[alias]) for alias in WATCHED if alias in aliases}


def drift(rows: Sequence[Row], standing: Mapping[str, str]) -> dict[str, Move]:
    """Where the aliases of the registry differ from what the rows say."""
    said = aliases_after(rows)
    return {
        alias: (said.get(alias), standing.get(alias)) for alias in WATCHED if said.get(alias) != standing.get(alias)
    }


def head_problems(run_id: str, rows: Sequence[Row], head: str) -> list[str]:
    """Where the rows contradict the tag that keeps the last digest (``RUN:ROW:DIGEST``; it may lag behind)."""
    if not head:
        return []
    of, _, place = head.partition(":")
    number, _, digest = place.partition(":")
    if of != run_id:
        return []  # of the ledger before this one
    n = int(number) if number.isdecimal() else 0
    if n > len(rows):
        return [f"rows {len(rows) + 1} to {n} are missing at the end"]
    if n < 1 or rows[n - 1].digest != digest:
        return [f"row {number} is not the one that the tag {HEAD_TAG} of the registered model names"]
    return []


def restart_ledger(client: Any, model_name: str, reason: str) -> Ledger:
    """Begin a new ledger beside a damaged one, which is kept as it is; the first row says where the old one lies."""
    old = find_ledger(client, model_name)
    new = _new_run(client, model_name, client.get_run(old).info.experiment_id if old else None)
    ledger = Ledger(client, model_name, new)
    moves: dict[str, Move] = {alias: (None, v) for alias, v in registered_aliases(client, model_name).items()}
    ledger._append(FOUND, reason=f"begun anew, since the ledger in run {old} is damaged: {reason}", moves=moves)
    if old:
        client.set_tag(old, REPLACED_TAG, new)
    client.set_registered_model_tag(model_name, RUN_TAG, new)
    ledger._keep_head()
    return ledger


def _begin(client: Any, model_name: str, experiment_id: str | None) -> str:
    """Make a ledger's run. Two hosts may do so at once; what the oldest version's run says first is the ledger."""
    run_id = _new_run(client, model_name, experiment_id)
    oldest = _oldest_run(client, model_name)
    if oldest is not None:
        try:
            _log_once(client, oldest, RUN_TAG, run_id, model_name)
        except Overtaken:
            client.delete_run(run_id)
            run_id = str(client.get_run(oldest).data.params[RUN_TAG])
    _twice(client.set_registered_model_tag, model_name, RUN_TAG, run_id)
    return run_id


def _new_run(client: Any, model_name: str, experiment_id: str | None) -> str:
    if experiment_id is None:
        oldest = _oldest_run(client, model_name)
        experiment_id = "0" if oldest is None else client.get_run(oldest).info.experiment_id
    note = (
        f"Which version of {model_name} carried which alias, since when and why: one parameter a row, each with the "
        "digest of the row before. `vecmill registry history` shows it, `vecmill registry verify` checks it."
    )
    tags = {OF_TAG: model_name, "mlflow.note.content": note}
    run = client.create_run(experiment_id, run_name=f"ledger of {model_name}", tags=tags)
    client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def _oldest_run(client: Any, model_name: str) -> str | None:
    versions = client.search_model_versions(f"name = '{model_name}'", max_results=1000)
    with_run = [each for each in versions if each.run_id]
    return str(min(with_run, key=lambda each: int(each.version)).run_id) if with_run else None


def _log_once(client: Any, run_id: str, name: str, text: str, model_name: str) -> None:
    """Log a parameter that nobody else has logged yet; a lost answer does no harm.

    Raises
    ------
    Overtaken : somebody has logged another value
    """
    from mlflow.exceptions import MlflowException

    try:
        client.log_param(run_id, name, text)
    except MlflowException:
        standing = client.get_run(run_id).data.params.get(name)
        if standing is None:
            raise
        if standing != text:
            raise Overtaken(
                f"another process changed the aliases of {model_name} in the meantime",
                todo="run again; what it decided is taken into account then",
            ) from None


def _twice(call: Callable[..., Any], *arguments: Any) -> None:
    """Set something that others may set for the first time just now.

    MLflow looks whether an alias or tag exists and then adds it, so that of two who do so at once one is refused.
    """
    from mlflow.exceptions import MlflowException

    try:
        call(*arguments)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        call(*arguments)


def _version_stands(client: Any, model_name: str, version: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(model_name, str(version))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())
