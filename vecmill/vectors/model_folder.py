"""A model's folder: what a saved set of word vectors looks like on disk.

=================  ===================================================================================================
``vectors.npy``    float32[n_words, dim], C order, little-endian; memory-mapped when read
``words.parquet``  ``word`` (string), ``count`` (int64, null where no counts are known); row i belongs to vector i
``meta.json``      format, version, ``n_words``, ``dim``, ``space_id``; written last: without it there is no model
=================  ===================================================================================================

Nothing is pickled. :class:`vecmill.vectors.word_vectors.WordVectors` checks what the words and numbers are worth;
here the files are checked against each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError

FORMAT = "vecmill-word-vectors"
_VERSION = 1
_VECTORS_FILE, _WORDS_FILE, _META_FILE = "vectors.npy", "words.parquet", "meta.json"


@dataclass(frozen=True)
class ModelParts:
    """What a folder holds: n words, float32[n, dim] vectors (mapped), int64[n] counts or None, the space's name."""

    words: Sequence[str]
    vectors: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64] | None
    space_id: str


def write_model_folder(folder: Path, parts: ModelParts) -> None:
    """Write ``parts`` into ``folder``, which is made if missing; a model that stands there is replaced.

    Each file is written beside its place and then moved, so vectors that are memory-mapped from this very folder stay
    readable while they are saved. The bytes depend on nothing but the content.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    n_words, dim = parts.vectors.shape
    meta = {"format": FORMAT, "version": _VERSION, "n_words": n_words, "dim": dim, "space_id": parts.space_id}
    table = pa.table(
        [
            pa.array(parts.words, pa.string()),
            pa.nulls(n_words, pa.int64()) if parts.counts is None else pa.array(parts.counts, pa.int64()),
        ],
        schema=pa.schema([pa.field("word", pa.string(), nullable=False), pa.field("count", pa.int64())]),
    )
    (folder / _META_FILE).unlink(missing_ok=True)
    with (folder / f"{_VECTORS_FILE}.tmp").open("wb") as stream:
        np.save(stream, parts.vectors.astype("<f4", copy=False), allow_pickle=False)
    pq.write_table(table, folder / f"{_WORDS_FILE}.tmp", compression="zstd")
    (folder / f"{_META_FILE}.tmp").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    for name in (_VECTORS_FILE, _WORDS_FILE, _META_FILE):
        (folder / f"{name}.tmp").replace(folder / name)


def read_model_folder(folder: Path) -> ModelParts:
    """Read what :func:`write_model_folder` wrote; the vectors are mapped, not read.

    Raises
    ------
    FormatError : a file is missing, damaged, or does not fit the others
    """
    meta = _read_meta(folder)
    words, counts = _read_words(folder / _WORDS_FILE)
    vectors = _map_vectors(folder / _VECTORS_FILE)
    stated = (meta["n_words"], meta["dim"])
    if vectors.shape != stated or len(words) != stated[0]:
        raise FormatError(
            f"{folder}: {_WORDS_FILE} has {len(words)} words and {_VECTORS_FILE} the shape {vectors.shape}",
            expected=f"{stated[0]} words and the shape {stated}, as {_META_FILE} says",
            todo="save or copy the whole folder again; its files are not from one model",
        )
    return ModelParts(words, vectors, counts, meta["space_id"])


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / _META_FILE
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(
            f"{folder} holds no {_META_FILE}",
            expected="a folder that WordVectors.save has written to the end",
            todo="check the path; if saving was interrupted, save again",
        ) from None
    except ValueError as error:
        raise FormatError(f"{path} is not JSON ({error})", todo="save or copy the folder again") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise FormatError(f"{path} does not say that this is a {FORMAT}", todo="check the path")
    if meta.get("version") != _VERSION:
        raise FormatError(
            f"{path}: format version {meta.get('version')!r}",
            expected=f"version {_VERSION}",
            todo="load it with the vecmill that wrote it, or a newer one",
        )
    space_id = meta.get("space_id")
    if not all(type(meta.get(key)) is int for key in ("n_words", "dim")) or not (space_id and type(space_id) is str):
        raise FormatError(
            f"{path}: n_words, dim or space_id is missing or of the wrong type",
            expected="two integers and a text",
            todo="save or copy the folder again",
        )
    return meta


def _read_words(path: Path) -> tuple[list[str], npt.NDArray[np.int64] | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        word, count = table["word"].cast(pa.string()), table["count"].cast(pa.int64())
    except (OSError, KeyError, pa.ArrowException) as error:
        raise FormatError(
            f"{path} cannot be read as words ({error})",
            expected="a Parquet file with the columns word and count",
            todo="save or copy the folder again",
        ) from None
    return word.to_pylist(), None if count.null_count else count.to_numpy()


def map_npy(path: Path, todo: str) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file, mapped, not read. Raises FormatError with ``todo`` for anything else.

    Mapping compares the header's claim with the size of the file before anything is allocated, and refuses objects.
    """
    try:
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    # The header is a Python literal, and a damaged one can fail in each of these ways.
    except (OSError, ValueError, EOFError, OverflowError, TypeError, SyntaxError, TokenError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise FormatError(
            f"{path} cannot be read as vectors ({what})", expected="a whole .npy file of numbers", todo=todo
        ) from None
    return array


def _map_vectors(path: Path) -> npt.NDArray[np.float32]:
    mapped = map_npy(path, "save or copy the folder again")
    if mapped.dtype != np.dtype("<f4") or mapped.ndim != 2 or not mapped.flags.c_contiguous:
        raise FormatError(
            f"{path} holds {mapped.dtype}{list(mapped.shape)}", expected="float32[n_words, dim] in C order"
        )
    return mapped
