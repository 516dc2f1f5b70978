"""The image is pinned, runs without privileges, and gets exactly the files that it copies."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

import pytest

from vecmill.quiet import QUIET_ENVIRONMENT

Instruction = tuple[str, str]


@pytest.fixture(scope="module")
def instructions(repository: Path) -> list[Instruction]:
    lines = (repository / "infra" / "Dockerfile").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    logical = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in logical if line.strip()]


def arguments(instructions: list[Instruction], kind: str) -> list[str]:
    return [argument for name, argument in instructions if name == kind]


def copied_from_repository(instructions: list[Instruction]) -> list[str]:
    copies = [argument.split() for argument in arguments(instructions, "COPY")]
    return [source for words in copies if not words[0].startswith("--from=") for source in words[:-1]]


def enters_the_build(path: str, rules: list[str]) -> bool:
    """Whether .dockerignore lets a file through: the last rule that matches it, or a folder above it, decides."""
    allowed = True
    parts = path.split("/")
    prefixes = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    for rule in rules:
        pattern = rule.removeprefix("!")
        anywhere = pattern.removeprefix("**/")
        if anywhere != pattern:
            matches = any(fnmatch(part, anywhere) for part in parts)
        else:
            matches = any(fnmatch(prefix, pattern) for prefix in prefixes if prefix.count("/") == pattern.count("/"))
        if matches:
            allowed = rule.startswith("!")
    return allowed


@pytest.fixture(scope="module")
def ignore_rules(repository: Path) -> list[str]:
    lines = (repository / ".dockerignore").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_only_instructions_that_we_know(instructions: list[Instruction]) -> None:
    assert {name for name, _ in instructions} == {"FROM", "ENV", "WORKDIR", "COPY", "ARG", "RUN", "USER", "CMD"}


def test_both_stages_start_from_one_pinned_python(instructions: list[Instruction]) -> None:
    bases = [argument.split()[0] for argument in arguments(instructions, "FROM")]
    assert len(bases) == 2 and len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", bases[0]), bases[0]


def test_it_runs_as_an_ordinary_user(instructions: list[Instruction]) -> None:
    names = [name for name, _ in instructions]
    assert arguments(instructions, "USER") == ["vecmill"]
    assert set(names[names.index("USER") + 1 :]) == {"CMD"}, "nothing is built or copied as that user"
    assert any("useradd --uid 10001" in argument for argument in arguments(instructions, "RUN"))


def test_everything_it_copies_exists_and_reaches_the_engine(
    instructions: list[Instruction], repository: Path, ignore_rules: list[str]
) -> None:
    sources = copied_from_repository(instructions)
    assert {"vecmill", "tasks", "flows", "data_contracts", "pipelines.yaml", "constraints.txt"} <= set(sources)
    for source in sources:
        assert (repository / source).exists(), source
        assert enters_the_build(source, ignore_rules), f".dockerignore keeps {source} out"


def test_nothing_else_reaches_the_engine(ignore_rules: list[str], instructions: list[Instruction]) -> None:
    for kept_out in (
        *(".env", "infra/.env", ".git/config", ".venv/bin/python", ".vecmill/store/x", "tests/test_quiet.py"),
        *("docs/architecture.md", "vecmill/store/__pycache__/x.pyc", "infra/compose.yaml", "mlflow.db"),
    ):
        assert not enters_the_build(kept_out, ignore_rules), kept_out
    assert enters_the_build("vecmill/store/stage.py", ignore_rules)
    let_in = {rule.removeprefix("!") for rule in ignore_rules if rule.startswith("!")}
    assert let_in == set(copied_from_repository(instructions)), "let in but not copied, or the other way round"


def test_dependencies_are_installed_before_our_code_is_copied(instructions: list[Instruction]) -> None:
    lines = [f"{name} {argument}" for name, argument in instructions]
    installs = next(n for n, line in enumerate(lines) if "-c constraints.txt" in line)
    assert installs < next(n for n, line in enumerate(lines) if line.startswith("COPY vecmill "))
    assert "-r infra/requirements-server.txt" in lines[installs]
    for line in lines:
        assert "pip install" not in line or "-c constraints.txt" in line or "--no-deps" in line, "an unpinned install"


def test_its_environment_is_the_quiet_one_and_holds_no_secret(instructions: list[Instruction]) -> None:
    environment = dict(pair.split("=", 1) for line in arguments(instructions, "ENV") for pair in shlex.split(line))
    assert QUIET_ENVIRONMENT.items() <= environment.items()
    for name in (*environment, *arguments(instructions, "ARG")):
        assert not re.search(r"PASSWORD|SECRET|TOKEN|_KEY", name), name


def test_server_packages_are_pinned_as_the_constraints_pin_them(repository: Path) -> None:
    def pins(name: str) -> dict[str, str]:
        lines = (repository / name).read_text("utf-8").splitlines()
        found = (re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;#]+)", line) for line in lines)
        return {match[1].lower().replace("_", "-"): match[2] for match in found if match}

    server = pins("infra/requirements-server.txt")
    assert set(server) == {"boto3", "psycopg2-binary"}
    constraints = pins("constraints.txt")
    assert server["boto3"] == constraints["boto3"], "s3fs and boto3 share one botocore"
    for name, version in server.items():
        assert constraints.get(name, version) == version, name
