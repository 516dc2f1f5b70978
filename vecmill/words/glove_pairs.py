"""The counted pairs on disk, shuffled once: chunks that each hold a random part of all pairs.

A trainer takes whole chunks, in a new random order each epoch. Within a chunk pairs stay sorted by row, so that a row
is loaded once for all its pairs there; with chunks of a quarter of a million pairs that is a few pairs for a row of a
usual vocabulary. Which chunk a pair falls to depends on its number and the seed alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.kernels.cooccurrence import PAIR, count_chunks, group_by_chunk

# Pairs of a chunk on average: 50 ms of training, so that progress and an interrupt are never far.
CHUNK_PAIRS = 1 << 18
# A corpus with few pairs has smaller chunks: without at least so many there would be little to shuffle or to share.
MIN_CHUNKS = 32


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
