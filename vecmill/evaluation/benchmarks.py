"""Rated word pairs: the bundled tables with a record each, and tables of the user's own.

One format for all: UTF-8, tab-separated, the header ``word1 word2 score``, then one rated pair a line.

Every line is an item of the benchmark, as published, so that scores compare with published ones and with other
programs'. In particular:

- A pair that stands twice with two ratings (``money cash`` in WordSim-353, 28 pairs of SCWS, where the raters saw two
  different contexts) counts twice. Which rating is meant cannot be told without the contexts; dropping or averaging
  them would make a private variant of the benchmark.
- A pair of a word with itself (241 in SCWS, one in WordSim-353) stays too, with the similarity 1, tied with all others
  of its kind. Vectors without context cannot tell such pairs apart, and since people rated them high, they give even
  random vectors a score; :mod:`vecmill.evaluation.similarity` has a second score without them.

Only the standard library is imported: the planner reads :func:`benchmark_files` before anything heavy is loaded.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from vecmill.errors import ConfigError, FormatError
from vecmill.evaluation.config import EvaluationConfig, is_path, metric_name

_TABLES = Path(__file__).parent / "tables"
_HEADER = ("word1", "word2", "score")


@dataclass(frozen=True)
class BenchmarkRecord:
    """What is known about a bundled benchmark.

    Attributes
    ----------
    name, title : the name in configurations, and for people
    citation, home_page : whom to cite, and where the data set lives
    scale : lowest and highest rating that could be given
    rated : what the raters were asked to judge
    licence : as far as it is known, and from where
    n_pairs, sha256 : lines after the header, and digest of the bundled file
    notes : where the figures were copied from, and what to know before reading a score
    """

    name: str
    title: str
    citation: str
    home_page: str
    scale: tuple[float, float]
    rated: str
    licence: str
    n_pairs: int
    sha256: str
    notes: str


@dataclass(frozen=True)
class Benchmark:
    """Rated word pairs, line by line.

    Attributes
    ----------
    name : the bundled name, or one made from the file's name; fit for metric names (lower case, digits, underscores)
    title : name for people
    words1, words2, scores : the columns
    digest : sha256 of the file
    scale : lowest and highest possible rating; of a user's table, the lowest and highest that occur
    """

    name: str
    title: str
    words1: tuple[str, ...]
    words2: tuple[str, ...]
    scores: tuple[float, ...]
    digest: str
    scale: tuple[float, float]

    def __len__(self) -> int:
        return len(self.scores)


RECORDS = {
    "wordsim353": BenchmarkRecord(
        name="wordsim353",
        title="WordSim-353",
        citation="L. Finkelstein, E. Gabrilovich, Y. Matias, E. Rivlin, Z. Solan, G. Wolfman, E. Ruppin: Placing "
        "Search in Context: The Concept Revisited. ACM Transactions on Information Systems 20(1), 2002",
        home_page="https://gabrilovich.com/resources/data/wordsim353/",
        scale=(0.0, 10.0),
        rated="relatedness",
        licence="CC BY 4.0 according to the documentation of gluon-nlp; not confirmed by the authors' page",
        n_pairs=353,
        sha256="10e5edf239360704ae9ca80fb74cc2ba2373b4f5724cb5ce1176a22f8a3ff719",
        notes="Figures as in the copy that gensim ships with its tests. Mean of 13 or 16 raters. money-cash stands "
        "twice (9.15 and 9.08), money-bank and bank-money once each, tiger-tiger once. 18 pairs hold a capitalised "
        "word or an abbreviation.",
    ),
    "simlex999": BenchmarkRecord(
        name="simlex999",
        title="SimLex-999",
        citation="F. Hill, R. Reichart, A. Korhonen: SimLex-999: Evaluating Semantic Models with (Genuine) Similarity "
        "Estimation. Computational Linguistics 41(4), 2015",
        home_page="https://fh295.github.io/simlex.html",
        scale=(0.0, 10.0),
        rated="similarity",
        licence="none stated; the authors ask for a citation",
        n_pairs=999,
        sha256="505c3d9baed1c5e7a3ba36e9519f41127db38bd35f7afb442f1d02ebe76733da",
        notes="Figures as in the copy that gensim ships with its tests. Relatedness without likeness (coast, shore as "
        "against clothes, closet) is rated low, so window-based vectors score low here. Holds sly-strange in both "
        "orders.",
    ),
    "men": BenchmarkRecord(
        name="men",
        title="MEN",
        citation="E. Bruni, N.-K. Tran, M. Baroni: Multimodal Distributional Semantics. Journal of Artificial "
        "Intelligence Research 49, 2014",
        home_page="https://staff.fnwi.uva.nl/e.bruni/MEN",
        scale=(0.0, 50.0),
        rated="relatedness",
        licence="CC BY 2.0 according to the documentation of gluon-nlp; the authors' own licence file was not seen",
        n_pairs=3000,
        sha256="e2f080fe76495cf3cccc6ddbd0f356b775293983324786b3b5f48387c3213cc5",
        notes="Development and test pairs together, in natural word forms, as in github.com/mfaruqui/eval-word-vectors."
        " The rating is how often, out of 50 comparisons with another pair, this pair was found the more related one.",
    ),
    "rw": BenchmarkRecord(
        name="rw",
        title="Rare Words",
        citation="M.-T. Luong, R. Socher, C. D. Manning: Better Word Representations with Recursive Neural Networks "
        "for Morphology. CoNLL 2013",
        home_page="https://nlp.stanford.edu/~lmthang/morphoNLM/",
        scale=(0.0, 10.0),
        rated="similarity",
        licence="none found",
        n_pairs=2034,
        sha256="a437948519c88117b42701d2cc5ae91f6bcf8c76e896ccdd9fd526ffa9e10f15",
        notes="Figures as in github.com/simenhoyvik/inf368project. Misspelt and odd words are the data set's own. "
        "discovery-rediscovery stands in both orders with two ratings. M. T. Pilehvar and others (2018) found its "
        "ratings unreliable.",
    ),
    "scws": BenchmarkRecord(
        name="scws",
        title="SCWS",
        citation="E. H. Huang, R. Socher, C. D. Manning, A. Y. Ng: Improving Word Representations via Global Context "
        "and Multiple Word Prototypes. ACL 2012",
        home_page="http://www.socher.org/index.php/Main/ImprovingWordRepresentationsViaGlobalContextAndMultipleWordPrototypes",
        scale=(0.0, 10.0),
        rated="similarity in context",
        licence="none found",
        n_pairs=2003,
        sha256="78d1811545f77b363cc8b82df279b59c45456a039c776fe693798c00db1942ea",
        notes="Words and mean ratings as in github.com/se4u/mvlsa; the sentences that the raters saw are left out, so "
        "a score compares only with other scores made without context. 241 lines pair a word with itself, rated from 0 "
        "to 10, 6.7 in the mean, against 3.5 for other pairs: random vectors reach a Spearman correlation of 0.21 by "
        "these alone. 28 pairs stand twice with two ratings.",
    ),
}


def benchmark_files(config: EvaluationConfig) -> list[Path]:
    """The tables of rated pairs that the evaluate stage reads, in the order of the configuration.

    Raises
    ------
    ConfigError : a file is missing, or two benchmarks would go by one name
    FormatError : a table of the user's own is not one. All of this is found while a run is planned.
    """
    files: dict[str, Path] = {}
    for entry in config.benchmarks:
        path = Path(entry).expanduser() if is_path(entry) else _TABLES / f"{entry}.tsv"
        name = metric_name(path)
        if not path.is_file():
            raise ConfigError(
                f"evaluate.benchmarks names {entry!r}, but {path} is {'a folder' if path.is_dir() else 'missing'}",
                expected="a TSV file with the header word1, word2, score",
                todo="correct the path; relative paths start from the folder that the command runs in",
            )
        if name in files:
            raise ConfigError(
                f"evaluate.benchmarks names {entry!r} and {str(files[name])!r}, which would both be called {name!r}",
                todo="leave one out, or rename the file",
            )
        if is_path(entry):
            read_benchmark(path)  # a few thousand lines; a bad one is better found before the training than after
        files[name] = path
    return list(files.values())


def load_benchmark(entry: str) -> Benchmark:
    """Read a bundled benchmark by its name, or a table of the user's own by its path.

    Raises
    ------
    FormatError : the file is not such a table (the message names the line), or a bundled one was altered
    """
    if is_path(entry):
        return read_benchmark(Path(entry).expanduser())
    record = RECORDS[entry]
    benchmark = read_benchmark(_TABLES / f"{entry}.tsv")
    if benchmark.digest != record.sha256:
        raise FormatError(
            f"the bundled table of {record.title} has the digest {benchmark.digest}",
            expected=record.sha256,
            todo="install vecmill again; for ratings of your own, name the path of a file",
        )
    return Benchmark(
        record.name, record.title, benchmark.words1, benchmark.words2, benchmark.scores, record.sha256, record.scale
    )


def read_benchmark(path: Path) -> Benchmark:
    """Read a table of rated pairs. A byte order mark and Windows line ends are accepted.

    Raises
    ------
    FormatError : missing, empty, not UTF-8, without the header, without pairs; or a line that is not two words and a
        finite number, with its number
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"the benchmark {path} cannot be read ({error.strerror})", todo="check the path") from None
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{path}, line {line}: not UTF-8 ({error.reason})",
            expected="a tab-separated text file in UTF-8",
            todo="convert the file to UTF-8",
        ) from None
    if lines[-1] == "":
        del lines[-1]  # the end of the last line, not a line
    fields = [tuple(field.strip() for field in line.split("\t")) for line in lines]
    if not fields or fields[0] != _HEADER:
        raise FormatError(
            f"{path}: " + (f"the first line is {lines[0][:80]!r}" if lines else "the file is empty"),
            expected="the header word1, word2, score, separated by tabs",
            todo="put that line at the top",
        )
    rows = [_checked_row(path, number, each) for number, each in enumerate(fields[1:], start=2)]
    if not rows:
        raise FormatError(f"{path}: no pair follows the header", expected="one rated word pair a line")
    words1, words2, scores = zip(*rows, strict=True)
    return Benchmark(
        name=metric_name(path),
        title=path.stem,
        words1=words1,
        words2=words2,
        scores=scores,
        digest=hashlib.sha256(content).hexdigest(),
        scale=(min(scores), max(scores)),
    )


def _checked_row(path: Path, number: int, fields: tuple[str, ...]) -> tuple[str, str, float]:
    try:
        word1, word2, text = fields
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score) or not (word1 and word2):
        raise FormatError(
            f"{path}, line {number}: {'<tab>'.join(fields)[:120]!r}",
            expected="two words and a finite number, separated by tabs",
            todo="repair or leave out the line",
        )
    return word1, word2, score
