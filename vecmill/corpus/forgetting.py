"""Where documents stand in a store: in which corpora and pieces, from which files, and which others copy their text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vecmill.progress import track
from vecmill.store.artifact_store import ArtifactStore
from vecmill.store.forgotten import ForgottenDocument, text_digest
from vecmill.store.manifest import Manifest

_COLUMNS = {"doc_id", "source_uri", "text", "n_chars"}


@dataclass
class Found:
    """Documents in a store.

    Attributes
    ----------
    documents : those asked for and their copies, once for each file that they come from
    copies : names of the copies, documents of the very same clean text
    holding : stage and key of every corpus and piece that holds one of them
    missing : names asked for that none holds
    """

    documents: list[ForgottenDocument] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    holding: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def find_documents(store: ArtifactStore, doc_ids: Sequence[str], text_digests: Sequence[str] = ()) -> Found:
    """Look through every table of documents in a store, twice: for the names, then for the same texts.

    Parameters
    ----------
    doc_ids : 32 hex digits each
    text_digests : of texts that are known already (:func:`vecmill.store.forgotten.text_digest`)
    """
    tables = list(_tables(store))
    wanted = pa.array(sorted(set(doc_ids)), pa.string())
    documents: set[ForgottenDocument] = set()
    holding: set[tuple[str, str]] = set()
    lengths: set[int] = set()
    with track("looking for the documents", 2 * len(tables), "tables") as bar:
        for manifest, path in tables:
            for rows in _rows(path, lambda group: pc.is_in(group["doc_id"], value_set=wanted), ["doc_id"]):
                holding.add((manifest.stage, manifest.key))
                for row in rows:
                    documents.add(ForgottenDocument(row["doc_id"], text_digest(row["text"]), row["source_uri"]))
                    lengths.add(row["n_chars"])
            bar.advance()
        digests = {each.text_digest for each in documents} | set(text_digests)
        named = {each.doc_id for each in documents}
        sizes = pa.array(sorted(lengths), pa.int64())
        copies: set[ForgottenDocument] = set()
        for manifest, path in tables:
            # Of texts seen in this run the length is known, and few others have it.
            selected = _all if text_digests else lambda group: pc.is_in(group["n_chars"], value_set=sizes)
            for rows in _rows(path, selected, ["n_chars"]):
                for row in rows:
                    digest = text_digest(row["text"])
                    if digest in digests and row["doc_id"] not in named:
                        holding.add((manifest.stage, manifest.key))
                        copies.add(ForgottenDocument(row["doc_id"], digest, row["source_uri"]))
            bar.advance()
    return Found(
        sorted(documents | copies),
        sorted({each.doc_id for each in copies}),
        sorted(holding),
        sorted(set(doc_ids) - named),
    )


def _all(group: pa.Table) -> pa.Array:
    return pa.array([True] * len(group))


def _tables(store: ArtifactStore) -> Iterator[tuple[Manifest, Path]]:
    for manifest in store.manifests():
        names = [each.path for each in manifest.files if Path(each.path).name.startswith("part-")]
        names = [name for name in names if name.endswith(".parquet")]
        if not names:
            continue
        folder = store.backend.local_folder(manifest, names)
        for name in names:
            if set(pq.read_schema(folder / name).names) >= _COLUMNS:
                yield manifest, folder / name


def _rows(path: Path, select: Callable[[pa.Table], Any], columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Selected rows of a table, a row group at a time; of a group without any only ``columns`` are read."""
    with pq.ParquetFile(path) as table:
        for number in range(table.num_row_groups):
            mask = select(table.read_row_group(number, columns=columns, use_threads=False))
            if pc.any(mask).as_py():
                group = table.read_row_group(number, columns=sorted(_COLUMNS), use_threads=False)
                yield group.filter(mask).to_pylist()
