"""Rows of a benchmark in text: what a row is, and finding them in documents.

What is looked for are two words of a rated pair and its rating, in whatever file format, as a line of their own or in
text whose line breaks are gone.

- *exact*: a line of the two words and the rating in the benchmark's order and nothing else, between any separators
- *shuffled*: the same in another order
- *near*: a pair with another number, with further columns, without its rating, or inside a longer line. One of these
  may be chance ("Day and night, 24"), so it is flagged in company only: ``contamination_rows`` different pairs of one
  benchmark within ``COMPANY_CHARS`` characters, as any part of a benchmark's file has.

Two words of a pair in ordinary sentences are no row. Case is folded. Analogy questions are not looked for: they do not
decide between models.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from vecmill.evaluation.benchmarks import Benchmark

COMPANY_CHARS = 2000

Kind = Literal["exact", "shuffled", "near"]
KINDS: tuple[Kind, ...] = ("exact", "shuffled", "near")
# A longer line is text, in which a row is looked for around each number.
_LONGEST_ROW_CHARS = 120
# Words in a row: the pair, and columns such as a part of speech or the names of fields in JSON.
_MOST_ROW_WORDS = 5
_CONTEXT_CHARS = 80
_CONTEXT_WORDS = 3
# Where the last words of a context mostly stand.
_NEAR_CHARS = 24
_EXCERPT_CHARS = 200
# Ratings are equal if they agree to this share of the scale; half of the last digit of WordSim-353.
_RATING_TOLERANCE = 0.0005
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_TOKEN = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")


@dataclass(frozen=True)
class Row:
    """A row of a benchmark that stands in the corpus.

    Attributes
    ----------
    benchmark : number of the benchmark, in the order that they were given
    item : line of the benchmark's table, from 0
    kind : see the module's docstring
    doc_id, source_uri : where it stands
    line : of the document, from 1
    excerpt : the line, or what surrounds the row in a long one
    """

    benchmark: int
    item: int
    kind: Kind
    doc_id: str
    source_uri: str
    line: int
    excerpt: str


@dataclass
class Candidate:
    """A row that may be flagged.

    Attributes
    ----------
    at : characters before it, in all documents so far
    alone : whether it is flagged without company
    flagged : whether it has been
    """

    at: int
    row: Row
    alone: bool
    flagged: bool = False


class Companies:
    """Flags candidates, which are shown to it in the order of the text.

    Parameters
    ----------
    n_benchmarks : how many there are; each keeps to itself
    needed : different pairs that near rows must be, to be flagged
    """

    def __init__(self, n_benchmarks: int, needed: int) -> None:
        self._of = [_Company(needed) for _ in range(n_benchmarks)]

    def add(self, candidate: Candidate) -> list[Row]:
        """The rows that are flagged because of this one, each once."""
        found = self._of[candidate.row.benchmark].add(candidate)
        for each in found:
            each.flagged = True
        return [each.row for each in found]


@dataclass
class _Company:
    """Candidates of one benchmark near each other; each is handed out once, when there are enough of them."""

    needed: int
    _near: deque[Candidate] = field(default_factory=deque)
    _waiting: list[Candidate] = field(default_factory=list)

    def add(self, candidate: Candidate) -> list[Candidate]:
        least = candidate.at - COMPANY_CHARS
        while self._near and self._near[0].at < least:
            self._near.popleft()
        self._waiting = [each for each in self._waiting if each.at >= least]
        self._near.append(candidate)
        if len({each.row.item for each in self._near}) >= self.needed:
            found = [*self._waiting, candidate]
            self._waiting = []
            return found
        if candidate.alone:
            return [candidate]
        self._waiting.append(candidate)
        return []


class RowFinder:
    """Finds rows of benchmarks in documents that are shown to it one after the other.

    Memory: the benchmarks' pairs.

    Attributes
    ----------
    n_chars : of the documents so far, a line break counted for each line
    """

    def __init__(self, benchmarks: Sequence[Benchmark]) -> None:
        # Both orders; the flag says whether it is the benchmark's own.
        self._pairs: dict[tuple[str, str], list[tuple[int, int, bool]]] = {}
        self._ratings = [each.scores for each in benchmarks]
        self._tolerances = [_RATING_TOLERANCE * (each.scale[1] - each.scale[0]) + 1e-9 for each in benchmarks]
        self.n_chars = 0
        for number, each in enumerate(benchmarks):
            for item, words in enumerate(zip(each.words1, each.words2, strict=True)):
                one, other = (_folded(word) for word in words)
                self._pairs.setdefault((one, other), []).append((number, item, True))
                if one != other:
                    self._pairs.setdefault((other, one), []).append((number, item, False))
        self._words = {word for pair in self._pairs for word in pair}

    def look(self, doc_id: str, source_uri: str, text: str) -> Iterator[Candidate]:
        """Rows that may be flagged, in the order of the text."""
        for number, line in enumerate(text.split("\n"), start=1):
            found = self._short(line) if len(line) <= _LONGEST_ROW_CHARS else self._long(line)
            for at, benchmark, item, kind, alone, excerpt in found:
                row = Row(benchmark, item, kind, doc_id, source_uri, number, excerpt[:_EXCERPT_CHARS])
                yield Candidate(self.n_chars + at, row, alone)
            self.n_chars += len(line) + 1

    def _short(self, line: str) -> Iterator[tuple[int, int, int, Kind, bool, str]]:
        """A line that may be a row, as (position, benchmark, item, kind, alone, excerpt)."""
        if line.count(" ") > 4 * _MOST_ROW_WORDS and len(line.split()) > 4 * _MOST_ROW_WORDS:
            return
        # Where fields are parted by something else, a comma between digits is a decimal one.
        tokens = _TOKEN.findall(_DECIMAL_COMMA.sub(".", line) if ";" in line or "\t" in line else line)
        words, numbers, last_is_number = _parted(tokens)
        if not 2 <= len(words) <= _MOST_ROW_WORDS:
            return
        whole = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
        for pair in whole:
            for benchmark, item, in_order in self._pairs.get(pair, ()):
                if len(numbers) == 1 and self._rated(benchmark, item, numbers):
                    kind: Kind = "exact" if in_order and last_is_number else "shuffled"
                    yield 0, benchmark, item, kind, True, line.strip()
                else:
                    yield 0, benchmark, item, "near", False, line.strip()
        if numbers and len(words) > 2:
            for benchmark, item in self._among(words):
                yield 0, benchmark, item, "near", False, line.strip()

    def _long(self, line: str) -> Iterator[tuple[int, int, int, Kind, bool, str]]:
        """Rows around the numbers of a long line."""
        for match in _NUMBER.finditer(line):
            start, end = match.span()
            ahead, behind = _next_to(_last_tokens(line, start)[::-1])[::-1], _next_to(_first_tokens(line, end))
            # Where every word holds a digit this is asked for each, and most stand in no pair.
            if sum(word in self._words for word in (*ahead, *behind)) < 2:
                continue
            sides = [ahead, [*ahead[-1:], *behind[:1]], behind]
            found = dict.fromkeys(each for side in sides for each in self._among(side))
            rated = [each for each in found if self._rated(*each, [match[0]])]
            for benchmark, item in rated or found:
                excerpt = line[max(0, start - _CONTEXT_CHARS) : end + _CONTEXT_CHARS].strip()
                yield start, benchmark, item, "near", False, excerpt

    def _among(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Items whose two words are among these."""
        for at, one in enumerate(words):
            for other in words[at + 1 :]:
                for benchmark, item, _ in self._pairs.get((one, other), ()):
                    yield benchmark, item

    def _rated(self, benchmark: int, item: int, numbers: Sequence[str]) -> bool:
        rating = self._ratings[benchmark][item]
        return any(abs(float(each) - rating) <= self._tolerances[benchmark] for each in numbers)


