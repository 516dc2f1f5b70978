"""Documents that repeat an earlier one, exactly or nearly: each is told from its text alone and names its twin.

The order decides who stays: documents are judged one after the other as the sources hold them, and each is compared
with those kept before it. Memory grows with the documents kept, not with their length: 16 bytes of name and 21 to 43 of
digest table each, and with near twins one byte for every hash function and 8 to 16 for every band.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vecmill.corpus.duplicates_config import DuplicatesConfig
from vecmill.kernels.minhash import MOST_ALIKE, find_twins, regrow_digests, regrow_signatures, sign_texts

_FEWEST_ROWS = 1 << 12
_ID_BYTES = 16
_HIGH32 = np.uint64(0xFFFFFFFF00000000)


@dataclass(frozen=True)
class Fingerprints:
    """What is kept in mind of some texts.

    Attributes
    ----------
    digests : uint64[n, 2], the first 96 bits of a digest; two of a billion different texts share them with probability
        6e-12
    signatures : uint8[n, n_hashes], MinHash of the shingles; zeros where a text has none, no columns without near twins
    """

    digests: npt.NDArray[np.uint64]
    signatures: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Twin:
    """The document kept that another one repeats.

    Attributes
    ----------
    doc_id : names it
    similarity : estimated share of shingles that both have among those that either has; None for an exact copy
    """

    doc_id: str
    similarity: float | None


def fingerprint(texts: Sequence[str], config: DuplicatesConfig) -> Fingerprints:
    """Digests and signatures of texts; holds no state, so that threads may share the work."""
    encoded = [text.encode() for text in texts]
    joined = b"".join(hashlib.blake2b(text, digest_size=16).digest() for text in encoded)
    digests = np.frombuffer(joined, "<u8").astype(np.uint64).reshape(-1, 2)
    digests[:, 1] &= _HIGH32
    n_hashes = config.bands * config.rows if config.drop == "near" else 0
    signatures = np.zeros((len(texts), n_hashes), np.uint8)
    if n_hashes and texts:
        _sign([text.lower().encode() for text in texts], config, signatures)
    return Fingerprints(digests, signatures)


def _sign(texts: list[bytes], config: DuplicatesConfig, signatures: npt.NDArray[np.uint8]) -> None:
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    n_hashes = signatures.shape[1]
    # Fixed for ever: signatures of another day's run can be compared with today's.
    constants = np.frombuffer(hashlib.shake_128(b"vecmill minhash").digest(8 * n_hashes), "<u4").astype(np.uint32)
    sign_texts(
        np.frombuffer(b"".join(texts), np.uint8),
        offsets,
        config.shingle,
        config.shingle_unit == "characters",
        constants[::2] | np.uint32(1),
        np.ascontiguousarray(constants[1::2]),
        np.empty(int(np.diff(offsets).max()) + 1, np.uint64),
        np.empty(n_hashes, np.uint32),
        signatures,
        np.empty(len(texts), np.int64),
    )


class Duplicates:
    """Remembers the documents kept so far, and finds those that repeat one of them."""

    def __init__(self, config: DuplicatesConfig) -> None:
        near = config.drop == "near"
        self._n_hashes = config.bands * config.rows if near else 0
        self._n_bands = config.bands if near else 0
        self._width = config.rows
        # Two bytes are equal by chance in one case of 256.
        self._min_equal = math.ceil(self._n_hashes * (config.threshold + (1 - config.threshold) / 256) - 1e-9)
        self._n_rows = 0
        self._ids = bytearray()
        self._digest_slots = np.zeros((2 * _FEWEST_ROWS, 2), np.uint64)
        self._band_slots = np.zeros((self._n_bands, 2 * _FEWEST_ROWS), np.uint32)
        self._kept = np.zeros((_FEWEST_ROWS, self._n_hashes), np.uint8)

    def find(
        self, doc_ids: Sequence[str], fingerprints: Fingerprints, judged: npt.NDArray[np.bool_]
    ) -> list[Twin | None]:
        """The twin of each document among those kept before it; documents without one are kept from now on.

        Parameters
        ----------
        doc_ids : 32 hex digits each
        fingerprints : of the same documents in the same order
        judged : bool[n], False for documents to pass over, which get no twin and are not kept
        """
        n = len(doc_ids)
        self._make_room(self._n_rows + n)
        twins, n_equal = np.empty(n, np.int64), np.empty(n, np.int64)
        self._n_rows = find_twins(
            judged,
            fingerprints.digests,
            fingerprints.signatures,
            self._n_rows,
            self._digest_slots,
            self._band_slots,
            self._kept,
            self._width,
            MOST_ALIKE,
            self._min_equal,
            twins,
            n_equal,
        )
        # First all names: a twin may stand in the same batch.
        for doc_id, is_judged, row in zip(doc_ids, judged, twins, strict=True):
            if is_judged and row < 0:
                self._ids += bytes.fromhex(doc_id)
        return [
            None if row < 0 else Twin(self._id_of(row), self._similarity(equal))
            for row, equal in zip(twins.tolist(), n_equal.tolist(), strict=True)
        ]

    def _id_of(self, row: int) -> str:
        return self._ids[_ID_BYTES * row : _ID_BYTES * (row + 1)].hex()

    def _similarity(self, n_equal: int) -> float | None:
        return None if n_equal < 0 else (n_equal / self._n_hashes - 1 / 256) / (1 - 1 / 256)

    def _make_room(self, n_rows: int) -> None:
        """Tables at most three quarters (digests) or half (bands) full after ``n_rows`` documents."""
        if 4 * n_rows > 3 * self._digest_slots.shape[0]:
            digest_slots = np.zeros((_power_of_two(4 * n_rows // 3), 2), np.uint64)
            regrow_digests(self._digest_slots, digest_slots)
            self._digest_slots = digest_slots
        if not self._n_hashes:
            return
        if n_rows > self._kept.shape[0]:
            # In place: the old and the new table never stand side by side.
            self._kept.resize((_power_of_two(n_rows), self._n_hashes), refcheck=False)
        if 2 * n_rows > self._band_slots.shape[1]:
            self._band_slots = np.zeros((self._n_bands, _power_of_two(2 * n_rows)), np.uint32)
            regrow_signatures(self._n_rows, self._kept, self._band_slots, self._width, MOST_ALIKE)


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length() if n > 1 else 1
