"""``vecmill validate``, ``cross-validate`` and ``learning-curve``: models judged by text they were not trained on.

Parses, calls and prints; the work is done in :mod:`vecmill.evaluation` and :mod:`vecmill.pipelines.cross_validation`.
"""

from __future__ import annotations

import contextlib
import json as json_module
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vecmill.cli.common import open_target, stderr_console, stdout_console
from vecmill.errors import ConfigError

# Of a validation, what the terminal shows, with a word about each.
_SHOWN = {
    "accuracy": "of true and sampled pairs told apart",
    "precision": "of the pairs called true, those that are",
    "recall": "of the true pairs, those called true",
    "f1": "harmonic mean of the two",
    "auc": "a true pair scores above a sampled one; 0.5 is chance",
    "auc_by_frequency": "the same by counts alone, without vectors",
    "mean_true": "mean similarity of true pairs",
    "mean_sampled": "mean similarity of sampled pairs",
    "pair_coverage": "of the pairs, those whose words both have vectors",
    "quality": "0 random, 1 perfect; unknown words count against it",
}


def validate_model(
    model: str,
    data: Sequence[str],
    *,
    corpus: Mapping[str, Any],
    settings: Mapping[str, Any],
    rules: Mapping[str, Any],
    read_as: str,
    registry: tuple[str, Path, list[str]],
    seed: int,
    as_json: bool,
) -> None:
    """Judge ``model`` by the texts of ``data`` and print the score.

    Parameters
    ----------
    model : path of vectors in any format or of a train artifact; else a registered version's number or alias
    corpus, settings : options of CorpusConfig and ValidationConfig that were given
    rules : fields of TokenRules that were given, over those that the model was made with
    registry : pipeline, pipelines file and overrides, for a registered version
    """
    from vecmill.config.validate import validate
    from vecmill.corpus.config import CorpusConfig
    from vecmill.evaluation.config import ValidationConfig
    from vecmill.evaluation.text_validation import validate_text

    source = validate(CorpusConfig, {**corpus, "sources": list(data)}, "the command line", todo="correct the option")
    config = validate(ValidationConfig, dict(settings), "the command line", todo="correct the option")
    with _progress(as_json), _opened(model, read_as, registry) as opened:
        opened = opened.with_rules(**rules)
        score = validate_text(opened, source, config, seed=seed)
    facts = {"model": model, "data": list(data), "rules": opened.rules_said, **score.as_json()}
    if as_json:
        _write(facts)
        return
    console = stdout_console()
    console.print(
        f"[bold]{score.n_scored:,}[/] true pairs and as many sampled ones, from {score.n_documents:,} documents "
        f"({score.n_tokens:,} words); threshold {score.threshold:.4f}, chosen on {score.n_tuned:,} others.",
        soft_wrap=True,
    )
    rows = [(name, facts[name], said) for name, said in _SHOWN.items()]
    for name, value, said in rows:
        console.print(f"{name:<17} {'–' if value is None else f'{value:.4f}':>7}  {said}", soft_wrap=True, markup=False)
    console.print(f"Words as {opened.rules_said}.", soft_wrap=True, markup=False)


def token_rules(pattern: str, lowercase: bool | None) -> dict[str, Any]:
    """The fields of TokenRules that options name; empty where they name none.

    Raises
    ------
    ConfigError : no such pattern
    """
    from vecmill.text.rules import PATTERNS

    if pattern and pattern not in PATTERNS:
        raise ConfigError(f"--tokens {pattern}", expected=f"one of {', '.join(PATTERNS)}", todo="correct the option")
    given = {"pattern": pattern or None, "lowercase": lowercase}
    return {name: value for name, value in given.items() if value is not None}


