"""Runs vocabulary and encode on a made corpus, as a pipeline of its own: ``python killed_vocabulary.py STORE``.

Prints ``ready`` once everything is imported, then a line for each stage, and ends with the artifacts' digests as JSON;
whoever started it may kill it anywhere between.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vecmill.config.base import Config
from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import run_stage
from vecmill.store.manifest import ArtifactRef
from vecmill.store.plan import Stage
from vecmill.store.stage import StageIO, StageReport
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.encode import encode_corpus

N_DOCUMENTS = 800


class MadeConfig(Config):
    n_documents: int = N_DOCUMENTS


class PipelineConfig(Config):
    seed: int = 7
    store: StoreConfig = StoreConfig()
    corpus: MadeConfig = MadeConfig()
    contract: MadeConfig = MadeConfig()
    vocabulary: VocabularyConfig = VocabularyConfig.model_validate(
        {"memory": "1MB", "phrases": {"threshold": 20.0}, "min_count": 2}
    )
    encode: EncodeConfig = EncodeConfig()


def make_corpus(config: MadeConfig, io: StageIO) -> StageReport:
    rows = []
    for number in range(config.n_documents):
        words = [f"w{(number * 31 + k * k * 7) % 60_000} new york" if k % 9 == 0 else f"v{k}" for k in range(400)]
        text = ". ".join(" ".join(words[start : start + 20]) for start in range(0, 400, 20))
        rows.append({"doc_id": f"d{number:06d}", "source_uri": "made", "title": "", "text": text, "n_chars": len(text)})
    table = pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA)
    pq.write_table(table, io.output / "part-00000.parquet", row_group_size=200)
    return StageReport()


def quarantine_nothing(config: MadeConfig, io: StageIO) -> StageReport:
    pq.write_table(pa.table({"doc_id": pa.array([], pa.string())}), io.output / "quarantine.parquet")
    return StageReport()


STAGES = (
    Stage("ingest", "tests.reference.killed_vocabulary:make_corpus", "corpus"),
    Stage("contract", "tests.reference.killed_vocabulary:quarantine_nothing", "contract"),
    Stage("vocabulary", "vecmill.vocabulary.build:build_vocabulary", "vocabulary", ("ingest", "contract"), seeded=True),
    Stage("encode", "vecmill.vocabulary.encode:encode_corpus", "encode", ("ingest", "contract", "vocabulary")),
)


def main(folder: str) -> None:
    assert callable(build_vocabulary)
    assert callable(encode_corpus)
    print("ready", flush=True)
    config = PipelineConfig(store=StoreConfig(uri=folder))
    store = ArtifactStore(config.store)
    done: dict[str, ArtifactRef] = {}
    built = []
    for stage in STAGES:
        outcome = run_stage(stage, config, store, {name: done[name] for name in stage.inputs})
        done[stage.name] = outcome.ref
        built += [] if outcome.cached else [stage.name]
        print(stage.name, flush=True)
    print(json.dumps({"digests": {name: ref.digest for name, ref in done.items()}, "built": built}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main(sys.argv[1])
