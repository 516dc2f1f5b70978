"""Analogies: equal to the plain version, the policies, and what is refused. gensim stands in tests/peers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reference.analogies import best_answers
from vecmill.errors import ConfigError, FormatError
from vecmill.evaluation.analogies import analogy_outcomes, score_analogies, solve_analogy
from vecmill.evaluation.analogy_questions import (
    GOOGLE_SHA256,
    AnalogyQuestions,
    analogy_files,
    load_analogies,
    read_analogies,
)
from vecmill.evaluation.config import EvaluationConfig
from vecmill.vectors import neighbours
from vecmill.vectors.word_vectors import UnknownWord, WordVectors

METHODS = ["3cosadd", "3cosmul"]


def questions_of(*lines: str, section: str = "all") -> AnalogyQuestions:
    rows = [line.split() for line in lines]
    return AnalogyQuestions("mine", "Mine", (section,), (0,) * len(rows), tuple(tuple(row) for row in rows), "0" * 64)  # type: ignore[misc]


@pytest.fixture
def kings() -> WordVectors:
    """Gender on one axis, rank on another; an apple far away."""
    rows = {"man": [1, 0, 0.2], "woman": [-1, 0, 0.2], "king": [1, 1, 0], "queen": [-1, 1, 0], "apple": [0, -1, 1]}
    return WordVectors(list(rows), np.array(list(rows.values()), np.float32))


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), n_words=st.integers(4, 12), dim=st.integers(1, 4), whole=st.booleans())
@example(seed=232, n_words=11, dim=4, whole=True)  # b + c = a in one question: a query without direction
@example(seed=8262, n_words=7, dim=2, whole=True)  # products that are 0 but for rounding
def test_equal_to_the_plain_version(method: str, seed: int, n_words: int, dim: int, whole: bool) -> None:
    """Whole numbers give equal scores, rows of zeros and equal rows; words share spellings."""
    rng = np.random.default_rng(seed)
    rows = (rng.integers(-1, 2, size=(n_words, dim)) if whole else rng.normal(size=(n_words, dim))).astype(np.float32)
    words = [
        f"{'wW'[rng.integers(2)]}{i if i < 6 else i - 6}{'' if i < 6 else 'ab'[rng.integers(2)]}"
        for i in range(n_words)
    ]
    words = list(dict.fromkeys(words))
    rows = rows[: len(words)]
    asked = rng.choice([*words, "missing"], size=(10, 4))
    outcomes = analogy_outcomes(
        WordVectors(words, rows),
        questions_of(*(" ".join(each) for each in asked)),
        method=method,
        n_words=100,  # type: ignore[arg-type]
    )
    forms = [word.upper() for word in words]
    for question, outcome in zip(asked.tolist(), outcomes.tolist(), strict=True):
        known = all(word.upper() in forms and rows[forms.index(word.upper())].any() for word in question)
        assert (outcome >= 0) == known
        if known:
            expected = best_answers(words, rows, tuple(question[:3]), method)  # type: ignore[arg-type]
            assert bool(outcome) == (question[3].upper() in expected) or len(expected) > 1


@pytest.mark.parametrize("method", METHODS)
def test_kings_and_queens(kings: WordVectors, method: str) -> None:
    questions = questions_of(
        "man king woman queen", "man woman king queen", "man king woman apple", "man king boy girl"
    )
    score = score_analogies(kings, questions, method=method)  # type: ignore[arg-type]
    assert (score.n_questions, score.n_covered, score.n_correct) == (4, 3, 2)
    assert (score.accuracy, score.accuracy_all, score.coverage) == (2 / 3, 0.5, 0.75)
    [(word, value), *others] = solve_analogy(kings, "man", "king", "woman", method=method)  # type: ignore[arg-type]
    assert word == "queen" and [other for other, _ in others] == ["apple"] and value > others[0][1]


def test_scores_by_hand(kings: WordVectors) -> None:
    [(_, added)] = solve_analogy(kings, "man", "king", "woman", 1)
    unit = {word: kings[word] / np.linalg.norm(kings[word]) for word in kings.words}
    query = unit["king"] + unit["woman"] - unit["man"]
    assert added == pytest.approx(unit["queen"] @ query / np.linalg.norm(query), abs=1e-6)
    [(_, multiplied)] = solve_analogy(kings, "man", "king", "woman", 1, method="3cosmul")
    shares = {word: (1 + unit["queen"] @ unit[word]) / 2 for word in ("man", "king", "woman")}
    assert multiplied == pytest.approx(shares["king"] * shares["woman"] / (shares["man"] + 1e-6), rel=1e-5)


def test_case_is_folded(kings: WordVectors) -> None:
    words = ["Man", "WOMAN", "king", "Queen", "apple", "man", "KING"]
    vectors = WordVectors(words, np.concatenate([kings.vectors, -kings.vectors[:2]]))
    assert analogy_outcomes(vectors, questions_of("MAN King woman queen")).tolist() == [1]
    with pytest.raises(UnknownWord, match="'Woman'"):
        solve_analogy(vectors, "man", "king", "Woman")


def test_only_the_first_words_are_looked_at(kings: WordVectors) -> None:
    questions = questions_of("man king woman queen", "man woman king queen")
    assert analogy_outcomes(kings, questions, n_words=3).tolist() == [-1, -1]
    better = WordVectors([*kings.words, "empress"], np.concatenate([kings.vectors, [[-1.2, 0.9, -0.1]]]))
    assert analogy_outcomes(better, questions).tolist() != [1, 1]
    assert analogy_outcomes(better, questions, n_words=5).tolist() == [1, 1]
    assert score_analogies(better, questions, n_words=5).n_words == 5
    assert solve_analogy(better, "man", "king", "woman", n_words=5)[0][0] == "queen"


@pytest.mark.parametrize("method", METHODS)
def test_words_without_direction_and_without_answers(kings: WordVectors, method: str) -> None:
    zeros = WordVectors(["man", "king", "woman", "queen"], kings.vectors[[0, 2, 1, 3]] * [[1], [1], [1], [0]])
    options = {"method": method}
    assert analogy_outcomes(zeros, questions_of("man king woman queen"), **options).tolist() == [-1]  # type: ignore[arg-type]
    assert analogy_outcomes(zeros, questions_of("man king woman man"), **options).tolist() == [0]  # type: ignore[arg-type]
    assert solve_analogy(zeros, "man", "king", "woman", **options) == []  # type: ignore[arg-type]
    score = score_analogies(zeros, questions_of("a b c d"), **options)  # type: ignore[arg-type]
    assert score.accuracy is None and score.accuracy_all == 0.0 and score.sections[0].accuracy is None


@pytest.mark.parametrize("method", METHODS)
def test_a_question_that_points_nowhere_is_answered_by_the_first_word(method: str) -> None:
    """b + c = a: under 3cosadd all words score 0, and the first in the vocabulary is as good as any."""
    rows = np.array([[0, 0, 1], [0, 1, 1], [1, 0, -1], [1, -1, 0], [0, 1, -1]], np.float32)
    vectors = WordVectors(["first", "second", "a", "b", "c"], rows)
    answers = solve_analogy(vectors, "a", "b", "c", method=method)  # type: ignore[arg-type]
    assert all(np.isfinite(score) for _, score in answers) and len(answers) == 2
    if method == "3cosadd":
        assert answers == [("first", 0.0), ("second", 0.0)]
        assert analogy_outcomes(vectors, questions_of("a b c first", "a b c second")).tolist() == [1, 0]


@pytest.mark.parametrize("method", METHODS)
def test_small_blocks_give_the_same(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    words = [f"w{i}" for i in range(50)]
    vectors = WordVectors(words, rng.normal(size=(50, 6)))
    questions = questions_of(*(" ".join(rng.choice(words, 4)) for _ in range(200)))
    whole = analogy_outcomes(vectors, questions, method=method)  # type: ignore[arg-type]
    monkeypatch.setattr(neighbours, "BLOCK_FLOATS", 61)
    assert analogy_outcomes(vectors, questions, method=method).tolist() == whole.tolist()  # type: ignore[arg-type]
    assert {0, 1} == set(whole.tolist())


def test_sections_add_up(kings: WordVectors) -> None:
    questions = AnalogyQuestions(
        "mine",
        "Mine",
        ("rank", "empty", "gender"),
        (0, 0, 2),
        (("man", "king", "woman", "queen"), ("a", "b", "c", "d"), ("man", "woman", "king", "apple")),
        "0" * 64,
    )
    plain = score_analogies(kings, questions).as_json()
    json.dumps(plain, allow_nan=False)
    assert plain["sections"] == [
        {"section": "rank", "n_questions": 2, "n_covered": 1, "n_correct": 1, "accuracy": 1.0},
        {"section": "empty", "n_questions": 0, "n_covered": 0, "n_correct": 0, "accuracy": None},
        {"section": "gender", "n_questions": 1, "n_covered": 1, "n_correct": 0, "accuracy": 0.0},
    ]


# --- files -----------------------------------------------------------------------------------------------------------


def test_googles_questions() -> None:
    questions = load_analogies("google_analogies")
    assert len(questions) == 19_544 and len(questions.sections) == 14 and questions.digest == GOOGLE_SHA256
    assert questions.questions[0] == ("Athens", "Greece", "Baghdad", "Iraq")
    syntactic = [id_ for id_ in questions.section_ids if questions.sections[id_].startswith("gram")]
    assert len(syntactic) == 10_675


def test_googles_questions_are_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    altered = tmp_path / "questions-words.txt"
    altered.write_text(": s\na b c d\n")
    monkeypatch.setattr("vecmill.evaluation.analogy_questions._google_file", lambda: altered)
    with pytest.raises(FormatError, match=rf"Google analogies has the digest.*{GOOGLE_SHA256}.*install gensim again"):
        load_analogies("google_analogies")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "My Questions.txt"
    path.write_bytes("\ufeff// by hand\r\n: First one\r\na b\tc d\r\n\r\n:second\r\nÄ ö ü ß".encode())
    questions = read_analogies(path)
    assert questions.sections == ("First one", "second") and questions.section_ids == (0, 1)
    assert questions.questions == (("a", "b", "c", "d"), ("Ä", "ö", "ü", "ß"))
    assert (questions.name, questions.title) == ("my_questions", "My Questions")
    assert load_analogies(str(path)) == questions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no question.*`: section` lines"),
        (b": only\n", "no question"),
        (b"a b c d\n", "line 1: 'a b c d' stands before the first section"),
        (b": s\na b c\n", "line 2: 'a b c'.*four words"),
        (b": s\na b c d e\n", "line 2:"),
        (b": s\na b c d\n\xff\n", "line 3: not UTF-8"),
    ],
)
def test_files_that_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_analogies(tmp_path / "q.txt")


def test_files_are_named_while_planning(tmp_path: Path) -> None:
    assert [path.name for path in analogy_files(EvaluationConfig())] == ["questions-words.txt"]
    assert analogy_files(EvaluationConfig(analogies=())) == []
    with pytest.raises(ConfigError, match=r"evaluate\.analogies names .*gone\.txt is missing"):
        analogy_files(EvaluationConfig(analogies=(str(tmp_path / "gone.txt"),)))
    with pytest.raises(ConfigError, match="both be called 'google_analogies'"):
        analogy_files(EvaluationConfig(analogies=("google_analogies", "google_analogies")))
    (tmp_path / "bad.txt").write_text("a b\n")
    with pytest.raises(FormatError, match=r"bad\.txt, line 1"):
        analogy_files(EvaluationConfig(analogies=(str(tmp_path / "bad.txt"),)))
    with pytest.raises(FormatError, match="cannot be read"):
        read_analogies(tmp_path / "gone.txt")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no benchmark is named 'googel_analogies'. Did you mean 'google_analogies'"):
        EvaluationConfig(analogies=("googel_analogies",))


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys; from vecmill.evaluation.analogy_questions import analogy_files;"
        "from vecmill.evaluation.config import EvaluationConfig; analogy_files(EvaluationConfig());"
        "print([name for name in ('gensim', 'numpy', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
