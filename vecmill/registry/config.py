"""Which registry a model goes to, under which name, and what decides between two of its versions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, field_serializer

from vecmill.config.base import Config
from vecmill.errors import ConfigError
from vecmill.evaluation.comparison_config import ComparisonConfig
from vecmill.registry.release_config import ReleaseConfig

_SQLITE = "sqlite:///"
# As SQLAlchemy reads it: a password goes up to the @, slashes included.
_USER_INFO = re.compile(r"(?<=://)(?:[^\s/:@]*:[^\s@]*|[^\s/@]*)@")
_SECRET_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:user|password|passwd|pwd|secret|token|key)[^=&\s]*=)[^&\s]*", re.IGNORECASE
)


def without_password(text: str) -> str:
    """``text`` with the user name and password of every URI in it left out.

    >>> without_password("https://ann:secret@registry.example.org:5000/x")
    'https://registry.example.org:5000/x'
    >>> without_password("postgresql://host/db?user=ann&password=secret&sslmode=require")
    'postgresql://host/db?user=&password=&sslmode=require'
    """
    while (stripped := _USER_INFO.sub("", text)) != text:  # a password with an @ in it leaves a second one
        text = stripped
    return _SECRET_PARAMETER.sub(r"\1", text)


class PromotionConfig(ComparisonConfig):
    """What a new version must show before it becomes champion; docs/promotion.md says how it is found out."""

    policy: Literal["separable", "higher_score"] = Field(
        default="separable",
        description="separable: a version is promoted if it is better than the champion beyond the noise of items and "
        "seeds, on some benchmark or in their mean, worse on none, and breaks no guard. higher_score: if its "
        "primary_metric is higher, by whatever; between equal models that promotes every second one",
    )
    min_replicas: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Trainings of a version's recipe (`replica` 0, 1, …) that must be registered before it is "
        "promoted. Default: one, with seed_sd standing for what others would show",
    )
    max_replicas: int = Field(
        default=8,
        ge=1,
        le=100,
        description="Most trainings of one recipe that are averaged on a side, the newest. Default: more gain little",
    )
    coverage_margin: float = Field(
        default=0.02,
        ge=0.0,
        le=1.0,
        description="Guard: how much of its mean coverage of the benchmarks' pairs a better version may lose, a "
        "fraction of all pairs. Default: two pairs of a hundred",
    )
    contamination: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="What becomes of a better version whose corpus holds rows of the benchmarks (the contamination "
        "stage): refuse: it stays challenger; allow: it may become champion. The verdict says so in any case. Default: "
        "a score on answers that were read says nothing",
    )
    size_ratio: float = Field(
        default=4.0,
        gt=0.0,
        description="Guard: how many times as many bytes as the champion's a better version's vectors may take. "
        "Default: lets 100 dimensions grow to 300, and stops a vocabulary that was never cut",
    )
    latency_ratio: float | None = Field(
        default=4.0,
        gt=0.0,
        description="Guard: how many times as long a better version may take to answer a neighbour query, both timed "
        "in turns on the registering host; differences below a millisecond do not count. None: not timed. Default: as "
        "size_ratio, since an exact query reads every vector",
    )
    guard_benchmarks: tuple[str, ...] = Field(
        default=(),
        description="Guard: benchmarks on which a better version must be shown to be no worse than the champion, "
        "beyond benchmark_margin. Default: none, since a significant loss on any benchmark stops a promotion anyway",
    )
    benchmark_margin: float = Field(
        default=0.02,
        gt=0.0,
        le=1.0,
        description="How much of the correlation on a guard benchmark may be lost: the interval of the difference must "
        "lie above minus this. Default: twice relevant_gain",
    )


class RegistryConfig(Config):
    """Where and under which name the model is registered."""

    # A refused URI may hold a password; pydantic would repeat it in the message.
    model_config = ConfigDict(hide_input_in_errors=True)

    tracking_uri: str | None = Field(
        default=None,
        pattern=r"^(sqlite:///.+|(https?|postgresql|mysql|mssql)(\+\w+)?://.+)$",
        repr=False,
        description="MLflow registry: sqlite:///PATH, http(s)://HOST:PORT or a database URI of MLflow's. None: what "
        "MLFLOW_TRACKING_URI says, else mlflow.db in the state folder (.vecmill). Give credentials in "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; a password inside the URI is used but never stored",
    )
    artifact_location: str | None = Field(
        default=None,
        min_length=1,
        repr=False,
        description="Folder or URI (s3://BUCKET/PREFIX) that a new experiment keeps its files in. None: the folder "
        "mlartifacts beside an SQLite file; a server's own choice otherwise",
    )
    experiment: str = Field(
        default="vecmill",
        min_length=1,
        max_length=500,
        description="MLflow experiment that the run is logged to; made if missing (length: MLflow's limit)",
    )
    model_name: str = Field(
        default="vecmill-words",
        min_length=1,
        max_length=250,
        pattern=r"^[^/:']+$",
        description="Registered model that gets the new version; without slash, colon and apostrophe, which MLflow "
        "cannot use or look up",
    )
    primary_metric: str = Field(
        default="mean_spearman",
        min_length=1,
        description="Score that is shown with a version, and decides under the policy higher_score: a mean over the "
        "benchmarks (mean_spearman counts words without vector against the model; mean_spearman_covered does not), or "
        "BENCHMARK/spearman or BENCHMARK/spearman_all_pairs for one of them",
    )
    promotion: PromotionConfig = Field(
        default=PromotionConfig(), description="What decides between the champion and a new version."
    )
    release: ReleaseConfig = Field(
        default=ReleaseConfig(), description="What a new version means for those who hold vectors of the champion."
    )

    @field_serializer("tracking_uri", "artifact_location")
    def _stored_without_password(self, value: str | None) -> str | None:
        # What is serialised ends in keys, manifests and flow parameters; a changed password is not another registry.
        return None if value is None else without_password(value)


def check_names(config: RegistryConfig, benchmarks: Sequence[str]) -> None:
    """Refuse a score or guard that the evaluation will not have, before the first training has been paid for.

    Raises
    ------
    ConfigError : naming it, and those that there will be
    """
    scores = ["mean_spearman", "mean_spearman_covered", "mean_coverage"]
    scores += [f"{name}/{figure}" for name in benchmarks for figure in ("spearman", "spearman_all_pairs")]
    asked: list[tuple[str, str, Sequence[str]]] = [("registry.primary_metric", config.primary_metric, scores)]
    asked += [("registry.promotion.guard_benchmarks", name, benchmarks) for name in config.promotion.guard_benchmarks]
    for field, name, known in asked:
        if name not in known:
            raise ConfigError(
                f"{field} names {name!r}, which the evaluation will not have",
                expected="one of " + ", ".join(known),
                todo="correct the name, or add the benchmark to evaluate.benchmarks",
            )


def resolve_tracking_uri(config: RegistryConfig, state: Path | None = None) -> str:
    """The URI to hand to MLflow, with an SQLite path made absolute.

    Parameters
    ----------
    config : the registry's configuration
    state : state folder for the default database; None means ``.vecmill`` below the current folder

    Raises
    ------
    ConfigError : an in-memory SQLite database, which would forget the model when the process ends
    """
    uri = config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return f"{_SQLITE}{((state or Path('.vecmill')) / 'mlflow.db').absolute()}"
    path = sqlite_path(uri)
    if path is None:
        return uri
    if path.name == ":memory:":
        raise ConfigError(
            f"registry.tracking_uri is {uri!r}, a database that ends with the process",
            expected="sqlite:///PATH of a file",
            todo="name a file, or leave registry.tracking_uri out to use .vecmill/mlflow.db",
        )
    return f"{_SQLITE}{path.absolute()}"


def resolve_artifact_location(config: RegistryConfig, tracking_uri: str) -> str | None:
    """Where a new experiment's files go; None leaves it to the server behind ``tracking_uri``."""
    if config.artifact_location is not None:
        location = config.artifact_location
        return location if "://" in location else str(Path(location).absolute())
    path = sqlite_path(tracking_uri)
    return None if path is None else str(path.parent / "mlartifacts")


def sqlite_path(tracking_uri: str) -> Path | None:
    """The database file of an ``sqlite:///`` URI, None for any other URI."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE).partition("?")[0])
