"""Analogies: which word x answers *a is to b as c is to x* best.

3CosAdd   x = argmax cos(x, b/|b| + c/|c| - a/|a|)                  (Mikolov, Yih and Zweig 2013)
3CosMul   x = argmax p(x, b) p(x, c) / (p(x, a) + 0.000001),  p(x, y) = (1 + cos(x, y)) / 2
                                                                    (Levy and Goldberg 2014, section 5.3, equation 4)

Stated policies, the same for every model, and those of gensim's ``evaluate_word_analogies``:

- *Words*: questions and answers are looked for among the first ``n_words`` rows, by convention the most frequent words.
- *Case*: words are compared in upper case; of several spellings the first row counts. An answer is right in any
  spelling.
- *Left out*: a, b and c cannot be the answer, in no spelling.
- *Covered questions*: those whose four words have a vector (rows of zeros have no direction, and count as none).
  ``accuracy`` is about these; ``accuracy_all`` counts the others as wrong, so that lost vocabulary costs.

Answers come from float64: products in float32 only say which rows can be the best. Equal scores go to the first row.
The first ``n_words`` rows are copied, divided by their norms.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vecmill.evaluation.analogy_questions import AnalogyQuestions
from vecmill.vectors.neighbours import COSINE_SLACK_PER_DIMENSION, row_blocks
from vecmill.vectors.word_vectors import WordVectors

Method = Literal["3cosadd", "3cosmul"]
Ids = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

# Levy and Goldberg's guard against division by zero.
_EPSILON = 1e-6
_UNCOVERED, _WRONG, _RIGHT = -1, 0, 1


@dataclass(frozen=True)
class SectionScore:
    """One section: questions, covered ones, right ones, and their share of the covered (None where none is covered)."""

    section: str
    n_questions: int
    n_covered: int
    n_correct: int
    accuracy: float | None


@dataclass(frozen=True)
class AnalogyScore:
    """A model's score on one file of questions.

    Attributes
    ----------
    benchmark, title, digest : which questions, and sha256 of their file
    method, n_words : how they were answered, and among how many words
    accuracy : right answers by covered questions, 0 to 1; None where none is covered
    accuracy_all : right answers by all questions
    n_questions, n_covered, n_correct, coverage : questions, those whose four words are known, right answers, and the
        share of covered questions
    sections : the same by section, in the order of the file
    """

    benchmark: str
    title: str
    digest: str
    method: str
    n_words: int
    accuracy: float | None
    accuracy_all: float
    n_questions: int
    n_covered: int
    n_correct: int
    coverage: float
    sections: tuple[SectionScore, ...]

    def as_json(self) -> dict[str, Any]:
        """The score as plain JSON values; undefined numbers are null."""
        return {**asdict(self), "sections": [asdict(section) for section in self.sections]}


def score_analogies(
    vectors: WordVectors, questions: AnalogyQuestions, *, method: Method = "3cosadd", n_words: int = 30_000
) -> AnalogyScore:
    """Answer every covered question; the policies stand in the module's docstring.

    Parameters
    ----------
    n_words : how many rows from the first are questions and answers looked for among
    """
    outcomes = analogy_outcomes(vectors, questions, method=method, n_words=n_words)
    section_ids = np.array(questions.section_ids)
    sections = [
        _section_score(name, outcomes[section_ids == section_id]) for section_id, name in enumerate(questions.sections)
    ]
    n_covered = int((outcomes != _UNCOVERED).sum())
    n_correct = int((outcomes == _RIGHT).sum())
    return AnalogyScore(
        benchmark=questions.name,
        title=questions.title,
        digest=questions.digest,
        method=method,
        n_words=min(n_words, len(vectors)),
        accuracy=n_correct / n_covered if n_covered else None,
        accuracy_all=n_correct / len(questions),
        n_questions=len(questions),
        n_covered=n_covered,
        n_correct=n_correct,
        coverage=n_covered / len(questions),
        sections=tuple(sections),
    )


def analogy_outcomes(
    vectors: WordVectors, questions: AnalogyQuestions, *, method: Method = "3cosadd", n_words: int = 30_000
) -> npt.NDArray[np.int8]:
    """What became of each question: int8[n_questions], 1 right, 0 wrong, -1 not covered."""
    spellings = _Spellings(vectors, n_words)
    groups = {word: spellings.group_of(word) for word in {word for each in questions.questions for word in each}}
    asked = np.array([[groups[word] for word in each] for each in questions.questions], dtype=np.int64)
    covered = (asked >= 0).all(axis=1)
    answers = _answers(vectors, spellings, asked[covered, :3], method)
    outcomes = np.full(len(questions), _UNCOVERED, dtype=np.int8)
    outcomes[covered] = np.where(answers == asked[covered, 3], _RIGHT, _WRONG)
    return outcomes


def solve_analogy(
    vectors: WordVectors,
    a: str,
    b: str,
    c: str,
    n: int = 10,
    *,
    method: Method = "3cosadd",
    n_words: int | None = None,
) -> list[tuple[str, float]]:
    """The ``n`` words that answer *a is to b as c is to x* best, with their scores, among the first ``n_words`` rows.

    Words are taken as they are spelt, and only these three are left out.

    Raises
    ------
    UnknownWord : a, b or c has no vector
    """
    ids = np.array([[vectors.id_of(word) for word in (a, b, c)]], dtype=np.int64)
    rows = np.arange(min(n_words or len(vectors), len(vectors)), dtype=np.int64)
    rows = rows[(vectors.norms[rows] > 0) & ~np.isin(rows, ids)]
    scores = _scores(vectors, rows, np.repeat(ids, len(rows), axis=0), method)
    order = np.lexsort((rows, -scores))[:n]
    return [(vectors.words[row], float(score)) for row, score in zip(rows[order], scores[order], strict=True)]


class _Spellings:
    """Rows of the first words by their upper-case form; a form is a group of rows with a number.

    Attributes
    ----------
    n_words : rows looked at
    groups : int64[n_words], the group of each row; first_rows : int64[n_groups], the first row of each with a direction
    members, starts, sizes : rows ordered by group, and where each group's begin and how many they are
    """

    def __init__(self, vectors: WordVectors, n_words: int) -> None:
        self.n_words = min(n_words, len(vectors))
        self._group_by_form: dict[str, int] = {}
        groups = np.empty(self.n_words, np.int64)
        first_rows: list[int] = []
        has_direction = vectors.norms[: self.n_words] > 0
        for row, word in enumerate(vectors.words[: self.n_words]):
            group = self._group_by_form.setdefault(word.upper(), len(first_rows))
            if group == len(first_rows):
                first_rows.append(row)
            groups[row] = group
        self.groups, self.first_rows = groups, np.array(first_rows, np.int64)
        self._covered = has_direction[self.first_rows]
        self.members = np.argsort(groups, kind="stable")
        self.sizes = np.bincount(groups, minlength=len(first_rows))
        self.starts = np.cumsum(self.sizes) - self.sizes

    def group_of(self, word: str) -> int:
        """The word's group, -1 where it has no vector."""
        group = self._group_by_form.get(word.upper(), -1)
        return group if group >= 0 and self._covered[group] else -1

    def members_of(self, groups: Ids) -> tuple[Ids, Ids]:
        """For int64[n], the position in ``groups`` and the row of every member of these groups."""
        sizes = self.sizes[groups]
        positions = np.repeat(np.arange(len(groups)), sizes)
        within = np.arange(len(positions)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return positions, self.members[self.starts[groups[positions]] + within]


def _answers(vectors: WordVectors, spellings: _Spellings, asked: Ids, method: Method) -> Ids:
    """The group of the best answer to each question of int64[n, 3] groups, -1 where no word is left to answer."""
    answers = np.full(len(asked), -1, dtype=np.int64)
    directions = _directions(vectors, spellings.n_words) if len(asked) else np.empty((0, vectors.dim), np.float32)
    for block in row_blocks(len(asked), 4 * spellings.n_words):
        ids = spellings.first_rows[asked[block]]
        most = _upper_bounds(vectors, directions, ids, method)
        most[:, vectors.norms[: spellings.n_words] == 0] = -np.inf
        for column in asked[block].T:
            most[spellings.members_of(column)] = -np.inf
        # What the row of the highest bound scores is a score that the best reaches: only rows that may score as much
        # can be the best.
        likely = most.argmax(axis=1)
        reached = np.where(most.max(axis=1) > -np.inf, _scores(vectors, likely, ids, method), np.inf)
        question_ids, rows = np.nonzero(most >= reached.astype(np.float32)[:, None])
        scores = _scores(vectors, rows, ids[question_ids], method)
        order = np.lexsort((rows, -scores, question_ids))
        answered, first = np.unique(question_ids[order], return_index=True)
        answers[block.start + answered] = spellings.groups[rows[order][first]]
    return answers


def _directions(vectors: WordVectors, n_words: int) -> Floats32:
    """The first rows divided by their norms, rows of zeros as they are."""
    directions = np.empty((n_words, vectors.dim), dtype=np.float32)
    for rows in row_blocks(n_words, vectors.dim):
        norms = vectors.norms[rows]
        directions[rows] = vectors.vectors[rows].astype(np.float64) / np.where(norms > 0, norms, 1.0)[:, None]
    return directions


def _upper_bounds(vectors: WordVectors, directions: Floats32, ids: Ids, method: Method) -> Floats32:
    """No row of float32[n_questions, n_words] scores more than this as the answer to the question of rows ``ids``."""
    slack = COSINE_SLACK_PER_DIMENSION * (vectors.dim + 8)
    units = directions[ids]
    if method == "3cosadd":
        queries = _sums(units.astype(np.float64))
        bounds: Floats32 = queries.astype(np.float32) @ directions.T
        bounds += np.float32(slack)
        return bounds
    units *= np.float32(0.5)
    lowest = units[:, 0] @ directions.T
    lowest += np.float32(0.5 - slack)
    np.maximum(lowest, 0, out=lowest)
    lowest += np.float32(_EPSILON * (1 - slack))
    bounds = units[:, 1] @ directions.T
    bounds += np.float32(0.5 + slack)
    factors = units[:, 2] @ directions.T
    factors += np.float32(0.5 + slack)
    bounds *= factors
    bounds /= lowest
    return bounds


def _sums(units: Floats) -> Floats:
    """b + c - a at length 1, of float64[n, 3, dim] directions of a, b and c."""
    queries = units[:, 1] + units[:, 2] - units[:, 0]
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries))
    scaled: Floats = queries / np.where(lengths > 0, lengths, 1.0)[:, None]
    return scaled


