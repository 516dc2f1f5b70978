"""Under a hard limit of the address space: where a Counter of the same words dies, the stage finishes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from strategies_vocabulary import stage_io

from vecmill.vocabulary.vocabulary import Vocabulary

N_WORDS = 1_200_000
ROOM_MB = 90

# Imports and a first small run come before the limit, which then leaves ROOM_MB for the work itself.
PROGRAM = """
import resource, sys
from collections import Counter
from pathlib import Path
import pyarrow.parquet as pq
from vecmill.store.stage import StageIO
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import VocabularyConfig
who, small, large, room = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]) << 20

def run(root):
    if who == "counter":
        counts = Counter()
        for batch in pq.ParquetFile(root / "ingest/part-00000.parquet").iter_batches(1, columns=["text"]):
            for text in batch.column("text").to_pylist():
                counts.update(text.split())
        print(len(counts))
    else:
        config = VocabularyConfig(memory=sys.argv[5], min_count=2, threads=1, reservoir_size=1)
        io = StageIO({"ingest": root / "ingest", "contract": root / "contract"}, root / "output")
        report = build_vocabulary(config, io)
        print(report.metrics["n_types"], report.metrics["n_spills"])

run(small)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room,) * 2)
run(large)
"""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    roots = []
    for name, n_words in (("small", 20_000), ("large", N_WORDS)):
        root = tmp_path_factory.mktemp(name)
        stage_io(root, [[("placeholder", "x")]])
        texts = [
            " ".join(f"word{number * 7919 % n_words:09d}" for number in range(start, start + 2_000)) + " common words"
            for start in range(0, n_words, 2_000)
        ]
        documents = pa.table(
            {"doc_id": [f"doc-{number:06d}" for number in range(len(texts))], "text": texts},
            schema=pa.schema([("doc_id", pa.string()), ("text", pa.string())]),
        )
        pq.write_table(documents, root / "ingest" / "part-00000.parquet", row_group_size=30)
        roots.append(root)
    return roots[0], roots[1]


def run(who: str, corpora: tuple[Path, Path], memory: str = "16MB") -> subprocess.CompletedProcess[str]:
    # Allocators that reserve address space ahead would make the limit say little.
    quiet = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, who, *map(str, corpora), str(ROOM_MB), memory]
    return subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, check=False)


def test_the_stage_finishes_within_its_budget(corpora: tuple[Path, Path]) -> None:
    done = run("stage", corpora)
    assert done.returncode == 0, done.stderr[-2000:]
    n_types, n_spills = map(int, done.stdout.splitlines()[1].split())
    assert n_types == N_WORDS + 2
    assert n_spills > 5
    vocabulary = Vocabulary.load(corpora[1] / "output")
    n_documents = N_WORDS // 2_000
    assert (vocabulary.words, vocabulary.counts.tolist()) == (["common", "words"], [n_documents] * 2)


def test_a_counter_does_not(corpora: tuple[Path, Path]) -> None:
    done = run("counter", corpora)
    assert done.returncode != 0
    assert "MemoryError" in done.stderr


def test_pandas_takes_no_memory_in_it(corpora: tuple[Path, Path]) -> None:
    """Arrow imports it for many a conversion (39 MB), unless care is taken."""
    program = PROGRAM[: PROGRAM.index("run(small)")] + "run(small)\nassert 'pandas' not in sys.modules\n"
    command = [sys.executable, "-c", program, "stage", *map(str, corpora), str(ROOM_MB), "16MB"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


CHAIN = """
import sys
from pathlib import Path
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.ingest import ingest
from vecmill.store.stage import StageIO
from vecmill.vocabulary.build import build_vocabulary
from vecmill.vocabulary.config import EncodeConfig, VocabularyConfig
from vecmill.vocabulary.encode import encode_corpus
root = Path(sys.argv[1])
ingest(CorpusConfig(sources=(str(root / "in"),), txt_unit="line"), StageIO({}, root / "ingest"))
assert "pandas" not in sys.modules, "ingest"
for stage, config in ((build_vocabulary, VocabularyConfig(min_count=1)), (encode_corpus, EncodeConfig())):
    name = "vocabulary" if stage is build_vocabulary else "encode"
    stage(config, StageIO({name: root / name for name in ("ingest", "contract", "vocabulary")}, root / name))
    assert "pandas" not in sys.modules, name
"""


def test_nor_from_text_to_the_token_store(tmp_path: Path) -> None:
    stage_io(tmp_path, [[("placeholder", "x")]])
    for name in ("in", "vocabulary", "encode"):
        (tmp_path / name).mkdir(exist_ok=True)
    for shard in (tmp_path / "ingest").iterdir():
        shard.unlink()
    (tmp_path / "in/a.txt").write_text("one two three\n\nfour five six\n")
    done = subprocess.run([sys.executable, "-c", CHAIN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
