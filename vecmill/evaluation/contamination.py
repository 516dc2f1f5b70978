"""Whether the corpus holds the very benchmarks that its models are judged by.

A model that has read the answers is not better than one that has not. What is looked for are *rows*: two words of a
rated pair and its rating, in whatever file format, as a line of their own or in text whose line breaks are gone.

- *exact*: a line of the two words and the rating in the benchmark's order and nothing else, between any separators
- *shuffled*: the same in another order
- *near*: a pair with another number, with further columns, without its rating, or inside a longer line. One of these
  may be chance ("Day and night, 24"), so it is flagged in company only: ``contamination_rows`` different pairs of one
  benchmark within ``COMPANY_CHARS`` characters, as any part of a benchmark's file has.

Two words of a pair in ordinary sentences are no row. Case is folded. Analogy questions are not looked for: they do not
decide between models.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vecmill.corpus.documents import count_documents, iter_documents
from vecmill.evaluation.benchmarks import Benchmark, benchmark_files, load_benchmark
from vecmill.evaluation.config import EvaluationConfig
from vecmill.progress import track
from vecmill.store.stage import StageIO, StageReport

CONTAMINATION_NAME = "contamination.json"
ROWS_NAME = "contamination.parquet"
COMPANY_CHARS = 2000

Kind = Literal["exact", "shuffled", "near"]
_KINDS: tuple[Kind, ...] = ("exact", "shuffled", "near")
# A longer line is text, in which a row is looked for around each number.
_LONGEST_ROW_CHARS = 120
# Words in a row: the pair, and columns such as a part of speech or the names of fields in JSON.
_MOST_ROW_WORDS = 5
_CONTEXT_CHARS = 80
_CONTEXT_WORDS = 3
_EXCERPT_CHARS = 200
_ROWS_PER_WRITE = 1000
_N_DOCUMENTS_SHOWN = 5
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


@dataclass(frozen=True)
class _Candidate:
    at: int
    row: Row
    alone: bool  # flagged without company


@dataclass
class _Company:
    """Candidates of one benchmark near each other; each is handed out once, when there are enough of them."""

    needed: int
    _near: deque[_Candidate] = field(default_factory=deque)
    _waiting: list[_Candidate] = field(default_factory=list)

    def add(self, candidate: _Candidate) -> list[Row]:
        """The rows that are flagged because of this one."""
        least = candidate.at - COMPANY_CHARS
        while self._near and self._near[0].at < least:
            self._near.popleft()
        self._waiting = [each for each in self._waiting if each.at >= least]
        self._near.append(candidate)
        if len({each.row.item for each in self._near}) >= self.needed:
            found = [*(each.row for each in self._waiting), candidate.row]
            self._waiting = []
            return found
        if candidate.alone:
            return [candidate.row]
        self._waiting.append(candidate)
        return []


class RowFinder:
    """Finds rows of benchmarks in documents that are shown to it one after the other.

    Memory: the benchmarks' pairs, and the candidates of the last few thousand characters.
    """

    def __init__(self, benchmarks: Sequence[Benchmark], company: int) -> None:
        """``company`` : different pairs that near rows must be, to be flagged."""
        # Both orders; the flag says whether it is the benchmark's own.
        self._pairs: dict[tuple[str, str], list[tuple[int, int, bool]]] = {}
        self._ratings = [each.scores for each in benchmarks]
        self._tolerances = [_RATING_TOLERANCE * (each.scale[1] - each.scale[0]) + 1e-9 for each in benchmarks]
        self._company = [_Company(company) for _ in benchmarks]
        self._n_chars = 0
        for number, each in enumerate(benchmarks):
            for item, words in enumerate(zip(each.words1, each.words2, strict=True)):
                one, other = (_folded(word) for word in words)
                self._pairs.setdefault((one, other), []).append((number, item, True))
                if one != other:
                    self._pairs.setdefault((other, one), []).append((number, item, False))

    def look(self, doc_id: str, source_uri: str, text: str) -> Iterator[Row]:
        """Rows that are flagged with this document's text; some may stand in documents just before."""
        for number, line in enumerate(text.split("\n"), start=1):
            found = self._short(line) if len(line) <= _LONGEST_ROW_CHARS else self._long(line)
            for at, benchmark, item, kind, alone, excerpt in found:
                row = Row(benchmark, item, kind, doc_id, source_uri, number, excerpt[:_EXCERPT_CHARS])
                yield from self._company[benchmark].add(_Candidate(self._n_chars + at, row, alone))
            self._n_chars += len(line) + 1

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
            before = _TOKEN.findall(line[max(0, start - _CONTEXT_CHARS) : start])[-_CONTEXT_WORDS:]
            after = _TOKEN.findall(line[end : end + _CONTEXT_CHARS])[:2]
            ahead, behind = _next_to(before[::-1])[::-1], _next_to(after)
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


