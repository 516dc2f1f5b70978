"""How far an encoding has come, beside its unfinished token store, in a folder that outlives a killed process.

    token_ids.npy, sentence_offsets.npy    as they grow; what stands beyond the position counts for nothing
    position.json                          the encoding it belongs to, and the fields of :class:`Position`

The files are brought to the disk before the position that speaks of them, which takes its place under the old one's
name: a process that is killed at any moment leaves a position that holds. Positions lie between two row groups of the
corpus. One of another encoding, or one whose files are too short, is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vecmill.config.base import key_config
from vecmill.corpus.documents import shard_paths
from vecmill.store.stage import StageIO
from vecmill.vocabulary.build import SAMPLE_FILE_NAME
from vecmill.vocabulary.config import EncodeConfig
from vecmill.vocabulary.token_store import SENTENCE_OFFSETS_NAME, TOKEN_IDS_NAME

# Between two positions: what a killed process loses at most, and far above what writing to the disk takes.
SECONDS_BETWEEN = 30.0

# Sentence lengths are reported in classes 1, 2–3, 4–7, 8–15, …; 2**40 tokens is longer than any sentence on disk.
LENGTH_CLASSES = 40

_POSITION_NAME = "position.json"

# The end of a Parquet file tells of all its row groups: where they lie, and their smallest and largest values.
_FOOTER_BYTES = 1 << 16


@dataclass
class Position:
    """What has been encoded so far: all row groups before ``next_row_group``.

    Attributes
    ----------
    length_classes : sentences of 1, 2 to 3, 4 to 7, … tokens
    """

    next_row_group: int = 0
    n_tokens: int = 0
    n_sentences: int = 0
    n_found: int = 0
    n_documents: int = 0
    n_text_bytes: int = 0
    longest: int = 0
    length_classes: list[int] = field(default_factory=lambda: [0] * LENGTH_CLASSES)


class EncodeProgress:
    """Positions of one encoding.

    Parameters
    ----------
    folder : where the token store grows; made where it does not exist. None: nothing is ever written or found
    encoding : see :func:`encoding_digest`
    """

    def __init__(self, folder: Path | None, encoding: str) -> None:
        self._folder = folder
        self._encoding = encoding
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the time for the next position has come."""
        return self._folder is not None and time.monotonic() - self._last >= SECONDS_BETWEEN

    def save(self, position: Position) -> None:
        """Write a position, whose files are on the disk already, in place of the one before."""
        if self._folder is None:
            return
        new = self._folder / f"{_POSITION_NAME}.tmp"
        with new.open("w", encoding="utf-8") as file:
            json.dump({"encoding": self._encoding, **asdict(position)}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._folder / _POSITION_NAME)
        self._last = time.monotonic()

    def load(self) -> Position:
        """The position that was saved last, or the beginning."""
        if self._folder is None:
            return Position()
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            found = json.loads((self._folder / _POSITION_NAME).read_text(encoding="utf-8"))
            if found.pop("encoding") != self._encoding:
                return Position()
            position = Position(**found)
            sizes = [(self._folder / name).stat().st_size for name in (TOKEN_IDS_NAME, SENTENCE_OFFSETS_NAME)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Position()
        if sizes[0] < 4 * position.n_tokens or sizes[1] < 8 * (position.n_sentences + 1):
            return Position()
        return position


def encoding_digest(config: EncodeConfig, io: StageIO) -> str:
    """What a position has to belong to: configuration, vocabulary, quarantine, and the shards of the corpus."""
    digest = hashlib.sha256(json.dumps(key_config(config), sort_keys=True).encode())
    for path in (io.inputs["contract"] / "quarantine.parquet", *sorted(io.inputs["vocabulary"].glob("*.parquet"))):
        if path.name != SAMPLE_FILE_NAME or config.documents_share < 1:
            digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    if "ingest" in io.lineage:
        digest.update(io.lineage["ingest"]["digest"].encode())
        return digest.hexdigest()
    for path in shard_paths(io.inputs["ingest"]):
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, n_bytes - _FOOTER_BYTES))
            digest.update(f"{path.name} {n_bytes} ".encode() + file.read())
    return digest.hexdigest()
