r"""The word2vec formats, text and binary, as word2vec.c and gensim write and read them.

text:    header ``n dim``, then a line a word: ``word x1 x2 … xdim``, numbers as decimal text
binary:  the same header line, then for each word its bytes, one blank, ``dim`` little-endian float32; word2vec.c
         ends each row with a line feed, gensim does not, and both are read

A number is written with the fewest digits that give the same float32 back, so text loses nothing.

What the formats cannot say:

- Counts and the space's name are not stored. gensim makes counts up while reading; here they stay unknown.
- A word ends at the first blank. gensim writes words with blanks as they are and then cannot read its own file; here a
  word with ASCII white space, which other readers split at, is refused when writing. Other characters, such as the
  no-break space, are ordinary ones in both.
- Repeated words are refused (gensim keeps the first).
- Words are UTF-8. Bytes that are not (word2vec.c cuts long words in the middle of a character) are refused, or, with
  ``non_utf8="escape"``, kept as text like ``\xe4``, so that different words stay different words.

Compressed files are not read. The header is compared with the file's size before anything is allocated for its claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from vecmill.errors import FormatError
from vecmill.vectors.neighbours import row_blocks
from vecmill.vectors.word_vectors import WordVectors

NonUtf8 = Literal["refuse", "escape"]

# A header is two integers; whatever is longer is not one.
_MAX_HEADER_BYTES = 64
# No word is longer than this; keeps a damaged file from being read to its end in search of one.
MAX_WORD_BYTES = 1 << 16
_READ_BYTES = 1 << 20
# Room for one number of a text row and its blank; many times what a float32 needs.
MAX_NUMBER_BYTES = 64

# What C's isspace calls white space.
_WHITE_SPACE = frozenset(" \t\n\v\f\r")


def save_word2vec(vectors: WordVectors, path: str | Path, *, binary: bool) -> None:
    """Write ``path`` in the text or the binary format; rows keep their order.

    Raises
    ------
    FormatError : a word holds white space, which would break the file for its readers; nothing is written then
    """
    refuse_white_space(vectors)
    path = Path(path)
    partial = path.with_name(f"{path.name}.tmp")
    with partial.open("wb") as stream:
        stream.write(f"{len(vectors)} {vectors.dim}\n".encode())
        for rows in row_blocks(len(vectors), vectors.dim):
            block = vectors.vectors[rows]
            encoded = [word.encode() for word in vectors.words[rows]]
            values = _binary_rows(block) if binary else text_rows(block)
            stream.writelines(b"%b %b" % pair for pair in zip(encoded, values, strict=True))
    partial.replace(path)


def load_word2vec(path: str | Path, *, binary: bool, non_utf8: NonUtf8 = "refuse") -> WordVectors:
    """Read a file in the text or the binary format.

    Parameters
    ----------
    path : a local file
    binary : which of the two formats it is
    non_utf8 : what becomes of words that are not UTF-8; see the module's docstring

    Raises
    ------
    FormatError : the file is missing, is not in this format, is shorter or longer than its header says, or holds a
        word or number that :class:`WordVectors` refuses. The message names the row.
    """
    path = Path(path)
    try:
        n_bytes = path.stat().st_size
        with path.open("rb") as stream:
            n_words, dim = _read_header(stream, path)
            _check_claim(path, n_words, dim, n_bytes - stream.tell(), binary=binary)
            vectors = np.empty((n_words, dim), dtype=np.float32)
            read_rows = _read_binary_rows if binary else _read_text_rows
            words = [
                decoded_word(word, row, path, non_utf8) for row, word in enumerate(read_rows(stream, path, vectors))
            ]
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror})", todo="check the path and its permissions"
        ) from None
    try:
        return WordVectors(words, vectors)
    except FormatError as error:
        raise FormatError(f"{path}: {error.found}", expected=error.expected, todo=error.todo) from None


# --- writing ---------------------------------------------------------------------------------------------------------


def _binary_rows(block: npt.NDArray[np.float32]) -> Iterator[bytes]:
    return (row.tobytes() for row in block.astype("<f4", copy=False))


def refuse_white_space(vectors: WordVectors) -> None:
    """Refuse words that would end too early in a file of text rows; the message names the first."""
    for word_id, word in enumerate(vectors.words):
        if not _WHITE_SPACE.isdisjoint(word):
            raise FormatError(
                f"word {word_id} is {word!r}",
                expected="words without white space, which ends a word in the formats of word2vec and GloVe",
                todo="join the parts with another character, such as _, or save in vecmill's own format",
            )


def text_rows(block: npt.NDArray[np.float32]) -> Iterator[bytes]:
    """The numbers of each row as text, blanks between them, a line feed at the end."""
    import pyarrow as pa

    # Arrow writes the shortest decimal that reads back as the same float32, much faster than a loop over numbers.
    texts = pa.array(block.ravel()).cast(pa.string()).to_pylist()
    dim = block.shape[1]
    return (f"{' '.join(texts[at : at + dim])}\n".encode() for at in range(0, len(texts), dim))


# --- reading ---------------------------------------------------------------------------------------------------------


def _read_header(stream: BinaryIO, path: Path) -> tuple[int, int]:
    line = stream.readline(_MAX_HEADER_BYTES)
    fields = line.split()
    if not line.endswith(b"\n") or len(fields) != 2 or not all(field.isdigit() for field in fields):
        raise FormatError(
            f"{path} starts with {line[:40]!r}",
            expected="a header line with the number of words and the dimension, such as 57000 100",
            todo="check that the file is in word2vec format, not compressed, and has its header",
        )
    n_words, dim = int(fields[0]), int(fields[1])
    if n_words == 0 or dim == 0:
        raise FormatError(
            f"{path}: its header says {n_words} words of dimension {dim}", expected="at least one of both"
        )
    return n_words, dim


def _check_claim(path: Path, n_words: int, dim: int, n_bytes: int, *, binary: bool) -> None:
    # The shortest row: a word of one byte and, after a blank, four bytes a number; or in text two bytes a number,
    # blank included, and a line feed, which the last row may lack.
    least = n_words * (2 + 4 * dim) if binary else n_words * (2 + 2 * dim) - 1
    if least > n_bytes:
        raise FormatError(
            f"{path}: its header says {n_words} words of dimension {dim}, but only {n_bytes} bytes follow",
            expected=f"at least {least} bytes",
            todo="fetch the file again; it is cut off, or "
            + ("not in the binary format" if binary else "not in the text format"),
        )


def _read_text_rows(stream: BinaryIO, path: Path, vectors: npt.NDArray[np.float32]) -> Iterator[bytes]:
    """Yield each row's word and fill in its vector."""
    n_words, dim = vectors.shape
    for row in range(n_words):
        line = stream.readline(MAX_WORD_BYTES + MAX_NUMBER_BYTES * dim)
        if not line:
            raise _cut_off(path, row, n_words)
        # gensim's rule: the end is stripped and single blanks separate, so other white space belongs to the word
        word, *numbers = line.rstrip().split(b" ")
        if len(numbers) != dim:
            raise FormatError(
                f"{path}, line {row + 2}: {len(numbers)} numbers after the word {word[:40]!r}",
                expected=f"{dim}, as the header says, and no blank inside a word",
                todo="repair or leave out the line; if it is the last one, the file is cut off",
            )
        vectors[row] = parsed_numbers(numbers, f"{path}, line {row + 2}")
        yield word
    _refuse_more(stream, path, n_words)


