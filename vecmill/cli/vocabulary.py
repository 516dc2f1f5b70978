"""``vecmill vocabulary …``: what words a corpus has, from a sample and at once.

Parses, calls and prints; the work is done in :mod:`vecmill.vocabulary.estimate`, imported when a command runs.
"""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecmill.errors import ConfigError

if TYPE_CHECKING:
    from vecmill.text.rules import TokenRules
    from vecmill.vocabulary.reservoir import Reservoir

vocabulary_app = typer.Typer(
    name="vocabulary",
    help="Words of a corpus: how often they occur, estimated from a sample.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@vocabulary_app.callback()
def _vocabulary() -> None:
    """Keeps the name of a single command, which Typer would leave out."""


@vocabulary_app.command()
def estimate(
    source: Annotated[
        Path,
        typer.Argument(
            help="The folder of a vocabulary artifact, its sample.parquet, or the folder of an ingest artifact, of "
            "which a sample is drawn then."
        ),
    ],
    word: Annotated[
        list[str], typer.Option("--word", metavar="WORD", help="Show this word, in the sample or not; may be repeated.")
    ] = [],  # noqa: B006 - Typer copies it
    top: Annotated[int, typer.Option(min=1, help="Words to show, the most frequent ones, where none is named.")] = 20,
    level: Annotated[float, typer.Option(help="Confidence of each interval.")] = 0.95,
    size: Annotated[int, typer.Option(min=2, help="Documents to draw from an ingest artifact.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Draws other documents from an ingest artifact.")] = 0,
    pattern: Annotated[
        str | None,
        typer.Option(help="unicode, ascii or whitespace; else that of the vocabulary beside the sample, or unicode."),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Estimate how often words occur in a corpus, with confidence intervals, without counting it."""
    from vecmill.vocabulary.estimate import estimate_vocabulary

    if not 0 < level < 1:
        raise ConfigError(f"--level {level:g}", expected="a share above 0 and below 1", todo="take 0.95")
    sample = _sample(source, size, seed)
    rules = _rules(source, pattern)
    found = estimate_vocabulary(sample, rules, level=level)
    places = {name: place for place, name in enumerate(found.words)}
    names = [_as_counted(each, rules) for each in word] or found.words[:top]
    rows = [
        (name, float(found.counts[places[name]]) if name in places else 0.0, *found.interval(name)) for name in names
    ]
    n_cut = sample.n_cut
    if json:
        shown = [{"word": name, "count": count, "low": low, "high": high} for name, count, low, high in rows]
        totals = {"n_sampled": found.n_sampled, "n_offered": found.n_offered, "n_cut": n_cut, "level": level}
        typer.echo(json_module.dumps(totals | {"unseen_high": found.unseen_high, "words": shown}, ensure_ascii=False))
        return
    typer.echo(
        f"From {found.n_sampled:,} of {found.n_offered:,} {sample.unit}s, {len(found.words):,} different words; "
        f"{100 * level:g} % intervals, each for a word chosen beforehand."
    )
    width = max(len("word"), *(len(row[0]) for row in rows))
    typer.echo(f"{'word':<{width}}  {'estimate':>14}  {'from':>14}  {'to':>14}")
    for name, count, low, high in rows:
        typer.echo(f"{name:<{width}}  {count:>14,.0f}  {low:>14,.0f}  {high:>14,.0f}")
    typer.echo(f"A word that is not in the sample occurs {found.unseen_high:,.0f} times at most.")
    if n_cut:
        typer.echo(
            f"{n_cut:,} sampled texts were cut off (vocabulary.reservoir_text_chars): the words of long documents "
            "count for less than they should.",
            err=True,
        )


def _sample(source: Path, size: int, seed: int) -> Reservoir:
    from vecmill.vocabulary.build import SAMPLE_FILE_NAME
    from vecmill.vocabulary.estimate import draw_sample
    from vecmill.vocabulary.reservoir import Reservoir

    if source.is_file():
        return Reservoir.load(source)
    if (source / SAMPLE_FILE_NAME).is_file():
        return Reservoir.load(source / SAMPLE_FILE_NAME)
    if any(source.glob("part-*.parquet")):
        return draw_sample(source, size, seed)
    raise ConfigError(
        f"{source} holds no sample and no corpus" if source.is_dir() else f"there is no {source}",
        expected="a vocabulary artifact's folder, its sample.parquet, or an ingest artifact's folder",
        todo="`vecmill run words --json` prints where artifacts lie",
    )


def _rules(source: Path, pattern: str | None) -> TokenRules:
    from vecmill.text.rules import DEFAULT_RULES, PATTERNS, TokenRules
    from vecmill.vocabulary.vocabulary import FILE_NAME, Vocabulary

    if pattern is None:
        folder = source if source.is_dir() else source.parent
        return Vocabulary.load(folder).rules if (folder / FILE_NAME).is_file() else DEFAULT_RULES
    for known in PATTERNS:
        if known == pattern:
            return TokenRules(known)
    raise ConfigError(f"--pattern {pattern}", expected=f"one of {', '.join(PATTERNS)}", todo="name one of them")


def _as_counted(word: str, rules: TokenRules) -> str:
    from vecmill.text.tokenize import tokenize

    found = tokenize(word, rules)
    if len(found) != 1:
        raise ConfigError(
            f"--word {word!r} is {len(found)} words by pattern {rules.pattern}",
            expected="a single word",
            todo="give its parts one by one",
        )
    return found[0]