def _scores(vectors: WordVectors, rows: Ids, ids: Ids, method: Method) -> Floats:
    """:func:`_exact_scores` in blocks."""
    scores = np.empty(len(rows))
    for part in row_blocks(len(rows), 8 * vectors.dim):
        scores[part] = _exact_scores(vectors, rows[part], ids[part], method)
    return scores


def _exact_scores(vectors: WordVectors, rows: Ids, ids: Ids, method: Method) -> Floats:
    """The score of row ``rows[k]`` as the answer to the question of rows ``ids[k]`` (a, b, c), in float64."""
    norms = np.where(vectors.norms > 0, vectors.norms, 1.0)
    answers = vectors.vectors[rows].astype(np.float64) / norms[rows][:, None]
    units = vectors.vectors[ids].astype(np.float64) / norms[ids][..., None]
    # einsum, not BLAS: its sum does not depend on how many rows share the work
    if method == "3cosadd":
        scores: Floats = np.einsum("ij,ij->i", answers, _sums(units))
        return scores
    shares = (1 + np.einsum("ij,ikj->ik", answers, units)) / 2
    products: Floats = shares[:, 1] * shares[:, 2] / (shares[:, 0] + _EPSILON)
    return products


def _section_score(section: str, outcomes: npt.NDArray[np.int8]) -> SectionScore:
    n_covered, n_correct = int((outcomes != _UNCOVERED).sum()), int((outcomes == _RIGHT).sum())
    return SectionScore(section, len(outcomes), n_covered, n_correct, n_correct / n_covered if n_covered else None)
