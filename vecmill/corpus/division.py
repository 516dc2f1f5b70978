"""How ingest is divided: which source files make a piece, an artifact of its own that later runs take over.

A large file is a piece by itself. Small ones are grouped, for a folder and a manifest each would cost more than reading
them. Where a group ends depends on the name and size of its last file alone (content-defined chunking), so a file that
comes or goes changes the group it stands in and no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vecmill.config.base import key_config
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.store.forgotten import NOTHING_FORGOTTEN, Forgotten
from vecmill.store.stage import OlderPiece, Piece

# Stored bytes from which on a file is a piece of its own.
LARGE_BYTES = 8 << 20
# A group holds this many bytes or files in the mean, whichever is reached first.
_MEAN_BYTES = 32 << 20
_MEAN_FILES = 1024
_UNIT = 1 << 64


@dataclass(frozen=True)
class Reading:
    """What it takes to read the files of a piece.

    Attributes
    ----------
    files : in order
    taken : files that an older piece holds as they are, by URI: the folder of that piece
    forgotten : documents to leave out
    """

    files: tuple[SourceFile, ...]
    config: CorpusConfig
    taken: Mapping[str, Path] = field(default_factory=dict)
    forgotten: Forgotten = NOTHING_FORGOTTEN


def divide(files: Sequence[SourceFile]) -> list[tuple[SourceFile, ...]]:
    """Files in pieces, both in their order."""
    pieces: list[tuple[SourceFile, ...]] = []
    group: list[SourceFile] = []
    for file in files:
        if file.n_bytes >= LARGE_BYTES and group:
            pieces.append(tuple(group))
            group = []
        group.append(file)
        if file.n_bytes >= LARGE_BYTES or _ends_group(file):
            pieces.append(tuple(group))
            group = []
    if group:
        pieces.append(tuple(group))
    return pieces


def _ends_group(file: SourceFile) -> bool:
    draw = int.from_bytes(hashlib.blake2b(file.name.encode(), digest_size=8).digest(), "big")
    return draw < _UNIT * max(1 / _MEAN_FILES, file.n_bytes / _MEAN_BYTES)


def reading_piece(files: tuple[SourceFile, ...], config: CorpusConfig, forgotten: Forgotten) -> Piece:
    """The piece that reads some files."""
    settings = {name: value for name, value in key_config(config).items() if name != "sources"}
    duplicates = settings["duplicates"]
    # What is compared across pieces is decided when they are put together.
    settings["duplicates"] = (
        None if duplicates["drop"] == "none" else {n: v for n, v in duplicates.items() if n != "threshold"}
    )
    return Piece(
        config={
            "corpus": settings,
            "forgotten": forgotten.within(file.uri for file in files),
        },
        argument=Reading(files, config, forgotten=forgotten),
        external={file.uri: _external(file) for file in files},
        local_files={
            file.location: file.fingerprint.removeprefix("sha256:")
            for file in files
            if file.is_local and file.fingerprint.startswith("sha256:")
        },
        n_bytes=sum(file.n_bytes for file in files),
    )


def with_what_stands(piece: Piece, older: Sequence[OlderPiece]) -> Reading:
    """How to read a piece, given older ones, where some of its files have been read before."""
    reading: Reading = piece.argument
    taken: dict[str, Path] = {}
    for each in older:
        shared = [
            file.uri
            for file in reading.files
            if file.uri not in taken and each.external.get(file.uri) == _external(file)
        ]
        if shared:
            folder = each.open()
            taken |= dict.fromkeys(shared, folder)
    return Reading(reading.files, reading.config, taken, reading.forgotten)


def _external(file: SourceFile) -> dict[str, Any]:
    # The name is part of each document's id.
    return {"bytes": file.n_bytes, "fingerprint": file.fingerprint, "name": file.name}
