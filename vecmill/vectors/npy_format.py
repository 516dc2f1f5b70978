"""Vectors as one ``.npy`` file with the words beside it, a line each: what NumPy users exchange.

``NAME.npy``   float[n_words, dim]; written as little-endian float32 in C order, read in any floating point type
``NAME.txt``   UTF-8, a word a line, in the order of the rows

Counts are not stored, and the space's name stands in a stamp beside the file (:mod:`vecmill.vectors.space`). Nothing
is pickled: a file of objects is refused. Float32 in C order is mapped, not read, so the vectors of a file stay its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vecmill.errors import FormatError
from vecmill.vectors.model_folder import map_npy
from vecmill.vectors.word_vectors import WordVectors


def words_file(path: str | Path) -> Path:
    """Where the words of a ``.npy`` file stand: ``NAME.txt`` beside ``NAME.npy``."""
    return Path(path).with_suffix(".txt")


def save_npy(vectors: WordVectors, path: str | Path) -> None:
    """Write ``path`` (``NAME.npy``) and ``NAME.txt`` beside it; rows keep their order.

    Raises
    ------
    FormatError : the path does not end in .npy, or a word holds a line feed or carriage return; nothing is written then
    """
    path = _checked_path(path)
    for word_id, word in enumerate(vectors.words):
        if "\n" in word or "\r" in word:
            raise FormatError(
                f"word {word_id} is {word!r}",
                expected="words without line ends, which end a word in the list of words",
                todo="leave out the word, or save in vecmill's own format",
            )
    partial, partial_words = path.with_name(f"{path.name}.tmp"), path.with_name(f"{words_file(path).name}.tmp")
    with partial.open("wb") as stream:
        np.save(stream, vectors.vectors.astype("<f4", copy=False), allow_pickle=False)
    with partial_words.open("wb") as stream:
        stream.writelines(word.encode() + b"\n" for word in vectors.words)
    partial.replace(path)
    partial_words.replace(words_file(path))


def load_npy(path: str | Path) -> WordVectors:
    """Read ``path`` (``NAME.npy``) and the words of ``NAME.txt``; Windows line ends are accepted.

    Raises
    ------
    FormatError : a file is missing, no whole ``.npy`` of floating point numbers, or not UTF-8; the two differ in
        length; or a word or number is one that :class:`WordVectors` refuses
    """
    path = _checked_path(path)
    vectors = map_npy(path, "check the path, or fetch the file again")
    words = _words(words_file(path))
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise FormatError(
            f"{path} holds {vectors.dtype}{list(vectors.shape)}", expected="floating point numbers [n_words, dim]"
        )
    if len(words) != len(vectors):
        raise FormatError(
            f"{words_file(path)} has {len(words)} words, and {path} {len(vectors)} rows",
            expected="a line a word, as many as rows",
            todo="copy both files again; they are not from one model, or one is cut off",
        )
    try:
        return WordVectors(words, vectors)
    except FormatError as error:
        raise FormatError(f"{path}: {error.found}", expected=error.expected, todo=error.todo) from None


def _checked_path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".npy":
        raise FormatError(
            f"the path {path} does not end in .npy",
            expected="NAME.npy, with the words in NAME.txt beside it",
            todo="rename the file",
        )
    return path


def _words(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise FormatError(
            f"the words {path} cannot be read ({error.strerror})",
            expected="a list of words beside the .npy file, a line each",
            todo="put the list there, under the same name with the ending .txt",
        ) from None
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}, line {content.count(bytes([10]), 0, error.start) + 1}: not UTF-8 ({error.reason})",
            expected="a word a line in UTF-8",
            todo="convert the file to UTF-8",
        ) from None
    # Not splitlines: it also splits at characters that words may hold.
    lines = text.split("\n")
    if lines[-1] == "":
        del lines[-1]
    return [line.removesuffix("\r") for line in lines]
