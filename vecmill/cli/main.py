"""``vecmill …``: parses, calls, prints; the work is done elsewhere.

Only what every command needs is imported here. A run whose stages are all cached is answered from the store before
Prefect, MLflow or any numerical library is imported.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from vecmill.cli.registry import registry_app
from vecmill.cli.tokenizer import tokenizer_app
from vecmill.cli.vectors import vectors_app
from vecmill.cli.vocabulary import vocabulary_app
from vecmill.config.files import PIPELINES_FILE
from vecmill.errors import VecmillError
from vecmill.quiet import be_quiet

app = typer.Typer(
    name="vecmill",
    help="Build, judge, ship and keep your own text embeddings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(registry_app)
app.add_typer(vectors_app)
app.add_typer(tokenizer_app)
app.add_typer(vocabulary_app)

Name = Annotated[str, typer.Argument(help="Name of a deployment in the pipelines file, such as words.")]
File = Annotated[Path, typer.Option("--file", help="The pipelines file.")]
Set = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Change a configuration value; may be repeated.")
]
Refresh = Annotated[
    list[str], typer.Option("--refresh", metavar="STAGE", help="Build this stage again whatever stands; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks, and the log of everything below.")]


@app.command()
def run(
    name: Name,
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006 - Typer copies it
    refresh: Refresh = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a pipeline in this process; stages whose artifact stands are not run again."""
    from vecmill.cli.run import run_pipeline

    run_pipeline(file, name, set_, tuple(refresh), as_json=json, debug=debug)