def _folded(word: str) -> str:
    return " ".join(_TOKEN.findall(word.casefold())) or word.casefold()


def _parted(tokens: Sequence[str]) -> tuple[list[str], list[str], bool]:
    """Words, folded; numbers; and whether the last token is a number."""
    words = [token.casefold() for token in tokens if not _NUMBER.fullmatch(token)]
    numbers = [token for token in tokens if _NUMBER.fullmatch(token)]
    return words, numbers, bool(tokens) and _NUMBER.fullmatch(tokens[-1]) is not None


def _last_tokens(line: str, stop: int) -> list[str]:
    """The last tokens of what comes before a place, in their order; of no more than the context."""
    start = max(0, stop - _CONTEXT_CHARS)
    near = _TOKEN.findall(line, max(start, stop - _NEAR_CHARS), stop)
    # Only the first may be a part of one that begins farther away.
    return (near if len(near) > _CONTEXT_WORDS else _TOKEN.findall(line, start, stop))[-_CONTEXT_WORDS:]


def _first_tokens(line: str, start: int) -> list[str]:
    """The first two tokens of what comes behind a place."""
    return [match[0] for match in islice(_TOKEN.finditer(line, start, start + _CONTEXT_CHARS), 2)]


def _next_to(tokens: Sequence[str]) -> list[str]:
    """The first tokens, folded, as far as they are words."""
    words: list[str] = []
    for token in tokens:
        if token[0].isdigit():
            break
        words.append(token.casefold())
    return words
