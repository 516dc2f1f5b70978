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

# Sorted by round, then by falling score, then by the two units in code point order.
PHRASES_SCHEMA = pa.schema(
    [
        _field("round", pa.int32(), "1 joins words, 2 joins the units of the first round as well, and so on"),
        _field("first", pa.string(), "the unit that stands first"),
        _field("second", pa.string(), "the unit after it; the phrase is called first_second"),
        _field("count", pa.int64(), "times that they stand side by side in a sentence, before anything was joined"),
        _field("score", pa.float64(), "how much oftener that is than chance, by vocabulary.phrases.scoring"),
    ]
)

# Parquet files are the same bytes for the same rows only with these settings spelled out.
PARQUET_OPTIONS = {"compression": "zstd", "compression_level": 3, "row_group_size": 65_536, "version": "2.6"}
