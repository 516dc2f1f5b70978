"""`vecmill tokenizer`: trains on a corpus, a sample or a text file, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from strategies_vocabulary import stage_io
from typer.testing import CliRunner

from vecmill.cli.tokenizer import tokenizer_app
from vecmill.errors import ConfigError, FormatError
from vecmill.vocabulary.reservoir import Reservoir

TEXTS = ["low lower lowest café", "newer new naïve 漢字"] * 20


def call(*arguments: str) -> str:
    result = CliRunner().invoke(tokenizer_app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_from_a_corpus_a_sample_and_a_file_come_the_same_pieces(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    documents = [(f"doc-{number}", text) for number, text in enumerate(TEXTS)]
    corpus = stage_io(tmp_path, [documents]).inputs["ingest"]
    sample = Reservoir(100, 1)
    sample.add([doc_id for doc_id, _ in documents], pa.array(TEXTS))
    sample.save(tmp_path / "sample.parquet")
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    found = []
    for name, source in (("a", corpus), ("b", tmp_path / "sample.parquet"), ("c", tmp_path / "texts.txt")):
        target = tmp_path / f"{name}.json"
        printed = json.loads(call("train", str(source), str(target), "--kind", "wordpiece", "--size", "300", "--json"))
        assert printed["path"] == str(target)
        found.append(target.read_bytes())
    assert found[0] == found[1] == found[2]
    with pytest.raises(ConfigError, match=r"a\.json exists.*--force"):
        call("train", str(corpus), str(tmp_path / "a.json"))
    model = str(tmp_path / "a.json")
    encoded = json.loads(call("encode", model, "lowest café", "low", "--pad", "--json"))
    assert encoded["pieces"] == [["[CLS]", "lowest", "café", "[SEP]"], ["[CLS]", "low", "[SEP]", "[PAD]"]]
    assert call("decode", model, *map(str, encoded["token_ids"][0])) == "lowest café\n"
    assert call("encode", model, "low").startswith("[CLS]:2 low:")
    with pytest.raises(ConfigError, match=r"token id 99999 is outside .*vecmill tokenizer encode"):
        call("decode", model, "99999")
    with pytest.raises(FormatError, match="not a tokenizer"):
        call("encode", str(tmp_path / "texts.txt"), "low")


def test_wrong_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*nowhere.*sample\.parquet"):
        call("train", str(tmp_path / "nowhere"), str(tmp_path / "x.json"))
    with pytest.raises(ConfigError, match=r"--kind: Input should be 'bpe' or 'wordpiece', found 'wp'"):
        call("train", str(tmp_path), str(tmp_path / "x.json"), "--kind", "wp")
    with pytest.raises(ConfigError, match=r"--special: .*'\[PAD\]' is empty or comes twice"):
        call("train", str(tmp_path), str(tmp_path / "x.json"), "--special", "[PAD]")
