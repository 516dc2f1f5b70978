"""Which space vectors belong to, and keeping two spaces apart.

Cosines between vectors of two trainings are noise, and nothing in the numbers tells: they have as many dimensions and
the same words. Hence every set of vectors has a ``space_id``, and whatever brings two sets together asks
:func:`require_same_space` first.

vecmill's folder and Arrow files hold the id themselves. Formats of others have no place for it, so it stands in a
**stamp** beside the file, ``NAME.vec.space.json``:

=============  ====================================================================================================
``format``     ``vecmill-space``, ``version`` 1
``space_id``   the name of the space
``n_words``    and ``dim``: what the file holds
``sha256``     of the file, 64 hex digits, so that a stamp is never taken for that of another file of the same name
=============  ====================================================================================================

A file without a stamp gets the id of its content. Other programs ignore the stamp.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vecmill.errors import FormatError
from vecmill.vectors.word_vectors import WordVectors

_FORMAT, _VERSION = "vecmill-space", 1
_ENDING = ".space.json"


class OtherSpace(FormatError):
    """Two sets of vectors that were to be used together belong to two spaces."""


def require_same_space(a: WordVectors, b: WordVectors, a_name: str = "the first", b_name: str = "the second") -> None:
    """Refuse vectors that cannot be compared.

    Parameters
    ----------
    a_name, b_name : what the message calls them, such as their paths

    Raises
    ------
    OtherSpace : the two have other dimensions, or belong to two spaces; the message says which is which
    """
    if a.space_id == b.space_id and a.dim == b.dim:
        return
    if a.dim != b.dim:
        found = f"{a_name} has {a.dim} dimensions, {b_name} {b.dim}"
    else:
        found = (
            f"{a_name} belongs to the space {_short(a.space_id)}, {b_name} to the space {_short(b.space_id)}: "
            f"both have {a.dim} dimensions, yet a cosine between them means nothing"
        )
    raise OtherSpace(
        found,
        expected="vectors of one training",
        todo="take both from one version, or move the older ones with the map that the newer version shipped "
        "(`vecmill vectors move`)",
    )


def joined(models: Sequence[tuple[str, WordVectors]]) -> WordVectors:
    """Several sets of vectors of one space as one; of a word that several have, the first one's vector counts.

    Parameters
    ----------
    models : at least one, each with what messages call it

    Returns
    -------
    Words in the order they are met. Counts are kept where all sets have them.

    Raises
    ------
    OtherSpace : they belong to several spaces
    """
    first_name, first = models[0]
    for name, model in models[1:]:
        require_same_space(first, model, first_name, name)
    words: list[str] = []
    rows, counts = [], []
    seen: set[str] = set()
    for _, model in models:
        fresh = np.array([row for row, word in enumerate(model.words) if word not in seen], np.int64)
        seen.update(model.words)
        words += [model.words[row] for row in fresh]
        rows.append(model.vectors[fresh])
        counts.append(None if model.counts is None else model.counts[fresh])
    known = [each for each in counts if each is not None]
    all_counts = np.concatenate(known) if len(known) == len(models) else None
    return WordVectors(words, np.concatenate(rows), all_counts, first.space_id)


def stamp_file(path: str | Path) -> Path:
    """Where the stamp of a file stands."""
    path = Path(path)
    return path.with_name(f"{path.name}{_ENDING}")


def write_stamp(path: str | Path, vectors: WordVectors) -> None:
    """Write the stamp of a file that holds these vectors and stands already."""
    stamp = {
        "format": _FORMAT,
        "version": _VERSION,
        "space_id": vectors.space_id,
        "n_words": len(vectors),
        "dim": vectors.dim,
        "sha256": _sha256(Path(path)),
    }
    place = stamp_file(path)
    partial = place.with_name(f"{place.name}.tmp")
    partial.write_text(json.dumps(stamp, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(place)


def stamped(path: str | Path, vectors: WordVectors) -> WordVectors:
    """Vectors that were read from a file, named after the file's stamp if it has one.

    Raises
    ------
    FormatError : the stamp is damaged, or that of another file
    """
    place = stamp_file(path)
    try:
        stamp: Any = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return vectors
    except ValueError as error:
        raise FormatError(f"{place} is not JSON ({error})", todo=_TODO) from None
    if not isinstance(stamp, dict) or (stamp.get("format"), stamp.get("version")) != (_FORMAT, _VERSION):
        raise FormatError(f"{place} does not say that this is a {_FORMAT} of version {_VERSION}", todo=_TODO)
    space_id = stamp.get("space_id")
    if not space_id or not isinstance(space_id, str):
        raise FormatError(f"{place} names no space", expected="space_id, a text", todo=_TODO)
    shape = (len(vectors), vectors.dim)
    if (stamp.get("n_words"), stamp.get("dim")) != shape or stamp.get("sha256") != _sha256(Path(path)):
        raise FormatError(
            f"{place} is the stamp of another file: {path} was replaced or changed after it was stamped",
            expected="the file that was written together with the stamp",
            todo="delete the stamp if the new vectors are meant; they count as a space of their own then",
        )
    return vectors.with_space_id(space_id)


_TODO = "write the vectors again, or delete the stamp; the space is named after the content then"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _short(space_id: str) -> str:
    return space_id if len(space_id) <= 16 else f"{space_id[:12]}…"
