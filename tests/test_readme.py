"""README.md: the commands it names exist, and no measured figure was typed by hand."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import typer.main

import vecmill
from vecmill.cli.main import app

ROOT = Path(vecmill.__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_come_first() -> None:
    first = README.split("```")[1].split()
    assert first[:2] == ["make", "demo"]
    assert "make test" in README.split("```")[1]


def test_named_commands_exist() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"(?:\.venv/bin/|`)vecmill (\w+)", README))
    assert named
    assert named <= commands
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)) <= targets


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_figures_are_those_of_the_benchmark() -> None:
    """Whoever measures again runs docs/write_figures.py; whoever edits a figure by hand is found out here."""
    script = runpy.run_path(str(ROOT / "docs/write_figures.py"))
    short, tables = script["figures"]()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        assert script["fill"](text, short, tables) == text, path.name


def test_a_figure_nobody_measured_is_an_error() -> None:
    script = runpy.run_path(str(ROOT / "docs/write_figures.py"))
    with pytest.raises(KeyError, match="speed"):
        script["fill"]("<!-- figure:speed -->fast<!-- /figure -->", {}, {})
