"""``vecmill forget``: what it refuses, what it says, and that a document is gone from a corpus for good, on S3 too."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

import vecmill.cli.forget as forget_module
from vecmill.cli.common import open_target
from vecmill.cli.forget import Options, forget, read_ids
from vecmill.errors import ConfigError, StoreError
from vecmill.pipelines.words import WORDS
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.runs import start_run

TOKEN = "Zquixotte"


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with sources, one of which holds the planted token, and a pipelines file."""
    monkeypatch.setenv("PREFECT_HOME", str(workplace / ".vecmill/prefect"))
    (workplace / "in").mkdir()
    for number in range(4):
        lines = [f"The cat {number} sat near the dog and the mouse {word}." for word in ("once", "twice", "often")]
        if number == 2:
            lines[1] = f"{TOKEN} lives in Hidden Lane, {TOKEN} does."
        (workplace / f"in/{number}.txt").write_text("\n".join(lines))
    return workplace


def configure(place: Path, **config: Any) -> None:
    values = {
        "corpus": {"sources": ["in/*.txt"], "txt_unit": "line"},
        "vocabulary": {"min_count": 1},
        "train": {"kind": "skipgram", "dim": 8, "epochs": 1},
        **config,
    }
    deployment = {"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": values}}
    (place / "pipelines.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}))


def run_to(last: str) -> dict[str, StageOutcome]:
    """The pipeline's stages up to one, without an orchestrator."""
    config = open_target(Path("pipelines.yaml"), "words", []).config
    store = ArtifactStore(config.store)
    outcomes: dict[str, StageOutcome] = {}
    for stage in WORDS.stages:
        refs = {name: outcomes[name].ref for name in stage.inputs}
        outcomes[stage.name] = run_stage(stage, config, store, refs)
        if stage.name == last:
            return outcomes
    raise AssertionError(last)


def documents(outcome: StageOutcome) -> dict[str, str]:
    """Names by text."""
    config = open_target(Path("pipelines.yaml"), "words", []).config
    folder = ArtifactStore(config.store).folder(outcome.ref)
    rows = [row for path in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["text"]: row["doc_id"] for row in rows}


def planted(outcome: StageOutcome) -> str:
    return next(name for text, name in documents(outcome).items() if TOKEN in text)


def options(*names: str, **changes: Any) -> Options:
    values: dict[str, Any] = {
        "documents": list(names),
        "listed": None,
        "proven": [TOKEN, "Hidden Lane"],
        "registry": False,
        "rebuild": False,
        "dry_run": False,
        "pipeline": "words",
        "file": Path("pipelines.yaml"),
        "overrides": [],
    }
    return Options(**{**values, **changes})


def told(monkeypatch: pytest.MonkeyPatch, chosen: Options) -> str:
    console = Console(file=io.StringIO(), width=200)
    monkeypatch.setattr(forget_module, "stdout_console", lambda: console)
    forget(chosen, as_json=False, debug=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_document_goes_with_all_that_follows_and_never_comes_back(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(place)
    outcomes = run_to("encode")
    name = planted(outcomes["ingest"])
    seen = told(monkeypatch, options(name, dry_run=True))
    assert "1 document, from in/2.txt" in seen
    assert (
        "9 artifacts would go (1 contamination, 1 contamination.look, 1 contract, 1 contract.check, 1 encode, "
        "1 ingest, 1 ingest.read, 1 vocabulary, 1 vocabulary.count), 0 stay" in seen
    )
    assert len(list(ArtifactStore(open_target(Path("pipelines.yaml"), "words", []).config.store).manifests())) == 9

    said = told(monkeypatch, options(name))
    assert "Removed 9 artifacts" in said
    assert "Proof: 2 texts and the names of the documents were looked for in" in said
    assert "found in none" in said
    assert "No run will read them again from in/2.txt" in said
    record = json.loads(next((place / ".vecmill/store/forgotten").glob("*.proof.json")).read_text())
    assert record["proof"]["places"] == [] and record["doc_ids"] == [name]
    assert TOKEN not in json.dumps(record)

    again = run_to("encode")
    assert again["ingest"].metrics["n_forgotten"] == 1
    assert again["ingest"].metrics["n_kept"] + 1 == again["ingest"].metrics["n_read"] == 12
    assert not [text for text in documents(again["ingest"]) if TOKEN in text]
    # Moved down a line, the document has another name; its text is known all the same.
    old = (place / "in/2.txt").read_text()
    (place / "in/2.txt").write_text("A new first line about the cat.\n" + old)
    third = run_to("encode")
    assert not [text for text in documents(third["ingest"]) if TOKEN in text]
    assert "A new first line about the cat." in documents(third["ingest"])
    # Once more: nothing holds it, and that is proven again.
    assert "1 document on the forget list; nothing holds them" in told(monkeypatch, options(name))
    assert run_to("encode")["ingest"].cached


def test_copies_of_the_text_go_too_and_other_pieces_stay(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecmill.corpus.division.LARGE_BYTES", 1)
    (place / "in/3.txt").write_text(f"{TOKEN} lives in Hidden Lane, {TOKEN} does.\nThe cat stays.")
    configure(place, corpus={"sources": ["in/*.txt"], "txt_unit": "line", "duplicates": {"drop": "exact"}})
    first = run_to("vocabulary")
    name = planted(first["ingest"])
    said = told(monkeypatch, options(name))
    assert "1 document and 1 with the very same text, from in/2.txt, in/3.txt" in said
    assert "2 ingest.read, 1 ingest.thin, 1 vocabulary, 2 vocabulary.count), 8 stay" in said
    again = run_to("vocabulary")
    assert again["ingest"].metrics["n_source_files_read"] == 2
    assert again["ingest"].metrics["n_forgotten"] == 2
    # Of four files the two that held no copy were counted before.
    n_bytes = first["vocabulary"].metrics["n_text_bytes_read"]
    assert 0 < again["vocabulary"].metrics["n_text_bytes_read"] < n_bytes


def test_a_document_that_is_taken_over_from_an_old_piece_is_left_out(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a call that was killed when the list was written and nothing removed yet.
    configure(place)
    name = planted(run_to("ingest")["ingest"])
    monkeypatch.setattr(forget_module, "remove_affected", lambda store, affected: 0)
    with pytest.raises(StoreError) as refusal:
        told(monkeypatch, options(name))
    assert "what was to be forgotten is still in" in str(refusal.value)
    assert "see what these places are, remove them, and run the same command again" in str(refusal.value)
    assert not [text for text in documents(run_to("ingest")["ingest"]) if TOKEN in text]
    monkeypatch.undo()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PREFECT_HOME", str(place / ".vecmill/prefect"))
    assert "found in none" in told(monkeypatch, options(name))


def test_what_prefect_shows_of_runs_is_cleared(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(place)
    name = planted(run_to("ingest")["ingest"])
    database = place / ".vecmill/prefect/prefect.db"
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE artifact (data TEXT)")
        connection.execute("CREATE TABLE flow_run (name TEXT)")
        connection.execute("INSERT INTO artifact VALUES (?)", (f"excerpt {TOKEN}",))
        connection.execute("INSERT INTO flow_run VALUES ('brave-falcon')")
        connection.commit()
    assert "found in none" in told(monkeypatch, options(name))
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT * FROM flow_run").fetchall() == [("brave-falcon",)]


def test_json_is_one_object(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(place)
    name = planted(run_to("ingest")["ingest"])
    capsys.readouterr()
    forget(options(name), as_json=True, debug=False)
    result = json.loads(capsys.readouterr().out)
    assert result["doc_ids"] == [name]
    assert {each["stage"] for each in result["removed"]} == {"ingest", "ingest.read"}
    assert result["proof"]["n_texts"] == 2


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (options(), "no document is named. What to do: name documents by their doc_id, or a file that lists them"),
        (options("12"), "'12' is no name of a document. Expected: 32 hex digits"),
        (options(listed=Path("absent.txt")), "absent.txt cannot be read"),
    ],
)
def test_what_is_no_document_is_refused(workplace: Path, chosen: Options, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_ids(chosen)
    assert message in str(refusal.value)


def test_documents_may_be_listed_in_a_file(workplace: Path) -> None:
    (workplace / "list.txt").write_text(f"# who asked\n{'a' * 32}\n\n {'b' * 32} \n")
    chosen = options("b" * 32, listed=Path("list.txt"))
    assert read_ids(chosen) == ["b" * 32, "a" * 32]


def test_an_empty_text_unknown_documents_and_runs_at_work_are_refused(place: Path) -> None:
    configure(place)
    with pytest.raises(ConfigError, match="--prove is given an empty text"):
        forget(options("a" * 32, proven=[" "]), as_json=False, debug=False)
    outcomes = run_to("ingest")
    with pytest.raises(StoreError) as refusal:
        forget(options("a" * 32, "b" * 32), as_json=False, debug=False)
    assert f"holds the document {'a' * 32} and 1 more" in str(refusal.value)
    assert "run the pipeline first" in str(refusal.value)
    start_run(ArtifactStore(open_target(Path("pipelines.yaml"), "words", []).config.store), "words", {})
    with pytest.raises(StoreError, match="a run of words is at work"):
        forget(options(planted(outcomes["ingest"])), as_json=False, debug=False)


@pytest.mark.server
def test_a_store_on_s3_forgets_too(place: Path, monkeypatch: pytest.MonkeyPatch, s3_server: dict[str, str]) -> None:
    import boto3

    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3", endpoint_url=s3_server["AWS_ENDPOINT_URL"])
    s3.create_bucket(Bucket="forgetful")
    configure(place, store={"uri": "s3://forgetful/store", "cache": str(place / "cache")})
    outcomes = run_to("vocabulary")
    name = planted(outcomes["ingest"])
    said = told(monkeypatch, options(name))
    assert "Removed 8 artifacts" in said
    assert "found in none" in said
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="forgetful").get("Contents", [])]
    assert all(key.startswith("store/forgotten/") for key in keys), keys
    again = run_to("vocabulary")
    assert not [text for text in documents(again["ingest"]) if TOKEN in text]
    # A new file on a cold machine: the others' text is neither read nor fetched nor sent again.
    (place / "in/9.txt").write_text("The cat came last.")
    configure(place, store={"uri": "s3://forgetful/store", "cache": str(place / "other")})
    third = run_to("ingest")["ingest"]
    assert third.metrics["n_source_files_read"] == 1
    assert "found in none" in told(monkeypatch, options(name))
    s3.close()
