"""Languages: a column, a filter, and a kind word where the library or the language is not there."""

import json
from importlib import metadata

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from vecmill.corpus import language
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.ingest import ingest
from vecmill.corpus.language import LanguageFinder, language_model
from vecmill.errors import ConfigError, SourceError
from vecmill.pipelines.words import WORDS
from vecmill.store.stage import StageIO

_TEXTS = {
    "en": "The old man walked slowly along the river and thought about the years that had gone by.",
    "de": "Der alte Mann ging langsam am Fluss entlang und dachte an die Jahre, die vergangen waren.",
    "fr": "Le vieil homme marchait lentement le long de la rivière et pensait aux années passées.",
    "ru": "Старик медленно шёл вдоль реки и думал о прошедших годах.",
    "und": "12 34",
}


@pytest.fixture
def no_library(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(language.metadata, "distribution", missing)
    # None in sys.modules is how Python spells a module that cannot be imported.
    monkeypatch.setitem(__import__("sys").modules, "py3langid.langid", None)


def _ingest(tmp_path, **settings):
    lines = [json.dumps({"text": text}) for text in (*_TEXTS.values(), _TEXTS["de"], _TEXTS["fr"])]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out"
    out.mkdir()
    return ingest(CorpusConfig(sources=(f"{tmp_path}/a.jsonl",), **settings), StageIO({}, out)), out


def _column(out, name):
    return pq.read_table(out / "part-00000.parquet")[name].to_pylist()


def test_without_being_asked_no_language_is_told(tmp_path, no_library):
    report, out = _ingest(tmp_path)
    assert _column(out, "language") == [None] * 7
    assert report.metrics["n_other_language"] == 0


def test_a_missing_library_is_told_with_what_installs_it(tmp_path, no_library):
    for refused in (LanguageFinder, language_model, lambda: _ingest(tmp_path, languages="en")):
        with pytest.raises(ConfigError) as refusal:
            refused()
        assert "need the library py3langid, which is not installed" in str(refusal.value)
        assert "pip install 'vecmill[language]'" in str(refusal.value)


def test_codes_are_checked_by_their_shape():
    with pytest.raises(ValidationError, match="languages"):
        CorpusConfig(languages=("English",))
    assert CorpusConfig(languages="en").languages == ("en",)


def test_each_document_has_its_language(tmp_path):
    pytest.importorskip("py3langid")
    report, out = _ingest(tmp_path, identify_language=True)
    assert _column(out, "language") == [*_TEXTS, "de", "fr"]
    assert report.metrics["n_dropped"] == 0


def test_other_languages_are_dropped_and_say_which(tmp_path):
    pytest.importorskip("py3langid")
    report, out = _ingest(tmp_path, languages=("en", "de"), duplicates={"drop": "exact"})
    assert _column(out, "language") == ["en", "de"]
    metrics = report.metrics
    assert (metrics["n_read"], metrics["n_kept"], metrics["n_other_language"]) == (7, 2, 4)
    rows = [(row["rule"], row["step"], row["detail"]) for row in pq.read_table(out / "dropped.parquet").to_pylist()]
    others = [("language", "language", name) for name in ("fr", "ru", "und")]
    # A copy in a language that is not kept is no twin of anything.
    assert rows == [*others, ("exact_duplicate", "duplicates", "the same text"), others[0]]
    assert "4 documents left out that are in other languages" in report.markdown


def test_a_corpus_in_other_languages_alone_is_refused(tmp_path):
    pytest.importorskip("py3langid")
    with pytest.raises(SourceError) as refusal:
        _ingest(tmp_path, languages=("ja", "el"))
    assert "7 in other languages than ja, el" in str(refusal.value)
    assert "corpus.languages" in str(refusal.value)


def test_an_unknown_language_is_refused_with_the_nearest():
    pytest.importorskip("py3langid")
    with pytest.raises(ConfigError, match=r"no language is called 'deu'.*und.*did you mean 'de'\?"):
        LanguageFinder(("en", "deu"))
    LanguageFinder(("und",))


def test_the_model_is_part_of_the_key_where_languages_count(tmp_path):
    pytest.importorskip("py3langid")
    (tmp_path / "a.txt").write_text("text")
    files = WORDS.stage("ingest").external
    settings = {"train": {"kind": "skipgram"}, "corpus": {"sources": [f"{tmp_path}/a.txt"]}}
    names = [each.name for each in files(WORDS.config(**settings), lambda path: "digest")]
    settings["corpus"]["languages"] = ["en"]
    more = [each.name for each in files(WORDS.config(**settings), lambda path: "digest")]
    assert more == [*names, f"py3langid {metadata.version('py3langid')}"]
