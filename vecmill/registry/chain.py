"""The rows of a ledger: a chain in which each row carries the digest of the one before.

A row is a JSON object. Its ``digest`` is the sha256 of the canonical JSON of all its other members, among them
``previous``, the digest of the row before (empty in the first). Whoever changes, removes or reorders a row therefore
has to write every later row anew, and the last digest, which is kept in other places as well, changes with them.

===========  ==========================================================================================================
``kind``     what the row says
===========  ==========================================================================================================
``intent``   decided: these aliases are about to move, for this reason. At most one intent is open at a time
``done``     the registry has the aliases as the intent ``of`` wanted them
``void``     the intent ``of`` can no longer be carried out (its version was deleted); nothing moved
``found``    the aliases stood otherwise than the rows say: somebody moved them past vecmill, at an unknown time before
===========  ==========================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vecmill.store.digest import digest_json

INTENT, DONE, VOID, FOUND = "intent", "done", "void", "found"
_PREFIX = "row."
# From, to: version numbers; None where no version carries the alias.
Move = tuple[str | None, str | None]


@dataclass(frozen=True)
class Row:
    """One row of the chain.

    Attributes
    ----------
    n : its number, from 1 without gaps
    kind : see the module's docstring
    time : UTC in ISO 8601 with milliseconds; never before the row above, whatever the hosts' clocks say
    host, user : who wrote it
    action : what made the aliases move ("register", "rollback", "promote"); empty in ``done``, ``void`` and ``found``
    version : the version that it is about; empty in ``found``
    verdict, reason : in one word, and in a sentence
    moves : alias -> (version before, version after)
    tags : what completing an intent writes on the version
    of : the intent that a ``done`` or ``void`` settles, 0 otherwise
    previous, digest : 64 hex digits each; ``previous`` is empty in the first row
    nonce : tells two rows apart that say the same
    """

    n: int
    kind: str
    time: str
    host: str
    user: str
    action: str
    version: str
    verdict: str
    reason: str
    moves: Mapping[str, Move]
    tags: Mapping[str, str]
    of: int
    previous: str
    nonce: str
    digest: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        members = {name: getattr(self, name) for name in Row.__dataclass_fields__}
        return members | {"moves": {alias: list(move) for alias, move in self.moves.items()}, "tags": dict(self.tags)}


def sealed(members: Mapping[str, Any]) -> Row:
    """A row from all its members but the digest, which is computed."""
    return _row({**members, "digest": digest_json(dict(members))})


def row_name(n: int) -> str:
    """The name under which row ``n`` is kept; names sort as the rows do.

    >>> row_name(12)
    'row.000012'
    """
    return f"{_PREFIX}{n:06d}"


def read_rows(texts: Mapping[str, str]) -> tuple[list[Row], list[str]]:
    """The rows among named texts, and what is wrong with them as a chain.

    Returns
    -------
    rows : up to the first that cannot be read or is missing, by number
    problems : one sentence each; empty where the chain is whole
    """
    named = sorted((name, text) for name, text in texts.items() if name.startswith(_PREFIX))
    rows: list[Row] = []
    problems: list[str] = []
    for name, text in named:
        n = len(rows) + 1
        if name != row_name(n):
            problems.append(f"row {n} is missing, while {name} stands")
            break
        try:
            raw = json.loads(text)
            row = _row(raw)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"row {n} cannot be read ({type(error).__name__}: {error})")
            break
        if row.n != n:
            problems.append(f"row {n} says that it is row {row.n}")
        if digest_json({name: value for name, value in raw.items() if name != "digest"}) != row.digest:
            problems.append(f"row {n} was changed: its content does not have the digest that it states")
        if row.previous != (rows[-1].digest if rows else ""):
            problems.append(f"row {n} does not follow row {n - 1}: it was written after another one")
        if rows and row.time < rows[-1].time:
            problems.append(f"row {n} is dated before row {n - 1}")
        problems += [f"row {n} {what}" for what in _out_of_turn(rows, row)]
        rows.append(row)
    return rows, problems


def open_intent(rows: Sequence[Row]) -> Row | None:
    """The intent that no row has settled yet; only the newest can be one."""
    for row in reversed(rows):
        if row.kind == INTENT:
            return row
        if row.kind in (DONE, VOID):
            return None
    return None


def changes(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Every change of aliases that took effect, in order: (the row that says why, the row from which it counts)."""
    by_n = {row.n: row for row in rows}
    return [(by_n.get(row.of, row) if row.kind == DONE else row, row) for row in rows if row.kind in (DONE, FOUND)]


def aliases_after(rows: Sequence[Row], at: str | None = None) -> dict[str, str]:
    """Which version carries which alias.

    Parameters
    ----------
    at : a time as rows have it; rows after it do not count. None: all count
    """
    state: dict[str, str | None] = {}
    for why, row in changes(rows):
        if at is None or row.time <= at:
            state |= {alias: after for alias, (_, after) in why.moves.items()}
    return {alias: version for alias, version in state.items() if version is not None}


def utc_now() -> str:
    """Now as rows have it."""
    return in_utc(datetime.now(UTC))


def in_utc(moment: datetime) -> str:
    """A moment as rows have it; one without a time zone is taken as UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row(raw: Mapping[str, Any]) -> Row:
    members = {name: raw[name] for name in Row.__dataclass_fields__}
    if set(raw) != set(members):
        raise ValueError(f"unknown member {sorted(set(raw) - set(members))[0]!r}")
    if type(members["n"]) is not int or type(members["of"]) is not int:
        raise TypeError("n and of must be integers")
    if any(type(members[name]) is not str for name in ("kind", "time", "previous", "digest", "version")):
        raise TypeError("kind, time, version, previous and digest must be texts")
    moves = {alias: (before, after) for alias, (before, after) in raw["moves"].items()}
    return Row(**{**members, "moves": moves, "tags": dict(raw["tags"])})


def _out_of_turn(rows: Sequence[Row], row: Row) -> list[str]:
    pending = open_intent(rows)
    if row.kind in (DONE, VOID):
        return [] if pending is not None and row.of == pending.n else [f"settles row {row.of}, which is not open"]
    if row.kind in (INTENT, FOUND):
        return [] if pending is None else [f"was written while row {pending.n} was still open"]
    return [f"is of the unknown kind {row.kind!r}"]
