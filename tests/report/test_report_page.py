"""The report: what it shows, that nothing gets out of its quotes, and that the page stands by itself."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmill.errors import ConfigError
from vecmill.report.artifact import artifact_report
from vecmill.report.charts import interval_chart, line_chart, map_chart
from vecmill.report.facts import ReportFacts, WordMap, gather_facts, word_map
from vecmill.report.markup import Markup, element, escaped, number, table
from vecmill.report.page import report_page
from vecmill.vectors.word_vectors import WordVectors

HOSTILE = [
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><b>", "]]>", "&lt;", "'quoted'"),
    *("שלום", "مرحبا", "\u202egnihton", "a\x00b\x1fc", "-->", "{{7*7}}", "naïve café", "🙂"),
]
VOID = {"meta"}


class Page(HTMLParser):
    """Every tag with its attributes, and the text; refuses tags that do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._open = "", list[str]()
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def score(name: str = "wordsim353", title: str = "WordSim-353", **changes: Any) -> dict[str, Any]:
    plain = {"benchmark": name, "title": title, "spearman": 0.61, "lower": 0.5, "upper": 0.7, "pearson": 0.588}
    return {**plain, "spearman_all_pairs": 0.4, "n_pairs": 353, "n_covered": 300, "confidence": 0.95, **changes}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the artifacts of a model whose words, sources and verdict are out to break the page."""
    rows = np.random.default_rng(1).normal(size=(len(HOSTILE), 6)).astype(np.float32)
    vectors = WordVectors(HOSTILE, rows, np.arange(len(HOSTILE), 0, -1))
    vectors.save(tmp_path / "train" / "k5" / "vectors")
    losses = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.5], "heldout_loss": [3.1, 2.4, 2.2]}
    pq.write_table(pa.table(losses), tmp_path / "train" / "k5" / "losses.parquet")
    evaluate = tmp_path / "evaluate" / "k6"
    evaluate.mkdir(parents=True)
    near = [
        {"word": word, "rank": rank, "neighbour": other, "cosine": cosine}
        for word in HOSTILE
        for rank, (other, cosine) in enumerate(vectors.neighbours(word, 4), start=1)
    ]
    pq.write_table(pa.Table.from_pylist(near), evaluate / "neighbours.parquet")
    scores = [score(), score("x", "<i>mine</i>", spearman=None, lower=None, upper=None, spearman_all_pairs=None)]
    (evaluate / "scores.json").write_text(json.dumps(scores))
    (evaluate / "statistics.json").write_text(json.dumps({"isotropy": 0.5, "antihub_frac": None}))
    made: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
        "ingest": ({"corpus": {"sources": ["<u>a.txt"]}}, {"n_documents": 1234}, {}),
        "vocabulary": ({"vocabulary": {"min_count": 5}}, {"coverage_frac": 0.9102}, {"ingest": "k1"}),
        "train": ({"train": {"dim": 6}}, {"kind": "skipgram", "n_words": len(HOSTILE), "dim": 6}, {"vocabulary": "k3"}),
        "evaluate": ({"evaluate": {}}, {"quality": 0.123, "space_id": "abc<def"}, {"train": "k5"}),
        "contamination": ({"evaluate": {}}, {}, {}),
        "register": ({"registry": {}}, {}, {"evaluate": "k6", "train": "k5", "contamination": "k4"}),
    }
    keys = {"ingest": "k1", "vocabulary": "k3", "contamination": "k4", "train": "k5", "evaluate": "k6"}
    keys["register"] = "k7"
    for stage, (config, metrics, inputs) in made.items():
        refs = {name: {"stage": name, "key": key, "digest": ""} for name, key in inputs.items()}
        manifest = {"stage": stage, "key": keys[stage], "parts": {"config": config}, "metrics": metrics, "inputs": refs}
        (tmp_path / stage / keys[stage]).mkdir(parents=True, exist_ok=True)
        (tmp_path / stage / keys[stage] / "manifest.json").write_text(json.dumps(manifest))
    leaked = {"benchmark": "men", "n_found": 2, "n_pairs": 3000, "exact": 2, "shuffled": 0, "near": 5}
    found = [{**leaked, "title": "<MEN>", "documents": ["<d1>", "d2"]}]
    found.append({**leaked, "title": "Clean", "n_found": 0, "documents": []})
    (tmp_path / "contamination" / "k4" / "contamination.json").write_text(json.dumps(found))
    registration = {
        "space": {"release": "minor", "text": "minor: use the <shipped> map"},
        "model_name": "<words>",
        "model_version": "3",
        "verdict": "keep: <b>not</b> separable",
        "run_id": "r1",
        "gate": {
            "champion": "2",
            "tests": [{"title": "MEN</td>", "champion": 0.5, "challenger": 0.51, "difference": 0.01, "p_holm": 0.2}],
        },
    }
    (tmp_path / "register" / "k7" / "registration.json").write_text(json.dumps(registration))
    return tmp_path


def test_hostile_words_stay_words(store: Path) -> None:
    page = artifact_report(store / "register" / "k7")
    read = Page(page)
    tags = {tag for tag, _ in read.tags}
    assert tags.isdisjoint({"script", "img", "b", "i", "u", "link", "iframe", "a", "object"})
    names = {name for _, attributes in read.tags for name in attributes}
    assert not any(name.startswith("on") or name in ("src", "href") for name in names)
    for word in HOSTILE:
        shown = word.replace("\x00", "\ufffd").replace("\x1f", "\ufffd")
        assert shown in read.text, word
    assert "http:" not in page and "https:" not in page and "url(" not in page
    assert "default-src 'none'" in page.replace("&#x27;", "'")


def test_what_the_page_says(store: Path) -> None:
    text = Page(artifact_report(store / "register" / "k7")).text
    for said in (
        *("<words>, version 3", "Keep: <b>not</b> separable.", "WordSim-353", "0.610", "0.500 … 0.700", "0.588"),
        *("300 of 353", "<i>mine</i>", "Version 2 was champion.", "MEN</td>", "1,234", "<u>a.txt", "91.0 %"),
        *("5 occurrences", "skipgram", "held out", "first two principal components", "abc<def", "k6", "quality"),
    ):
        assert said in text, said
    for said in (
        "It has read answers that it is judged by",
        "<MEN>2 of 3,000205<d1>, d2",
        "minor: use the <shipped> map",
    ):
        assert said in text, said
    assert "Clean" not in text
    path = store / "contamination" / "k4" / "contamination.json"
    path.write_text(json.dumps([{**json.loads(path.read_text())[0], "n_found": 0}]))
    assert "It has read" not in artifact_report(store / "register" / "k7")
    plain = Page(artifact_report(store / "evaluate" / "k6")).text
    assert "Word vectors" in plain and "separable" not in plain and "Held-out text" not in plain


def test_readers_without_eyes_are_served(store: Path) -> None:
    read = Page(artifact_report(store / "register" / "k7"))
    drawings = [attributes for tag, attributes in read.tags if tag == "svg"]
    assert len(drawings) == 3 and all(each["role"] == "img" and each["aria-label"] for each in drawings)
    tags = [tag for tag, _ in read.tags]
    assert tags.count("table") == tags.count("caption") and tags.count("h1") == 1
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in read.tags if tag == "th")
    assert ("html", {"lang": "en"}) in read.tags


def test_the_same_artifacts_give_the_same_page(store: Path) -> None:
    assert artifact_report(store / "register" / "k7") == artifact_report(store / "register" / "k7")
    (store / "register" / "k7" / "report.html").write_text("kept")
    assert artifact_report(store / "register" / "k7") == "kept"


def test_a_model_of_which_nothing_is_known(tmp_path: Path) -> None:
    WordVectors(["a", "b"], np.zeros((2, 3), np.float32)).save(tmp_path / "train" / "vectors")
    facts = gather_facts(tmp_path / "none", tmp_path / "train", {})
    assert Page(report_page(facts)).text.count("Word vectors") == 2
    assert "nan" not in report_page(
        ReportFacts("x", scores=[score(spearman=None)], losses={"epoch": [1], "loss": [2.0]})
    )


def test_the_map_keeps_distances_where_two_dimensions_are_all() -> None:
    angles = np.linspace(0, 5, 7)
    plane = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 2)))[0]
    vectors = WordVectors(list("abcdefg"), (plane @ basis.T * 3).astype(np.float32))
    found = word_map(vectors, list("abcdefg"))
    assert found is not None and found.shown_frac == pytest.approx(1.0)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    assert np.linalg.norm(found.places[:, None] - found.places[None], axis=2) == pytest.approx(distances, abs=1e-5)
    assert word_map(vectors, ["a", "b"]) is None
    flat = word_map(WordVectors(list("abc"), np.ones((3, 1), np.float32)), list("abc"))
    assert flat is not None and flat.shown_frac == 0.0 and Page(map_chart(flat)).tags


@given(st.text(max_size=30))
def test_any_text_survives_as_text_and_attribute(text: str) -> None:
    markup = element("p", text, title=text)
    read = Page(markup)
    [(tag, attributes)] = read.tags
    assert tag == "p" and escaped(escaped(text)) == escaped(text)
    kept = [each for each in text if each >= " " and not "\x7f" <= each <= "\x9f"]
    assert all(each in read.text and each in str(attributes["title"]) for each in kept if each.isprintable())


def test_charts_bear_extremes() -> None:
    for drawing in (
        interval_chart([score(spearman=-0.4, lower=-0.9, upper=0.1, spearman_all_pairs=-0.2)]),
        interval_chart([score(spearman=None, lower=None, upper=None, spearman_all_pairs=None)]),
        line_chart("t", "x", "y", [1], {"a": [0.0]}),
        line_chart("t", "x", "y", list(range(1, 200)), {"a": [1e9] * 199, "b": [1e9] * 199}),
        map_chart(WordMap(("a", "b" * 99), np.array([[0.0, 0.0], [0.0, 0.0]]), 0.0)),
    ):
        assert "nan" not in drawing and "inf" not in drawing.replace("info", "")
        for _, attributes in Page(drawing).tags:
            assert all(float(attributes[name] or 0) > -50 for name in ("x", "y", "cx", "cy") if name in attributes)


def test_small_parts() -> None:
    assert element("p", Markup("<i>"), "<") == "<p><i>&lt;</p>"
    assert (number(None), number(3), number(0.5), number(True), number("x")) == ("–", "3", "0.500", "True", "x")
    assert 'scope="row"' in table("c", ("a",), [("b", 1)])


def test_folders_that_are_no_reportable_artifacts(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"artifact of the stage 'train'.*evaluate or register.*name the evaluate"):
        artifact_report(store / "train" / "k5")
    with pytest.raises(ConfigError, match=r"holds no manifest\.json"):
        artifact_report(tmp_path)
    (store / "train" / "k5" / "manifest.json").unlink()
    with pytest.raises(ConfigError, match=r"k5 holds no manifest\.json.*builds again what is gone"):
        artifact_report(store / "evaluate" / "k6")
    (store / "evaluate" / "k6" / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        artifact_report(store / "evaluate" / "k6")
