"""gensim's own evaluation of analogies on the same vectors: the same answer to every question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors

from vecmill.evaluation.analogies import analogy_outcomes, score_analogies, solve_analogy
from vecmill.evaluation.analogy_questions import AnalogyQuestions, load_analogies, read_analogies
from vecmill.vectors.word_vectors import WordVectors

EVERY = 12  # gensim takes a third of a millisecond a question


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnalogyQuestions]:
    """Every twelfth of Google's questions."""
    google = load_analogies("google_analogies")
    path = tmp_path_factory.mktemp("analogies") / "questions.txt"
    lines, last = [], -1
    for section, question in list(zip(google.section_ids, google.questions, strict=True))[::EVERY]:
        if section != last:
            lines.append(f": {google.sections[section]}")
            last = section
        lines.append(" ".join(question))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, read_analogies(path)


def vectors_for(asked: AnalogyQuestions, seed: int) -> WordVectors:
    """Answers that mostly follow, some words left out, some in two spellings, frequent words anywhere."""
    rng = np.random.default_rng(seed)
    offsets = rng.normal(size=(len(asked.sections), 25))
    rows: dict[str, np.ndarray] = {}
    for section, (a, b, c, d) in zip(asked.section_ids, asked.questions, strict=True):
        for left, right in ((a, b), (c, d)):
            rows.setdefault(left, rng.normal(size=25))
            rows.setdefault(right, rows[left] + offsets[section] + rng.normal(size=25) * 0.6)
    words = sorted(rows)
    rng.shuffle(words)
    words = words[: len(words) - len(words) // 12]
    spelt = [word.lower() if i % 3 else word for i, word in enumerate(words)]
    others = [word.capitalize() for word in words[::9]]
    matrix = [*(rows[word] for word in words), *(rows[word] + rng.normal(size=25) for word in words[::9])]
    merged = dict(zip([*spelt, *others], matrix, strict=True))
    return WordVectors(list(merged), np.array(list(merged.values()), np.float32))


def as_gensim(vectors: WordVectors) -> KeyedVectors:
    theirs = KeyedVectors(vectors.dim)
    theirs.add_vectors(list(vectors.words), np.array(vectors.vectors))
    return theirs


@pytest.mark.parametrize("n_words", [300_000, 500])
def test_every_question(asked: tuple[Path, AnalogyQuestions], n_words: int) -> None:
    path, questions = asked
    vectors = vectors_for(questions, seed=1)
    n_words = min(n_words, len(vectors))
    accuracy, sections = as_gensim(vectors).evaluate_word_analogies(str(path), restrict_vocab=n_words)
    outcomes = analogy_outcomes(vectors, questions, n_words=n_words)
    for number, theirs in enumerate(sections[:-1]):
        here = np.array(questions.section_ids) == number
        ours = {tuple(word.upper() for word in questions.questions[i]): outcomes[i] for i in np.flatnonzero(here)}
        assert {question for question, outcome in ours.items() if outcome == 1} == set(theirs["correct"])
        assert {question for question, outcome in ours.items() if outcome == 0} == set(theirs["incorrect"])
    score = score_analogies(vectors, questions, n_words=n_words)
    assert score.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert 0.1 < accuracy < 0.9 and 0 < score.coverage < 1
    assert [each.n_correct for each in score.sections] == [len(each["correct"]) for each in sections[:-1]]


def test_every_question_counted(asked: tuple[Path, AnalogyQuestions]) -> None:
    """With dummy4unknown gensim counts uncovered questions as wrong."""
    path, questions = asked
    vectors = vectors_for(questions, seed=2)
    accuracy, _ = as_gensim(vectors).evaluate_word_analogies(str(path), dummy4unknown=True)
    assert score_analogies(vectors, questions, n_words=len(vectors)).accuracy_all == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Call to deprecated `init_sims`")  # gensim calls it itself
def test_most_similar(asked: tuple[Path, AnalogyQuestions]) -> None:
    vectors = vectors_for(asked[1], seed=3)
    theirs = as_gensim(vectors)
    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b, c = rng.choice(vectors.words, 3, replace=False)
        for method, function in (("3cosadd", theirs.most_similar), ("3cosmul", theirs.most_similar_cosmul)):
            found = solve_analogy(vectors, a, b, c, 5, method=method)  # type: ignore[arg-type]
            wanted = function(positive=[b, c], negative=[a], topn=5)
            assert [word for word, _ in found] == [word for word, _ in wanted]
            assert [value for _, value in found] == pytest.approx([value for _, value in wanted], rel=1e-4, abs=1e-6)
