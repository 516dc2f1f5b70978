"""The map that a new version ships for those who hold vectors of the version before, as two files in a folder.

``map.npy``       float32[dim, dim], orthogonal: an old row times it is comparable with new rows
``release.json``  whose spaces it joins (``from`` and ``to``, each with ``space_id``), and what it is worth; readable
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.alignment import mapped
from vecmill.vectors.model_folder import map_npy
from vecmill.vectors.space import OtherSpace
from vecmill.vectors.word_vectors import WordVectors

MAP_NAME, RELEASE_NAME = "map.npy", "release.json"


@dataclass(frozen=True)
class SpaceMap:
    """A map and the two spaces that it joins: ``rotation`` is float[dim, dim], the spaces are their ``space_id``."""

    rotation: npt.NDArray[np.floating]
    from_space: str
    to_space: str

    def move(self, vectors: WordVectors, name: str = "the file") -> WordVectors:
        """Vectors of one of the two spaces, moved into the other; ``name`` is what messages call them.

        Raises
        ------
        OtherSpace : they belong to neither
        FormatError : the map is of another dimension, or no rotation
        """
        if vectors.space_id == self.from_space:
            return mapped(vectors, self.rotation, self.to_space)
        if vectors.space_id == self.to_space:
            return mapped(vectors, self.rotation.T, self.from_space)
        raise OtherSpace(
            f"{name} belongs to the space {vectors.space_id[:12]}…, and the map leads from {self.from_space[:12]}… to "
            f"{self.to_space[:12]}…",
            expected="vectors of one of these two",
            todo="name the map of the versions that the vectors lie between",
        )


def write_map(folder: Path, rotation: npt.NDArray[np.floating] | None, release: Mapping[str, Any]) -> None:
    """Write ``release.json``, and ``map.npy`` where there is a map; the folder is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if rotation is not None:
        np.save(folder / MAP_NAME, rotation.astype("<f4"), allow_pickle=False)
    text = json.dumps(release, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / RELEASE_NAME).write_text(text, encoding="utf-8")


def read_map(folder: Path) -> SpaceMap:
    """Read what :func:`write_map` wrote.

    Raises
    ------
    FormatError : a file is missing or damaged, or the release ships no map
    """
    path = folder / RELEASE_NAME
    todo = "fetch it with `vecmill registry release VERSION --save FOLDER`"
    try:
        release = json.loads(path.read_text(encoding="utf-8"))
        spaces = [str(release[side]["space_id"]) for side in ("from", "to")]
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror})",
            expected=f"a folder with {RELEASE_NAME} and {MAP_NAME}",
            todo=todo,
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} does not say whose spaces it joins ({error})", todo=todo) from None
    # A map without a name in the release was left there by an earlier attempt to register.
    if not (folder / MAP_NAME).is_file() or release.get("shipped_map", MAP_NAME) is None:
        why = release.get("text") or "there was none"
        raise FormatError(f"{folder} ships no map: {why}", todo="index again with the new version's vectors")
    rotation = map_npy(folder / MAP_NAME, todo)
    if rotation.ndim != 2 or rotation.dtype.kind != "f" or not np.isfinite(rotation).all():
        raise FormatError(
            f"{folder / MAP_NAME} holds {rotation.dtype}{list(rotation.shape)}",
            expected="finite numbers [dim, dim]",
            todo=todo,
        )
    return SpaceMap(rotation, *spaces)
