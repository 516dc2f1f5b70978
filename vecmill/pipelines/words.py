"""The ``words`` pipeline as data: raw text to a registered model of word vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.contract_config import ContractConfig, contract_files
from vecmill.corpus.language import language_model
from vecmill.corpus.listing import list_sources
from vecmill.evaluation.analogy_questions import evaluation_files
from vecmill.evaluation.benchmarks import benchmark_files
from vecmill.evaluation.config import EvaluationConfig
from vecmill.evaluation.metric_names import benchmark_names
from vecmill.pipelines.engine_config import EngineConfig, check_stage_name
from vecmill.registry.config import RegistryConfig, check_names, resolve_tracking_uri, without_password
from vecmill.registry.probe import registered
from vecmill.store.artifact_store import StoreConfig
from vecmill.store.plan import ExternalFile, FileDigest, Pipeline, Stage
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.words.device import gpu_parts
from vecmill.words.device_config import OnDevice
from vecmill.words.kinds import WordsTrainConfig, trainer_files, trainer_of


class WordsConfig(Config):
    """Everything that can be set about the ``words`` pipeline; one section a stage."""

    seed: int = Field(
        20130116,
        ge=0,
        lt=2**63,
        description="Seed of every random stream: sampling, initial vectors, negatives, bootstrap.",
    )
    replica: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="Which training of this recipe: 0 is trained from `seed`, others from seeds derived from it, and "
        "nothing before `train` is done again. The gate takes versions that differ in this alone as one side.",
    )
    store: StoreConfig = Field(StoreConfig(), description="Where artifacts are kept.")
    corpus: CorpusConfig = Field(CorpusConfig(), description="Which text, and how it is cleaned.")
    contract: ContractConfig = Field(ContractConfig(), description="What the corpus must look like to be trained on.")
    vocabulary: VocabularyConfig = Field(VocabularyConfig(), description="Which words get a vector.")
    encode: EncodeConfig = Field(EncodeConfig(), description="How text becomes token ids.")
    train: WordsTrainConfig = Field(description="The trainer and its hyperparameters.")
    evaluate: EvaluationConfig = Field(EvaluationConfig(), description="How the vectors are judged.")
    registry: RegistryConfig = Field(RegistryConfig(), description="Where the model is registered.")
    engine: EngineConfig = Field(
        EngineConfig(), description="On which machines the stages run.", json_schema_extra=NOT_IN_KEY
    )

    @field_validator("engine")
    @classmethod
    def _resources_of_known_stages(cls, engine: EngineConfig) -> EngineConfig:
        for name in engine.resources:
            check_stage_name(name, [stage.name for stage in WORDS.stages])
        return engine

    @model_validator(mode="after")
    def _registry_asks_for_what_there_will_be(self) -> Self:
        check_names(self.registry, benchmark_names(self.evaluate))
        return self

    @model_validator(mode="after")
    def _a_gpu_is_used_here(self) -> Self:
        device = self.train.device if isinstance(self.train, OnDevice) else "cpu"
        if self.engine.kind == "ray" and device != "cpu":
            raise ValueError(
                f"train.device is {device}, and whether there is a GPU is decided where a run is planned, not on a "
                "node of a Ray cluster; set train.device to cpu, or run with engine: local where the GPU is"
            )
        return self


def _sources(config: WordsConfig, file_digest: FileDigest) -> list[ExternalFile]:
    files = list_sources(config.corpus, file_digest)
    found = [ExternalFile(each.uri, each.n_bytes, each.fingerprint) for each in files]
    if config.corpus.tells_language:
        # By the library's version: it also says how the model is used.
        name, model = language_model()
        found.append(ExternalFile(name, model.stat().st_size, file_digest(model)))
    return found


def _contract(config: WordsConfig, file_digest: FileDigest) -> list[ExternalFile]:
    return [_by_name(path, file_digest) for path in contract_files(config.contract)]


def _benchmarks(config: WordsConfig, file_digest: FileDigest) -> list[ExternalFile]:
    return [_by_name(path, file_digest) for path in evaluation_files(config.evaluate)]


def _rated_pairs(config: WordsConfig, file_digest: FileDigest) -> list[ExternalFile]:
    return [_by_name(path, file_digest) for path in benchmark_files(config.evaluate)]


def _pretrained(config: WordsConfig, file_digest: FileDigest) -> list[ExternalFile]:
    return [_by_name(path, file_digest) for path in trainer_files(config.train)]


def _by_name(path: Path, file_digest: FileDigest) -> ExternalFile:
    # By name, not by path: the same bundled table in another virtual environment is the same input.
    return ExternalFile(path.name, path.stat().st_size, file_digest(path))


def _no_longer_registered(config: RegistryConfig, folder: Path) -> str | None:
    registration = json.loads((folder / "registration.json").read_text(encoding="utf-8"))
    configured = resolve_tracking_uri(config)
    if without_password(configured) != registration["tracking_uri"]:
        return f"it was registered in {registration['tracking_uri']}, another registry than the configured one"
    if registered(registration, configured) is not None:
        return None
    return f"version {registration['model_version']} of {registration['model_name']} is no longer in the registry"


WORDS = Pipeline(
    name="words",
    config=WordsConfig,
    stages=(
        Stage(
            "ingest",
            "vecmill.corpus.ingest:ingest",
            section="corpus",
            libraries=("gensim", "numba", "numpy", "polars", "pyarrow", "fsspec"),
            external=_sources,
            forgets=True,
        ),
        Stage(
            "contract",
            "vecmill.corpus.contract:check_contract",
            section="contract",
            inputs=("ingest",),
            libraries=("great-expectations", "duckdb", "duckdb-engine", "sqlalchemy", "pyarrow"),
            external=_contract,
        ),
        # Of its own, not a part of evaluate: every model trained on the corpus shares the one pass over it.
        Stage(
            "contamination",
            "vecmill.evaluation.contamination:find_contamination",
            section="evaluate",
            inputs=("ingest", "contract"),
            libraries=("pyarrow",),
            external=_rated_pairs,
        ),
        Stage(
            "vocabulary",
            "vecmill.vocabulary.build:build_vocabulary",
            section="vocabulary",
            inputs=("ingest", "contract"),
            seeded=True,
            libraries=("numba", "polars", "pyarrow", "numpy"),
        ),
        Stage(
            "encode",
            "vecmill.vocabulary.encode:encode_corpus",
            section="encode",
            inputs=("ingest", "contract", "vocabulary"),
            libraries=("numba", "polars", "pyarrow", "numpy"),
        ),
        Stage(
            "train",
            trainer_of,
            section="train",
            inputs=("vocabulary", "encode"),
            seeded=True,
            replicated=True,
            libraries=("numba", "numpy", "pyarrow"),
            external=_pretrained,
            also_counts=gpu_parts,
        ),
        Stage(
            "evaluate",
            "vecmill.evaluation.evaluate:evaluate_words",
            section="evaluate",
            inputs=("ingest", "contract", "vocabulary", "encode", "train"),
            seeded=True,
            libraries=("numpy", "numba", "polars", "pyarrow"),
            external=_benchmarks,
        ),
        Stage(
            "register",
            "vecmill.registry.register:register_model",
            section="registry",
            inputs=("ingest", "contract", "contamination", "vocabulary", "train", "evaluate"),
            libraries=("mlflow", "numpy", "numba", "scipy", "pandas", "pyarrow", "matplotlib"),
            also_code=("vecmill.registry.pyfunc_model:*",),
            with_driver=True,
            still_valid=_no_longer_registered,
        ),
    ),
)
