"""The compose file keeps its promises: pinned, health-gated, on loopback, quiet, and without a secret in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from vecmill.quiet import QUIET_ENVIRONMENT

VARIABLE = re.compile(r"\$\{(\w+)(?::[-?][^}]*)?\}")
PINNED_IMAGE = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+[\w.-]*")
LOOPBACK_PORT = re.compile(r"127\.0\.0\.1:\$\{[A-Z0-9]+_PORT:-(\d+)\}:(\d+)")
NAMES_A_SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN")
DEMANDED_VARIABLE = re.compile(r"\$\{\w+:\?[^}]+\}")


def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def is_ours(service: dict[str, Any]) -> bool:
    return "build" in service


def test_it_is_a_valid_compose_file_by_the_specification(filled_compose: dict[str, Any]) -> None:
    checker = pytest.importorskip("check_jsonschema", reason="check-jsonschema carries the specification's JSON schema")
    schema = resources.files(checker) / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(filled_compose, json.loads(schema.read_text("utf-8")))


def test_every_image_is_pinned_to_a_version(compose: dict[str, Any], repository: Path) -> None:
    version = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for name, service in services(compose).items():
        if is_ours(service):
            assert service["image"] == f"vecmill:${{VECMILL_TAG:-{version}}}", name
            assert (repository / "infra" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        else:
            assert PINNED_IMAGE.fullmatch(service["image"]), f"{name}: {service['image']} can change under us"


def test_what_is_waited_for_can_say_that_it_is_ready(compose: dict[str, Any]) -> None:
    every = services(compose)
    for name, service in every.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in every[needed], f"{name} waits for {needed}, which has no health check"
            else:
                assert how["condition"] == "service_completed_successfully", f"{name}: {needed} merely started"
                assert every[needed]["restart"] == "no", f"{needed} is restarted when it ends, so it never completes"


def test_what_stays_up_has_a_health_check_and_comes_back(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        if service["restart"] != "no":
            assert service["restart"] == "unless-stopped", name
            assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"]), name


def test_ports_are_published_on_loopback_only(compose: dict[str, Any], example_environment: dict[str, str]) -> None:
    published = {}
    for name, service in services(compose).items():
        assert "network_mode" not in service, name
        for port in service.get("ports", []):
            match = LOOPBACK_PORT.fullmatch(port)
            assert match, f"{name}: {port}"
            published[name] = int(match[2])
    assert published == {"s3": 7070, "prefect": 4200, "mlflow": 5000}
    assert [int(example_environment[f"{name}_PORT"]) for name in ("S3", "PREFECT", "MLFLOW")] == [7070, 4200, 5000]


def test_named_volumes_hold_the_state_and_are_all_declared(compose: dict[str, Any]) -> None:
    named, mounted_files = set(), set()
    for service in services(compose).values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            (mounted_files if source.startswith(".") else named).add(source)
    assert named == set(compose["volumes"]) == {"postgres-data", "s3-data", "worker-state"}
    assert mounted_files == {"./postgres/create-databases.sh"}


def test_mounted_files_exist_and_are_read_only(compose: dict[str, Any], repository: Path) -> None:
    for service in services(compose).values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                source, _, mode = volume.split(":")
                assert (repository / "infra" / source).is_file(), f"the engine would make a folder of {source}"
                assert mode == "ro"


def test_no_secret_stands_in_the_file(compose: dict[str, Any], compose_text: str) -> None:
    n_secrets = 0
    for name, service in services(compose).items():
        for variable, value in service.get("environment", {}).items():
            assert isinstance(value, str), f"{name}.{variable}: {value!r} is not text, so YAML decides how it reads"
            if NAMES_A_SECRET.search(variable):
                assert DEMANDED_VARIABLE.fullmatch(value), f"{name}.{variable}: {value}"
                n_secrets += 1
    assert n_secrets >= 10
    assert not re.search(r"://[^/\s]*:[^/\s]*@", compose_text), "a password in a URL"


def test_every_variable_is_explained_in_the_example(compose_text: str, example_environment: dict[str, str]) -> None:
    used = set(VARIABLE.findall(compose_text))
    assert used == set(example_environment), used ^ set(example_environment)


def test_the_example_holds_no_secret_and_no_other_default(
    compose_text: str, example_environment: dict[str, str]
) -> None:
    for name, value in example_environment.items():
        demanded = set(re.findall(rf"\$\{{{name}:\?[^}}]+\}}", compose_text))
        defaults = set(re.findall(rf"\$\{{{name}:-([^}}]*)\}}", compose_text))
        assert bool(demanded) != bool(defaults), f"{name} is demanded in one place and defaulted in another"
        assert {value} == (defaults or {""}), f"{name}={value}"


def test_secrets_file_is_kept_out_of_the_repository(repository: Path) -> None:
    assert ".env" in (repository / "infra" / ".gitignore").read_text("utf-8").splitlines()


def test_our_containers_are_quiet_and_have_no_privileges(compose: dict[str, Any]) -> None:
    ours = {name: service for name, service in services(compose).items() if is_ours(service)}
    assert set(ours) == {"s3-bucket", "prefect", "mlflow", "deploy", "worker"}
    assert compose["x-quiet"] == QUIET_ENVIRONMENT
    for name, service in ours.items():
        assert QUIET_ENVIRONMENT.items() <= service["environment"].items(), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_mlflow_answers_to_its_service_name_and_to_loopback(compose: dict[str, Any]) -> None:
    command = services(compose)["mlflow"]["command"]
    allowed = command[command.index("--allowed-hosts") + 1].split(",")
    assert allowed == ["mlflow:5000", "localhost:*", "127.0.0.1:*"]
    assert services(compose)["worker"]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_addresses_between_services_name_a_service_and_its_port(compose: dict[str, Any]) -> None:
    listening = {"postgres": "5432", "s3": "7070", "prefect": "4200", "mlflow": "5000"}
    found = set()
    for service in services(compose).values():
        for value in service.get("environment", {}).values():
            for host, port in re.findall(r"://(?:\w+@)?([a-z0-9]+):(\d+)", value):
                assert listening[host] == port, value
                found.add(host)
    assert found == {"postgres", "s3", "prefect", "mlflow"}


def test_deployments_find_the_variables_they_name(compose: dict[str, Any], repository: Path) -> None:
    pipelines = repository / "pipelines.yaml"
    if not pipelines.is_file():
        pytest.skip("no pipelines.yaml yet")
    text = pipelines.read_text("utf-8")
    named = set(re.findall(r"\{\{\s*\$(\w+)\s*\}\}", text))
    # Prefect leaves an unset variable as literal text, silently.
    missing = named - set(services(compose)["deploy"]["environment"])
    assert not missing, f"the deploy service does not set {sorted(missing)}"
    worker = services(compose)["worker"]["command"]
    pool = worker[worker.index("--pool") + 1]
    assert {entry["work_pool"]["name"] for entry in yaml.safe_load(text)["deployments"]} == {pool}


def test_deployments_are_as_quiet_and_as_watched_as_the_containers(compose: dict[str, Any], repository: Path) -> None:
    heartbeat = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    assert services(compose)["worker"]["environment"][heartbeat] == "30", "the shortest that Prefect accepts"
    pipelines = repository / "pipelines.yaml"
    if not pipelines.is_file():
        pytest.skip("no pipelines.yaml yet")
    for entry in yaml.safe_load(pipelines.read_text("utf-8"))["deployments"]:
        environment = entry["work_pool"].get("job_variables", {}).get("env", {})
        assert QUIET_ENVIRONMENT.items() <= environment.items(), entry["name"]
        assert environment[heartbeat] == "30", entry["name"]


def compose_client() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            answer = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
            if answer.returncode == 0 and answer.stdout.lstrip("v")[:1].isdigit() and answer.stdout[:2] != "1.":
                return command
    return None


@pytest.mark.parametrize("filled", [False, True], ids=["secrets missing", "secrets given"])
def test_the_real_client_accepts_it_only_with_every_secret(
    filled: bool,
    repository: Path,
    tmp_path: Path,
    example_environment: dict[str, str],
    filled_environment: dict[str, str],
) -> None:
    client = compose_client()
    if client is None:
        pytest.skip("no docker compose (version 2 or later) on this machine")
    values = filled_environment if filled else example_environment
    env_file = tmp_path / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), "utf-8")
    answer = subprocess.run(
        [*client, "-f", str(repository / "infra" / "compose.yaml"), "--env-file", str(env_file), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    if filled:
        assert (answer.returncode, answer.stderr) == (0, "")
    else:
        assert answer.returncode != 0
        for name in ("POSTGRES_PASSWORD", "S3_SECRET_KEY"):
            assert f"variable {name} is missing a value: fill it in in infra/.env" in answer.stderr
