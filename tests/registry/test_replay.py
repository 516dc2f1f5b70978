"""Rebuilding a version from its manifests: the same bytes, other bytes, and everything that makes it impossible."""

from __future__ import annotations

import dataclasses
import json
import random
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from vecmill.cli import registry as registry_commands
from vecmill.cli.main import app
from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.registry import history, stored
from vecmill.registry.replay import DIFFERS, IMPOSSIBLE, SAME, Replay, replay
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import run_stage

STAGES = ("ingest", "contract", "vocabulary", "encode", "train")
Lineage = dict[str, dict[str, Any]]


def store_in(folder: Path) -> ArtifactStore:
    return ArtifactStore(StoreConfig(uri=str(folder / "store"), cache=str(folder / "cache")))


def built(folder: Path, sources: Path, **train: Any) -> Lineage:
    """Manifests of a small training, as a version's run keeps them."""
    values = {
        "seed": 5,
        "replica": 2,  # the seed of the training is derived, and the replay must draw from the derived one
        "corpus": {"sources": [str(sources / "*.txt")]},
        "vocabulary": {"min_count": 2},
        "train": {"kind": "skipgram", "dim": 8, "epochs": 1, "mode": "deterministic"} | train,
    }
    config = WordsConfig.model_validate(values)
    store = store_in(folder)
    refs: dict[str, Any] = {}
    for name in STAGES:
        stage = WORDS.stage(name)
        refs[name] = run_stage(stage, config, store, {each: refs[each] for each in stage.inputs}).ref
    found = {name: store.manifest(name, ref.key) for name, ref in refs.items()}
    return json.loads(json.dumps({name: dataclasses.asdict(each) for name, each in found.items() if each}))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    generator = random.Random(1)
    words = [f"word{letter}" for letter in "abcdefghijklmnopqrst"]
    for number in range(3):
        lines = [" ".join(generator.choices(words, k=9)).capitalize() + "." for _ in range(60)]
        (folder / f"part-{number}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, sources: Path) -> Lineage:
    return built(tmp_path_factory.mktemp("made"), sources)


@pytest.fixture
def lineage(made: Lineage) -> Lineage:
    return deepcopy(made)


def replayed(lineage: Lineage, folder: Path, *, anyway: bool = False) -> Replay:
    return replay(lineage, WORDS, store_in(folder), anyway=anyway)


def test_the_same_vectors_come_out(lineage: Lineage, tmp_path: Path) -> None:
    found = replayed(lineage, tmp_path)
    assert found.result == SAME and found.reasons == [] and found.expected == found.found
    assert [each.stage for each in found.stages] == list(STAGES)
    assert all(each.expected == each.found for each in found.stages)
    assert lineage["train"]["parts"]["seed"] != lineage["vocabulary"]["parts"]["seed"] == 5


def test_other_vectors_are_told(lineage: Lineage, tmp_path: Path) -> None:
    for each in lineage["train"]["files"]:
        if each["path"] == "vectors/vectors.npy":
            each["sha256"] = "0" * 64
    lineage["train"]["host"]["platform"] = "another machine"
    found = replayed(lineage, tmp_path)
    assert found.result == DIFFERS and found.expected != found.found
    assert found.reasons[0] == "vectors/vectors.npy differs" and "same kind of processor" in found.reasons[-1]


def test_changed_code_is_named_and_can_be_tried(lineage: Lineage, tmp_path: Path) -> None:
    train = lineage["train"]
    name = next(iter(train["definitions"]))
    train["definitions"][name] = "0" * 16
    train["parts"]["code"] = "0" * 64
    train["parts"]["versions"]["numba"] = "0.1"
    train["key"] = "0" * 32
    found = replayed(lineage, tmp_path / "a")
    assert found.result == IMPOSSIBLE and found.anyway_helps and found.stages == []
    assert found.reasons[0] == f"train: code: {name}" and found.reasons[1].startswith("train: version: numba: '0.1' → ")
    found = replayed(lineage, tmp_path / "b", anyway=True)
    assert found.result == SAME and found.reasons[0] == f"train: code: {name}"


def test_racing_threads_cannot_be_replayed(lineage: Lineage, tmp_path: Path) -> None:
    lineage["train"]["parts"]["config"]["train"]["mode"] = "hogwild"
    found = replayed(lineage, tmp_path, anyway=True)
    assert found.result == IMPOSSIBLE and not found.anyway_helps
    assert found.reasons == [
        "it was trained in hogwild mode, whose threads race; only train.mode=deterministic gives the same bytes again"
    ]


def test_sources_that_changed_or_are_gone(tmp_path: Path, sources: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for path in sources.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    lineage = built(tmp_path / "made", own)
    with (own / "part-1.txt").open("a") as stream:
        stream.write("\nOne more sentence stands here.")
    (own / "part-2.txt").unlink()
    found = replayed(lineage, tmp_path / "a")
    assert found.result == IMPOSSIBLE and len(found.reasons) == 2
    assert found.reasons[0].startswith("ingest: external:") and "part-2.txt is gone" in found.reasons[0]
    assert found.reasons[1].endswith("part-1.txt changed")
    found = replayed(lineage, tmp_path / "b", anyway=True)
    assert found.result == DIFFERS and "the first stage with other content is ingest" in found.reasons
    for path in own.iterdir():
        path.unlink()
    found = replayed(lineage, tmp_path / "c", anyway=True)
    assert found.result == IMPOSSIBLE and found.reasons[0].startswith("ingest: ")


def test_manifests_that_do_not_suffice(lineage: Lineage, tmp_path: Path) -> None:
    broken = {**lineage, "encode": {**lineage["encode"], "schema_version": 99}}
    assert "schema version 99" in replayed(broken, tmp_path).reasons[0]
    del lineage["ingest"], lineage["train"]
    assert replayed(lineage, tmp_path).reasons == [
        "the version keeps no manifest of its stage ingest",
        "the version keeps no manifest of its stage train",
    ]


def test_settings_of_another_vecmill(lineage: Lineage, tmp_path: Path) -> None:
    lineage["train"]["parts"]["config"]["train"]["wings"] = 2
    found = replayed(lineage, tmp_path)
    assert found.result == IMPOSSIBLE and "this vecmill cannot read its configuration" in found.reasons[0]
    assert "wings" in found.reasons[0]


@pytest.mark.parametrize("kind", ["same", "differs", "impossible"])
def test_command(kind: str, lineage: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit codes and sentences; the registry is a stand-in that has one version."""
    files = lineage["train"]["files"]
    if kind == "differs":
        next(each for each in files if each["path"] == "vectors/vectors.npy")["sha256"] = "0" * 64
    if kind == "impossible":
        lineage["train"]["parts"]["config"]["train"]["mode"] = "hogwild"

    @contextmanager
    def registry(*_: object) -> Any:
        client = SimpleNamespace(list_artifacts=lambda run_id: [SimpleNamespace(path="manifests")])
        yield SimpleNamespace(client=client, model_name="words")

    monkeypatch.setattr(registry_commands, "open_registry", registry)
    version = history.Version("4", "", (), {}, "", "run", "")
    monkeypatch.setattr(history, "find_version", lambda *_: version)
    monkeypatch.setattr(stored, "run_lineage", lambda *_: lineage)
    code, said = {
        "same": (0, "Version 4 of words was rebuilt: the same vectors, digest"),
        "differs": (1, "Version 4 of words was rebuilt, and its vectors differ: digest"),
        "impossible": (2, "Version 4 of words cannot be replayed\n  it was trained in hogwild mode"),
    }[kind]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = CliRunner().invoke(app, ["replay", "4", "--scratch", str(scratch)])
    assert (done.exit_code, said in done.stdout) == (code, True), done.output
    assert list(scratch.iterdir()) == []
    done = CliRunner().invoke(app, ["replay", "4", "--scratch", str(scratch), "--json"])
    assert done.exit_code == code and json.loads(done.stdout)["result"].startswith(
        {"impossible": "cannot"}.get(kind, kind)
    )
