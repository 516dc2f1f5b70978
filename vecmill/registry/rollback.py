"""Moving the champion by hand, by way of the ledger."""

from __future__ import annotations

from typing import Any

from vecmill.errors import ConfigError
from vecmill.registry.chain import Row
from vecmill.registry.history import all_versions, find_version, previous_champion
from vecmill.registry.ledger import Change, open_ledger, restart_ledger
from vecmill.registry.session import registry_lock


def roll_back(client: Any, uri: str, model_name: str, wanted: str = "", why: str = "") -> Row:
    """Make a version champion again; the challenger stays what it is.

    Parameters
    ----------
    wanted : number or alias; empty: the last champion before the present one that still stands
    why : reason for the ledger

    Raises
    ------
    ConfigError : there is no such version, none was champion before, or it is champion already
    Overtaken : another process changed the aliases at the same moment
    """
    with registry_lock(uri):
        versions = all_versions(client, model_name)
        ledger = open_ledger(client, model_name)
        if wanted:
            version = find_version(client, model_name, wanted).number
        else:
            earlier = previous_champion(ledger.rows, [each.number for each in versions])
            if earlier is None:
                raise ConfigError(
                    f"the ledger of {model_name} knows no champion before the present one",
                    expected="a champion to go back to",
                    todo="name the version: `vecmill registry rollback VERSION`; `vecmill registry list` shows them",
                )
            version = earlier
        if any(each.number == version and "champion" in each.aliases for each in versions):
            raise ConfigError(
                f"version {version} of {model_name} is champion already",
                expected="another version",
                todo="`vecmill registry history` shows how it became so",
            )
        reason = why.strip() or f"rolled back by hand to version {version}"
        return ledger.change(Change("rollback", version, {"champion": version}, "by hand", reason))


def finish_what_broke_off(client: Any, uri: str, model_name: str) -> None:
    """Carry out an open intent and write down aliases that were moved past vecmill."""
    with registry_lock(uri):
        open_ledger(client, model_name)


def begin_anew(client: Any, uri: str, model_name: str, reason: str) -> None:
    """Begin a new ledger beside a damaged one."""
    with registry_lock(uri):
        restart_ledger(client, model_name, reason)
