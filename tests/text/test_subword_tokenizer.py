"""Subword tokenizers: what they promise of decoding, special tokens, padding, truncation and equal bytes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vecmill.errors import ConfigError, FormatError, VocabularyError
from vecmill.text.subword_config import SubwordTokenizerConfig
from vecmill.text.subword_tokenizer import Pieces, SubwordTokenizer

Kind = Literal["bpe", "wordpiece"]

TRAIN = """
import sys
from pathlib import Path
from test_subword_tokenizer import texts
from vecmill.text.subword_config import SubwordTokenizerConfig
from vecmill.text.subword_tokenizer import SubwordTokenizer
for kind in ("bpe", "wordpiece"):
    config = SubwordTokenizerConfig(kind=kind, size=600, more_special_tokens=("<url>",))
    SubwordTokenizer.train(texts, config).save(Path(sys.argv[1]) / f"{kind}.json")
"""


def texts() -> list[str]:
    rng = random.Random(3)
    words = ["low", "lower", "lowest", "new", "newer", "café", "naïve", "漢字", "สวัสดี", "it's", "3.5", "Straße", "ก"]
    return [" ".join(rng.choices(words, k=rng.randrange(1, 9))) + rng.choice([".", "!\n", ""]) for _ in range(300)]


@pytest.fixture(scope="module")
def trained() -> dict[Kind, SubwordTokenizer]:
    pytest.importorskip("tokenizers")
    kinds: tuple[Kind, ...] = ("bpe", "wordpiece")
    more = ("<url>",)
    return {
        kind: SubwordTokenizer.train(texts, SubwordTokenizerConfig(kind=kind, size=600, more_special_tokens=more))
        for kind in kinds
    }


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="[]<>"), max_size=30))
def test_byte_pairs_spell_any_text(trained: dict[Kind, SubwordTokenizer], text: str) -> None:
    tokenizer = trained["bpe"]
    assert tokenizer.decode(tokenizer.encode([text]).token_ids) == text


def test_word_pieces_spell_known_words_and_say_unknown(trained: dict[Kind, SubwordTokenizer]) -> None:
    tokenizer = trained["wordpiece"]
    encoded = tokenizer.encode(["lowest 漢字 newwest Ω <url>"])
    assert tokenizer.pieces(encoded.token_ids)[0] == "[CLS]"
    assert tokenizer.pieces(encoded.token_ids)[-3:] == ["[UNK]", "<url>", "[SEP]"]
    assert tokenizer.decode(encoded.token_ids) == "lowest 漢 字 newwest"
    assert tokenizer.pieces(tokenizer.encode(["lowest"], ends=False).token_ids) == ["lowest"]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_special_tokens_come_first_and_frequent_words_are_one_piece(
    trained: dict[Kind, SubwordTokenizer], kind: Kind
) -> None:
    tokenizer = trained[kind]
    assert tokenizer.pieces(range(6)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<url>"]
    assert len(tokenizer.encode(["lowest"], ends=False).token_ids) == 1
    assert len(tokenizer) <= 600
    with pytest.raises(KeyError, match="nowhere"):
        tokenizer.id_of("nowhere")
    with pytest.raises(ValueError, match=r"token id 600000 is outside the tokenizer's \d+ pieces"):
        tokenizer.decode([600_000])


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_truncated_and_padded(trained: dict[Kind, SubwordTokenizer], kind: Kind) -> None:
    tokenizer = trained[kind]
    whole = tokenizer.encode(["low low low low low", "", "low"])
    cut = tokenizer.encode(["low low low low low", "", "low"], max_length=4)
    assert np.diff(whole.text_offsets).tolist() == [7, 2, 3]
    assert np.diff(cut.text_offsets).tolist() == [4, 2, 3]
    assert (whole.n_cut, cut.n_cut) == (0, 1)
    assert tokenizer.pieces(cut.token_ids[:4])[::3] == ["[CLS]", "[SEP]"]
    rows, mask = cut.padded(tokenizer.id_of("[PAD]"))
    assert rows.shape == mask.shape == (3, 4)
    assert rows.dtype == np.int32
    assert mask.sum(axis=1).tolist() == [4, 2, 3]
    assert (rows[~mask] == 0).all()
    assert rows[mask].tolist() == cut.token_ids.tolist()
    assert cut.padded(length=6)[0].shape == (3, 6)
    with pytest.raises(ValueError, match=r"a text has 4 tokens, rows of 3 were asked for; encode with max_length"):
        cut.padded(length=3)
    with pytest.raises(ValueError, match=r"max_length 2 leaves no room beside \[CLS\] and \[SEP\]"):
        tokenizer.encode(["low"], max_length=2)
    assert tokenizer.encode([]).padded()[0].shape == (0, 0)


def test_padding_needs_no_library() -> None:
    pieces = Pieces(np.array([5, 6, 7], dtype=np.int32), np.array([0, 1, 3], dtype=np.int64))
    rows, mask = pieces.padded(pad_id=9)
    assert rows.tolist() == [[5, 9], [6, 7]]
    assert mask.tolist() == [[True, False], [True, True]]


def test_the_same_bytes_in_every_process(trained: dict[Kind, SubwordTokenizer], tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])},
    )
    for kind, tokenizer in trained.items():
        tokenizer.save(tmp_path / "here.json")
        assert (tmp_path / "here.json").read_bytes() == (tmp_path / f"{kind}.json").read_bytes()
        loaded = SubwordTokenizer.load(tmp_path / f"{kind}.json")
        sample = ["lower café\n 漢", "x"]
        assert loaded.encode(sample).token_ids.tolist() == tokenizer.encode(sample).token_ids.tolist()


def test_lower_case(trained: dict[Kind, SubwordTokenizer]) -> None:
    for kind in trained:
        config = SubwordTokenizerConfig(kind=kind, size=400, lowercase=True)
        tokenizer = SubwordTokenizer.train(texts, config)
        assert tokenizer.decode(tokenizer.encode(["LOWER Café"]).token_ids) == "lower café"


def test_what_cannot_be_trained_or_read_is_refused(trained: dict[Kind, SubwordTokenizer], tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="there is no text to train a tokenizer on"):
        SubwordTokenizer.train(list, SubwordTokenizerConfig())
    with pytest.raises(ConfigError, match=r"size 300 has no room .* take 8\d\d\. .*set size to 1,\d+ or more, or alph"):
        SubwordTokenizer.train(
            lambda: ["".join(map(chr, range(0x4E00, 0x4E00 + 400)))], SubwordTokenizerConfig(kind="wordpiece", size=300)
        )
    with pytest.raises(FormatError, match=r"none\.json is not a tokenizer: there is no such file.*tokenizer train"):
        SubwordTokenizer.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(FormatError, match=r"bad\.json is not a tokenizer: "):
        SubwordTokenizer.load(tmp_path / "bad.json")
    with pytest.raises(ValidationError, match=r"special token '\[PAD\]' is empty or comes twice"):
        SubwordTokenizerConfig(more_special_tokens=("[PAD]",))


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"need the library tokenizers, which is not installed.*vecmill\[encoders\]"):
        SubwordTokenizer.load(tmp_path / "tokenizer.json")
