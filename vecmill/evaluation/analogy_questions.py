"""Analogy questions, *a is to b as c is to what?*: Google's, and files of the user's own in the same format.

The format of word2vec: UTF-8; a line ``: name`` begins a section, every other line is a question of four words, the
last the expected answer. Empty lines and lines that start with ``//`` are passed over.

Only the standard library is imported: the planner asks for :func:`analogy_files` before anything heavy is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from vecmill.errors import ConfigError, FormatError
from vecmill.evaluation.benchmarks import benchmark_files
from vecmill.evaluation.config import GOOGLE_ANALOGIES, EvaluationConfig, is_path, metric_name

# Mikolov, Chen, Corrado and Dean 2013, "Efficient Estimation of Word Representations in Vector Space": 8,869 semantic
# questions in five sections, 10,675 syntactic ones in nine (names that start with "gram"). From the word2vec project,
# Apache License 2.0; the copy is the one that gensim ships with its tests.
GOOGLE_TITLE = "Google analogies"
GOOGLE_SHA256 = "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"


@dataclass(frozen=True)
class AnalogyQuestions:
    """Questions, line by line.

    Attributes
    ----------
    name : the bundled name, or one made from the file's name; fit for metric names
    title : name for people
    sections : their names, in the order of the file
    section_ids : of each question
    questions : a, b, c and the expected answer
    digest : sha256 of the file
    """

    name: str
    title: str
    sections: tuple[str, ...]
    section_ids: tuple[int, ...]
    questions: tuple[tuple[str, str, str, str], ...]
    digest: str

    def __len__(self) -> int:
        return len(self.questions)


def analogy_files(config: EvaluationConfig) -> list[Path]:
    """The files of questions that the evaluate stage reads, in the order of the configuration.

    Raises
    ------
    ConfigError : a file is missing, or two would go by one name
    FormatError : a file of the user's own is not one. All of this is found while a run is planned.
    """
    files: dict[str, Path] = {}
    for entry in config.analogies:
        path = Path(entry).expanduser() if is_path(entry) else _google_file()
        name = metric_name(path) if is_path(entry) else entry
        if not path.is_file():
            raise ConfigError(
                f"evaluate.analogies names {entry!r}, but {path} is {'a folder' if path.is_dir() else 'missing'}",
                expected="a text file with `: section` lines and four words a line",
                todo="correct the path; relative paths start from the folder that the command runs in",
            )
        if name in files:
            raise ConfigError(
                f"evaluate.analogies names {entry!r} and {str(files[name])!r}, which would both be called {name!r}",
                todo="leave one out, or rename the file",
            )
        if is_path(entry):
            read_analogies(path)
        files[name] = path
    return list(files.values())


def evaluation_files(config: EvaluationConfig) -> list[Path]:
    """Every file that the evaluate stage reads besides its input artifacts. Raises as the two functions it asks."""
    return benchmark_files(config) + analogy_files(config)


def load_analogies(entry: str) -> AnalogyQuestions:
    """Read ``google_analogies``, or a file of the user's own by its path.

    Raises
    ------
    FormatError : the file is not one of questions (the message names the line), or Google's was altered
    """
    if is_path(entry):
        return read_analogies(Path(entry).expanduser())
    found = read_analogies(_google_file())
    if found.digest != GOOGLE_SHA256:
        raise FormatError(
            f"gensim's copy of {GOOGLE_TITLE} has the digest {found.digest}",
            expected=GOOGLE_SHA256,
            todo="install gensim again; for questions of your own, name the path of a file",
        )
    return AnalogyQuestions(
        GOOGLE_ANALOGIES, GOOGLE_TITLE, found.sections, found.section_ids, found.questions, found.digest
    )


def read_analogies(path: Path) -> AnalogyQuestions:
    """Read a file of questions. A byte order mark and Windows line ends are accepted.

    Raises
    ------
    FormatError : missing, not UTF-8, without questions; a question before the first section, or a line that is not four
        words, with its number. (gensim passes over such lines.)
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise FormatError(f"the questions {path} cannot be read ({error.strerror})", todo="check the path") from None
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}, line {content.count(bytes([10]), 0, error.start) + 1}: not UTF-8 ({error.reason})",
            expected="a text file in UTF-8",
            todo="convert the file to UTF-8",
        ) from None
    sections: list[str] = []
    section_ids: list[int] = []
    questions: list[tuple[str, str, str, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        if not words or line.startswith("//"):
            continue
        if line.startswith(":"):
            sections.append(line.removeprefix(":").strip())
            continue
        if len(words) != 4 or not sections:
            raise FormatError(
                f"{path}, line {number}: {line.strip()[:120]!r}"
                + ("" if sections else " stands before the first section"),
                expected="four words between blanks" if sections else "a line such as `: capitals` first",
                todo="repair or leave out the line",
            )
        a, b, c, expected = words
        questions.append((a, b, c, expected))
        section_ids.append(len(sections) - 1)
    if not questions:
        raise FormatError(f"{path}: no question", expected="`: section` lines, and four words a line below them")
    return AnalogyQuestions(
        name=metric_name(path),
        title=path.stem,
        sections=tuple(sections),
        section_ids=tuple(section_ids),
        questions=tuple(questions),
        digest=hashlib.sha256(content).hexdigest(),
    )


def _google_file() -> Path:
    # Finds the package without running it: importing gensim takes a second.
    package = importlib.util.find_spec("gensim")
    if package is None or not package.submodule_search_locations:
        raise ConfigError(
            f"{GOOGLE_ANALOGIES} needs the package gensim, which is not installed",
            todo="pip install gensim, or set evaluate.analogies to []",
        )
    return Path(package.submodule_search_locations[0]) / "test" / "test_data" / "questions-words.txt"