def cross_validate(file: Path, name: str, overrides: list[str], folds: int, *, as_json: bool) -> None:
    """Train and judge a pipeline once a fold, and print each fold and the means."""
    from vecmill.engine.engine import open_engine
    from vecmill.pipelines.cross_validation import cross_validated

    target = open_target(file, name, overrides)
    with _progress(as_json), open_engine(target.config) as engine:
        found = cross_validated(target.pipeline, target.config, target.store, folds, engine.run_stage)
    if as_json:
        _write(found.as_json())
        return
    table, console = _table(f"{folds}-fold cross-validation of {name}", ("fold", *found.metrics)), stdout_console()
    for fold in found.folds:
        cached = " (cached)" if fold.cached else ""
        table.add_row(f"{fold.number}{cached}", *(_number(fold.metrics.get(each)) for each in found.metrics))
    table.add_section()
    table.add_row("[bold]mean[/]", *(_number(found.mean(each)) for each in found.metrics))
    table.add_row("sd", *(_number(found.sd(each)) for each in found.metrics))
    console.print(table)
    console.print(
        "Each fold's documents judge vectors trained on all others. sd: of the folds, which share most of their "
        "training text, so the spread of separate corpora is larger.",
        soft_wrap=True,
    )


def learning_curve(
    file: Path, name: str, overrides: list[str], shares: Sequence[float], *, out: Path | None, as_json: bool
) -> None:
    """Train and judge a pipeline on growing shares of the text, print the scores, and draw them into ``out``."""
    from vecmill.engine.engine import open_engine
    from vecmill.pipelines.cross_validation import learning_curve as measured

    target = open_target(file, name, overrides)
    with _progress(as_json), open_engine(target.config) as engine:
        points = measured(target.pipeline, target.config, target.store, shares, engine.run_stage)
    if out is not None:
        from vecmill.report.page import curve_page

        lines = {metric: [point.metrics[metric] for point in points] for metric in points[0].metrics}
        out.write_text(curve_page(f"Learning curve of {name}", [point.share for point in points], lines), "utf-8")
    if as_json:
        _write({"pipeline": name, "points": [each.as_json() for each in points]})
        return
    metrics = list(points[0].metrics)
    table = _table(f"Learning curve of {name}", ("share", "words of text", *metrics))
    for point in points:
        table.add_row(f"{point.share:g}", f"{point.n_tokens:,}", *(_number(point.metrics[each]) for each in metrics))
    stdout_console().print(table)


@contextlib.contextmanager
def _opened(model: str, read_as: str, registry: tuple[str, Path, list[str]]) -> Iterator[Any]:
    """The model that a path, a version's number or an alias stands for, with its token rules."""
    from vecmill.evaluation.text_validation import open_model

    if Path(model).exists() or read_as or "/" in model or "." in model:
        yield open_model(Path(model), read_as or None)
        return
    from vecmill.cli.registry import open_registry
    from vecmill.registry.history import find_version
    from vecmill.registry.stored import run_lineage, stored_vectors

    with open_registry(*registry) as found, tempfile.TemporaryDirectory(prefix="vecmill-validate-") as folder:
        version = find_version(found.client, found.model_name, model)
        path = stored_vectors(found.client, found.model_name, version.number, Path(folder))
        lineage = run_lineage(found.client, version.run_id) if version.run_id else {}
        yield open_model(path, None, lineage.get("vocabulary", {}).get("parts", {}).get("config", {}))


@contextlib.contextmanager
def _progress(as_json: bool) -> Iterator[None]:
    from vecmill.cli.progress_bars import LogLines, TerminalBars
    from vecmill.progress import show_progress_on

    console = stderr_console()
    # Libraries below may print; on stdout only the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        if as_json and not console.is_terminal:
            yield
            return
        with show_progress_on(TerminalBars(console) if console.is_terminal else LogLines(console)):
            yield


def _table(title: str, columns: Sequence[str]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for at, column in enumerate(columns):
        table.add_column(column.removeprefix("validation_"), justify="right" if at else "left")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _write(value: Any) -> None:
    sys.stdout.write(json_module.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
