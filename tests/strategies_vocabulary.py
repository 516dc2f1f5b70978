"""Corpora for the vocabulary room: documents, and the folders in which the stages find them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from vecmill.corpus.schema import CORPUS_SCHEMA
from vecmill.store.stage import StageIO
from vecmill.text.tokenize import DEFAULT_RULES, TokenRules, tokenize

Document = tuple[str, str]

_words = st.sampled_from(
    ["a", "A", "the", "The", "don’t", "don't", "é", "漢字", "of", "zebra", "\U0001d11e", "x1", "ß", "."]
)
_texts = st.lists(_words, max_size=12).map(" ".join)

corpora: st.SearchStrategy[list[Document]] = st.lists(_texts, min_size=1, max_size=12).map(
    lambda texts: [(f"doc-{number:03d}", text) for number, text in enumerate(texts)]
)


def stage_io(
    root: Path,
    shards: Iterable[Sequence[Document]],
    *,
    quarantined: Sequence[str] = (),
    seed: int = 0,
    group: int = 1000,
) -> StageIO:
    """Write shards and a quarantine below ``root`` and name an empty output folder; ``group`` documents a row group."""
    ingest, contract, output = root / "ingest", root / "contract", root / "output"
    for folder in (ingest, contract, output):
        folder.mkdir(parents=True)
    for number, documents in enumerate(shards):
        rows = [
            {"doc_id": doc_id, "source_uri": "memory", "title": "", "text": text, "n_chars": len(text)}
            for doc_id, text in documents
        ]
        table = pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA)
        pq.write_table(table, ingest / f"part-{number:05d}.parquet", row_group_size=group)
    ids = pa.array(list(quarantined), pa.string())
    pq.write_table(pa.table({"doc_id": ids}), contract / "quarantine.parquet")
    return StageIO({"ingest": ingest, "contract": contract}, output, seed)


def counted_by_hand(
    documents: Iterable[Document], rules: TokenRules = DEFAULT_RULES
) -> tuple[Counter[str], Counter[str]]:
    """Occurrences and documents of every word, one document at a time."""
    counts: Counter[str] = Counter()
    n_documents: Counter[str] = Counter()
    for _, text in documents:
        words = tokenize(text, rules)
        counts.update(words)
        n_documents.update(set(words))
    return counts, n_documents
