"""Prefect artifacts: keys that Prefect accepts, whatever the names; content that stays small."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.artifacts import Artifact

from tasks import artifacts
from tasks.artifacts import artifact_key
from vecmill.store.execute import StageOutcome
from vecmill.store.manifest import ArtifactRef


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("words", "train"), "words-train"),
        (("Words_Nightly", "Train: CBOW"), "words-nightly-train-cbow"),
        (("größe", "日本", "x"), "gr-e-x"),
        (("--a--", "..b/"), "a-b"),
    ],
)
def test_awkward_names(parts: tuple[str, ...], key: str) -> None:
    assert artifact_key(*parts) == key


def test_nothing_usable_is_refused() -> None:
    with pytest.raises(ValueError, match="no artifact key can be made from"):
        artifact_key("日本", "…")


@given(st.lists(st.text(min_size=1), min_size=1).filter(lambda parts: re.search("[a-z0-9]", "".join(parts).lower())))
def test_prefect_accepts_every_key(parts: list[str]) -> None:
    assert Artifact(type="table", key=artifact_key(*parts)).key


def outcome(table: list[dict[str, Any]]) -> StageOutcome:
    ref = ArtifactRef("train", "k" * 32, "d" * 64)
    return StageOutcome(
        ref, cached=True, seconds=0.1, metrics={"n_words": 12345, "loss": 2.0}, table=table, markdown="M"
    )


def test_a_table_is_published_with_its_description(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda **given: published.append(given))
    artifacts.publish("words", "/store", outcome([{"epoch": 1, "loss": 2.0}]))
    (found,) = published
    assert found["key"] == "words-train"
    assert found["table"] == [{"epoch": 1, "loss": 2.0}]
    assert "| n_words | 12,345 |" in found["description"]
    assert f"/store/train/{'k' * 32}" in found["description"]


def test_what_is_too_large_for_a_table_is_left_to_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda **given: published.append(given))
    artifacts.publish("words", "/store", outcome([{"text": "x" * 600_000}]))
    (found,) = published
    assert len(found["markdown"]) < 1000


def registered(tracking_uri: str) -> StageOutcome:
    metrics = {"tracking_uri": tracking_uri, "run_id": "r1"}
    return StageOutcome(ArtifactRef("register", "k" * 32, "d" * 64), False, 0.1, metrics, [], "M")


def test_the_report_is_linked_where_a_browser_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    linked: list[dict[str, Any]] = []
    monkeypatch.setattr(artifacts, "create_link_artifact", lambda **given: linked.append(given))
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda **given: None)
    artifacts.publish("words", str(tmp_path), registered("sqlite:///x.db"))
    assert linked == []  # an older artifact without a report
    page = tmp_path / "register" / ("k" * 32) / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("")
    artifacts.publish("words", str(tmp_path), registered("sqlite:///x.db"))
    artifacts.publish("words", "s3://bucket/store", registered("http://127.0.0.1:5000/"))
    assert [each["link"] for each in linked] == [
        page.as_uri(),
        "http://127.0.0.1:5000/get-artifact?path=report.html&run_uuid=r1",
    ]
    assert {each["key"] for each in linked} == {"words-report"}
    artifacts.publish("words", "s3://bucket/store", registered("sqlite:///x.db"))
    assert len(linked) == 2
