"""Documents held out for validation: a share of all, chosen by a hash of ``doc_id`` and nothing else.

Whether a document is held out depends on no seed, no order and no other document, so that it is held out from each
training with the same share and fold, whatever else changes, and also when the corpus grows. The folds of one share lie
side by side on the line of hashes: each document is in exactly one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecmill.text.arrow_columns import mask_column
from vecmill.vocabulary.config import EncodeConfig, n_folds

HELD_OUT_NAME = "held_out.json"
_KEY = b"vecmill.validation"

Keep = Callable[[pa.RecordBatch], pa.RecordBatch]


def in_fold(doc_ids: Iterable[str], share: float, fold: int) -> npt.NDArray[np.bool_]:
    """bool[n]: whether each document is in fold ``fold`` (from 0) of those with ``share`` of all documents."""
    first = round(fold * share * 2**64)
    last = 2**64 if fold == n_folds(share) - 1 and (fold + 1) * share > 1 - 1e-9 else round((fold + 1) * share * 2**64)
    places = (int.from_bytes(blake2b(each.encode(), digest_size=8, key=_KEY).digest(), "little") for each in doc_ids)
    return np.array([first <= place < last for place in places], dtype=np.bool_)


def leave_out(config: EncodeConfig, also: Keep | None) -> Keep | None:
    """What takes the held-out documents from a batch with a column ``doc_id``, after ``also``; None if nothing does."""
    if config.validation_share == 0:
        return also

    def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
        batch = batch if also is None else also(batch)
        held_out = in_fold(batch.column("doc_id").to_pylist(), config.validation_share, config.validation_fold)
        return batch.filter(mask_column(~held_out))

    return keep


def write_held_out(config: EncodeConfig, folder: Path) -> None:
    """Leave a note beside the tokens of which documents they are without; none where nothing is held out."""
    if config.validation_share:
        note = {"share": config.validation_share, "fold": config.validation_fold}
        (folder / HELD_OUT_NAME).write_text(json.dumps(note) + "\n", encoding="utf-8")


def only_held_out(encode_dir: Path) -> Keep | None:
    """What keeps the documents of a batch that an encode artifact is without; None where nothing is held out."""
    path = encode_dir / HELD_OUT_NAME
    if not path.is_file():
        return None
    note = json.loads(path.read_text(encoding="utf-8"))
    share, fold = float(note["share"]), int(note["fold"])

    def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(mask_column(in_fold(batch.column("doc_id").to_pylist(), share, fold)))

    return keep
