"""Validation on text: the held-out documents of a run, or any texts, as pairs and then as a score."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from vecmill.corpus.documents import iter_documents
from vecmill.errors import VocabularyError
from vecmill.evaluation.config import ValidationConfig
from vecmill.evaluation.context_pairs import draw_context_pairs
from vecmill.evaluation.validation import ValidationScore, validate_pairs
from vecmill.progress import track
from vecmill.store.stage import StageIO
from vecmill.vectors.vector_files import load_context_vectors
from vecmill.vectors.word_vectors import WordVectors
from vecmill.vocabulary.held_out import HELD_OUT_NAME, Keep, only_held_out
from vecmill.vocabulary.phrases import Phrases
from vecmill.vocabulary.token_batches import cut_batch
from vecmill.vocabulary.vocabulary import Vocabulary

VALIDATION_NAME = "validation.json"


def validate_held_out(vectors: WordVectors, io: StageIO, config: ValidationConfig) -> ValidationScore | None:
    """Judge vectors by the documents of ``ingest`` that ``encode`` is without; None where it is without none.

    Raises
    ------
    VocabularyError : no document is held out although some should be, or they have too few pairs
    """
    keep = only_held_out(io.small_files("encode", HELD_OUT_NAME)) if "encode" in io.inputs else None
    if keep is None:
        return None
    documents = iter_documents(io.inputs["ingest"], io.inputs["contract"] / "quarantine.parquet")
    pairs = draw_context_pairs(
        iter_texts(documents, keep),
        vectors.words,
        Vocabulary.load(io.inputs["vocabulary"]).rules,
        window=config.window,
        n_pairs=config.n_pairs,
        seed=io.seed,
        phrases=Phrases.load(io.inputs["vocabulary"]),
    )
    if pairs.n_documents == 0:
        raise VocabularyError(
            "encode.validation_share holds out no document of the corpus",
            expected="a corpus of enough documents for the share to catch some",
            todo="raise encode.validation_share, cut the text into more documents (corpus.txt_unit), or hold out none",
        )
    context_vectors = load_context_vectors(io.inputs["train"]) if config.score == "dot" else None
    return validate_pairs(vectors, pairs, config, context_vectors=context_vectors, seed=io.seed)


def iter_texts(documents: Iterator[pa.RecordBatch], keep: Keep | None = None) -> Iterator[pa.Array]:
    """Texts of documents in columns of about a megabyte, whatever the row groups they come from."""
    with track("reading held-out text", unit="documents") as bar:
        for batch in documents:
            for part in cut_batch(batch if keep is None else keep(batch)):
                yield part.column("text")
                bar.advance(part.num_rows)
