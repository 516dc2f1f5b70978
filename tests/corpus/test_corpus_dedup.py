"""Duplicates: who is a twin of whom, in memory and through ingest, on corpora with planted copies and edits."""

import hashlib
import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reference.minhash import jaccard, shingles_of, signature
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.dedup import Duplicates, Twin, fingerprint
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.duplicates_config import DuplicatesConfig
from vecmill.corpus.ingest import ingest
from vecmill.store.stage import StageIO

_NEAR = DuplicatesConfig(drop="near")
_WORDS = [f"word{number}" for number in range(5000)]


def _text(random_: random.Random, n_words: int = 200) -> str:
    return " ".join(random_.choices(_WORDS, k=n_words))


def _edited(text: str, n_edits: int, random_: random.Random) -> str:
    words = text.split()
    for place in random_.sample(range(len(words)), n_edits):
        words[place] = "edited"
    return " ".join(words)


def _find(texts: list[str], config: DuplicatesConfig, batch: int = 1000) -> list[Twin | None]:
    duplicates, found = Duplicates(config), []
    for first in range(0, len(texts), batch):
        part = texts[first : first + batch]
        ids = [f"{first + k:032x}" for k in range(len(part))]
        found += duplicates.find(ids, fingerprint(part, config), np.ones(len(part), np.bool_))
    return found


def _rows(found: list[Twin | None]) -> list[int | None]:
    return [None if twin is None else int(twin.doc_id, 16) for twin in found]


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(st.sampled_from("abcdefg"), max_size=40), batch=st.integers(1, 9), drop=st.booleans())
def test_the_first_of_equal_texts_stays_and_is_named(texts, batch, drop):
    config = DuplicatesConfig(drop="near" if drop else "exact")
    first = {text: texts.index(text) for text in texts}
    expected = [None if first[text] == k else first[text] for k, text in enumerate(texts)]
    assert _rows(_find(texts, config, batch)) == expected


def test_tables_grow_and_forget_nothing():
    texts = [f"text {k} of many, all different" for k in range(20_000)]
    for config in (DuplicatesConfig(drop="exact"), DuplicatesConfig(drop="near", bands=4, rows=2, threshold=1.0)):
        found = _rows(_find(texts + texts[::-1], config))
        assert found[20_000:] == list(range(20_000))[::-1]
    assert _rows(_find(texts, DuplicatesConfig(drop="exact"))) == [None] * 20_000


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from("aBcé дИ中.,\n\t 1"), max_size=30), min_size=1, max_size=4),
    unit=st.sampled_from(["words", "characters"]),
    shingle=st.integers(1, 4),
)
def test_signatures_are_those_of_the_definition(texts, unit, shingle):
    config = DuplicatesConfig(drop="near", shingle_unit=unit, shingle=shingle, bands=2, rows=3)
    constants = np.frombuffer(hashlib.shake_128(b"vecmill minhash").digest(48), "<u4").tolist()
    expected = [signature(text, unit, shingle, [a | 1 for a in constants[::2]], constants[1::2]) for text in texts]
    assert fingerprint(texts, config).signatures.tolist() == expected


def test_similarity_is_estimated_without_bias():
    random_ = random.Random(7)
    errors = []
    for n_edits in (1, 3, 6, 12):
        for _ in range(40):
            text = _text(random_)
            edited = _edited(text, n_edits, random_)
            exact = jaccard(shingles_of(text, "words", 5), shingles_of(edited, "words", 5))
            a, b = fingerprint([text, edited], DuplicatesConfig(drop="near", bands=32, rows=16)).signatures
            errors.append(((a == b).mean() - 1 / 256) / (1 - 1 / 256) - exact)
    # 160 means over 512 hash functions: a standard error of 0.0017 where half of the shingles are shared.
    assert abs(np.mean(errors)) < 0.006
    assert np.std(errors) < 0.03


def test_planted_edits_are_found_and_strangers_are_not():
    random_ = random.Random(1)
    texts = [_text(random_) for _ in range(1500)]
    near = [_edited(text, 2, random_) for text in texts[:500]]
    far = [_edited(text, 30, random_) for text in texts[500:1000]]
    found = _find(texts + near + far, _NEAR)
    assert not any(found[:1500])
    # 2 edits of 200 words leave a similarity of 0.90, 30 edits one of about 0.25.
    twins = _rows(found)[1500:2000]
    assert sum(twin == k for k, twin in enumerate(twins)) >= 495
    assert not any(found[2000:])
    assert all(0.8 <= twin.similarity <= 1 for twin in found[1500:2000] if twin)


