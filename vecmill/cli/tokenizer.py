"""``vecmill tokenizer …``: train a subword tokenizer on a corpus or a sample of it, and cut text with it.

Parses, calls and prints; the work is done in :mod:`vecmill.text.subword_tokenizer`, imported when a command runs.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vecmill.errors import ConfigError

if TYPE_CHECKING:
    from vecmill.text.subword_config import SubwordTokenizerConfig

tokenizer_app = typer.Typer(
    name="tokenizer",
    help="Subword tokenizers (BPE, WordPiece): train one, cut text into pieces, and put pieces together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[Path, typer.Argument(help="A tokenizer.json, as `vecmill tokenizer train` writes it.")]
Kind = Annotated[str, typer.Option(metavar="KIND", help="bpe or wordpiece.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@tokenizer_app.command()
def train(
    source: Annotated[
        Path,
        typer.Argument(
            help="What to learn from: the folder of an ingest artifact, a sample.parquet of a vocabulary "
            "artifact, or a text file with a text a line."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="File to write, such as tokenizer.json.")],
    kind: Kind = "bpe",
    size: Annotated[int, typer.Option(help="Pieces, special tokens included.")] = 30_000,
    min_count: Annotated[int, typer.Option(help="Times that two pieces must stand together to become one.")] = 2,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Lower-case text first.")] = False,
    special: Annotated[
        list[str], typer.Option("--special", metavar="TOKEN", help="A token that is never cut; may be repeated.")
    ] = [],  # noqa: B006 - Typer copies it
    force: Annotated[bool, typer.Option("--force", help="Replace what stands there.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Learn pieces from text and write them to a file."""
    from vecmill.text.subword_tokenizer import SubwordTokenizer

    if target.exists() and not force:
        raise ConfigError(f"{target} exists", todo="name another file, or replace it with --force")
    config = _config(kind=kind, size=size, min_count=min_count, lowercase=lowercase, more_special_tokens=special)
    tokenizer = SubwordTokenizer.train(_texts(source), config)
    tokenizer.save(target)
    if json:
        typer.echo(json_module.dumps({"path": str(target), "kind": kind, "n_pieces": len(tokenizer)}))
    else:
        typer.echo(f"{target}: {len(tokenizer):,} pieces ({kind}), special tokens {' '.join(config.special_tokens)}")


@tokenizer_app.command()
def encode(
    model: Model,
    text: Annotated[list[str], typer.Argument(help="Texts to cut, each quoted.")],
    max_length: Annotated[
        int | None, typer.Option(min=3, help="Tokens of a text at most, [CLS] and [SEP] included.")
    ] = None,
    pad: Annotated[bool, typer.Option("--pad", help="Fill texts up to the longest with [PAD].")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Cut texts into pieces and show them with their numbers."""
    from vecmill.text.subword_tokenizer import SubwordTokenizer

    tokenizer = SubwordTokenizer.load(model)
    found = tokenizer.encode(text, max_length=max_length)
    bounds = found.text_offsets.tolist()
    rows = [found.token_ids[start:stop].tolist() for start, stop in pairwise(bounds)]
    if pad:
        rows = found.padded(tokenizer.id_of("[PAD]"))[0].tolist()
    pieces = [tokenizer.pieces(row) for row in rows]
    if json:
        typer.echo(json_module.dumps({"token_ids": rows, "pieces": pieces, "n_cut": found.n_cut}, ensure_ascii=False))
        return
    for row, names in zip(rows, pieces, strict=True):
        typer.echo(" ".join(f"{name}:{token_id}" for name, token_id in zip(names, row, strict=True)))
    if found.n_cut:
        typer.echo(
            f"{found.n_cut} of {len(rows)} texts were longer than {max_length} tokens and were cut off.", err=True
        )


@tokenizer_app.command()
def decode(
    model: Model,
    token_ids: Annotated[list[int], typer.Argument(help="Numbers of pieces.")],
    debug: Debug = False,
) -> None:
    """Put pieces together to text, special tokens left out."""
    from vecmill.text.subword_tokenizer import SubwordTokenizer

    try:
        typer.echo(SubwordTokenizer.load(model).decode(token_ids))
    except ValueError as error:
        raise ConfigError(str(error), todo="give numbers as `vecmill tokenizer encode` shows them") from error


def _config(**settings: Any) -> SubwordTokenizerConfig:
    from pydantic import ValidationError

    from vecmill.text.subword_config import SubwordTokenizerConfig

    try:
        return SubwordTokenizerConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("more_special_tokens", "special").replace("_", "-")
        raise ConfigError(f"{option}: {first['msg']}, found {first['input']!r}", todo=f"change {option}") from error


def _texts(source: Path) -> Callable[[], Iterable[str]]:
    if source.is_dir():
        return lambda: _texts_of_corpus(source)
    if source.suffix == ".parquet":
        from vecmill.vocabulary.reservoir import Reservoir

        sampled = cast(list[str], Reservoir.load(source).to_table()["text"].to_pylist())
        return lambda: sampled
    if not source.is_file():
        raise ConfigError(
            f"there is no {source}",
            expected="an ingest artifact's folder, a vocabulary artifact's sample.parquet, or a text file",
            todo="`vecmill run words --json` prints where artifacts lie",
        )
    return lambda: _lines(source)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        yield from lines


def _texts_of_corpus(folder: Path) -> Iterator[str]:
    from vecmill.corpus.documents import iter_documents

    for batch in iter_documents(folder, columns=("text",)):
        yield from batch.column("text").to_pylist()
