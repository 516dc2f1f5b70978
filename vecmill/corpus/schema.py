"""The table that ingest writes: one row a document."""

from __future__ import annotations

import pyarrow as pa


def _field(name: str, kind: pa.DataType, meaning: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": meaning})


CORPUS_SCHEMA = pa.schema(
    [
        _field(
            "doc_id", pa.string(), "32 hex digits that name the document; the same in every run over the same source"
        ),
        _field(
            "source_uri", pa.string(), "path or URL of the file the document came from, as the configuration spells it"
        ),
        _field("title", pa.string(), "title of the document, empty where the source states none"),
        _field("text", pa.string(), "cleaned text; newlines and punctuation are kept for splitting into sentences"),
        _field("n_chars", pa.int64(), "length of text in Unicode code points"),
        _field(
            "language",
            pa.string(),
            "ISO 639 code of the text's language, und where it cannot be told; null where nobody asked",
            nullable=True,
        ),
    ]
)
