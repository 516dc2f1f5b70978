"""What the tests of `infra/` share: its files, parsed, and compose's way of filling in variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# ${NAME}, ${NAME:-value if unset or empty}, ${NAME:?refuse if unset or empty}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<operator>:[-?])(?P<text>[^}]*))?\}")


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def compose_text() -> str:
    return (ROOT / "infra" / "compose.yaml").read_text("utf-8")


@pytest.fixture(scope="session")
def compose(compose_text: str) -> dict[str, Any]:
    """The compose file with its anchors merged, its variables as they are written."""
    return yaml.safe_load(compose_text)


@pytest.fixture(scope="session")
def example_environment() -> dict[str, str]:
    lines = (ROOT / "infra" / ".env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="session")
def filled_environment(example_environment: dict[str, str]) -> dict[str, str]:
    """The example with every empty line that compose insists on filled in."""
    secrets = {name for name in example_environment if name.endswith(("_PASSWORD", "_KEY"))}
    return {name: f"filled-{name}" if name in secrets else value for name, value in example_environment.items()}


@pytest.fixture(scope="session")
def filled_compose(compose_text: str, filled_environment: dict[str, str]) -> dict[str, Any]:
    """The compose file as an engine would see it, every variable filled in."""

    def value(match: re.Match[str]) -> str:
        given = filled_environment.get(match["name"], "")
        assert given or match["operator"] != ":?", f"{match['name']}: {match['text']}"
        return given or (match["text"] or "" if match["operator"] == ":-" else "")

    return yaml.safe_load(VARIABLE.sub(value, compose_text))
