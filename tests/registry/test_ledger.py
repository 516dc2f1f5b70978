"""The ledger in an SQLite registry: who may write, what is found when somebody else did, and what breaks off."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest

from vecmill.errors import RegistryError
from vecmill.registry import chain
from vecmill.registry.config import RegistryConfig, sqlite_path
from vecmill.registry.history import verify
from vecmill.registry.ledger import (
    HEAD_TAG,
    Change,
    Overtaken,
    claimed_ledger,
    find_ledger,
    open_ledger,
    restart_ledger,
)


@pytest.fixture
def model(client: Any) -> Any:
    """A client of a registry whose model ``words`` has three versions and no ledger."""
    client.create_registered_model("words")
    for _ in range(3):
        run = client.create_run("0")
        client.create_model_version("words", source=f"runs:/{run.info.run_id}/model", run_id=run.info.run_id)
    return client


def promotion(version: str, **changes: Any) -> Change:
    aliases = {"challenger": version, "champion": version}
    return Change(
        **{
            "action": "register",
            "version": version,
            "aliases": aliases,
            "verdict": "promote",
            "reason": "it is better",
            **changes,
        }
    )


def aliases(client: Any) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model("words").aliases.items()}


def execute(config: RegistryConfig, statement: str, *values: Any) -> None:
    """Write into the database past MLflow."""
    path = sqlite_path(config.tracking_uri or "")
    assert path is not None
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def damage(client: Any, match: str) -> str:
    with pytest.raises(RegistryError, match=match) as caught:
        open_ledger(client, "words")
    assert "vecmill registry verify" in caught.value.todo
    return str(caught.value)


class Dying:
    """A client that works for some calls that write, then behaves as if the network were cut."""

    def __init__(self, client: Any, n_calls: int) -> None:
        self._client, self.left = client, n_calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not name.startswith(("set_", "log_")):
            return found

        def call(*arguments: Any) -> Any:
            if self.left == 0:
                raise ConnectionError("cut")
            self.left -= 1
            return found(*arguments)

        return call


def test_change_moves_aliases_and_is_written_down(model: Any) -> None:
    ledger = open_ledger(model, "words")
    row = ledger.change(promotion("1", tags={"vecmill.verdict": "champion"}))
    open_ledger(model, "words").change(promotion("2", aliases={"challenger": "2"}, verdict="keep"))
    assert aliases(model) == {"champion": "1", "challenger": "2"}
    assert model.get_model_version("words", "1").tags == {"vecmill.verdict": "champion"}

    rows = open_ledger(model, "words").rows
    assert [(each.kind, each.of, each.version) for each in rows] == [
        ("intent", 0, "1"),
        ("done", 1, "1"),
        ("intent", 0, "2"),
        ("done", 3, "2"),
    ]
    assert rows[0] == row and row.verdict == "promote" and row.host and row.user
    assert dict(row.moves) == {"challenger": (None, "1"), "champion": (None, "1")}
    assert dict(rows[2].moves) == {"challenger": ("1", "2")}
    assert model.get_registered_model("words").tags[HEAD_TAG] == f"{ledger.run_id}:4:{rows[3].digest}"
    run = model.get_run(ledger.run_id)
    assert run.info.run_name == "ledger of words" and run.info.status == "FINISHED"


def test_settled_gives_the_registration_that_was_carried_out(model: Any) -> None:
    ledger = open_ledger(model, "words")
    assert ledger.settled("1") is None
    row = ledger.change(promotion("1"))
    assert open_ledger(model, "words").settled("1") == row


def test_of_two_who_decide_at_once_one_has_to_decide_again(model: Any) -> None:
    first, second = open_ledger(model, "words"), open_ledger(model, "words")
    first.change(promotion("1"))
    with pytest.raises(Overtaken, match="another process changed the aliases of words in the meantime"):
        second.change(promotion("2"))
    assert aliases(model) == {"champion": "1", "challenger": "1"}
    open_ledger(model, "words").change(promotion("2"))
    assert aliases(model)["champion"] == "2"


def test_hosts_that_all_begin_at_once_share_one_chain(model: Any) -> None:
    """Four writers without a lock, as on four hosts, each until it has had its turn."""
    failures: list[BaseException] = []
    begin = threading.Barrier(4)

    def promote(version: str) -> None:
        try:
            begin.wait()
            while True:
                try:
                    open_ledger(model, "words").change(promotion(version))
                    return
                except Overtaken:
                    continue
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=promote, args=(str(1 + at % 3),)) for at in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    ledger = open_ledger(model, "words")
    assert ledger.run_id == find_ledger(model, "words") == claimed_ledger(model, "words")
    assert sum(row.kind == "intent" for row in ledger.rows) == 4 and not [
        row for row in ledger.rows if row.kind == "found"
    ]
    assert aliases(model) == chain.aliases_after(ledger.rows)
    active = [each.info.run_name for each in model.search_runs(["0"]) if each.info.run_name == "ledger of words"]
    assert len(active) == 1, "those who came second removed theirs"


@pytest.mark.parametrize("n_calls", range(6))
def test_change_that_breaks_off_anywhere_is_nowhere_or_finished_by_the_next(model: Any, n_calls: int) -> None:
    """Six calls write: intent, two aliases, a tag of the version, the row that settles it, the head."""
    open_ledger(model, "words").change(promotion("1"))
    dying = Dying(model, -1)
    ledger = open_ledger(dying, "words")
    dying.left = n_calls
    with pytest.raises(ConnectionError):
        ledger.change(promotion("2", tags={"vecmill.verdict": "champion"}))

    after = open_ledger(model, "words")
    finished = n_calls > 0
    assert aliases(model) == dict.fromkeys(("champion", "challenger"), "2" if finished else "1")
    assert model.get_model_version("words", "2").tags == ({"vecmill.verdict": "champion"} if finished else {})
    assert (after.settled("2") is not None) == finished
    assert (after.completed is not None) == (1 <= n_calls <= 4)
    assert open_ledger(model, "words").completed is None


def test_writer_that_stalled_does_not_undo_what_others_did_since(model: Any) -> None:
    """It has written its intent and sleeps; two others finish it and go on; then it wakes and sets its aliases."""
    ledger = open_ledger(model, "words")
    real = ledger._apply

    def stalling(intent: chain.Row) -> str | None:
        if intent.version == "1":
            others = open_ledger(model, "words")
            assert others.completed is not None and others.completed.version == "1"
            others.change(promotion("3"))
        return real(intent)

    ledger._apply = stalling  # type: ignore[method-assign]
    ledger.change(promotion("1"))
    assert aliases(model) == {"champion": "3", "challenger": "3"}
    assert open_ledger(model, "words").settled("1") is not None


def test_aliases_moved_past_vecmill_are_written_down(model: Any) -> None:
    open_ledger(model, "words").change(promotion("1"))
    model.set_registered_model_alias("words", "champion", "3")
    model.delete_registered_model_alias("words", "challenger")
    found = open_ledger(model, "words").rows[-1]
    assert found.kind == "found" and dict(found.moves) == {"champion": ("1", "3"), "challenger": ("1", None)}
    assert len(open_ledger(model, "words").rows) == 3, "once"


def test_registry_older_than_its_ledger(model: Any) -> None:
    model.set_registered_model_alias("words", "champion", "2")
    (row,) = open_ledger(model, "words").rows
    assert row.kind == "found" and dict(row.moves) == {"champion": (None, "2")}


def test_version_that_is_not_there(model: Any) -> None:
    with pytest.raises(RegistryError, match="words has no version 7") as caught:
        open_ledger(model, "words").change(promotion("7"))
    assert "vecmill registry list" in str(caught.value)
    assert open_ledger(model, "words").rows == []


def test_intent_whose_version_was_deleted_is_void(model: Any) -> None:
    open_ledger(model, "words").change(promotion("1"))
    dying = Dying(model, -1)
    ledger = open_ledger(dying, "words")
    dying.left = 1
    with pytest.raises(ConnectionError):
        ledger.change(promotion("2"))
    model.delete_model_version("words", "2")
    rows = open_ledger(model, "words").rows
    assert (rows[-1].kind, rows[-1].of, rows[-1].reason) == ("void", 3, "version 2 is no longer in the registry")
    assert aliases(model) == {"champion": "1", "challenger": "1"}


def test_mlflow_refuses_another_text_for_a_row(model: Any) -> None:
    from mlflow.exceptions import MlflowException

    ledger = open_ledger(model, "words")
    ledger.change(promotion("1"))
    with pytest.raises(MlflowException, match="not allowed"):
        model.log_param(ledger.run_id, "row.000001", "{}")


def test_changed_removed_and_moved_rows_are_found(model: Any, sqlite_config: RegistryConfig) -> None:
    run_id = open_ledger(model, "words").run_id
    for version in ("1", "2", "3"):
        open_ledger(model, "words").change(promotion(version))
    texts = dict(model.get_run(run_id).data.params)
    write = "UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?"

    lie = texts["row.000003"].replace("it is better", "it is worse!")
    execute(sqlite_config, write, lie, run_id, "row.000003")
    message = damage(model, "row 3 was changed")
    assert run_id in message and "What to do: find out who changed it" in message

    # sealed anew, so that only the next row notices
    resealed = {name: value for name, value in json.loads(lie).items() if name != "digest"}
    execute(sqlite_config, write, json.dumps(chain.sealed(resealed).to_json()), run_id, "row.000003")
    damage(model, "row 4 does not follow row 3")

    execute(sqlite_config, write, texts["row.000003"], run_id, "row.000003")
    execute(sqlite_config, "DELETE FROM params WHERE run_uuid = ? AND key = ?", run_id, "row.000002")
    damage(model, "row 2 is missing, while row.000003 stands")

    restore = "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)"
    execute(sqlite_config, restore, "row.000002", texts["row.000002"], run_id)
    open_ledger(model, "words")
    execute(sqlite_config, "DELETE FROM params WHERE run_uuid = ? AND key IN ('row.000005', 'row.000006')", run_id)
    damage(model, "rows 5 to 6 are missing at the end")


def test_new_ledger_beside_a_damaged_one(model: Any, sqlite_config: RegistryConfig) -> None:
    old = open_ledger(model, "words")
    old.change(promotion("1"))
    execute(sqlite_config, "DELETE FROM params WHERE run_uuid = ? AND key = ?", old.run_id, "row.000001")
    damage(model, "row 1 is missing")
    restart_ledger(model, "words", "row 1 is missing")
    rows = open_ledger(model, "words").rows
    assert rows[0].reason == f"begun anew, since the ledger in run {old.run_id} is damaged: row 1 is missing"
    open_ledger(model, "words").change(promotion("2"))
    assert chain.aliases_after(open_ledger(model, "words").rows) == {"champion": "2", "challenger": "2"}
    assert verify(model, "words")[1] == []
    restart_ledger(model, "words", "again")
    assert verify(model, "words")[1] == [], "those that were replaced are no rivals"
    model.set_registered_model_tag("words", "vecmill.ledger", old.run_id)
    assert "row 1 is missing" in verify(model, "words")[1][0]


def test_second_chain_is_found(model: Any) -> None:
    open_ledger(model, "words").change(promotion("1"))
    other = model.create_run("0", tags={"vecmill.ledger_of": "words"}).info.run_id
    model.log_param(other, "row.000001", "{}")
    assert verify(model, "words")[1] == [
        f"run {other} holds a second chain for words; the one in use is run {find_ledger(model, 'words')}"
    ]
    model.set_registered_model_tag("words", "vecmill.ledger", other)
    assert any("somebody put another ledger in place" in each for each in verify(model, "words")[1])


def test_verify_holds_the_chain_against_a_digest_kept_elsewhere(model: Any) -> None:
    assert verify(model, "words", "abc")[1] == ["there is no ledger, so no row with the digest abc"]
    row = open_ledger(model, "words").change(promotion("1"))
    assert verify(model, "words", row.digest[:12])[1] == []
    assert "no row has the digest 123456789" in verify(model, "words", "123456789")[1][0]