def test_the_most_alike_is_the_twin_and_the_first_of_equals():
    random_ = random.Random(3)
    text = _text(random_)
    texts = [_edited(text, 9, random_), _edited(text, 6, random_), text]
    config = DuplicatesConfig(drop="near", threshold=0.54, bands=85)
    strict = DuplicatesConfig(drop="near", threshold=1.0)
    assert _rows(_find(texts, config)) == [None, None, 1]
    assert _rows(_find([*texts[:2], text.upper(), text + "!", text], strict)) == [None, None, None, 2, 2]


def test_boilerplate_shared_by_many_stays_affordable_and_is_judged_alike_in_any_batch():
    random_ = random.Random(5)
    frame = _text(random_, 60)
    texts = [f"{frame} {_text(random_, 40)}" for _ in range(400)]
    config = DuplicatesConfig(drop="near", threshold=0.9, bands=60, rows=2)
    found = _find(texts, config, 1)
    assert found == _find(texts, config, 400)
    assert not any(found)


def test_texts_without_a_word_are_twins_only_word_by_word():
    texts = ["...", "!!!", "...", "", "word"]
    assert _rows(_find(texts, _NEAR)) == [None, None, 0, None, None]


def test_too_many_hash_functions_are_refused():
    with pytest.raises(ValidationError, match=r"bands \* rows is 1024, and a signature has at most 512"):
        DuplicatesConfig(bands=64, rows=16)


def _ingest(folder, sources, **settings_):
    folder.mkdir()
    report = ingest(CorpusConfig(sources=sources, **settings_), StageIO({}, folder))
    texts = [text for batch in iter_documents(folder, columns=("text",)) for text in batch["text"].to_pylist()]
    return report, texts, pq.read_table(folder / "dropped.parquet").to_pylist()


def test_ingest_drops_twins_across_files_and_says_whose(tmp_path):
    random_ = random.Random(2)
    texts = [_text(random_) for _ in range(30)]
    files = {
        "a": [*texts[:20], texts[0]],
        "b": [*(_edited(text, 1, random_) for text in texts[:5]), f"<p>{texts[7]}</p>", *texts[20:], " "],
    }
    for name, lines in files.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in lines))
    one, two = (f"{tmp_path}/{name}.jsonl" for name in "ab")
    report, kept, dropped = _ingest(tmp_path / "near", (one, two), duplicates={"drop": "near"})
    assert kept == texts
    metrics = report.metrics
    assert (metrics["n_read"], metrics["n_kept"], metrics["n_dropped"], metrics["n_quarantined"]) == (38, 30, 8, 0)
    assert (metrics["n_exact_duplicates"], metrics["n_near_duplicates"], metrics["n_empty"]) == (2, 5, 1)
    assert [row["rule"] for row in dropped] == ["exact_duplicate", *["near_duplicate"] * 5, "exact_duplicate", "empty"]
    assert {row["step"] for row in dropped[:-1]} == {"duplicates"}
    ids = [name for batch in iter_documents(tmp_path / "near") for name in batch["doc_id"].to_pylist()]
    assert [row["twin"] for row in dropped] == [ids[0], *ids[:5], ids[7], None]
    assert dropped[0]["detail"] == "the same text"
    assert dropped[1]["detail"].startswith("about 0.9")
    assert "2 documents left out that repeat an earlier one word by word, and 5 nearly" in report.markdown
    # The order in which sources are listed and how shards are cut make no difference.
    assert _ingest(tmp_path / "again", (two, one), duplicates={"drop": "near"}, shard_mib=1)[1:] == (kept, dropped)
    assert (tmp_path / "again/dropped.parquet").read_bytes() == (tmp_path / "near/dropped.parquet").read_bytes()
    assert _ingest(tmp_path / "exact", (one, two), duplicates={"drop": "exact"})[0].metrics["n_dropped"] == 3
    assert _ingest(tmp_path / "none", (one, two))[0].metrics["n_dropped"] == 1
