"""The counted pairs on disk, shuffled once: chunks that each hold a random part of all pairs.

A trainer takes whole chunks, in a new random order each epoch, and shuffles each of them in memory: pairs are learned
as if in an order that is random throughout, as in the authors' program, and the disk is read in one piece. Which chunk
a pair falls to depends on its number and the seed alone.

Where a folder outlives the process, whole files of pairs are kept there, so that a training that goes on need not
count again:

    pairs/              renamed from pairs.tmp/ when it is complete and on the disk
        pairs           records of PAIR
        pairs.json      training, CRC-32 of the file, offsets of the chunks
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.kernels.cooccurrence import PAIR, count_chunks, group_by_chunk
from vecmill.words.checkpoint import sync_folder, to_disk

# Pairs of a chunk on average: 50 ms of training, so that progress and an interrupt are never far.
CHUNK_PAIRS = 1 << 18
# A corpus with few pairs has smaller chunks: without at least so many there would be little to shuffle or to share.
MIN_CHUNKS = 32

_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class ShuffledPairs:
    """A file of pairs in chunks.

    Attributes
    ----------
    path : the file, records of PAIR
    offsets : int64[n_chunks + 1], chunk c is records offsets[c] to offsets[c + 1]; chunks may be empty
    """

    path: Path
    offsets: npt.NDArray[np.int64]

    @property
    def n_chunks(self) -> int:
        return self.offsets.size - 1

    @property
    def n_pairs(self) -> int:
        return int(self.offsets[-1])

    def read(self, chunk: int) -> npt.NDArray[Any]:
        """PAIR[n], the pairs of one chunk."""
        first, last = int(self.offsets[chunk]), int(self.offsets[chunk + 1])
        return np.fromfile(self.path, PAIR, count=last - first, offset=first * PAIR.itemsize)


def shuffle_pairs(
    blocks: Iterator[npt.NDArray[Any]], folder: Path, *, key: np.uint64, memory_bytes: int
) -> ShuffledPairs:
    """Write pairs to a file of ``folder``, shuffled into chunks.

    Parameters
    ----------
    blocks : PAIR[n] each, in an order that depends on the corpus alone
    key : of the random stream that decides which chunk a pair falls to
    memory_bytes : what may be taken; the result does not depend on it
    """
    in_order, shuffled = folder / "pairs-in-order", folder / "pairs"
    n_pairs = 0
    with in_order.open("wb") as file:
        for block in blocks:
            file.write(block.view(np.uint8).data)
            n_pairs += block.size
    n_chunks = max(MIN_CHUNKS, -(-n_pairs // CHUNK_PAIRS))
    sizes = np.zeros(n_chunks, np.int64)
    count_chunks(n_pairs, key, sizes)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    n_block = max(1 << 12, min(n_pairs, memory_bytes // (2 * PAIR.itemsize + 4) // 2))
    cursors = offsets[:-1] * PAIR.itemsize
    grouped, chunks, ends = np.empty(n_block, PAIR), np.empty(n_block, np.int32), np.empty(n_chunks, np.int64)
    with in_order.open("rb") as source, shuffled.open("wb") as target:
        for first in range(0, n_pairs, n_block):
            pairs = np.fromfile(source, PAIR, count=n_block)
            group_by_chunk(pairs, first, key, chunks, ends, grouped)
            start = 0
            for chunk, end in enumerate(ends.tolist()):
                part = grouped[start:end].view(np.uint8).data
                if os.pwrite(target.fileno(), part, int(cursors[chunk])) != len(part):
                    raise OSError(f"{shuffled} could not be written to the end")
                cursors[chunk] += len(part)
                start = end
    in_order.unlink()
    return ShuffledPairs(shuffled, offsets)


def kept_pairs(make: Callable[[Path], ShuffledPairs], folder: Path, training: str) -> ShuffledPairs:
    """The pairs of a training that stand in ``folder``; makes them, and keeps them there, where they do not.

    Pairs of another training, and damaged or half-written ones, are removed and made anew.

    Parameters
    ----------
    make : writes its file, named ``pairs``, to the folder it is given, and returns it
    training : what the pairs belong to, see :func:`~vecmill.words.checkpoint.training_digest`
    """
    whole, building = folder / "pairs", folder / "pairs.tmp"
    found = _read_pairs(whole, training)
    if found is not None:
        return found
    for left in (whole, building):
        shutil.rmtree(left, ignore_errors=True)
    building.mkdir(parents=True)
    made = make(building)
    with made.path.open("rb") as file:
        to_disk(file.fileno(), file.flush)
    record = {"training": training, "crc32": _file_crc(made.path), "offsets": made.offsets.tolist()}
    with (building / "pairs.json").open("w", encoding="utf-8") as text:
        json.dump(record, text)
        to_disk(text.fileno(), text.flush)
    building.rename(whole)
    sync_folder(folder)
    return ShuffledPairs(whole / "pairs", made.offsets)


def _read_pairs(folder: Path, training: str) -> ShuffledPairs | None:
    try:
        record = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
        if record["training"] != training or _file_crc(folder / "pairs") != record["crc32"]:
            return None
        return ShuffledPairs(folder / "pairs", np.array(record["offsets"], np.int64))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # cut off or of another version: as good as none


def _file_crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
    return crc