@app.command()
def explain(
    name: Name,
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    refresh: Refresh = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which stages a run would build, and which of config, code, input or version is the cause."""
    from vecmill.cli.inspect import explain_pipeline

    explain_pipeline(file, name, set_, tuple(refresh), as_json=json)


@app.command()
def config(
    name: Name,
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    describe: Annotated[bool, typer.Option("--describe", help="Say what each value means, as comments.")] = False,
    debug: Debug = False,
) -> None:
    """Print the whole configuration of a pipeline as YAML, defaults included."""
    from vecmill.cli.inspect import print_config

    print_config(file, name, set_, describe=describe)


@app.command()
def validate(
    model: Annotated[
        str,
        typer.Argument(help="Vectors in any format, a train artifact's folder, or a registered version or alias."),
    ],
    data: Annotated[
        list[str], typer.Argument(help="Text that the model was not trained on: files, globs, folders or URLs.")
    ],
    window: Annotated[int, typer.Option(help="Words to each side that are true neighbours.")] = 5,
    pairs: Annotated[int, typer.Option(help="True pairs to draw, and as many sampled ones.")] = 200_000,
    score: Annotated[str, typer.Option(help="cosine, or dot with the model's context vectors.")] = "cosine",
    exponent: Annotated[
        float, typer.Option(help="Sampled neighbours are drawn by count ** this; with 1, counts alone tell nothing.")
    ] = 0.75,
    text_format: Annotated[
        str, typer.Option("--format", help="Format of the text, such as txt or jsonl. Default: by the ending.")
    ] = "auto",
    text_column: Annotated[str, typer.Option(help="Column or key that holds the text.")] = "text",
    txt_unit: Annotated[str, typer.Option(help="What a document is in text files: file, line or paragraph.")] = "file",
    tokens: Annotated[
        str, typer.Option(help="What a word is: unicode, ascii or whitespace. Default: as the model was made.")
    ] = "",
    lowercase: Annotated[
        bool | None, typer.Option("--lowercase/--keep-case", help="Default: as the model was made.")
    ] = None,
    read_as: Annotated[str, typer.Option("--from", metavar="FORMAT", help="Format of the vectors.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    pipeline: Annotated[str, typer.Option(help="Deployment whose registry a version is from.")] = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Judge vectors by held-out text: can they tell true neighbours of a word from sampled ones?"""
    from vecmill.cli.validate import token_rules, validate_model

    validate_model(
        model,
        data,
        corpus={"format": text_format, "text_column": text_column, "txt_unit": txt_unit},
        settings={"window": window, "n_pairs": pairs, "score": score, "negative_exponent": exponent},
        rules=token_rules(tokens, lowercase),
        read_as=read_as,
        registry=(pipeline, file, set_),
        seed=seed,
        as_json=json,
    )


@app.command("cross-validate")
def cross_validate(
    name: Name,
    folds: Annotated[int, typer.Option(help="Parts of the documents, each held out once.")] = 5,
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train and judge once a fold of the documents; what stands in the store is not built again."""
    from vecmill.cli.validate import cross_validate as run_folds

    run_folds(file, name, set_, folds, as_json=json)


@app.command("learning-curve")
def learning_curve(
    name: Name,
    share: Annotated[
        list[float], typer.Option("--share", help="Share of the documents to train on, above 0 up to 1; repeatable.")
    ] = [0.1, 0.25, 0.5, 1.0],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="HTML file to draw the curves into.")] = None,
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train and judge on growing shares of the text: would more text help?"""
    from vecmill.cli.validate import learning_curve as run_shares

    run_shares(file, name, set_, share, out=out, as_json=json)


@app.command()
def report(
    what: Annotated[
        str, typer.Argument(help="A registered version's number or alias, or the folder of an evaluate artifact.")
    ],
    out: Annotated[Path | None, typer.Option(help="File to write. Default: named after the model, here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands there.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    pipeline: Annotated[str, typer.Option(help="Deployment whose registry is meant.")] = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the report of a model, one HTML page: scores, curves, map, neighbours, corpus, verdict."""
    from vecmill.cli.report import write_report

    write_report(what, out, (pipeline, file, set_), force=force, show=show, as_json=json)


@app.command()
def diff(
    old: Annotated[
        str, typer.Argument(metavar="A", help="File of vectors, or a version of the registry or its alias.")
    ],
    new: Annotated[str, typer.Argument(metavar="B", help="The newer one, likewise.")],
    replica: Annotated[
        list[str],
        typer.Option(
            "--replica",
            metavar="PATH",
            help="Another training of A's or B's recipe, which shows the noise; repeatable. Default: those that the "
            "registry has, else the bulk of the words shows it.",
        ),
    ] = [],  # noqa: B006
    registry_replicas: Annotated[
        bool, typer.Option(help="Look for further trainings of the recipes in the registry.")
    ] = True,
    rate: Annotated[
        float, typer.Option(help="False discovery rate: share of the words listed that may be noise.")
    ] = 0.05,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many nearest words are compared.")] = 10,
    top: Annotated[int, typer.Option(min=1, help="How many moved words to show.")] = 25,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Deployment whose registry is meant.")] = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """What changed between two models: words gained, lost, and those that moved more than training again moves them."""
    from vecmill.cli.diff import Options, diff_vectors

    options = Options(replica, registry_replicas, rate, number, top, pipeline, file, set_)
    diff_vectors(old, new, options, as_json=json)


@app.command()
def replay(
    version: Annotated[str, typer.Argument(help="A registered version's number, or an alias such as champion.")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Replay although code, libraries or sources changed since.")
    ] = False,
    scratch: Annotated[
        Path | None, typer.Option(help="Folder for the rebuilt artifacts, removed afterwards. Default: the system's.")
    ] = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Deployment whose registry is meant.")] = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Rebuild a version from its manifests and compare: exit code 0 same, 1 differs, 2 cannot be replayed."""
    from vecmill.cli.replay import replay_version

    replay_version(version, pipeline, file, set_, scratch=scratch, anyway=anyway, as_json=json)


@app.command()
def gc(
    name: Name = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove artifacts that no registered model leads back to, from the store that the pipeline NAME uses."""
    from vecmill.cli.inspect import collect_garbage

    collect_garbage(file, name, set_, dry_run=dry_run, as_json=json)


@app.command()
def forget(
    documents: Annotated[
        list[str], typer.Argument(metavar="DOC_ID...", help="Names of documents, as the column doc_id has them.")
    ] = [],  # noqa: B006
    listed: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A text file that names documents, one a line.")
    ] = None,
    prove: Annotated[
        list[str],
        typer.Option("--prove", metavar="TEXT", help="Look for this text in all that remains; repeatable."),
    ] = [],  # noqa: B006
    registry: Annotated[
        bool, typer.Option("--registry", help="Also withdraw registered versions that were made from them.")
    ] = False,
    rebuild: Annotated[bool, typer.Option(help="Run the pipeline afterwards.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Deployment whose store is meant.")] = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove documents and all that was made from them for good, rebuild the rest, and prove that they are gone."""
    from vecmill.cli.forget import Options
    from vecmill.cli.forget import forget as forget_documents

    options = Options(documents, listed, prove, registry, rebuild, dry_run, pipeline, file, set_)
    forget_documents(options, as_json=json, debug=debug)


@app.command()
def browse(
    name: Name = "words",
    file: File = Path(PIPELINES_FILE),
    set_: Set = [],  # noqa: B006
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    debug: Debug = False,
) -> None:
    """Open the model registry that the pipeline NAME uses as a web page on this machine, until Ctrl-C."""
    from vecmill.cli.services import browse_registry

    browse_registry(file, name, set_, port)


@app.command()
def server(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 4200, debug: Debug = False
) -> None:
    """Run a Prefect server on this machine, with its state below .vecmill, until Ctrl-C."""
    from vecmill.cli.services import prefect_server_here

    prefect_server_here(port)


@app.command()
def worker(
    pool: Annotated[str, typer.Option(help="Work pool to take runs from.")] = "local-process", debug: Debug = False
) -> None:
    """Take and execute scheduled runs from the Prefect server in PREFECT_API_URL, until Ctrl-C."""
    from vecmill.cli.services import prefect_worker_here

    prefect_worker_here(pool)


@app.command()
def deploy(file: File = Path(PIPELINES_FILE), debug: Debug = False) -> None:
    """Send every pipeline to the Prefect server in PREFECT_API_URL, with its work pool and schedules."""
    from vecmill.cli.services import deploy_all

    deploy_all(file)


@app.command()
def version() -> None:
    """Print vecmill's version."""
    from importlib import metadata

    typer.echo(metadata.version("vecmill"))


def main() -> None:
    """Entry point: exit code 0, 2 for what the user has to change, 1 for faults, 130 when interrupted."""
    debug = "--debug" in sys.argv
    be_quiet()
    atexit.register(_leave)  # the first one registered runs last
    try:
        app()
    except SystemExit as leaving:
        _exit_code[0] = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
        raise
    except VecmillError as error:
        if debug:
            traceback.print_exc()
        typer.secho(f"vecmill: {error}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        _exit_code[0] = error.exit_code
        sys.exit(error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(0)  # whoever read our output has seen enough
        if debug:
            traceback.print_exc()
        place = f"{str(error.filename)[:200]}: " if error.filename else ""
        typer.echo(f"vecmill: {place}{error.strerror or error}. What to do: check that file or folder.", err=True)
        _exit_code[0] = 1
        sys.exit(1)
    except Exception as error:
        if debug:
            traceback.print_exc()
        typer.echo(
            f"vecmill: something broke inside ({type(error).__name__}: {error}). Finished stages are kept. "
            "What to do: run again with --debug for the traceback, and report it.",
            err=True,
        )
        _exit_code[0] = 1
        sys.exit(1)


_exit_code = [0]


def _leave() -> None:
    """End the process when all other exit handlers have run.

    What is left then is taking apart half a million objects of the libraries below, one or two seconds in which a
    person waits for the prompt.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed by whoever read it
            stream.flush()
    os._exit(_exit_code[0])
