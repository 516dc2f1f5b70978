"""`vecmill vocabulary estimate`: from a vocabulary, a sample or a corpus, with what is wrong named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from strategies_vocabulary import stage_io
from typer.testing import CliRunner

from vecmill.cli.vocabulary import vocabulary_app
from vecmill.errors import ConfigError, FormatError
from vecmill.text.rules import TokenRules
from vecmill.vocabulary.reservoir import Reservoir
from vecmill.vocabulary.vocabulary import Vocabulary

TEXTS = ["The ocean, the sea", "no water at ALL", "the end"] * 20


def call(*arguments: str) -> str:
    result = CliRunner().invoke(vocabulary_app, ["estimate", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_corpus_smaller_than_the_sample_is_counted_exactly(tmp_path: Path) -> None:
    documents = [(f"doc-{number}", text) for number, text in enumerate(TEXTS)]
    corpus = str(stage_io(tmp_path, [documents]).inputs["ingest"])
    found = json.loads(call(corpus, "--json", "--top", "2"))
    assert found["words"] == [
        {"word": "the", "count": 60.0, "low": 60.0, "high": 60.0},
        {"word": "all", "count": 20.0, "low": 20.0, "high": 20.0},
    ]
    assert (found["n_sampled"], found["n_offered"], found["n_cut"], found["unseen_high"]) == (60, 60, 0, 0.0)
    shown = call(corpus, "--word", "Ocean", "--word", "desert", "--size", "10", "--level", "0.9")
    assert shown.startswith("From 10 of 60 documents, ")
    assert "90 % intervals" in shown
    assert [line.split()[0] for line in shown.splitlines()[1:4]] == ["word", "ocean", "desert"]
    assert shown == call(corpus, "--word", "Ocean", "--word", "desert", "--size", "10", "--level", "0.9")
    estimates = [call(corpus, "--size", "10", "--seed", str(seed)) for seed in range(8)]
    assert len(set(estimates)) > 1


def test_a_sample_brings_the_rules_of_its_vocabulary(tmp_path: Path) -> None:
    sample = Reservoir(100, 1, 12)
    sample.add([f"doc-{number}" for number in range(len(TEXTS))], pa.array(TEXTS))
    sample.save(tmp_path / "sample.parquet")
    assert "ocean  " in call(str(tmp_path / "sample.parquet"))
    rules = TokenRules("whitespace", lowercase=False)
    Vocabulary(["The", "ocean,"], np.array([2, 1]), np.array([2, 1]), rules).save(tmp_path)
    shown = call(str(tmp_path))
    assert "ocean,  " in shown
    assert "40 sampled texts were cut off" in shown
    assert "ocean  " in call(str(tmp_path), "--pattern", "ascii")


def test_wrong_sources_and_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*nowhere.*sample\.parquet"):
        call(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="holds no sample and no corpus"):
        call(str(tmp_path))
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises(FormatError, match="not a sample"):
        call(str(tmp_path / "text.txt"))
    sample = Reservoir(100, 1)
    sample.add(["a", "b"], pa.array(["one word", "two words"]))
    sample.save(tmp_path / "sample.parquet")
    with pytest.raises(ConfigError, match="--level 1"):
        call(str(tmp_path), "--level", "1")
    with pytest.raises(ConfigError, match=r"--pattern words.*unicode, ascii, whitespace"):
        call(str(tmp_path), "--pattern", "words")
    with pytest.raises(ConfigError, match=r"--word 'e-mail' is 2 words"):
        call(str(tmp_path), "--word", "e-mail")