def parsed_numbers(numbers: list[bytes], place: str) -> npt.NDArray[np.float32]:
    """The numbers of a text row, float32[dim]; ``place`` names the line in the message of a FormatError."""
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such by WordVectors
            return np.array(numbers, dtype=np.float32)
    except ValueError as error:
        raise FormatError(
            f"{place}: {error}",
            expected=f"a word and {len(numbers)} numbers",
            todo="repair or leave out the line",
        ) from None


def _read_binary_rows(stream: BinaryIO, path: Path, vectors: npt.NDArray[np.float32]) -> Iterator[bytes]:
    """Yield each row's word and fill in its vector."""
    n_words, dim = vectors.shape
    buffer = b""
    at = 0
    for row in range(n_words):
        while (end := buffer.find(b" ", at)) < 0 or len(buffer) < end + 1 + 4 * dim:
            if (len(buffer) if end < 0 else end) - at > MAX_WORD_BYTES:
                raise FormatError(
                    f"{path}: word {row} does not end within {MAX_WORD_BYTES} bytes",
                    expected="a word, a blank and the numbers in every row",
                    todo="check that the file is in the binary format and not damaged",
                )
            more = stream.read(max(_READ_BYTES, 4 * dim))
            if not more:
                raise _cut_off(path, row, n_words)
            buffer, at = buffer[at:] + more, 0
        # word2vec.c ends rows with a line feed, which then stands before the next word
        word = buffer[at:end].lstrip(b"\n")
        vectors[row] = np.frombuffer(buffer, dtype="<f4", count=dim, offset=end + 1)
        at = end + 1 + 4 * dim
        yield word
    if buffer[at:].strip(b"\n"):
        raise _too_long(path, n_words)
    _refuse_more(stream, path, n_words)


def _refuse_more(stream: BinaryIO, path: Path, n_words: int) -> None:
    while more := stream.read(_READ_BYTES):
        if more.strip():
            raise _too_long(path, n_words)


def _too_long(path: Path, n_words: int) -> FormatError:
    return FormatError(
        f"{path}: more follows after the {n_words} words that its header says",
        expected="the end of the file",
        todo="correct the header, or check that the right format (text or binary) was named",
    )


def _cut_off(path: Path, row: int, n_words: int) -> FormatError:
    return FormatError(
        f"{path} ends in row {row} (counted from 0)",
        expected=f"{n_words} rows, as its header says",
        todo="fetch the file again; it is cut off",
    )


def decoded_word(word: bytes, row: int, path: Path, non_utf8: NonUtf8) -> str:
    """The word as text. Raises FormatError for one that is empty, or not UTF-8 and to be refused then."""
    if not word:
        raise FormatError(
            f"{path}: the word of row {row} (counted from 0) is empty",
            expected="words of at least one character",
            todo="leave out the row, and lower the number in the header by one where there is a header",
        )
    try:
        return word.decode("utf-8", "strict" if non_utf8 == "refuse" else "backslashreplace")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: the word of row {row} (counted from 0) is {word[:40]!r}, which is not UTF-8 ({error.reason})",
            expected="words in UTF-8",
            todo='convert the file to UTF-8, or load it with non_utf8="escape" to keep such bytes as \\xNN',
        ) from None
