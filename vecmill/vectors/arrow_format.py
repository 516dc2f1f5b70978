"""Word vectors as an Arrow file (Feather, version 2), for data frames in any language.

==========  ==============================================================================================
``word``    string
``vector``  fixed-size list of ``dim`` float32
``count``   int64, null where no counts are known
==========  ==============================================================================================

The schema's metadata name format, version, ``n_words``, ``dim`` and ``space_id``. The file is not compressed, so
readers can map it. Read are also files of others: lists of any one length instead of fixed-size lists, float16 or
float64, large or viewed strings, no ``count``, no metadata (the space's name is derived from the content then),
compressed ones.
Arrow's bare stream and Feather's version 1 are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.model_folder import FORMAT
from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.word_vectors import WordVectors

_VERSION = 1


def save_arrow(vectors: WordVectors, path: str | Path) -> None:
    """Write ``path`` as an Arrow file, in batches; rows keep their order."""
    import pyarrow as pa

    path = Path(path)
    partial = path.with_name(f"{path.name}.tmp")
    stamp = {"format": FORMAT, "version": _VERSION, "n_words": len(vectors), "dim": vectors.dim}
    schema = pa.schema(
        [
            pa.field("word", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.field("item", pa.float32(), nullable=False), vectors.dim), nullable=False),
            pa.field("count", pa.int64()),
        ],
        metadata={name: str(value) for name, value in {**stamp, "space_id": vectors.space_id}.items()},
    )
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for rows in row_blocks(len(vectors), vectors.dim):
            n_rows = rows.stop - rows.start
            counts = vectors.counts
            columns = [
                pa.array(vectors.words[rows], pa.string()),
                pa.FixedSizeListArray.from_arrays(pa.array(vectors.vectors[rows].ravel()), type=schema.field(1).type),
                pa.nulls(n_rows, pa.int64()) if counts is None else pa.array(counts[rows]),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
    partial.replace(path)


def load_arrow(path: str | Path) -> WordVectors:
    """Read an Arrow file with the columns ``word`` and ``vector``, and perhaps ``count``.

    Raises
    ------
    FormatError : the file is missing, damaged or of another format, lacks a column or has one of another type, holds
        nulls or vectors of several lengths, differs from its own metadata, or holds a word or number that
        :class:`WordVectors` refuses
    """
    import pyarrow as pa

    path = Path(path)
    try:
        # Mapped: a batch is read when its turn comes.
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            _check_schema(path, reader.schema)
            words, vectors, counts = _read(path, reader)
            stamp = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise FormatError(
            f"{path} cannot be read as an Arrow file ({what})",
            expected="an Arrow file (Feather, version 2) with the columns word and vector",
            todo="check the path and the format, or fetch the file again",
        ) from None
    ours = stamp.get("format") == FORMAT
    if ours and (stamp.get("n_words"), stamp.get("dim")) != tuple(map(str, vectors.shape)):
        raise FormatError(
            f"{path} holds {len(words)} vectors of dimension {vectors.shape[1]}",
            expected=f"{stamp.get('n_words')} of dimension {stamp.get('dim')}, as its metadata say",
            todo="fetch the file again",
        )
    try:
        return WordVectors(words, vectors, counts, stamp.get("space_id") if ours else None)
    except FormatError as error:
        raise FormatError(f"{path}: {error.found}", expected=error.expected, todo=error.todo) from None


def _check_schema(path: Path, schema: Any) -> None:
    import pyarrow.types as kinds

    found = {field.name: field.type for field in schema}
    word, vector, count = (found.get(name) for name in ("word", "vector", "count"))
    is_list = vector is not None and any(
        test(vector) for test in (kinds.is_fixed_size_list, kinds.is_list, kinds.is_large_list)
    )
    fits = (
        word is not None
        and any(test(word) for test in (kinds.is_string, kinds.is_large_string, kinds.is_string_view))
        and (vector is not None and is_list and kinds.is_floating(vector.value_type))
        and (count is None or kinds.is_integer(count))
    )
    if not fits or len(found) != len(schema):
        columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise FormatError(
            f"{path} has the columns {columns[:200] or 'none'}",
            expected="word (string), vector (list of floating point numbers), and perhaps count (integer)",
            todo="rename or convert the columns",
        )


def _read(path: Path, reader: Any) -> tuple[list[str], npt.NDArray[np.float32], npt.NDArray[np.int64] | None]:
    n_words = sum(batch.num_rows for batch in _batches(reader))
    dim = next((_width(path, batch) for batch in _batches(reader) if batch.num_rows), 0)
    if n_words == 0 or dim == 0:
        raise FormatError(f"{path} holds {n_words} vectors of dimension {dim}", expected="at least one of both")
    words: list[str] = []
    counts: list[npt.NDArray[np.int64]] = []
    vectors = np.empty((n_words, dim), dtype=np.float32)
    for batch in _batches(reader):
        rows = slice(len(words), len(words) + batch.num_rows)
        vectors[rows] = _vectors(path, batch, dim, rows.start)
        if batch["word"].null_count:
            row = rows.start + batch["word"].to_pylist().index(None)
            raise FormatError(f"{path}: the word of row {row} is null", expected="a word in every row")
        words += batch["word"].to_pylist()
        if "count" in batch.schema.names and batch["count"].null_count == 0:
            counts.append(batch["count"].cast("int64").to_numpy(zero_copy_only=False))
    all_counts = np.concatenate(counts) if counts else np.empty(0, np.int64)
    return words, vectors, all_counts if len(all_counts) == n_words else None


def _batches(reader: Any) -> Iterator[Any]:
    for at in range(reader.num_record_batches):
        batch = reader.get_batch(at)
        batch.validate(full=True)  # offsets and lengths of a damaged file point anywhere
        yield batch


def _width(path: Path, batch: Any) -> int:
    """Numbers in the first vector of the batch."""
    first = batch["vector"][0]
    return len(first) if first.is_valid else 0


def _vectors(path: Path, batch: Any, dim: int, start: int) -> npt.NDArray[np.floating[Any]]:
    import pyarrow.compute as pc

    lists = batch["vector"]
    lengths = pc.list_value_length(lists)
    if lengths.null_count or lengths.unique().to_pylist() not in ([], [dim]):
        row = next(row for row, length in enumerate(lengths.to_pylist()) if length != dim)
        length = lengths[row].as_py()
        raise FormatError(
            f"{path}: the vector of row {start + row} {'is null' if length is None else f'has {length} numbers'}",
            expected=f"{dim} numbers in every row, as in the first",
            todo="repair or leave out the row",
        )
    numbers = lists.flatten()
    if numbers.null_count:
        row = numbers.is_null().to_pylist().index(True) // dim
        raise FormatError(f"{path}: the vector of row {start + row} holds null", expected=f"{dim} numbers in every row")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such by WordVectors
        values: npt.NDArray[np.floating[Any]] = numbers.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return values.reshape(len(lists), dim)
