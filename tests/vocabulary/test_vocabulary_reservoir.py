"""The reservoir: uniform, independent of order and of who saw what, bounded, and refused when foreign."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from vecmill.errors import FormatError
from vecmill.text.sentences import split_sentences
from vecmill.vocabulary.reservoir import Reservoir, Unit, Weighting
from vecmill.vocabulary.schema import SAMPLE_SCHEMA

# A document may come twice, even with another text.
documents = st.lists(
    st.tuples(st.integers(0, 40).map(str), st.text(st.characters(codec="utf-8"), max_size=4)), max_size=60
)


def sample(rows: list[tuple[str, str]], size: int = 5, seed: int = 3, max_text_chars: int = 3) -> Reservoir:
    reservoir = Reservoir(size, seed, max_text_chars)
    reservoir.add([doc_id for doc_id, _ in rows], pa.array([text for _, text in rows], pa.string()))
    return reservoir


@settings(deadline=None)
@given(documents, documents, documents)
def test_merge_is_associative_and_commutative_and_equals_one_pass(
    a: list[tuple[str, str]], b: list[tuple[str, str]], c: list[tuple[str, str]]
) -> None:
    left = sample(a).merge(sample(b)).merge(sample(c)).to_table()
    assert left.equals(sample(a).merge(sample(b).merge(sample(c))).to_table())
    assert left.equals(sample(c).merge(sample(b)).merge(sample(a)).to_table())
    assert left.equals(sample(a + b + c).to_table())
    assert sample(a).merge(sample(a)).to_table().equals(sample(a).to_table())


@settings(deadline=None)
@given(documents, st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(rows: list[tuple[str, str]], shuffler: random.Random) -> None:
    before = sample(rows).to_table()
    shuffler.shuffle(rows)
    assert sample(rows).to_table().equals(before)


@settings(deadline=None)
@given(documents, st.integers(1, 50))
def test_sample_is_the_documents_of_smallest_priority(rows: list[tuple[str, str]], size: int) -> None:
    reservoir = sample(rows, size=size)
    table = reservoir.to_table()
    ids = {doc_id for doc_id, _ in rows}
    ranked = sorted((reservoir.priority(doc_id), doc_id) for doc_id in ids)[:size]
    assert list(zip(table["priority"].to_pylist(), table["doc_id"].to_pylist(), strict=True)) == ranked
    texts = {doc_id: min(text[:3] for other, text in rows if other == doc_id) for doc_id in ids}
    assert table["text"].to_pylist() == [texts[doc_id] for _, doc_id in ranked]


@pytest.mark.parametrize("n_shards", [1, 2, 7])
def test_sample_of_shards_is_the_sample_of_the_whole(n_shards: int) -> None:
    rows = [(f"doc-{number}", f"text {number}") for number in range(1000)]
    merged = Reservoir(50, 3, 3)
    for shard in range(n_shards):
        merged = merged.merge(sample(rows[shard::n_shards], size=50))
    assert merged.to_table().equals(sample(rows, size=50).to_table())
    assert len(merged) == 50


def test_every_document_is_as_likely_as_any_other() -> None:
    n_documents, size, n_trials = 200, 20, 600
    ids = [f"doc-{number}" for number in range(n_documents)]
    texts = pa.array([""] * n_documents)
    included = np.zeros(n_documents)
    for seed in range(n_trials):
        reservoir = Reservoir(size, seed)
        reservoir.add(ids, texts)
        included[[int(doc_id[4:]) for doc_id in reservoir.to_table()["doc_id"].to_pylist()]] += 1
    expected = n_trials * size / n_documents
    # Draws without replacement vary less than a multinomial: by 1 - size / n, over n - 1 degrees of freedom.
    statistic = ((included - expected) ** 2).sum() / (expected * (1 - size / n_documents)) * (1 - 1 / n_documents)
    assert 0.001 < chi2.sf(statistic, n_documents - 1) < 0.999


@pytest.mark.parametrize("unit", ["document", "sentence"])
@pytest.mark.parametrize("weighting", ["uniform", "length"])
@pytest.mark.parametrize("n_shards", [2, 7])
def test_every_kind_of_sample_is_the_same_for_any_shards(
    unit: Unit, weighting: Weighting, n_shards: int, tmp_path: Path
) -> None:
    ids = [f"doc-{number}" for number in range(200)]
    texts = [f"One {'word ' * (number % 9)}here. And {number} more!\n\nThe end" for number in range(200)]
    whole = Reservoir(30, 3, 500, unit, weighting)
    whole.add(ids, pa.array(texts))
    merged = Reservoir(30, 3, 500, unit, weighting)
    for shard in range(n_shards):
        part = Reservoir(30, 3, 500, unit, weighting)
        part.add(ids[shard::n_shards], pa.array(texts[shard::n_shards]))
        part.save(tmp_path / "part.parquet")
        merged = merged.merge(Reservoir.load(tmp_path / "part.parquet"))
    assert merged.to_table().equals(whole.to_table(), check_metadata=True)
    assert whole.n_offered == (200 if unit == "document" else 600)
    # The threshold is the first priority outside: a sample of one more ends with it.
    larger = Reservoir(31, 3, 500, unit, weighting)
    larger.add(ids, pa.array(texts))
    assert larger.to_table()["priority"].to_pylist()[-1] == whole.threshold == merged.threshold


def test_sentences_are_those_of_their_documents() -> None:
    texts = ["One. Two!\n\n  Three", "", "Four"]
    reservoir = Reservoir(10, 1, unit="sentence")
    reservoir.add(["a", "b", "c"], pa.array(texts))
    rows = reservoir.to_table().to_pylist()
    expected = {
        f"{doc_id}#{number}": sentence
        for doc_id, text in zip("abc", texts, strict=True)
        for number, sentence in enumerate(split_sentences(text))
    }
    assert {row["doc_id"]: row["text"] for row in rows} == expected
    assert [row["n_bytes"] for row in rows] == [len(row["text"]) for row in rows]
    assert reservoir.inclusion().tolist() == [1.0] * 4


@pytest.mark.parametrize("unit", ["document", "sentence"])
def test_weighted_by_length_the_first_member_is_drawn_in_proportion_to_length(unit: Unit) -> None:
    lengths = np.array([1, 2, 3, 10, 24])
    texts = pa.array(["x" * length for length in lengths])
    first = np.zeros(len(lengths))
    n_trials = 3000
    for seed in range(n_trials):
        reservoir = Reservoir(1, seed, unit=unit, weighting="length")
        reservoir.add(list("abcde"), texts)
        first["abcde".index(reservoir.to_table()["doc_id"][0].as_py()[0])] += 1
    expected = n_trials * lengths / lengths.sum()
    assert 0.001 < chi2.sf(((first - expected) ** 2 / expected).sum(), len(lengths) - 1) < 0.999


def test_inclusion_probabilities_estimate_totals_without_bias() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 200, 300)
    texts = pa.array(["x" * length for length in lengths])
    ids = [str(number) for number in range(300)]
    for weighting in ("uniform", "length"):
        totals = []
        for seed in range(300):
            reservoir = Reservoir(40, seed, weighting=weighting)
            reservoir.add(ids, texts)
            totals.append((reservoir.to_table()["n_bytes"].to_numpy() / reservoir.inclusion()).sum())
        error = np.std(totals) / np.sqrt(len(totals))
        assert abs(np.mean(totals) - lengths.sum()) < 4 * error


def test_saved_and_loaded(tmp_path: Path) -> None:
    rows = [(f"doc-{number}", f"text {number}") for number in range(100)]
    first, second = sample(rows[:60]), sample(rows[60:])
    first.save(tmp_path / "first.parquet")
    loaded = Reservoir.load(tmp_path / "first.parquet")
    assert loaded.merge(second).to_table().equals(sample(rows).to_table())
    loaded.save(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "first.parquet").read_bytes()
    assert pq.read_schema(tmp_path / "first.parquet").equals(SAMPLE_SCHEMA)


@pytest.mark.parametrize(
    "other",
    [
        *(Reservoir(6, 3, 3), Reservoir(5, 4, 3), Reservoir(5, 3, 4)),
        *(Reservoir(5, 3, 3, "sentence"), Reservoir(5, 3, 3, weighting="length")),
    ],
)
def test_reservoirs_of_other_settings_do_not_merge(other: Reservoir) -> None:
    with pytest.raises(
        ValueError, match=r"reservoirs with (size|seed|max_text_chars|unit|weighting) \w+ and \w+ cannot be merged"
    ):
        sample([]).merge(other)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sample.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(FormatError, match=r"sample\.parquet is not a sample of documents.*--refresh vocabulary"):
        Reservoir.load(path)
    pq.write_table(pa.table({"priority": [1]}), path)
    with pytest.raises(FormatError, match=r"not a sample of documents: 'No such|not a sample of documents: b'vecmill"):
        Reservoir.load(path)
    metadata = sample([]).to_table().schema.metadata
    pq.write_table(pa.table({"priority": [1]}).replace_schema_metadata(metadata), path)
    with pytest.raises(FormatError, match="its columns are priority"):
        Reservoir.load(path)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="size 0 and max_text_chars 20000 must both be at least 1"):
        Reservoir(0, 1)
