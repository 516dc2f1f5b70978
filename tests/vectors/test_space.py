"""Stamps beside files, spaces that are not mixed, and vectors that are moved from one into another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vecmill.cli.vectors import vectors_app
from vecmill.errors import FormatError
from vecmill.vectors.postprocessing import l2_normalise
from vecmill.vectors.space import OtherSpace, joined, require_same_space, stamp_file
from vecmill.vectors.space_map import MAP_NAME, read_map, write_map
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.vector_files import convert, load_vectors, save_vectors
from vecmill.vectors.word_vectors import WordVectors

FILES = {"word2vec-text": "v.vec", "word2vec-binary": "v.bin", "glove": "v.txt", "npy": "v.npy", "arrow": "v.arrow"}


def model(seed: int = 0, space_id: str | None = None, n_words: int = 6) -> WordVectors:
    rows = np.random.default_rng(seed).normal(size=(n_words, 3)).astype(np.float32)
    return WordVectors([f"w{i}" for i in range(n_words)], rows, np.arange(n_words, 0, -1), space_id)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(vectors_app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


# --- the stamp -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FILES, "folder"])
def test_every_format_keeps_the_space(name: str, tmp_path: Path) -> None:
    """Also one that is not named after the content, as after L2 normalisation."""
    before = model(space_id="a space")
    path = tmp_path / FILES.get(name, "folder")
    written = save_vectors(l2_normalise(before), path, name)
    assert load_vectors(path).space_id == "a space"
    assert all(each.exists() for each in written)
    assert stamp_file(path).exists() == (name not in ("arrow", "folder"))
    assert not list(tmp_path.rglob("*.tmp"))


def test_fasttext_keeps_the_space(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    words = WordVectors(["abcd", "bcde"], generator.normal(size=(2, 3)).astype(np.float32), np.array([2, 1]))
    rows = generator.normal(size=(50, 3)).astype(np.float32)
    ids = np.arange(50, dtype=np.int32)
    subwords = SubwordVectors(words, ids, rows, min_n=3, max_n=4, subword_buckets=50)
    subwords.save(tmp_path / "train" / "subwords")
    subwords.word_vectors().save(tmp_path / "train" / "vectors")
    convert(tmp_path / "train", tmp_path / "v.bin", write_as="fasttext-binary")
    assert load_vectors(tmp_path / "v.bin").space_id == load_vectors(tmp_path / "train").space_id
    assert (
        json.loads(stamp_file(tmp_path / "v.bin").read_text())["space_id"] == load_vectors(tmp_path / "train").space_id
    )


@pytest.mark.parametrize("name", ["word2vec-text", "word2vec-binary", "glove", "npy"])
def test_a_stamp_is_not_taken_for_that_of_another_file(name: str, tmp_path: Path) -> None:
    """Another training of the same shape has a file of the same size."""
    path, other = tmp_path / FILES[name], tmp_path / "other" / FILES[name]
    other.parent.mkdir()
    save_vectors(model(0, "first"), path, name)
    save_vectors(model(1, "second"), other, name)
    path.write_bytes(other.read_bytes())
    with pytest.raises(FormatError, match=r"space\.json is the stamp of another file.*delete the stamp if"):
        load_vectors(path)
    stamp_file(path).unlink()
    assert load_vectors(path).space_id == model(1).space_id
    save_vectors(model(0, "first"), path, name)
    assert load_vectors(path).space_id == "first"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", r"v\.vec\.space\.json is not JSON"),
        ("[]", "does not say that this is a vecmill-space of version 1"),
        ('{"format": "vecmill-space", "version": 2}', "does not say"),
        ('{"format": "vecmill-space", "version": 1}', "names no space"),
        ('{"format": "vecmill-space", "version": 1, "space_id": 3}', "names no space"),
        ('{"format": "vecmill-space", "version": 1, "space_id": "x", "n_words": 6, "dim": 3}', "another file"),
    ],
)
def test_damaged_stamps(content: str, message: str, tmp_path: Path) -> None:
    save_vectors(model(), tmp_path / "v.vec")
    stamp_file(tmp_path / "v.vec").write_text(content)
    with pytest.raises(FormatError, match=message):
        load_vectors(tmp_path / "v.vec")


# --- two spaces are kept apart ---------------------------------------------------------------------------------------


def test_two_spaces_are_refused_by_name() -> None:
    require_same_space(model(0, "s"), model(1, "s"))
    with pytest.raises(OtherSpace) as caught:
        require_same_space(model(0, "first space"), model(1), "old.vec", "new.vec")
    message = str(caught.value)
    assert "old.vec belongs to the space first space, new.vec to the space " + model(1).space_id[:12] in message
    assert "both have 3 dimensions" in message and "vecmill vectors move" in message
    wide = WordVectors(["a"], np.ones((1, 4), np.float32), space_id="s")
    with pytest.raises(OtherSpace, match="a has 3 dimensions, b 4"):
        require_same_space(model(0, "s"), wide, "a", "b")


def test_join() -> None:
    first, second = model(0, "s"), WordVectors(["w5", "x"], np.ones((2, 3), np.float32), [9, 8], "s")
    both = joined([("a", first), ("b", second)])
    assert both.words == (*first.words, "x") and both.space_id == "s"
    np.testing.assert_array_equal(both.vectors[:6], first.vectors)
    assert both.counts is not None and both.counts.tolist() == [6, 5, 4, 3, 2, 1, 8]
    uncounted = WordVectors(["y"], np.ones((1, 3), np.float32), space_id="s")
    assert joined([("a", first), ("c", uncounted)]).counts is None
    with pytest.raises(OtherSpace, match=r"b\.vec to the space other"):
        joined([("a.vec", first), ("b.vec", model(1, "other"))])


def test_commands_refuse_to_mix(tmp_path: Path) -> None:
    save_vectors(model(0, "old"), tmp_path / "old.vec")
    save_vectors(model(1, "new"), tmp_path / "new.vec")
    save_vectors(WordVectors(["y", "w0"], model().vectors[:2].copy(), space_id="old"), tmp_path / "more.npy")
    for command in (
        ["neighbours", tmp_path / "old.vec", "w0", "--among", tmp_path / "new.vec"],
        ["join", tmp_path / "old.vec", tmp_path / "new.vec", "--target", tmp_path / "both.vec"],
    ):
        with pytest.raises(OtherSpace, match=r"old\.vec belongs to the space old, .*new\.vec to the space new"):
            run(*command)
    assert not (tmp_path / "both.vec").exists()
    found = run("neighbours", tmp_path / "old.vec", "w0", "--among", tmp_path / "more.npy")
    assert found.split() == ["w0", "1.0000", "y"]
    run("join", tmp_path / "old.vec", tmp_path / "more.npy", "-o", tmp_path / "both")
    assert load_vectors(tmp_path / "both").space_id == "old" and len(load_vectors(tmp_path / "both")) == 7


# --- moving ----------------------------------------------------------------------------------------------------------


def released(folder: Path) -> np.ndarray:
    """Write a map from the space ``old`` to the space ``new``."""
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    write_map(folder, turn, {"from": {"space_id": "old"}, "to": {"space_id": "new"}})
    return np.asarray(turn)


def test_move_there_and_back(tmp_path: Path) -> None:
    turn = released(tmp_path / "map")
    old = model(0, "old")
    save_vectors(old, tmp_path / "old.vec")
    run("move", tmp_path / "old.vec", tmp_path / "map", tmp_path / "there.vec")
    there = load_vectors(tmp_path / "there.vec")
    assert there.space_id == "new"
    np.testing.assert_allclose(there.vectors, old.vectors @ turn, atol=1e-5)
    run("move", tmp_path / "there.vec", tmp_path / "map", tmp_path / "back")
    assert load_vectors(tmp_path / "back").space_id == "old"
    np.testing.assert_allclose(load_vectors(tmp_path / "back").vectors, old.vectors, atol=1e-5)
    with pytest.raises(OtherSpace, match=r"the file belongs to the space third….* leads from old… to new…"):
        read_map(tmp_path / "map").move(model(0, "third"))


def test_maps_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"release\.json cannot be read.*registry release VERSION --save"):
        read_map(tmp_path)
    write_map(tmp_path, None, {"from": {"space_id": "a"}, "to": {"space_id": "b"}, "text": "only 3 words in common"})
    with pytest.raises(FormatError, match=r"ships no map: only 3 words in common.*index again"):
        read_map(tmp_path)
    np.save(tmp_path / MAP_NAME, np.array([[np.nan]]))
    with pytest.raises(FormatError, match="finite numbers"):
        read_map(tmp_path)
    (tmp_path / "release.json").write_text("{}")
    with pytest.raises(FormatError, match="does not say whose spaces"):
        read_map(tmp_path)
