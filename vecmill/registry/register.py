"""The ``register`` stage: a finished model becomes an MLflow run and a version of a registered model.

Order, so that whatever breaks leaves nothing half done: the run with all that is known of the model, the model's
files, the version (with its scores), the verdict of the gate, the aliases by way of the ledger. Until the version
exists nothing refers to the new files; until an alias is set nobody loads it; and a version whose verdict is not
settled is finished, rather than made anew, by the next registration of the same artifacts.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import tempfile
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from vecmill.errors import ConfigError
from vecmill.evaluation.items import ITEMS_NAME
from vecmill.progress import track
from vecmill.registry.config import (
    RegistryConfig,
    resolve_artifact_location,
    resolve_tracking_uri,
    sqlite_path,
    without_password,
)
from vecmill.registry.gate import (
    CONTAMINATION_TAG,
    RECIPE_TAG,
    SIZE_TAG,
    VERDICT_SHOWN,
    Challenger,
    check_policy,
    recipe_digest,
)
from vecmill.registry.guards import folder_bytes
from vecmill.registry.model_report import store_report
from vecmill.registry.promotion import (
    CHALLENGER,
    CHAMPION,
    TECHNICAL,
    VERDICT_TAG,
    Contender,
    contest_tags,
    shortened,
)
from vecmill.registry.record import Record, gather, write, write_files
from vecmill.registry.session import calling, registry_session
from vecmill.registry.settling import Settled, Version, settle
from vecmill.store.stage import StageIO, StageReport
from vecmill.vectors.word_vectors import WordVectors

REGISTRATION_NAME = "registration.json"
LINEAGE_TAG = f"{TECHNICAL}lineage"
SCORE_SHOWN = "score"
_MODEL_CODE = Path(__file__).with_name("pyfunc_model.py")
# What the stored model imports; it is loaded again with the versions that it was made with.
_MODEL_LIBRARIES = ("mlflow", "numpy", "pandas", "pyarrow")


def register_model(config: RegistryConfig, io: StageIO) -> StageReport:
    """Log the run, store the model, register it, and settle who is champion.

    Reads ``train`` (vectors and losses), ``evaluate`` (scores, items and neighbours), ``contract`` (report),
    ``contamination`` (what it found, where the pipeline has that stage) and the manifests in ``io.lineage``. Writes
    ``registration.json``: where the model is, under which version, and the verdict; and ``report.html``, all that is
    known of it on one page.

    Raises
    ------
    ConfigError : the primary metric or a guard's benchmark is none that the evaluation has, or the experiment's files
        go elsewhere
    FormatError : the vectors hold NaN or infinity, or are damaged; nothing has been registered
    RegistryError : the registry does not answer or refuses; the run is marked FAILED there if that is possible
    """
    record = gather(io)
    WordVectors.load(io.inputs["train"] / "vectors")  # refuses NaN and damage; once a version stands it is too late
    score = primary_score(record, config.primary_metric)
    check_policy(config, record.benchmarks)
    uri = resolve_tracking_uri(config)
    with track("registering", 4, "steps") as bar, registry_session(uri) as client:
        experiment_id = _experiment(client, config, uri)
        bar.advance()
        version = _unfinished(client, config, record, uri)
        if version is None:
            version = _new_version(client, config, io, record, experiment_id, uri, score)
        bar.advance(2)
        new = Challenger(
            Contender(version.number, score, record.benchmarks),
            io.inputs["evaluate"] / ITEMS_NAME,
            io.inputs["train"] / "vectors",
            recipe_digest(io.lineage),
            record.space_id,
            record.contamination,
        )
        settled = settle(client, config, version, new, uri)
        registration = _registration(config, record, version, settled, score, uri)
        store_report(client, io, registration)
        bar.advance()
    text = json.dumps(registration, indent=1, ensure_ascii=False) + "\n"
    (io.output / REGISTRATION_NAME).write_text(text, encoding="utf-8")
    return _report(registration)


def primary_score(record: Record, metric: str) -> float | None:
    """The score that decides, None where the evaluation could not give one.

    Raises
    ------
    ConfigError : the evaluation has no such metric
    """
    if metric in record.scores:
        return record.scores[metric]
    raise ConfigError(
        f"registry.primary_metric is {metric!r}, which the evaluation does not have",
        expected="one of " + ", ".join(sorted(record.scores)),
        todo="correct registry.primary_metric, or add the benchmark to the evaluation",
    )


def browse_command(config: RegistryConfig) -> str:
    """The shell command (or address) that opens the registry in a browser."""
    uri = resolve_tracking_uri(config)
    if sqlite_path(uri) is None:
        return without_password(uri)
    files = resolve_artifact_location(config, uri)
    # Without the variable the server starts eight more processes for jobs that nobody sends.
    return (
        f"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --backend-store-uri {shlex.quote(uri)} "
        f"--artifacts-destination {shlex.quote(str(files))} --host 127.0.0.1 --workers 1"
    )


def _experiment(client: Any, config: RegistryConfig, uri: str) -> str:
    """Id of the experiment, made if missing."""
    from mlflow.exceptions import MlflowException

    location = resolve_artifact_location(config, uri)
    with calling(uri, f"open the experiment {config.experiment!r}"):
        found = client.get_experiment_by_name(config.experiment)
        if found is None:
            try:
                return str(client.create_experiment(config.experiment, artifact_location=location))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = client.get_experiment_by_name(config.experiment)  # another process was quicker
    if found.lifecycle_stage != "active":
        raise ConfigError(
            f"the experiment {config.experiment!r} in {without_password(uri)} has been deleted",
            expected="an active experiment, or none of that name",
            todo=f"restore it (`mlflow experiments restore --experiment-id {found.experiment_id}`) "
            "or set registry.experiment to another name",
        )
    asked = config.artifact_location
    if asked is not None and found.artifact_location.rstrip("/") != str(location).rstrip("/"):
        raise ConfigError(
            f"registry.artifact_location is {without_password(asked)}, while the experiment {config.experiment!r} "
            f"keeps its files in {without_password(found.artifact_location)}",
            expected="the place that the experiment was made with; MLflow cannot move it",
            todo="set registry.experiment to a new name, or leave registry.artifact_location out",
        )
    return str(found.experiment_id)


def _unfinished(client: Any, config: RegistryConfig, record: Record, uri: str) -> Version | None:
    """A version made from the same artifacts whose registration broke off: without verdict, or with an open run.

    The latter is one whose process was killed while aliases moved: any command that writes finishes the move, verdict
    and all, and knows nothing of this run.
    """
    query = f"name = '{config.model_name}' and tags.`{LINEAGE_TAG}` = '{shortened(record.lineage_digest)}'"
    with calling(uri, f"look for versions of {config.model_name}"):
        for each in client.search_model_versions(query):
            if each.status == "READY" and (VERDICT_TAG not in each.tags or _run_is_open(client, each.run_id)):
                return Version(str(each.version), each.run_id, each.source.removeprefix("models:/"))
    return None


def _run_is_open(client: Any, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(run_id).info.status) != "FINISHED"
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False  # removed for good, by somebody who wanted it gone


def _new_version(
    client: Any,
    config: RegistryConfig,
    io: StageIO,
    record: Record,
    experiment_id: str,
    uri: str,
    score: float | None,
) -> Version:
    train = io.lineage["train"]
    with calling(uri, "log the run"):
        run = client.create_run(
            experiment_id,
            run_name=f"{config.model_name} {shortened(str(train['digest']))}",
            tags=_technical_tags(record),
        )
    run_id = run.info.run_id
    try:
        with calling(uri, "log the run"):
            write(client, run_id, record)
        with calling(uri, "store the files of the run"):
            _store_files(client, run_id, io, record)
        with calling(uri, "store the model"):
            model_id = _store_model(run_id, io, record)
            # MLflow ends a run when it has logged a model. This one is over when the aliases have moved: until then
            # people see it running, and a registration that was killed can be told from one that is complete.
            client.update_run(run_id, status="RUNNING")
        with calling(uri, f"register a version of {config.model_name}"):
            tags = {
                # First and short: MLflow's list shows tags in the order in which they came, in a narrow column.
                VERDICT_SHOWN: "pending",
                **({} if score is None else {SCORE_SHOWN: f"{score:.4f}"}),
                **contest_tags(record.scores, record.benchmarks),
                **_technical_tags(record),
                RECIPE_TAG: recipe_digest(io.lineage),
                SIZE_TAG: str(folder_bytes(io.inputs["train"] / "vectors")),
                **({CONTAMINATION_TAG: record.contamination} if record.contamination else {}),
            }
            number = _create_version(client, config.model_name, run_id, model_id, tags)
    except BaseException:
        # What failed may be the registry itself; then its own list will show the run as still running.
        with contextlib.suppress(Exception):
            client.set_terminated(run_id, "FAILED")
        raise
    return Version(number, run_id, model_id)


def _store_files(client: Any, run_id: str, io: StageIO, record: Record) -> None:
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="vecmill-run-") as folder:
        write_files(Path(folder), io, record)
        client.log_artifacts(run_id, folder)
    client.log_artifact(run_id, str(io.inputs["evaluate"] / ITEMS_NAME))
    neighbours = pq.read_table(io.inputs["evaluate"] / "neighbours.parquet").to_pydict()
    with warnings.catch_warnings():
        # MLflow asks pandas for columns of type object, which pandas 3 no longer makes of text.
        warnings.filterwarnings("ignore", message="For backward compatibility, 'str' dtypes")
        client.log_table(run_id, neighbours, "neighbours.json")


def _store_model(run_id: str, io: StageIO, record: Record) -> str:
    """Store the vectors with the code that answers for them; the id of the logged model."""
    import pyarrow.parquet as pq

    with warnings.catch_warnings():
        # MLflow warns at import about type hints of its own, which nobody here can change.
        warnings.filterwarnings("ignore", message="(?s).*Any type hint is inferred", category=UserWarning)
        import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, ParamSchema, ParamSpec, Schema

    vectors = io.inputs["train"] / "vectors"
    # The input has no name, so that a plain list of words will do as well as a table of one column.
    signature = ModelSignature(
        inputs=Schema([ColSpec("string")]),
        outputs=Schema(
            [
                ColSpec("string", "word"),
                ColSpec("boolean", "known"),
                ColSpec(Array("double"), "vector", required=False),
                ColSpec(Array("string"), "neighbours", required=False),
                ColSpec(Array("double"), "cosines", required=False),
            ]
        ),
        params=ParamSchema([ParamSpec("task", "string", "vectors"), ParamSpec("n", "long", 10)]),
    )
    words = pq.ParquetFile(vectors / "words.parquet").read_row_group(0, columns=["word"])["word"][:3].to_pylist()
    with mlflow.start_run(run_id=run_id, nested=True):
        model = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_MODEL_CODE),
            artifacts={"vectors": str(vectors)},
            signature=signature,
            input_example=words,
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in _MODEL_LIBRARIES],
            metadata={"space_id": record.space_id, "data_digest": record.data_digest},
        )
    return str(model.model_id)


def _create_version(client: Any, name: str, run_id: str, model_id: str, tags: Mapping[str, str]) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description="Word vectors; models:/NAME@champion is the one to use.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id, tags=dict(tags)
    )
    return str(version.version)


def _technical_tags(record: Record) -> dict[str, str]:
    return {
        LINEAGE_TAG: shortened(record.lineage_digest),
        f"{TECHNICAL}data_digest": shortened(record.data_digest),
        f"{TECHNICAL}space_id": record.space_id,
    }


def _registration(
    config: RegistryConfig,
    record: Record,
    version: Version,
    settled: Settled,
    score: float | None,
    uri: str,
) -> dict[str, Any]:
    verdict, before = settled.verdict, settled.champion_before
    return {
        "model_name": config.model_name,
        "model_version": version.number,
        "model_uri": f"models:/{config.model_name}/{version.number}",
        "aliases": sorted([CHALLENGER, *([CHAMPION] if verdict.promote else [])]),
        "run_id": version.run_id,
        "model_id": version.model_id,
        "experiment": config.experiment,
        "tracking_uri": without_password(uri),
        "browse": browse_command(config),
        "space_id": record.space_id,
        "data_digest": record.data_digest,
        "primary_metric": config.primary_metric,
        "score": score,
        "champion_before": before,
        "champion_after": version.number if verdict.promote or before is None else before,
        "outcome": verdict.outcome,
        "verdict": verdict.text,
        "gate": dict(verdict.gate),
        "ledger": settled.ledger,
        "space": dict(settled.release),
    }


def _report(registration: Mapping[str, Any]) -> StageReport:
    shown = (
        "model_name",
        "model_version",
        "aliases",
        "score",
        "champion_before",
        "champion_after",
        "outcome",
        "verdict",
    )
    name, browse = registration["model_name"], registration["browse"]
    if browse.startswith("http"):
        look = f"[Open it in MLflow]({browse}/#/models/{name}/versions/{registration['model_version']})."
    else:
        look = "`vecmill browse` shows the registry."
    release = registration.get("space", {}).get("text", "")
    return StageReport(
        metrics={key: registration[key] for key in (*shown, "run_id", "model_id", "tracking_uri")},
        table=[{**{key: registration[key] for key in shown}, "aliases": ", ".join(registration["aliases"])}],
        markdown=f"**{name}**: {registration['verdict']}.\n\n"
        + (f"Release: {release}.\n\n" if release else "")
        + f'`mlflow.pyfunc.load_model("models:/{name}@{CHAMPION}")` loads the champion from '
        f"`{registration['tracking_uri']}`. {look}\n",
    )
