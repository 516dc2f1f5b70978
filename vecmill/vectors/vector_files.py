"""Word vectors from and to files in any of the formats, by name or by ending.

==================  =================================================  ===============================
format              file                                               recognised by
==================  =================================================  ===============================
folder              vecmill's own (or a train artifact: its vectors)   being a folder
word2vec-text       header, then text (also fastText's ``.vec``)       ``.vec``; ``.txt`` with a header
word2vec-binary     header, then float32                               ``.bin``
glove               text without a header                              ``.txt`` without a header
npy                 ``NAME.npy`` and the words in ``NAME.txt``         ``.npy``
arrow               Arrow file, Feather version 2                      ``.arrow .feather .ipc``
fasttext-binary     fastText's ``.bin`` with n-grams                   ``.bin`` by its first bytes
==================  =================================================  ===============================

Folders and Arrow files hold the name of their space; of other files it stands in a stamp beside them, see
:mod:`vecmill.vectors.space`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.arrow_format import load_arrow, save_arrow
from vecmill.vectors.fasttext_format import FasttextModel, load_fasttext_bin, save_fasttext_bin
from vecmill.vectors.glove_format import load_glove, save_glove
from vecmill.vectors.model_folder import map_npy
from vecmill.vectors.npy_format import load_npy, save_npy, words_file
from vecmill.vectors.space import stamp_file, stamped, write_stamp
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word2vec_format import load_word2vec, save_word2vec
from vecmill.vectors.word_vectors import WordVectors

_LOADERS: dict[str, Callable[[Path], WordVectors]] = {
    "folder": lambda path: WordVectors.load(_vectors_folder(path)),
    "word2vec-text": lambda path: stamped(path, load_word2vec(path, binary=False)),
    "word2vec-binary": lambda path: stamped(path, load_word2vec(path, binary=True)),
    "glove": lambda path: stamped(path, load_glove(path)),
    "npy": lambda path: stamped(path, load_npy(path)),
    "arrow": load_arrow,
    "fasttext-binary": lambda path: stamped(path, load_fasttext_bin(path).vectors.word_vectors()),
}
_SAVERS: dict[str, Callable[[WordVectors, Path], None]] = {
    "folder": lambda vectors, path: vectors.save(path),
    "word2vec-text": lambda vectors, path: save_word2vec(vectors, path, binary=False),
    "word2vec-binary": lambda vectors, path: save_word2vec(vectors, path, binary=True),
    "glove": save_glove,
    "npy": save_npy,
    "arrow": save_arrow,
}
FORMATS = tuple(_LOADERS)
# Those that hold the name of the space themselves; beside files of the others it stands in a stamp.
_HOLD_THE_SPACE = ("folder", "arrow")
_BY_ENDING = {
    **{".vec": "word2vec-text", ".bin": "word2vec-binary", ".npy": "npy"},
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}
_FASTTEXT_MAGIC = struct.pack("<i", 793712314)
_CONTEXT_FILE, _SUBWORDS_FOLDER = "context_vectors.npy", "subwords"


def load_vectors(path: str | Path, format_name: str | None = None) -> WordVectors:
    """Read word vectors.

    Parameters
    ----------
    path : a file, a saved model's folder, or the folder of a train artifact
    format_name : one of :data:`FORMATS`; None: by ending and first bytes, see the module's docstring

    Raises
    ------
    FormatError : the format is unknown or cannot be told, or as the loaders raise it
    """
    path = Path(path)
    return _LOADERS[_known(format_name) if format_name else _found_format(path)](path)


def save_vectors(vectors: WordVectors, path: str | Path, format_name: str | None = None) -> list[Path]:
    """Write word vectors; what stands there is replaced. The format is that of the ending unless one is named.

    Returns
    -------
    The files (or the folder) written.

    Raises
    ------
    FormatError : the format is unknown, cannot be told from the ending or is only read, or as the savers raise it
    """
    path = Path(path)
    name = format_to_write(path, format_name)
    if name not in _SAVERS:
        raise FormatError(
            f"{name} was asked for, which holds the rows of n-grams",
            expected=f"vectors with n-grams, or one of {', '.join(_SAVERS)}",
            todo="convert the folder of a train artifact with subwords",
        )
    if name not in _HOLD_THE_SPACE:
        stamp_file(path).unlink(missing_ok=True)  # a process that dies leaves no stamp, rather than a wrong one
    _SAVERS[name](vectors, path)
    if name not in _HOLD_THE_SPACE:
        write_stamp(path, vectors)
    return written_files(path, name)


def convert(source: str | Path, target: str | Path, *, read_as: str | None = None, write_as: str | None = None) -> str:
    """Copy vectors from one format to another; returns the name of the format written.

    Words, their order, counts where both formats have them and every bit of the vectors stay. Into fasttext-binary only
    vectors with n-grams can be copied: another such file, or a folder that holds ``subwords``.

    Raises
    ------
    FormatError : as :func:`load_vectors` and :func:`save_vectors`
    """
    source, target = Path(source), Path(target)
    name = format_to_write(target, write_as)
    if name == "fasttext-binary":
        model = _with_ngrams(source)
        stamp_file(target).unlink(missing_ok=True)
        save_fasttext_bin(model, target)
        write_stamp(target, model.vectors.word_vectors())
    else:
        save_vectors(load_vectors(source, read_as), target, name)
    return name


def format_to_write(path: Path, format_name: str | None) -> str:
    """The named format, or that of the ending; a path without one is a folder. Raises FormatError."""
    if format_name:
        return _known(format_name)
    if not path.suffix or path.is_dir():
        return "folder"
    if path.suffix in _BY_ENDING:
        return _BY_ENDING[path.suffix]
    raise FormatError(
        f"the ending of {path} does not say in which format it is to be written",
        expected=f"one of {' '.join(_BY_ENDING)}, no ending for a folder, or a format by name",
        todo=f"name one of {', '.join(FORMATS)}",
    )


def written_files(path: Path, format_name: str) -> list[Path]:
    """What :func:`save_vectors` and :func:`convert` write for a path."""
    files = [path, words_file(path)] if format_name == "npy" else [path]
    return files if format_name in _HOLD_THE_SPACE else [*files, stamp_file(path)]


def load_context_vectors(path: str | Path, named: str | Path | None = None) -> npt.NDArray[np.floating] | None:
    """Context vectors, mapped: of the file or train artifact ``named``, else of the artifact that ``path`` belongs to.

    Parameters
    ----------
    path : a train artifact's folder, or its ``vectors`` folder; None comes back for anything else
    named : a ``.npy`` file, or such a folder

    Raises
    ------
    FormatError : the file is damaged, or ``named`` is missing
    """
    if named is not None and not Path(named).is_dir():
        return map_npy(Path(named), "name the context vectors of a train artifact")
    folder = Path(named or path)
    for place in (folder / _CONTEXT_FILE, folder.parent / _CONTEXT_FILE):
        if folder.is_dir() and place.is_file():
            return map_npy(place, "train again")
    return None


def _known(format_name: str) -> str:
    if format_name not in FORMATS:
        raise FormatError(f"no format is named {format_name!r}", expected=f"one of {', '.join(FORMATS)}")
    return format_name


def _found_format(path: Path) -> str:
    if path.is_dir():
        return "folder"
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror})", todo="check the path") from None
    if head.startswith(_FASTTEXT_MAGIC):
        return "fasttext-binary"
    if path.suffix in _BY_ENDING:
        return _BY_ENDING[path.suffix]
    fields = head.partition(b"\n")[0].split()
    if path.suffix == ".txt":
        return "word2vec-text" if len(fields) == 2 and all(field.isdigit() for field in fields) else "glove"
    raise FormatError(
        f"the ending of {path} does not say which format it is in",
        expected=f"one of {' '.join(_BY_ENDING)} .txt, a folder, or a format by name",
        todo=f"name one of {', '.join(FORMATS)}",
    )


def _vectors_folder(path: Path) -> Path:
    inside = path / "vectors"
    return inside if inside.is_dir() and not (path / "meta.json").exists() else path


def _with_ngrams(source: Path) -> FasttextModel:
    if source.is_file():
        return load_fasttext_bin(source)
    inside = source / _SUBWORDS_FOLDER
    if not inside.is_dir() and not (source / "subwords.json").exists():
        raise FormatError(
            f"{source} holds no n-grams",
            expected="the folder of a train artifact with subwords, or fastText's .bin",
            todo="train with kind subword_skipgram or subword_cbow, or name another format",
        )
    return FasttextModel(SubwordVectors.load(inside if inside.is_dir() else source))
