"""The tables that the vocabulary stage writes."""

from __future__ import annotations

import pyarrow as pa


def _field(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"description": meaning})


# Sorted by falling count, then by word in code point order.
VOCABULARY_SCHEMA = pa.schema(
    [
        _field("word_id", pa.int32(), "row of the word in every table and matrix of vectors: 0, 1, 2, …"),
        _field("word", pa.string(), "the word as the token rules give it"),
        _field("count", pa.int64(), "occurrences in the corpus, without quarantined documents"),
        _field("n_documents", pa.int64(), "documents that the word occurs in"),
    ]
)

# Sorted by priority, then by doc_id.
SAMPLE_SCHEMA = pa.schema(
    [
        _field("priority", pa.uint64(), "from a keyed hash of doc_id; the documents with the smallest are the sample"),
        _field("doc_id", pa.string(), "id of the document in the corpus, with #n for its n-th sentence"),
        _field("text", pa.string(), "its text, cut to the length stated in the file's metadata"),
        _field("n_bytes", pa.int64(), "UTF-8 bytes of the whole text"),
    ]
)

# Parquet files are the same bytes for the same rows only with these settings spelled out.
PARQUET_OPTIONS = {"compression": "zstd", "compression_level": 3, "row_group_size": 65_536, "version": "2.6"}
