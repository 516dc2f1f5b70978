"""Patch, minor or major: what a version means beside vectors of the champion, and that it is written down."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from vecmill.cli.registry import registry_app
from vecmill.registry.config import RegistryConfig
from vecmill.registry.history import find_version
from vecmill.registry.register import register_model
from vecmill.registry.release import MAJOR, MINOR, PATCH, compare_spaces, save_release, stored_release
from vecmill.registry.release_config import ReleaseConfig
from vecmill.store.stage import StageIO
from vecmill.vectors.space_map import read_map
from vecmill.vectors.word_vectors import WordVectors

DIM = 6
CONFIG = ReleaseConfig(n_queries=100)


def model(seed: int = 0, n_words: int = 300) -> WordVectors:
    rows = np.random.default_rng(seed).normal(size=(n_words, DIM))
    return WordVectors([f"w{i}" for i in range(n_words)], rows.astype(np.float32), np.arange(n_words, 0, -1))


def like(vectors: WordVectors, *, turned: bool, noise: float) -> WordVectors:
    generator = np.random.default_rng(5)
    turn = np.linalg.qr(generator.normal(size=(DIM, DIM)))[0] if turned else np.eye(DIM)
    rows = vectors.vectors @ turn + noise * generator.normal(size=vectors.vectors.shape)
    return WordVectors(vectors.words, rows.astype(np.float32), vectors.counts)


# --- the class -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turned", "noise", "kind", "said"),
    [
        (
            False,
            0.001,
            PATCH,
            r"^patch: drop in; beside vectors of version 7, recall@10 is (0\.9\d|1\.00) without a map$",
        ),
        (True, 0.001, MINOR, r"^minor: use the shipped map; .* is (0\.9\d|1\.00) with it and 0\.0\d without$"),
        (True, 1.0, MAJOR, r"^major: index again; .* even with a map, 0\.33 is asked for \(minor_recall\)$"),
    ],
)
def test_classes(turned: bool, noise: float, kind: str, said: str) -> None:
    old = model()
    found = compare_spaces(CONFIG, old, like(old, turned=turned, noise=noise), "7")
    assert found.kind == kind
    assert re.search(said, found.text), found.text
    assert found.rotation is not None and found.facts["n_shared"] == 300


def test_what_there_is_nothing_to_measure_in() -> None:
    old = model()
    same = compare_spaces(CONFIG, old, model(), "7")
    assert (same.kind, same.text) == (PATCH, "patch: the same space as version 7")
    few = compare_spaces(CONFIG, old, model(1, 20), "7")
    assert few.kind == MAJOR and few.rotation is None
    assert "20 words are in both versions, and a map of 6 dimensions from version 7 needs 30" in few.text
    narrow = WordVectors(old.words, old.vectors[:, :3].copy())
    assert compare_spaces(CONFIG, old, narrow, "7").text == (
        "major: index again; version 7 has 6 dimensions, this one 3"
    )
    half = like(old, turned=False, noise=0.001)
    part = WordVectors(half.words[:100], half.vectors[:100].copy())
    assert "only 33 % of the words" in compare_spaces(CONFIG, old, part, "7").text
    assert compare_spaces(ReleaseConfig(min_shared_frac=0.3), old, part, "7").kind == PATCH


def test_a_map_may_not_have_to_be_better_than_none() -> None:
    with pytest.raises(ValidationError, match=r"minor_recall 0\.97 is above patch_recall 0\.95"):
        ReleaseConfig(minor_recall=0.97)


# --- registration ----------------------------------------------------------------------------------------------------


def with_vectors(io: StageIO, vectors: WordVectors) -> StageIO:
    shutil.rmtree(io.inputs["train"] / "vectors")
    vectors.save(io.inputs["train"] / "vectors")
    word, near = vectors.words[:2]
    table = pa.table({"word": [word], "rank": [1], "neighbour": [near], "cosine": [0.5]})
    pq.write_table(table, io.inputs["evaluate"] / "neighbours.parquet")
    return io


def registration(io: StageIO) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((io.output / "registration.json").read_text(encoding="utf-8"))
    return found


def asked(config: RegistryConfig, *arguments: object) -> str:
    """What ``vecmill registry …`` prints."""
    where = ["--set", f"registry.tracking_uri={config.tracking_uri}", "--set", "registry.model_name=words"]
    done = CliRunner().invoke(registry_app, [str(each) for each in (*arguments, *where)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def test_a_version_ships_its_map(
    finished: Callable[..., StageIO], sqlite_config: RegistryConfig, client: Any, tmp_path: Path
) -> None:
    old = model()
    new = like(old, turned=True, noise=0.001)
    first = with_vectors(finished(0.4), old)
    register_model(sqlite_config, first)
    assert registration(first)["space"] == {}
    second = with_vectors(finished(0.4), new)
    report = register_model(sqlite_config, second)
    space = registration(second)["space"]
    assert space["release"] == "minor" and "Release: minor: use the shipped map" in report.markdown
    assert space["from"] == {"version": "1", "space_id": old.space_id}
    assert space["to"] == {"version": "2", "space_id": new.space_id}
    version = find_version(client, "words", "2")
    assert version.tags["vecmill.release"] == "minor" and version.tags["space.release"] == "minor, against version 1"
    assert re.fullmatch(r"1\.00 with the map, 0\.0\d without", version.tags["space.recall"])
    assert version.run_id and stored_release(client, version.run_id) == space
    saved = save_release(client, version.run_id, tmp_path / "map")
    assert [path.name for path in saved] == ["release.json", "map.npy"]
    moved = read_map(tmp_path / "map").move(old)
    assert moved.space_id == new.space_id
    np.testing.assert_allclose(moved.vectors, new.vectors, atol=0.02)
    said = asked(sqlite_config, "release", "2", "--save", tmp_path / "again")
    assert "Version 2 of words is minor: use the shipped map" in said and "old index, new queries" in said
    assert (tmp_path / "again" / "map.npy").exists()
    assert json.loads(asked(sqlite_config, "release", "2", "--json"))["release"] == "minor"
    assert "registered without a champion" in asked(sqlite_config, "release", "1")
    rows = json.loads(asked(sqlite_config, "list", "--json"))["versions"]
    assert [row["release"] for row in rows] == ["minor", None]
    card = client.download_artifacts(version.run_id, "card.md", str(tmp_path))
    text = Path(card).read_text(encoding="utf-8")
    assert "## Vector space\n\n**minor**: use the shipped map" in text
    assert "| an index of the old vectors, asked with new ones |" in text
    assert "vecmill registry release 2 --save FOLDER" in text


def test_the_same_vectors_again_are_a_patch(
    finished: Callable[..., StageIO], sqlite_config: RegistryConfig, client: Any
) -> None:
    register_model(sqlite_config, with_vectors(finished(0.4), model()))
    again = with_vectors(finished(0.4), model())
    register_model(sqlite_config, again)
    space = registration(again)["space"]
    assert space["text"] == "patch: the same vectors as version 1" and space["shipped_map"] is None
    run_id = find_version(client, "words", "2").run_id
    assert run_id and "map.npy" not in {each.path for each in client.list_artifacts(run_id)}


def test_a_champion_that_cannot_be_read_promises_nothing(
    finished: Callable[..., StageIO], sqlite_config: RegistryConfig, client: Any
) -> None:
    policy = sqlite_config.promotion.model_copy(update={"policy": "higher_score"})
    config = sqlite_config.model_copy(update={"promotion": policy})
    register_model(config, with_vectors(finished(0.4), model()))
    location = str(client.get_model_version_download_uri("words", "1")).removeprefix("file://")
    shutil.rmtree(Path(location) / "artifacts" / "vectors")
    second = with_vectors(finished(0.5), model(1))
    register_model(config, second)
    space = registration(second)["space"]
    assert (
        space["release"] == "major" and "version 1 cannot be compared with: the vectors of version 1" in space["text"]
    )


def test_a_registration_that_broke_off_says_the_same(
    finished: Callable[..., StageIO], sqlite_config: RegistryConfig, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vecmill.registry import register

    old = model()
    register_model(sqlite_config, with_vectors(finished(0.4), old))
    second = with_vectors(finished(0.4), like(old, turned=True, noise=0.001))

    def broken(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(register, "_registration", broken)
        with pytest.raises(KeyboardInterrupt):
            register_model(sqlite_config, second)
    before = stored_release(client, str(find_version(client, "words", "2").run_id))
    client.delete_model_version_tag("words", "2", "vecmill.verdict")
    register_model(sqlite_config, replace(second))
    assert registration(second)["model_version"] == "2" and registration(second)["space"] == before
