"""GloVe's text format: a line a word, ``word x1 x2 … xdim``, without a header.

It is word2vec's text format without its first line, and everything said in
:mod:`vecmill.vectors.word2vec_format` holds here too. gensim reads and writes it with ``no_header``/``write_header``.

- The first line says how many numbers a row has; every other line must have as many.
- The published ``glove.840B`` holds words with blanks (``. . .``). They are refused unless ``blanks_in_words`` is set;
  then a word is whatever stands before the last ``dim`` numbers. A row with a number too many cannot be noticed then.
- A file cut off between two lines cannot be told from a whole one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.word2vec_format import (
    MAX_NUMBER_BYTES,
    MAX_WORD_BYTES,
    NonUtf8,
    decoded_word,
    parsed_numbers,
    refuse_white_space,
    text_rows,
)
from vecmill.vectors.word_vectors import WordVectors

_READ_BYTES = 1 << 20
# A first line longer than this many numbers is no line of vectors.
_MOST_DIMENSIONS = 100_000


def save_glove(vectors: WordVectors, path: str | Path) -> None:
    """Write ``path`` in GloVe's text format; rows keep their order.

    Raises
    ------
    FormatError : a word holds white space; nothing is written then
    """
    refuse_white_space(vectors)
    path = Path(path)
    partial = path.with_name(f"{path.name}.tmp")
    with partial.open("wb") as stream:
        for rows in row_blocks(len(vectors), vectors.dim):
            encoded = (word.encode() for word in vectors.words[rows])
            stream.writelines(b"%b %b" % pair for pair in zip(encoded, text_rows(vectors.vectors[rows]), strict=True))
    partial.replace(path)


def load_glove(path: str | Path, *, blanks_in_words: bool = False, non_utf8: NonUtf8 = "refuse") -> WordVectors:
    """Read a file in GloVe's text format.

    The file is read twice, once to count its lines, so that the vectors are read into their place.

    Parameters
    ----------
    blanks_in_words, non_utf8 : see the descriptions of this module and of word2vec's

    Raises
    ------
    FormatError : the file is missing, empty, or not in this format, has a word2vec header, or holds a word or number
        that :class:`WordVectors` refuses. The message names the line or row.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            dim = _dimension(stream, path)
            n_bytes = path.stat().st_size
            # No row is shorter than a word of one byte and two bytes a number, so that a file of line feeds cannot ask
            # for more memory than its size; the row that is too short is named when its turn comes.
            n_rows = min(_count_lines(stream), n_bytes // (1 + 2 * dim) + 1)
            vectors = np.empty((n_rows, dim), dtype=np.float32)
            stream.seek(0)
            rows = _read_rows(stream, path, vectors, blanks_in_words)
            words = [decoded_word(word, row, path, non_utf8) for row, word in enumerate(rows)]
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror})", todo="check the path and its permissions"
        ) from None
    try:
        return WordVectors(words, vectors[: len(words)])
    except FormatError as error:
        raise FormatError(f"{path}: {error.found}", expected=error.expected, todo=error.todo) from None


def _dimension(stream: BinaryIO, path: Path) -> int:
    first = stream.readline(MAX_WORD_BYTES + MAX_NUMBER_BYTES * _MOST_DIMENSIONS)
    second = stream.readline(MAX_WORD_BYTES + MAX_NUMBER_BYTES * _MOST_DIMENSIONS)
    stream.seek(0)
    fields = first.rstrip().split(b" ")
    n_second = len(second.rstrip().split(b" ")) - 1
    if len(fields) == 2 and all(field.isdigit() for field in fields) and n_second == int(fields[1]) > 1:
        raise FormatError(
            f"{path} starts with a header, {first.rstrip()[:40]!r}",
            expected="a word and its numbers in the first line, as in GloVe's files",
            todo="read it as word2vec text",
        )
    if len(fields) < 2:
        raise FormatError(
            f"{path} starts with {first[:40]!r}" if first else f"{path} is empty",
            expected="a word and its numbers, between blanks",
            todo="check that the file is GloVe text, and not compressed",
        )
    return len(fields) - 1


def _count_lines(stream: BinaryIO) -> int:
    """Lines of the file, one without a line feed at the end included."""
    stream.seek(0)
    n_lines, last = 0, b"\n"
    while block := stream.read(_READ_BYTES):
        n_lines += block.count(b"\n")
        last = block[-1:]
    return n_lines + (last != b"\n")


def _read_rows(
    stream: BinaryIO, path: Path, vectors: npt.NDArray[np.float32], blanks_in_words: bool
) -> Iterator[bytes]:
    """Yield each row's word and fill in its vector."""
    dim = vectors.shape[1]
    for row, line in enumerate(iter(lambda: stream.readline(MAX_WORD_BYTES + MAX_NUMBER_BYTES * dim), b"")):
        fields = line.rstrip().rsplit(b" ", dim if blanks_in_words else -1)
        if len(fields) != dim + 1 or row == len(vectors):
            raise FormatError(
                f"{path}, line {row + 1}: {len(fields) - 1} numbers after the word {fields[0][:40]!r}",
                expected=f"{dim}, as in line 1, and no blank inside a word",
                todo="repair or leave out the line; if the words of the file hold blanks, as those of glove.840B, load "
                "it with blanks_in_words",
            )
        vectors[row] = parsed_numbers(fields[1:], f"{path}, line {row + 1}")
        yield fields[0]
