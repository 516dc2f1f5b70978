"""Benchmarks in the corpus: planted files are found in many shapes, ordinary text is not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.corpus.shard_shares import ShardShare
from vecmill.errors import ConfigError
from vecmill.evaluation import benchmark_rows
from vecmill.evaluation.benchmark_rows import Companies, Row, RowFinder
from vecmill.evaluation.benchmarks import Benchmark, load_benchmark
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.contamination import find_contamination, said
from vecmill.evaluation.contamination_piece import Looking, flagged, look_piece
from vecmill.store.stage import BuiltPiece, StageIO

Shape = Callable[[str, str, float], str]
WORDSIM = load_benchmark("wordsim353")
ROWS = list(zip(WORDSIM.words1, WORDSIM.words2, WORDSIM.scores, strict=True))
PROSE = (
    "The tiger looked at the cat for 7 days, and neither love nor sex (1983) was on its mind.\n"
    "In 2 books the professor gave 35 students cucumber and potato; king and queen, 8.58 metres apart, drank.\n"
    "Bank, money.\nMoney and cash\nDay and night, 24\n\nA paper of 7 pages about the computer keyboard.\n"
)


def rows_of(texts: dict[str, str], benchmarks: tuple[Benchmark, ...] = (WORDSIM,), company: int = 5) -> list[Row]:
    """What is flagged in some documents, in one pass."""
    finder, companies = RowFinder(benchmarks), Companies(len(benchmarks), company)
    looked = (each for doc_id, text in texts.items() for each in finder.look(doc_id, "a.txt", text))
    return [row for candidate in looked for row in companies.add(candidate)]


def found(text: str, *benchmarks: Benchmark, company: int = 5) -> list[Row]:
    return rows_of({"doc": text}, benchmarks or (WORDSIM,), company)


# --- one row ----------------------------------------------------------------------------------------------------------


EXACT = (
    "tiger\tcat\t7.35",
    "tiger,cat,7.35",
    "tiger;cat;7,35",
    '"Tiger", "cat", 7.35',
    "| tiger | cat | 7.35 |",
    "  tiger     cat   7.350",
    "tiger / cat: 7.35",
)


@pytest.mark.parametrize("line", EXACT)
def test_an_exact_line_is_found_whatever_parts_its_fields(line: str) -> None:
    (row,) = found(f"{PROSE}{line}\r\n{PROSE}")
    assert (row.kind, ROWS[row.item], row.line) == ("exact", ("tiger", "cat", 7.35), PROSE.count("\n") + 1)
    assert row.excerpt == line.strip()


@pytest.mark.parametrize("line", ["7.35 tiger cat", "cat\ttiger\t7.35", "cat,7.35,tiger", "tiger,7.35,cat"])
def test_shuffled_columns_are_found(line: str) -> None:
    (row,) = found(f"{PROSE}{line}")
    assert row.kind == "shuffled" and ROWS[row.item][:2] == ("tiger", "cat")


def test_each_of_two_ratings_is_told_apart() -> None:
    """money cash stands twice, with 9.15 and 9.08; which one a line with another rating is, nobody can say."""
    rows = found("money cash 9.08", company=1)
    assert {(ROWS[row.item][2], row.kind) for row in rows} >= {(9.08, "exact")}


@pytest.mark.parametrize(
    "line",
    ["tiger cat 5.1", "tiger cat", "12 tiger cat 7.35 8 9", "tiger cat N 7.35", "the tiger and the cat ate 7.35 kg"],
)
def test_a_single_line_that_may_be_chance_is_not_flagged(line: str) -> None:
    assert found(f"{PROSE}{line}\n{PROSE}") == []


def test_ordinary_text_is_not_flagged() -> None:
    assert found(PROSE * 50) == []
    sentences = [
        f"I think that {one} has more to do with {other} than {at} people say."
        for at, (one, other, _) in enumerate(ROWS)
    ]
    assert found(" ".join(sentences)) == [] and found("\n".join(sentences)) == []


# --- a file -----------------------------------------------------------------------------------------------------------

SHAPES: dict[str, Shape] = {
    "rescaled": lambda one, other, score: f"{one}\t{other}\t{score / 10:.3f}",
    "rounded": lambda one, other, score: f"{one},{other},{score:.0f}",
    "upper case, swapped": lambda one, other, score: f"{other.upper()} {one.upper()} {score}",
    "a column of tags": lambda one, other, score: f"{one}\t{other}\tN\t{score}\t3.1\t0.99",
    "JSON": lambda one, other, score: json.dumps({"word1": one, "word2": other, "score": score}),
    "no rating": lambda one, other, score: f"{one}\t{other}",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_is_found_in_every_shape(shape: str) -> None:
    rows = list(ROWS)
    random.Random(1).shuffle(rows)
    text = "\n".join(SHAPES[shape](*row) for row in rows)
    items = {row.item for row in found(f"{PROSE}{text}\n{PROSE}")}
    assert len(items) > 0.97 * len(ROWS)


@pytest.mark.parametrize("shape", ["rescaled", "a column of tags", "upper case, swapped"])
def test_a_file_without_line_breaks_is_found(shape: str) -> None:
    text = " ".join(SHAPES[shape](*row) for row in ROWS)
    assert len({row.item for row in found(text)}) > 0.9 * len(ROWS)


def test_a_file_with_a_document_for_each_line_is_found() -> None:
    rows = rows_of({f"{at}": SHAPES["rescaled"](*each) for at, each in enumerate(ROWS)})
    assert len({row.item for row in rows}) > 0.97 * len(ROWS)
    assert {row.doc_id for row in rows[:4]} == {"0", "1", "2", "3"}, "those before the fifth are told as well"


def test_company_is_near_and_of_different_pairs() -> None:
    near = [SHAPES["rescaled"](*row) for row in ROWS[:4]]
    assert found("\n".join(near)) == [] and found("\n".join(near * 3)) == []
    assert len(found("\n".join([*near, SHAPES["rescaled"](*ROWS[5])]))) == 5
    apart = f"\n{'so it went on ' * 60}\n".join([*near, SHAPES["rescaled"](*ROWS[5])])
    assert found(apart) == []
    assert len(found("\n".join(near), company=4)) == 4


def test_words_of_two_words_and_ratings_that_are_whole() -> None:
    mine = Benchmark("m", "Mine", ("new york", "ice-cream"), ("city", "U.S."), (7.0, 3.0), "0", (0.0, 10.0))
    assert [row.kind for row in found("New York, city, 7\nU.S. ice-cream 3", mine)] == ["exact", "shuffled"]


# --- the stage --------------------------------------------------------------------------------------------------------


def corpus(root: Path, texts: list[str], quarantined: tuple[int, ...] = ()) -> StageIO:
    columns = {
        "doc_id": [f"{at:032x}" for at in range(len(texts))],
        "source_uri": ["a.txt"] * len(texts),
        "title": [""] * len(texts),
        "text": texts,
        "n_chars": [len(text) for text in texts],
        "language": [None] * len(texts),
    }
    for name in ("ingest", "contract", "out"):
        (root / name).mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=CORPUS_SCHEMA), root / "ingest/part-00000.parquet", row_group_size=3)
    left_out = {"doc_id": pa.array([f"{at:032x}" for at in quarantined], pa.string())}
    pq.write_table(pa.table(left_out), root / "contract/quarantine.parquet")
    return StageIO(inputs={"ingest": root / "ingest", "contract": root / "contract"}, output=root / "out")


def test_what_the_stage_writes(tmp_path: Path) -> None:
    planted = "\n".join(f"{one},{other},{score}" for one, other, score in ROWS)
    config = EvaluationConfig(benchmarks=("wordsim353", "men"))
    report = find_contamination(config, corpus(tmp_path / "a", [PROSE, PROSE, planted, PROSE, "love sex 6.77"]))
    table = pq.read_table(tmp_path / "a/out/contamination.parquet").to_pylist()
    assert len(table) == report.rows["contamination.parquet"] == report.metrics["n_rows"] >= 354
    exact = [row for row in table if row["benchmark"] == "wordsim353" and row["kind"] == "exact"]
    assert {row["doc_id"][-1] for row in exact} == {"2", "4"} and exact[0]["excerpt"] == "love,sex,6.77"
    wordsim, men = json.loads((tmp_path / "a/out/contamination.json").read_text(encoding="utf-8"))
    assert (wordsim["n_found"], wordsim["n_pairs"]) == (353, 353) and wordsim["exact"] >= 353
    assert wordsim["documents"][0] == f"{2:032x}"
    assert "353 of 353 pairs of WordSim-353" in report.markdown and report.metrics["said"] == said([wordsim, men])
    find_contamination(config, corpus(tmp_path / "b", [PROSE, PROSE, planted, PROSE, "love sex 6.77"]))
    for name in ("contamination.json", "contamination.parquet"):
        assert (tmp_path / "a/out" / name).read_bytes() == (tmp_path / "b/out" / name).read_bytes()


# Lines that are candidates with company or alone, and some so long that company ends at them or soon after.
LINES = (*(SHAPES["rescaled"](*row) for row in ROWS[:5]), "tiger cat 7.35", *["on and on " * 90] * 4)


@given(st.randoms(use_true_random=False), st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_cut_anywhere_it_is_what_one_pass_finds(source: random.Random, company: int) -> None:
    documents = [source.choices(LINES, k=source.randint(0, 9)) for _ in range(4)]
    texts = {f"{at:032x}": "\n".join(lines) for at, lines in enumerate(documents)}
    whole = rows_of(texts, company=company)
    with TemporaryDirectory() as folder:
        pieces = []
        for at, (doc_id, text) in enumerate(texts.items()):
            io = corpus(Path(folder) / f"{at}", [text])
            shard = pq.read_table(io.inputs["ingest"] / "part-00000.parquet")
            named = pa.array([doc_id], pa.string())
            pq.write_table(
                shard.set_column(0, CORPUS_SCHEMA.field(0), named), io.inputs["ingest"] / "part-00000.parquet"
            )
            share = ShardShare(("part-00000.parquet",), io.inputs["ingest"])
            report = look_piece(Looking(share, (WORDSIM,), company), io)
            rows = pq.read_table(io.output / "candidates.parquet")
            assert len(rows) == report.rows["candidates.parquet"]
            pieces.append(BuiltPiece(None, report.metrics, [], {}, lambda *names, io=io: io.output))
        assert list(flagged(pieces, 1, company)) == whole


def test_a_piece_keeps_what_may_be_flagged_and_no_more(tmp_path: Path) -> None:
    near = [SHAPES["rescaled"](*row) for row in ROWS[:3]]
    gap = "so it went on " * 300
    io = corpus(tmp_path, ["\n".join([*near, gap, *near, gap, "tiger cat 7.35", gap, *near])])
    share = ShardShare(("part-00000.parquet",), io.inputs["ingest"])
    look_piece(Looking(share, (WORDSIM,), 5), io)
    kept = pq.read_table(io.output / "candidates.parquet")
    assert kept["line"].to_pylist() == [1, 2, 3, 9, 11, 12, 13], "not those in the middle, which are too few"


def test_what_the_contract_left_out_is_not_looked_at(tmp_path: Path) -> None:
    io = corpus(tmp_path, [PROSE, "love sex 6.77"], quarantined=(1,))
    report = find_contamination(EvaluationConfig(benchmarks=("wordsim353",)), io)
    assert report.metrics["n_rows"] == 0 and report.metrics["said"] == ""
    assert report.markdown == "No row of a benchmark stands in the corpus."
    assert pq.read_table(io.output / "contamination.parquet").num_rows == 0


def test_a_missing_benchmark_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.benchmarks names '.*mine\.tsv', but .* is missing"):
        find_contamination(EvaluationConfig(benchmarks=(str(tmp_path / "mine.tsv"),)), corpus(tmp_path / "c", [PROSE]))


_PIECES = ["a", "é", "7", "7.5", "-", "'", ".", "_", " ", "\t", "w" * 23, "ab-c.d'e" * 4, ", " * 20]


@settings(deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=60).map("".join), st.data())
def test_words_beside_a_number_are_those_of_its_whole_context(line, data):
    place = data.draw(st.integers(0, len(line)))
    before, after = (benchmark_rows._TOKEN.findall(part) for part in (line[:place][-80:], line[place:][:80]))
    assert benchmark_rows._last_tokens(line, place) == before[-3:]
    assert benchmark_rows._first_tokens(line, place) == after[:2]
