"""Ray clusters and what runs on Kubernetes, held against schemas without a cluster: an unknown field is an error."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from vecmill.quiet import QUIET_ENVIRONMENT

KUBERNETES = "1.33"
NAMES_A_SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|TOKEN")
# A folder's manifests, read at import because the parameters of tests have to be known early.
FOLDER = Path(__file__).resolve().parents[2] / "infra" / "kubernetes"
MANIFESTS: list[tuple[str, dict[str, Any]]] = [
    (f"{path.name}:{document['kind']}", document)
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text("utf-8"))
]
PLAIN = [(name, each) for name, each in MANIFESTS if not each["apiVersion"].startswith("ray.io/")]
RAY = [(name, each) for name, each in MANIFESTS if each["apiVersion"] == "ray.io/v1"]

# The fields that we use of KubeRay's v1 types (ray-operator/apis/ray/v1 of its repository, checked there), with what
# stands in them; its own schemas are in no package. A field that is missing here may well exist: look it up first.
TEMPLATE, TEXTS = "pod template", "texts by name"
AUTOSCALER = {"idleTimeoutSeconds": int, "upscalingMode": str, "resources": dict}
WORKERS = {
    "groupName": str,
    "replicas": int,
    "minReplicas": int,
    "maxReplicas": int,
    "rayStartParams": TEXTS,
    "template": TEMPLATE,
}
CLUSTER = {
    "rayVersion": str,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": AUTOSCALER,
    "headGroupSpec": {"serviceType": str, "rayStartParams": TEXTS, "template": TEMPLATE},
    "workerGroupSpecs": [WORKERS],
}
JOB = {
    "entrypoint": str,
    "submissionMode": str,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "activeDeadlineSeconds": int,
    "backoffLimit": int,
    "submitterConfig": {"backoffLimit": int},
    "submitterPodTemplate": TEMPLATE,
    "rayClusterSpec": CLUSTER,
}
DEMANDED = {"headGroupSpec", "rayStartParams", "template", "groupName", "minReplicas", "maxReplicas"}


def valid(document: dict[str, Any]) -> None:
    """Hold a document against the strict schema of its kind, which knows every field of Kubernetes."""
    checker = pytest.importorskip("kubernetes_validate", reason="it carries the schemas of Kubernetes")
    checker.validate(document, KUBERNETES, strict=True)


def check(value: Any, wanted: Any, path: str) -> None:
    """Hold what stands at ``path`` against a table of fields."""
    if wanted == TEMPLATE:
        valid({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "any"}, "template": value})
    elif wanted == TEXTS:
        assert all(isinstance(each, str) for each in value.values()), f"{path}: Ray's options are texts, also numbers"
    elif isinstance(wanted, list):
        for number, each in enumerate(value):
            check(each, wanted[0], f"{path}.{number}")
    elif isinstance(wanted, dict):
        assert value.keys() <= wanted.keys(), f"{path}: unknown {sorted(value.keys() - wanted.keys())}"
        missing = DEMANDED & wanted.keys() - value.keys()
        assert not missing, f"{path}: {sorted(missing)} is missing"
        for name, each in value.items():
            check(each, wanted[name], f"{path}.{name}")
    else:
        assert type(value) is wanted, f"{path}: {value!r} is no {wanted.__name__}"


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Every pod's specification at any depth."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for each in value.values():
            yield from pods(each)
    elif isinstance(value, list):
        for each in value:
            yield from pods(each)


@pytest.mark.parametrize(("name", "document"), PLAIN, ids=[name for name, _ in PLAIN])
def test_manifests_are_valid_to_the_last_field(name: str, document: dict[str, Any]) -> None:
    valid(document)
    misspelt = json.loads(json.dumps(document).replace('"name"', '"nmae"', 1))
    with pytest.raises(jsonschema.ValidationError):
        valid(misspelt)


@pytest.mark.parametrize(("name", "document"), RAY, ids=[name for name, _ in RAY])
def test_ray_on_kubernetes_uses_fields_that_exist(name: str, document: dict[str, Any]) -> None:
    assert document.keys() == {"apiVersion", "kind", "metadata", "spec"}
    tables = {"RayCluster": CLUSTER, "RayJob": JOB}
    check(document["spec"], tables[document["kind"]], name)
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        check({**document["spec"], "rayVersoin": "2"}, tables[document["kind"]], name)


def test_the_pool_of_machines_follows_rays_schema(repository: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    schema = json.loads((resources.files(ray) / "autoscaler" / "ray-schema.json").read_text("utf-8"))
    schema["properties"]["provider"]["additionalProperties"] = False
    schema["properties"]["docker"]["additionalProperties"] = False
    cluster = yaml.safe_load((repository / "infra/ray/cluster.yaml").read_text("utf-8"))
    jsonschema.validate(cluster, schema)
    for broken in ({**cluster, "max_worker": 3}, {**cluster, "docker": {**cluster["docker"], "imgae": ""}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
    assert cluster["max_workers"] == len(cluster["provider"]["worker_ips"])


def ray_commands(repository: Path) -> list[list[str]]:
    cluster = yaml.safe_load((repository / "infra/ray/cluster.yaml").read_text("utf-8"))
    lines = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    parameters = [value for _, document in RAY for value in _values_of(document, "rayStartParams")]
    as_lines = [["ray", "start", *(f"--{name}={value}" for name, value in each.items())] for each in parameters]
    return [line.split() for line in lines] + as_lines


def _values_of(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for each in value.values():
            yield from _values_of(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _values_of(each, name)


def test_ray_knows_every_option_of_its_commands(repository: Path) -> None:
    scripts = pytest.importorskip("ray.scripts.scripts", reason="the extra ray is not installed")
    for line in ray_commands(repository):
        command = scripts.cli.commands[line[1]]
        known = {option for parameter in command.params for option in parameter.opts}
        given = {word.partition("=")[0] for word in line if word.startswith("--")}
        assert given <= known, f"{' '.join(line[:2])} does not know {sorted(given - known)}"


def test_images_and_versions_agree_with_the_project(repository: Path) -> None:
    version = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    pinned = dict(
        line.split("==") for line in (repository / "constraints.txt").read_text("utf-8").splitlines() if "==" in line
    )
    images = {
        container["image"] for _, document in MANIFESTS for pod in pods(document) for container in pod["containers"]
    }
    images.add(work_pool(repository)["variables"]["properties"]["image"]["default"])
    images.update(_values_of(yaml.safe_load((repository / "infra/ray/cluster.yaml").read_text("utf-8")), "image"))
    assert {image.rpartition(":")[2] for image in images} == {version}
    assert {each for _, document in RAY for each in _values_of(document, "rayVersion")} == {pinned["ray"]}


def test_containers_have_no_privileges_and_no_secrets_in_the_open() -> None:
    n_pods = 0
    for name, document in MANIFESTS:
        for pod in pods(document):
            n_pods += 1
            assert pod["securityContext"]["runAsNonRoot"] is True, name
            assert pod["securityContext"]["runAsUser"] == 10001, f"{name}: the user of infra/Dockerfile"
            for container in pod["containers"]:
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
                assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
                assert "memory" in container["resources"]["limits"], f"{name}: memory without a limit"
                for variable in container.get("env", []):
                    if NAMES_A_SECRET.search(variable["name"]):
                        assert "value" not in variable, f"{name}: {variable['name']}"
                        assert "secretKeyRef" in variable["valueFrom"], name
    assert n_pods == 7
    text = "".join(path.read_text("utf-8") for path in FOLDER.iterdir())
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text), "a password in a URL"


def test_nodes_are_quiet_and_ask_for_a_token() -> None:
    quiet = {**QUIET_ENVIRONMENT, "RAY_AUTH_MODE": "token"}
    for name, document in RAY:
        for pod in pods(document):
            for container in pod["containers"]:
                given = {each["name"]: each.get("value") for each in container["env"]}
                assert quiet.items() <= given.items(), name
                assert "RAY_AUTH_TOKEN" in given, name


def test_services_start_as_they_do_under_compose(compose: dict[str, Any]) -> None:
    """`test_container_commands` asks the installed programs about the options of the compose file."""
    for service, name in (("worker", "prefect-worker.yaml:Deployment"), ("mlflow", "mlflow.yaml:Deployment")):
        pod = next(pods(dict(MANIFESTS)[name]))
        container = pod["containers"][0]
        line, known = [*container["command"], *container["args"]], compose["services"][service]["command"]
        assert line[: len(container["command"])] == known[: len(container["command"])]
        assert {word for word in line if word.startswith("--")} <= {word for word in known if word.startswith("--")}
        settings = {each["name"] for each in container["env"] if each["name"].startswith(("PREFECT_", "MLFLOW_"))}
        assert settings - {"PREFECT_HOME"} <= compose["services"][service]["environment"].keys()


def work_pool(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / "infra/kubernetes/work-pool.json").read_text("utf-8"))
    return found


def test_the_work_pool_is_one_that_prefect_takes(repository: Path) -> None:
    import prefect.server
    from prefect.server.schemas.actions import WorkPoolCreate

    template = work_pool(repository)
    WorkPoolCreate(name="kubernetes", type="kubernetes", base_job_template=template)
    with pytest.raises(ValueError, match="memroy"):
        broken = json.loads(json.dumps(template).replace("{{ memory }}", "{{ memroy }}", 1))
        WorkPoolCreate(name="kubernetes", type="kubernetes", base_job_template=broken)

    views = Path(prefect.server.__file__).parent / "api/collections_data/views/aggregate-worker-metadata.json"
    known = json.loads(views.read_text("utf-8"))["prefect-kubernetes"]["kubernetes"]
    own = known["default_base_job_configuration"]["job_configuration"]
    assert template["job_configuration"].keys() == own.keys() - {"cluster_config"}, "the worker's own keys"
    named = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert named == template["variables"]["properties"].keys(), "each variable has a place, each place a variable"


def test_a_run_of_the_work_pool_is_a_valid_job(repository: Path) -> None:
    from prefect.utilities.templating import apply_values

    template = work_pool(repository)
    defaults = {
        name: each["default"] for name, each in template["variables"]["properties"].items() if "default" in each
    }
    given = {"name": "run", "command": "prefect flow-run execute"}
    job: dict[str, Any] = apply_values(template["job_configuration"]["job_manifest"], {**defaults, **given})
    container = job["spec"]["template"]["spec"]["containers"][0]
    # What Prefect's Kubernetes worker does with the two before it submits.
    container["args"] = container["args"].split()
    container["env"] = [{"name": name, "value": value} for name, value in container["env"].items()]
    valid(job)
    given_quiet = {each["name"]: each["value"] for each in container["env"]}
    assert {**QUIET_ENVIRONMENT, "RAY_AUTH_MODE": "token"}.items() <= given_quiet.items()
    assert not any(NAMES_A_SECRET.search(name) for name in given_quiet)
