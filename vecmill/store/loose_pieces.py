"""Pieces of a stage that runs without a store: built in a folder that is removed when the stage is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from vecmill.progress import track
from vecmill.store.manifest import ArtifactRef
from vecmill.store.stage import BuiltPiece, Piece, PieceFunction, Pieces, Prepare, StageIO


@contextmanager
def pieces_of(io: StageIO) -> Iterator[Pieces]:
    """The stage's builder of pieces: that of its store, or one that keeps nothing."""
    if io.pieces is not None:
        yield io.pieces
        return
    # Within the output, so that files of pieces can be linked to.
    with TemporaryDirectory(dir=io.output, prefix=".pieces-") as folder:
        yield _LoosePieces(io, Path(folder))


class _LoosePieces:
    def __init__(self, io: StageIO, folder: Path) -> None:
        self._io = io
        self._folder = folder
        self._n_built = 0

    def build(
        self,
        kind: str,
        function: PieceFunction,
        wanted: Sequence[Piece],
        *,
        description: str,
        prepare: Prepare | None = None,
        at_once: int = 1,
        warm_up: Callable[[], None] | None = None,
    ) -> list[BuiltPiece]:
        if not wanted:
            return []
        if warm_up is not None:
            warm_up()
        with track(description, sum(piece.n_bytes for piece in wanted), "bytes") as bar:
            return [self._build(kind, function, piece, replace(self._io, advance=bar.advance)) for piece in wanted]

    def _build(self, kind: str, function: PieceFunction, piece: Piece, io: StageIO) -> BuiltPiece:
        folder = self._folder / f"{kind}-{self._n_built}"
        self._n_built += 1
        folder.mkdir()
        report = function(piece.argument, replace(io, output=folder))
        return BuiltPiece(None, report.metrics, report.table, dict(report.rows), lambda *names: folder)

    def folder(self, ref: ArtifactRef, *names: str) -> Path | None:
        return None

    def link(self, piece: BuiltPiece, name: str, output_name: str) -> None:
        os.link(piece.open() / name, self._io.output / output_name)
