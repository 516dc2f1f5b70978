"""Bundled tables against their records, and what a user's own table may and may not be."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from vecmill.errors import ConfigError, FormatError
from vecmill.evaluation.benchmarks import RECORDS, benchmark_files, load_benchmark, read_benchmark
from vecmill.evaluation.config import BUNDLED_BENCHMARKS, EvaluationConfig
from vecmill.store.digest import sha256_file

HEADER = "word1\tword2\tscore\n"

# Counts as published, means as stated with the copies that the figures come from (None: not stated there).
PUBLISHED = {
    "wordsim353": (353, None),
    "simlex999": (999, None),
    "men": (3000, 25.0137),
    "rw": (2034, 6.2099),
    "scws": (2003, 3.8522),
}


@pytest.mark.parametrize("name", BUNDLED_BENCHMARKS)
def test_bundled_table_matches_its_record(name: str) -> None:
    record, benchmark = RECORDS[name], load_benchmark(name)
    n_pairs, mean = PUBLISHED[name]
    assert record.n_pairs == len(benchmark) == n_pairs
    assert mean is None or sum(benchmark.scores) / n_pairs == pytest.approx(mean, abs=5e-5)
    [path] = benchmark_files(EvaluationConfig(benchmarks=(name,)))
    assert record.sha256 == benchmark.digest == sha256_file(path)
    assert (record.name, record.title, record.scale) == (benchmark.name, benchmark.title, benchmark.scale)
    low, high = record.scale
    assert all(low <= score <= high for score in benchmark.scores)
    assert all((record.citation, record.home_page, record.rated, record.licence, record.notes))


@pytest.mark.parametrize("name", BUNDLED_BENCHMARKS)
def test_bundled_table_has_one_spelling(name: str) -> None:
    [path] = benchmark_files(EvaluationConfig(benchmarks=(name,)))
    content = path.read_bytes()
    assert content.startswith(HEADER.encode()) and content.endswith(b"\n") and b"\r" not in content
    for word in (*load_benchmark(name).words1, *load_benchmark(name).words2):
        assert word == word.strip() and " " not in word


def test_records_and_names_agree() -> None:
    assert tuple(RECORDS) == BUNDLED_BENCHMARKS == EvaluationConfig().benchmarks


def test_what_the_notes_say_about_repetitions() -> None:
    def facts(name: str) -> tuple[int, int]:
        pairs = load_benchmark(name)
        unordered = [frozenset(pair) for pair in zip(pairs.words1, pairs.words2, strict=True)]
        return len(unordered) - len(set(unordered)), sum(len(pair) == 1 for pair in unordered)

    # (lines beyond the first of their pair, lines of a word with itself)
    assert facts("scws") == (28, 241)
    assert facts("wordsim353") == (2, 1)
    assert facts("simlex999") == (1, 0)
    assert facts("men") == (0, 0)
    assert facts("rw") == (1, 0)


def test_an_altered_bundled_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "men.tsv").write_text(HEADER + "sun\tmoon\t3\n")
    monkeypatch.setattr("vecmill.evaluation.benchmarks._TABLES", tmp_path)
    with pytest.raises(FormatError, match=r"bundled table of MEN has the digest .* install vecmill again"):
        load_benchmark("men")


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "Our Ratings-2.tsv"
    path.write_bytes(b"\xef\xbb\xbfword1\tword2\tscore\r\nStra\xc3\x9fe\tnew york\t-1.5e0\r\nBrazil \tx\t4")
    benchmark = load_benchmark(str(path))
    assert benchmark.name == "our_ratings_2" and benchmark.title == "Our Ratings-2"
    assert benchmark.words1 == ("Straße", "Brazil") and benchmark.words2 == ("new york", "x")
    assert benchmark.scores == (-1.5, 4.0) and benchmark.scale == (-1.5, 4.0)
    assert benchmark.digest == sha256_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"ratings\.tsv: the file is empty.*header word1, word2, score.*at the top"),
        ("love\tsex\t6.77\n", r"first line is 'love\\tsex\\t6.77'.*header word1, word2, score"),
        ("word1,word2,score\n", "first line is 'word1,word2,score'"),
        (HEADER, "no pair follows the header"),
        (HEADER + "a\tb\t1\na b 2\n", r"ratings\.tsv, line 3: 'a b 2'.*two words and a finite number"),
        (HEADER + "a\tb\n", "line 2: 'a<tab>b'"),
        (HEADER + "a\tb\t1\t2\n", "line 2: 'a<tab>b<tab>1<tab>2'"),
        (HEADER + "a\tb\thigh\n", "line 2: 'a<tab>b<tab>high'.*finite number.*leave out the line"),
        (HEADER + "a\tb\tnan\n", "line 2: 'a<tab>b<tab>nan'.*finite number"),
        (HEADER + "a\tb\tinf\n", "line 2: 'a<tab>b<tab>inf'.*finite number"),
        (HEADER + "a\tb\t\n", "line 2"),
        (HEADER + "\tb\t1\n", "line 2: '<tab>b<tab>1'.*two words"),
        (HEADER + "a\tb\t1\n\na\tc\t2\n", "line 3: ''"),
    ],
)
def test_malformed_tables(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "ratings.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_benchmark(tmp_path / "ratings.tsv")


def test_a_table_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "ratings.tsv").write_bytes(HEADER.encode() + b"a\tb\t1\ncaf\xe9\tb\t2\n")
    with pytest.raises(FormatError, match=r"line 3: not UTF-8 .*convert the file"):
        read_benchmark(tmp_path / "ratings.tsv")


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"nowhere\.tsv cannot be read \(No such file"):
        read_benchmark(tmp_path / "nowhere.tsv")
    with pytest.raises(FormatError, match=r"cannot be read \(Is a directory"):
        read_benchmark(tmp_path)


def test_one_pair_is_read(tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text(HEADER + "a\tb\t1\n")
    assert len(read_benchmark(tmp_path / "one.tsv")) == 1 and not math.isnan(
        read_benchmark(tmp_path / "one.tsv").scores[0]
    )


def test_files_of_a_configuration(tmp_path: Path) -> None:
    own = tmp_path / "own.tsv"
    own.write_text(HEADER + "a\tb\t1\n")
    files = benchmark_files(EvaluationConfig(benchmarks=("men", str(own))))
    assert [path.name for path in files] == ["men.tsv", "own.tsv"] and files[1] == own


def test_a_missing_file_is_found_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"names '.*gone\.tsv', but .*gone\.tsv is missing.*correct the path"):
        benchmark_files(EvaluationConfig(benchmarks=("men", str(tmp_path / "gone.tsv"))))
    with pytest.raises(ConfigError, match="is a folder"):
        benchmark_files(EvaluationConfig(benchmarks=(f"{tmp_path}/",)))


def test_two_benchmarks_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "MEN.tsv").write_text(HEADER + "a\tb\t1\n")
    with pytest.raises(ConfigError, match=r"both be called 'men'.*rename the file"):
        benchmark_files(EvaluationConfig(benchmarks=("men", str(tmp_path / "MEN.tsv"))))
    with pytest.raises(ConfigError, match="both be called 'rw'"):
        benchmark_files(EvaluationConfig(benchmarks=("rw", "rw")))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("simlex", "no benchmark is named 'simlex'. Did you mean 'simlex999'.*wordsim353, simlex999, men, rw, scws"),
        ("MEN", "Did you mean 'men'"),
        ("analogies-of-ours", r"no benchmark is named 'analogies-of-ours'\. Expected: .* path of a TSV file"),
        ("s3://bucket/ratings.tsv", "'s3://bucket/ratings.tsv' is not a local file"),
    ],
)
def test_unknown_names_are_refused_with_the_configuration(entry: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(benchmarks=(entry,))


def test_bounds_of_the_configuration() -> None:
    for wrong in ({"benchmarks": ()}, {"confidence": 1.0}, {"n_resamples": 99}, {"n_neighbours": 0}, {"benchmark": ()}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            EvaluationConfig.model_validate(wrong)


def test_every_field_is_described() -> None:
    for name, field in EvaluationConfig.model_fields.items():
        assert field.description and "Default: " in field.description, name


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys; from vecmill.evaluation.benchmarks import benchmark_files;"
        "from vecmill.evaluation.config import EvaluationConfig; benchmark_files(EvaluationConfig());"
        "heavy = {'numpy', 'pyarrow', 'polars', 'scipy', 'gensim', 'pandas'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
