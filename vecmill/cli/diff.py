"""``vecmill diff A B``: what changed between two files or two registered versions, beyond what training again changes.

Parses, finds the vectors and prints; the comparing is done in :mod:`vecmill.diff`, imported when the command runs.
"""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.markup import escape

from vecmill.cli.common import stderr_console, stdout_console
from vecmill.errors import ConfigError

_N_VOCABULARY_SHOWN = 12
_MOST_REPLICAS = 4  # of the registry, the newest; each costs a map and a pass over the neighbours


@dataclass(frozen=True)
class Options:
    """What the command line was given beside A and B."""

    replicas: Sequence[str]
    use_registry: bool
    rate: float
    n_neighbours: int
    n_shown: int
    pipeline: str
    file: Path
    overrides: list[str]


def diff_vectors(old: str, new: str, options: Options, *, as_json: bool) -> None:
    """Compare, and print the result."""
    from vecmill.diff.compare import compare_vectors

    with ExitStack() as stack:
        finder = _Finder(options, stack)
        a, b = finder.find(old), finder.find(new)
        replicas = [finder.find(each) for each in options.replicas]
        if options.use_registry and not replicas:
            replicas = finder.replicas_of(a, b)
        if not as_json and replicas:
            stderr_console().print(
                f"Noise from {', '.join(each.name for each in replicas)}", soft_wrap=True, markup=False
            )
        found = compare_vectors(
            a.vectors,
            b.vectors,
            [(each.name, each.vectors) for each in replicas],
            rate=options.rate,
            n_neighbours=options.n_neighbours,
        )
        if as_json:
            sides = {
                name: {"name": each.name, "space_id": each.vectors.space_id, "n_words": len(each.vectors)}
                for name, each in (("old", a), ("new", b))
            }
            names = [each.name for each in replicas]
            text = json_module.dumps({**sides, "replicas": names, **found.as_json()}, ensure_ascii=False)
            sys.stdout.write(text + "\n")
        else:
            _show(found, a, b, options.n_shown, stdout_console())


@dataclass(frozen=True)
class _Side:
    """Vectors, what people call them, and the number of the version that they are, empty for a file."""

    name: str
    vectors: Any
    version: str = ""


class _Finder:
    """Finds vectors by path, version number or alias; what it copies here goes when the stack is left."""

    def __init__(self, options: Options, stack: ExitStack) -> None:
        self._options, self._stack = options, stack
        self._registry: Any = None

    def find(self, what: str) -> _Side:
        from vecmill.vectors.vector_files import load_vectors

        if Path(what).exists():
            return _Side(what, load_vectors(what))
        if "/" in what or Path(what).suffix:
            raise ConfigError(
                f"there is no file or folder {what!r}",
                expected="a path of vectors, or a version of the registry by number or alias",
                todo="check the path",
            )
        from vecmill.registry.history import find_version

        registry = self._open()
        return self._version(registry, find_version(registry.client, registry.model_name, what).number)

    def replicas_of(self, a: _Side, b: _Side) -> list[_Side]:
        """Further versions of the recipe of either side; none where both are files."""
        if not (a.version or b.version):
            return []
        from vecmill.registry.history import all_versions, same_recipe

        registry = self._open()
        versions = all_versions(registry.client, registry.model_name)
        numbers = same_recipe(versions, [each.version for each in (a, b) if each.version])
        return [self._version(registry, each) for each in numbers[:_MOST_REPLICAS]]

    def _version(self, registry: Any, number: str) -> _Side:
        from vecmill.registry.stored import stored_vectors
        from vecmill.vectors.word_vectors import WordVectors

        folder = self._stack.enter_context(TemporaryDirectory(prefix="vecmill-diff-"))
        place = stored_vectors(registry.client, registry.model_name, number, Path(folder))
        return _Side(f"version {number} of {registry.model_name}", WordVectors.load(place), number)

    def _open(self) -> Any:
        if self._registry is None:
            from vecmill.cli.registry import open_registry

            options = self._options
            self._registry = self._stack.enter_context(open_registry(options.pipeline, options.file, options.overrides))
        return self._registry


def _show(found: Any, a: _Side, b: _Side, n_shown: int, console: Console) -> None:
    console.print(f"[bold]{escape(a.name)}[/] → [bold]{escape(b.name)}[/]", soft_wrap=True)
    console.print(
        f"Vocabulary: {len(found.gained):,} words gained, {len(found.lost):,} lost, {found.n_shared:,} in both"
    )
    for what, words in (("gained", found.gained), ("lost", found.lost)):
        if words:
            more = ", …" if len(words) > _N_VOCABULARY_SHOWN else ""
            console.print(f"  {what}: {', '.join(words[:_N_VOCABULARY_SHOWN])}{more}", soft_wrap=True, markup=False)
    again = found.replica_overlap
    beside = "" if again is None else f"; between trainings of one recipe {100 * again:.0f} %"
    console.print(
        f"Neighbours: {100 * found.overlap:.0f} % of the {found.n_neighbours} nearest words stayed{beside}",
        soft_wrap=True,
    )
    if found.unlearned:
        few = ", ".join(found.unlearned[:_N_VOCABULARY_SHOWN])
        console.print(
            f"Left out: {len(found.unlearned):,} words that a side has not learned (rows as short as at the start): "
            f"{few}{', …' if len(found.unlearned) > _N_VOCABULARY_SHOWN else ''}",
            soft_wrap=True,
            markup=False,
        )
    source = f"{found.n_replicas} replicas" if found.noise == "replicas" else "the bulk of the words"
    source = source.removesuffix("s") if found.n_replicas == 1 else source
    console.print(
        f"Moved: {len(found.moved):,} word{'s' if len(found.moved) != 1 else ''} further than noise, as {source} "
        f"show{'s' if found.n_replicas < 2 else ''} it (false discovery rate {100 * found.rate:g} %)",
        soft_wrap=True,
    )
    if not found.moved:
        return
    width = max(len(each.word) for each in found.moved[:n_shown])
    for each in found.moved[:n_shown]:
        counts = " → ".join("?" if count is None else f"{count:,}" for count in (each.old_count, each.new_count))
        console.print(
            f"[bold]{escape(each.word):<{width}}[/]  distance {each.distance:.3f} (noise {each.expected:.3f}), "
            f"q {each.q:.2g}, {100 * each.overlap:.0f} % of neighbours stayed, count {counts}",
            soft_wrap=True,
        )
        for when, words in (("before", each.before), ("after", each.after)):
            console.print(f"    {when + ':':<7} {', '.join(words)}", soft_wrap=True, markup=False, style="dim")
    if len(found.moved) > n_shown:
        console.print(f"and {len(found.moved) - n_shown:,} more: --top, or all of them with --json")
    console.print(
        "distance: 1 - cosine after mapping the old space onto the new one; noise: its median for a like word"
    )