def find_contamination(config: EvaluationConfig, io: StageIO) -> StageReport:
    """Look for the configured benchmarks in the documents that the contract let through.

    Reads ``ingest`` and ``contract`` and the benchmarks' files. Writes

    - ``contamination.json``: one object a benchmark: ``benchmark``, ``title``, ``n_pairs``, ``n_found`` (pairs of
      which at least one row was found), ``n_rows``, ``exact``, ``shuffled``, ``near`` (rows of each kind),
      ``documents`` (the first few that hold one)
    - ``contamination.parquet``: each row found: ``benchmark`` (string), ``item`` (int32, line of the benchmark's table
      from 0), ``kind`` (string), ``doc_id``, ``source_uri`` (string), ``line`` (int32, of the document from 1),
      ``excerpt`` (string, at most 200 characters)

    Raises
    ------
    ConfigError, FormatError : a benchmark's file is missing, or not one
    StoreError : the ingest artifact holds no shard
    """
    benchmark_files(config)
    benchmarks = [load_benchmark(entry) for entry in config.benchmarks]
    quarantine = io.inputs["contract"] / "quarantine.parquet"
    finder = RowFinder(benchmarks, config.contamination_rows)
    counts = [Counter[Kind]() for _ in benchmarks]
    items: list[set[int]] = [set() for _ in benchmarks]
    documents: list[dict[str, None]] = [{} for _ in benchmarks]

    def rows() -> Iterator[Row]:
        n_documents = count_documents(io.inputs["ingest"])
        with track("looking for the benchmarks in the corpus", n_documents, "documents") as bar:
            for batch in iter_documents(io.inputs["ingest"], quarantine, ("doc_id", "source_uri", "text")):
                for document in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield from finder.look(*document)
                bar.advance(batch.num_rows)

    def counted() -> Iterator[Row]:
        for row in rows():
            counts[row.benchmark][row.kind] += 1
            items[row.benchmark].add(row.item)
            if len(documents[row.benchmark]) < _N_DOCUMENTS_SHOWN:
                documents[row.benchmark][row.doc_id] = None
            yield row

    n_rows = _write_rows(io.output / ROWS_NAME, counted(), [each.name for each in benchmarks])
    found = [
        {
            "benchmark": each.name,
            "title": each.title,
            "n_pairs": len(each),
            "n_found": len(items[number]),
            "n_rows": counts[number].total(),
            **{kind: counts[number][kind] for kind in _KINDS},
            "documents": list(documents[number]),
        }
        for number, each in enumerate(benchmarks)
    ]
    (io.output / CONTAMINATION_NAME).write_text(
        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return StageReport(
        metrics={
            "n_rows": n_rows,
            "n_contaminated": sum(each["n_found"] > 0 for each in found),
            **{f"{each['benchmark']}_found": each["n_found"] for each in found if each["n_found"]},
            "said": said(found),
        },
        rows={ROWS_NAME: n_rows},
        table=[{key: value for key, value in each.items() if key != "documents"} for each in found],
        markdown=_markdown(found),
    )


def said(found: Iterable[dict[str, Any]]) -> str:
    """In a few words, which benchmarks were found, given ``contamination.json``; empty if none was.

    >>> said([{"title": "MEN", "n_found": 3, "n_pairs": 3000}, {"title": "SCWS", "n_found": 0, "n_pairs": 2003}])
    '3 of 3,000 pairs of MEN'
    """
    return ", ".join(
        f"{each['n_found']:,} of {each['n_pairs']:,} pairs of {each['title']}" for each in found if each["n_found"]
    )


def _folded(word: str) -> str:
    return " ".join(_TOKEN.findall(word.casefold())) or word.casefold()


def _parted(tokens: Sequence[str]) -> tuple[list[str], list[str], bool]:
    """Words, folded; numbers; and whether the last token is a number."""
    words = [token.casefold() for token in tokens if not _NUMBER.fullmatch(token)]
    numbers = [token for token in tokens if _NUMBER.fullmatch(token)]
    return words, numbers, bool(tokens) and _NUMBER.fullmatch(tokens[-1]) is not None


def _next_to(tokens: Sequence[str]) -> list[str]:
    """The first tokens, folded, as far as they are words."""
    words: list[str] = []
    for token in tokens:
        if token[0].isdigit():
            break
        words.append(token.casefold())
    return words


def _write_rows(path: Path, rows: Iterable[Row], names: Sequence[str]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"benchmark": pa.string(), "item": pa.int32(), "kind": pa.string(), "doc_id": pa.string()}
    kinds |= {"source_uri": pa.string(), "line": pa.int32(), "excerpt": pa.string()}
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])
    n_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            batch.clear()

        for row in rows:
            batch.append({**row.__dict__, "benchmark": names[row.benchmark]})
            n_rows += 1
            if len(batch) == _ROWS_PER_WRITE:
                flush()
        flush()
    return n_rows


def _markdown(found: Sequence[dict[str, Any]]) -> str:
    if not any(each["n_found"] for each in found):
        return "No row of a benchmark stands in the corpus."
    where = "; ".join(f"{each['title']}: {', '.join(each['documents'])}" for each in found if each["n_found"])
    return (
        f"The corpus holds {said(found)}. A model that was trained on it has read answers that it is judged by. "
        f"`{ROWS_NAME}` lists each row. First documents: {where}."
    )
