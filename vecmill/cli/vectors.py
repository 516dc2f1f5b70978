"""``vecmill vectors …``: look into files of word vectors, ask them, convert them, and post-process them.

Parses, calls and prints; the work is done in :mod:`vecmill.vectors` and :mod:`vecmill.evaluation`, imported when a
command runs. Files are of any format of :mod:`vecmill.vectors.vector_files`.
"""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vecmill.errors import ConfigError

vectors_app = typer.Typer(
    name="vectors",
    help="Look into files of word vectors, ask them, convert and post-process them. Formats: folder, word2vec-text, "
    "word2vec-binary, glove, npy, arrow, fasttext-binary.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Source = Annotated[Path, typer.Argument(help="File or folder of vectors; a train artifact's folder will do.")]
Target = Annotated[Path, typer.Argument(help="File to write; without an ending, vecmill's own folder.")]
ReadAs = Annotated[
    str, typer.Option("--from", metavar="FORMAT", help="Format of the input. Default: it is recognised.")
]
WriteAs = Annotated[str, typer.Option("--to", metavar="FORMAT", help="Format to write. Default: that of the ending.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what stands there.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Number = Annotated[int, typer.Option("--number", "-n", min=1, help="How many words to list.")]


@vectors_app.command()
def info(path: Source, read_as: ReadAs = "", json: Json = False, debug: Debug = False) -> None:
    """Words, dimensions, the space's name, and statistics of the vectors."""
    from vecmill.evaluation.geometry import vector_statistics
    from vecmill.vectors.vector_files import load_vectors

    vectors = load_vectors(path, read_as or None)
    facts: dict[str, Any] = {
        "space_id": vectors.space_id,
        "counts": vectors.counts is not None,
        "first_words": list(vectors.words[:10]),
        **vector_statistics(vectors).as_json(),
    }
    _show(facts, json)


@vectors_app.command()
def convert(
    source: Source,
    target: Target,
    read_as: ReadAs = "",
    write_as: WriteAs = "",
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Copy vectors into another format; every bit of them stays."""
    from vecmill.vectors.vector_files import convert, format_to_write, written_files

    name = format_to_write(target, write_as or None)
    files = written_files(target, name)
    _refuse_to_overwrite(files, force)
    convert(source, target, read_as=read_as or None, write_as=name)
    _say_written(files, name)


@vectors_app.command()
def postprocess(
    source: Source,
    target: Target,
    steps: Annotated[
        str,
        typer.Option(
            help="Steps between commas, in their order: average_with_context, center, all_but_the_top[:components], "
            "whiten_zca[:epsilon], whiten_pca[:epsilon], power_normalise[:exponent], l2_normalise."
        ),
    ],
    context: Annotated[
        Path | None,
        typer.Option(
            help="Context vectors for average_with_context: .npy, or a train artifact. Default: those beside the input."
        ),
    ] = None,
    read_as: ReadAs = "",
    write_as: WriteAs = "",
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Centre, whiten, normalise… vectors and write the result."""
    from vecmill.vectors.postprocessing_steps import parse_steps, postprocess
    from vecmill.vectors.vector_files import (
        format_to_write,
        load_context_vectors,
        load_vectors,
        save_vectors,
        written_files,
    )

    wanted = parse_steps(steps)
    name = format_to_write(target, write_as or None)
    _refuse_to_overwrite(written_files(target, name), force)
    vectors = load_vectors(source, read_as or None)
    done = postprocess(vectors, wanted, load_context_vectors(source, context))
    _say_written(save_vectors(done, target, name), name)


@vectors_app.command()
def neighbours(
    path: Source,
    words: Annotated[list[str], typer.Argument(help="Words to ask for.")],
    number: Number = 10,
    among: Annotated[
        Path | None,
        typer.Option(help="Look among the words of this file instead; it must belong to the same space."),
    ] = None,
    read_as: ReadAs = "",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """The words of highest cosine to each of the words."""
    from vecmill.vectors.space import require_same_space
    from vecmill.vectors.vector_files import load_vectors

    vectors = load_vectors(path, read_as or None)
    if among is None:
        found = vectors.neighbours_of_words(words, number)
    else:
        others = load_vectors(among)
        require_same_space(vectors, others, str(path), str(among))
        found = [others.neighbours(vectors[word], number, [word] if word in others else []) for word in words]
    _show_lists(dict(zip(words, found, strict=True)), json)


@vectors_app.command()
def join(
    sources: Annotated[list[Path], typer.Argument(help="Files or folders of vectors of one space.")],
    target: Annotated[Path, typer.Option("--target", "-o", help="File to write; without an ending, a folder.")],
    write_as: WriteAs = "",
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Put vectors of one space together; of a word that several have, the first one's vector counts."""
    from vecmill.vectors.space import joined
    from vecmill.vectors.vector_files import format_to_write, load_vectors, save_vectors, written_files

    name = format_to_write(target, write_as or None)
    _refuse_to_overwrite(written_files(target, name), force)
    together = joined([(str(each), load_vectors(each)) for each in sources])
    _say_written(save_vectors(together, target, name), name)


@vectors_app.command()
def move(
    source: Source,
    map_: Annotated[
        Path, typer.Argument(metavar="MAP", help="Folder of `vecmill registry release VERSION --save FOLDER`.")
    ],
    target: Target,
    read_as: ReadAs = "",
    write_as: WriteAs = "",
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Move vectors of the version before into the new version's space, or the other way round."""
    from vecmill.vectors.space_map import read_map
    from vecmill.vectors.vector_files import format_to_write, load_vectors, save_vectors, written_files

    name = format_to_write(target, write_as or None)
    _refuse_to_overwrite(written_files(target, name), force)
    moved = read_map(map_).move(load_vectors(source, read_as or None), str(source))
    _say_written(save_vectors(moved, target, name), name)


@vectors_app.command()
def analogy(
    path: Source,
    a: Annotated[str, typer.Argument(help="A is to B…", metavar="A")],
    b: Annotated[str, typer.Argument(metavar="B")],
    c: Annotated[str, typer.Argument(help="… as C is to the answer.", metavar="C")],
    number: Number = 10,
    method: Annotated[Literal["3cosadd", "3cosmul"], typer.Option(help="How answers are scored.")] = "3cosadd",
    read_as: ReadAs = "",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Which words are to C as B is to A: `analogy PATH man king woman`."""
    from vecmill.evaluation.analogies import solve_analogy
    from vecmill.vectors.vector_files import load_vectors

    found = solve_analogy(load_vectors(path, read_as or None), a, b, c, number, method=method)
    _show_lists({f"{a} : {b} = {c} : ?": found}, json)


def _refuse_to_overwrite(files: list[Path], force: bool) -> None:
    for path in files:
        stands = any(path.iterdir()) if path.is_dir() else path.exists()
        if stands and not force:
            raise ConfigError(
                f"{path} stands there already", expected="a new path", todo="name another, or replace it with --force"
            )


def _say_written(files: list[Path], format_name: str) -> None:
    typer.echo(f"wrote {' and '.join(str(path) for path in files)} ({format_name})", err=True)


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json_module.dumps(facts, ensure_ascii=False) + "\n")
        return
    for name, value in facts.items():
        shown = "unknown" if value is None else ", ".join(value) if isinstance(value, list) else value
        if isinstance(value, bool):
            shown = "yes" if value else "no"
        sys.stdout.write(f"{name:<18} {f'{shown:,}' if isinstance(shown, int) else shown}\n")


def _show_lists(lists: dict[str, list[tuple[str, float]]], as_json: bool) -> None:
    if as_json:
        rows = {
            asked: [{"word": word, "score": round(score, 6)} for word, score in found] for asked, found in lists.items()
        }
        sys.stdout.write(json_module.dumps(rows, ensure_ascii=False) + "\n")
        return
    for asked, found in lists.items():
        sys.stdout.write(f"{asked}\n" + "".join(f"  {score:7.4f}  {word}\n" for word, score in found))
